"""Scores, grades and alarms of one stream, or of one key: a forest and what follows from it.

points ── Forest ── scores ── Grade ── grades ── > alarm limits ── Quiet ── alarms
          (KDA's score)       (how rare)                          (once an episode)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import Floats, Int64s
from operators.forest import Explanations, Forest, ForestConfig
from operators.grade import Grade, GradeConfig
from operators.quiet import Quiet
from operators.state_header import StateHeader

_HEADER = StateHeader("a detector", b"kwdt", 1, "HIIQ")
_NEVER = np.iinfo(np.int64).min
_US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """What a detector is like.

    Attributes:
        forest: The forest.
        grade: How its scores are graded.
        alarm_grades: Ascending grades above which a point is alarming, the more so with each:
            0.999 is one false alarm in a thousand points of a stream that stays as it is. They may
            change while state stays.
        alarm_score: The score that an alarming point must have, too: for streams on which next to
            nothing is random. It may change while state stays.
        alarm_scores: Ascending scores that, where there are any, take the place of the grades: they
            need no warm-up, but what is a high score on one stream is none on another. They may
            change while state stays.
        unlearnt: So many points in a row above the least alarm score aren't learnt, so that an
            attack doesn't become usual and the next one is found like it; what lasts is learnt.
            Points are then taken one by one. It may change while state stays.
        quiet_seconds: How long, in event time, no point must have been above an alarm's limit
            before the next one alarms. It may change while state stays.

    Raises:
        SettingsError: A parameter is out of its range.
    """

    forest: ForestConfig
    grade: GradeConfig = field(default_factory=GradeConfig)
    alarm_grades: tuple[float, ...] = (0.999,)
    alarm_score: float = 0.0
    alarm_scores: tuple[float, ...] = ()
    unlearnt: int = 0
    quiet_seconds: float = 600.0

    def __post_init__(self) -> None:
        grades = self.alarm_grades
        is_ascending = all(lower < upper for lower, upper in pairwise(grades))
        if not (grades and is_ascending and grades[0] >= 0 and grades[-1] < 1):
            msg = f"detector: alarm_grades are {grades}: they must ascend from 0 or more to below 1"
            raise SettingsError(msg)
        if not 0 <= self.alarm_score <= self.forest.most:
            msg = f"detector: alarm_score must be from 0 to {self.forest.most:g}"
            raise SettingsError(msg)
        scores = (0.0, *self.alarm_scores, self.forest.most)
        if not all(lower < upper for lower, upper in pairwise(scores)):
            msg = (
                f"detector: alarm_scores are {self.alarm_scores}: they must ascend from above 0 to "
                f"below {self.forest.most:g}"
            )
            raise SettingsError(msg)
        if self.unlearnt < 0 or (self.unlearnt and not self.alarm_scores):
            msg = f"detector: unlearnt is {self.unlearnt}: it must be 0, or more with alarm_scores"
            raise SettingsError(msg)
        if not 0 <= self.quiet_seconds < 2**32:
            msg = f"detector: quiet_seconds is {self.quiet_seconds}: it must be from 0 to 2**32"
            raise SettingsError(msg)

    @property
    def limits(self) -> tuple[float, ...]:
        """The limits of alarms, of grades or of scores."""
        return self.alarm_scores or self.alarm_grades


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector finds in n points.

    Attributes:
        scores: float64 [n], as `Forest.score` returns them: NaN of a refused point.
        grades: float64 [n], as `Grade.grade` returns them.
        alarms: int8 [n]: of how many of the alarms' limits, counted from the least, an episode
            begins here; 0 for none. A point above all of which only the middle one's begins is 2.
        explanations: What each column has to do with the scores, if it was asked for.
    """

    scores: Floats
    grades: Floats
    alarms: npt.NDArray[np.int8]
    explanations: Explanations | None = None


