"""Scores, grades and alarms of one stream, or of one key: a forest and what follows from it.

points ── Forest ── scores ── Grade ── grades ── >= alarm_grade ── Quiet ── alarms
          (KDA's score)       (how rare)                          (once an episode)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import Floats, Int64s
from operators.forest import Explanations, Forest, ForestConfig
from operators.grade import Grade, GradeConfig
from operators.quiet import Quiet
from operators.state_header import StateHeader

_HEADER = StateHeader("a detector", b"kwdt", 1, "HqIQ")
_US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class DetectorConfig:
    """What a detector is like.

    Attributes:
        forest: The forest.
        grade: How its scores are graded.
        alarm_grade: The grade from which on a point is alarming: 0.999 is one false alarm in a
            thousand points of a stream that stays as it is. It may change while state stays.
        alarm_score: The score that an alarming point must have, too: for streams on which next to
            nothing is random. It may change while state stays.
        quiet_seconds: How long, in event time, no point must have been alarming before the next
            one is told of. It may change while state stays.

    Raises:
        SettingsError: A parameter is out of its range.
    """

    forest: ForestConfig
    grade: GradeConfig = field(default_factory=GradeConfig)
    alarm_grade: float = 0.999
    alarm_score: float = 0.0
    quiet_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not 0 < self.alarm_grade <= 1:
            msg = f"detector: alarm_grade is {self.alarm_grade}: it must be above 0, and at most 1"
            raise SettingsError(msg)
        if not 0 <= self.alarm_score <= self.forest.most:
            msg = f"detector: alarm_score must be from 0 to {self.forest.most:g}"
            raise SettingsError(msg)
        if not 0 <= self.quiet_seconds < 2**32:
            msg = f"detector: quiet_seconds is {self.quiet_seconds}: it must be from 0 to 2**32"
            raise SettingsError(msg)


@dataclass(frozen=True, slots=True)
class Detections:
    """What a detector finds in n points.

    Attributes:
        scores: float64 [n], as `Forest.score` returns them: NaN of a refused point.
        grades: float64 [n], as `Grade.grade` returns them.
        alarms: bool [n]: where an episode begins.
        explanations: What each column has to do with the scores, if it was asked for.
    """

    scores: Floats
    grades: Floats
    alarms: npt.NDArray[np.bool_]
    explanations: Explanations | None = None


class Detector:
    """Finds anomalies on one stream.

    Args:
        config: What it is like.
        seed: Of the forest.
    """

    __slots__ = ("_grade", "_quiet", "config", "forest")

    def __init__(self, config: DetectorConfig, seed: int) -> None:
        self.config = config
        self.forest = Forest(config.forest, seed)
        self._grade = Grade(config.grade, config.forest.most)
        self._quiet = Quiet(round(config.quiet_seconds * _US_PER_SECOND))

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
        explanations = self.forest.explain(points) if explain else None
        scores = explanations.scores if explanations else self.forest.score(points)
        grades = self._grade.grade(scores)
        # A comparison with NaN, of a refused point, is false.
        alarming = (grades >= self.config.alarm_grade) & (scores >= self.config.alarm_score)
        alarms = self._quiet.first(alarming, times_us)
        return Detections(scores, grades, alarms, explanations)

    def dump(self) -> bytes:
        """Return the whole state, as `load` takes it."""
        forest, grade, last_us = self.forest.dump(), self._grade.dump(), self._quiet.last_us
        told = last_us is not None
        header = _HEADER.pack(told, last_us or 0, len(grade), len(forest))
        return b"".join([header, grade, forest])

    @classmethod
    def load(cls, config: DetectorConfig, state: bytes) -> Detector:
        """Return the detector that was dumped: what it finds further is the same, bit for bit.

        Raises:
            LayoutError: `state` is of another version, of a forest with other parameters, or
                isn't whole.
        """
        told, last_us, grade, forest = _HEADER.unpack(state)
        if len(state) != _HEADER.size + grade + forest:
            _HEADER.refuse("it isn't as long as it says")
        end = _HEADER.size + grade
        detector = cls(config, 0)
        detector._grade = Grade.load(config.grade, config.forest.most, state[_HEADER.size : end])
        detector.forest = Forest.load(config.forest, state[end:])
        detector._quiet.last_us = last_us if told else None
        return detector