class Detector:
    """Finds anomalies on one stream.

    Args:
        config: What it is like.
        seed: Of the forest.
    """

    __slots__ = ("_grade", "_held", "_quiet", "config", "forest")

    def __init__(self, config: DetectorConfig, seed: int) -> None:
        self.config = config
        self.forest = Forest(config.forest, seed)
        self._grade = Grade(config.grade, config.forest.most)
        self._held = 0  # how many points in a row were above the least alarm score
        quiet_us = round(config.quiet_seconds * _US_PER_SECOND)
        self._quiet = [Quiet(quiet_us) for _ in config.limits]

    def take(self, points: npt.ArrayLike, times_us: Int64s, *, explain: bool = False) -> Detections:
        """Score, grade and judge points in turn, and learn from them.

        Args:
            points: Numbers [n, columns].
            times_us: Their event times in microseconds, int64 [n].
            explain: Whether to explain the scores.

        Returns:
            The same, bit for bit, whatever batches the points come in.

        Raises:
            ValueError: `points` or `times_us` has another shape.
        """
        if np.shape(times_us) != np.shape(points)[:1]:
            msg = f"{np.shape(times_us)} times for points of the shape {np.shape(points)}"
            raise ValueError(msg)
        explanations = self._explain(np.asarray(points, np.float64)) if explain else None
        scores = (
            explanations.scores if explanations else self._score(np.asarray(points, np.float64))
        )
        grades = self._grade.grade(scores)
        alarms = np.zeros(len(scores), np.int8)
        judged = scores if self.config.alarm_scores else grades
        for level, (above, quiet) in enumerate(
            zip(self.config.limits, self._quiet, strict=True), start=1
        ):
            # A comparison with NaN, of a refused point, is false.
            alarming = (judged > above) & (scores >= self.config.alarm_score)
            alarms[quiet.first(alarming, times_us)] = level
        return Detections(scores, grades, alarms, explanations)

    def _score(self, points: Floats) -> Floats:
        if not self.config.unlearnt:
            return self.forest.score(points)
        return self._explain(points).scores

    def _explain(self, points: Floats) -> Explanations:
        if not self.config.unlearnt:
            return self.forest.explain(points)
        none = np.zeros((0, self.config.forest.columns))
        parts = [Explanations(np.zeros(0), none, none)]
        for row in range(len(points)):
            point = points[row : row + 1]
            parts.append(self.forest.explain(point, learn=False))
            is_above = bool(parts[-1].scores[0] > self.config.alarm_scores[0])
            self._held = self._held + 1 if is_above else 0
            if self._held == 0 or self._held > self.config.unlearnt:
                self.forest.score(point)
        return Explanations(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.above for part in parts]),
            np.concatenate([part.below for part in parts]),
        )

    def dump(self) -> bytes:
        """Return the whole state, as `load` takes it."""
        forest, grade = self.forest.dump(), self._grade.dump()
        alarming_us = [_NEVER if one.last_us is None else one.last_us for one in self._quiet]
        header = _HEADER.pack(len(alarming_us), self._held, len(grade), len(forest))
        return b"".join([header, np.array(alarming_us, "<i8").tobytes(), grade, forest])

    @classmethod
    def load(cls, config: DetectorConfig, state: bytes) -> Detector:
        """Return the detector that was dumped: what it finds further is the same, bit for bit.

        Raises:
            LayoutError: `state` is of another version, of a forest with other parameters, or
                isn't whole.
        """
        levels, held, grade_bytes, forest_bytes = _HEADER.unpack(state)
        grade_at = _HEADER.size + 8 * levels
        forest_at = grade_at + grade_bytes
        if len(state) != forest_at + forest_bytes:
            _HEADER.refuse("it isn't as long as it says")
        detector = cls(config, 0)
        detector._held = held
        detector._grade = Grade.load(config.grade, config.forest.most, state[grade_at:forest_at])
        detector.forest = Forest.load(config.forest, state[forest_at:])
        alarming_us = np.frombuffer(state[_HEADER.size : grade_at], "<i8").tolist()
        for quiet, last_us in zip(detector._quiet, alarming_us, strict=False):
            quiet.last_us = None if last_us == _NEVER else last_us
        return detector
