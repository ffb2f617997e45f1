"""Grades: how rare is this score, on this stream?

A score of 2 is an event on one stream and noise on another, so no threshold on scores serves two.
A grade in [0, 1] is calibrated on the stream's own recent scores: on a stream that stays as it is,
a grade of 1 - p or more comes about once in 1/p scores. So a threshold on grades is a rate of
false alarms: 0.999 is one in a thousand.

Method: a histogram of scores, in which older ones fade, gives the share of scores that reach a
score's bin. Above the bin beyond which lie 2 % of them, or 40 if that is more, there are too few
to count: the rest is taken for a generalised Pareto distribution, fitted to the excesses by its
moments. Peaks over a threshold, as Siffer, Fouque, Termier, Largouet, "Anomaly Detection in
Streams with Extreme Value Theory" (KDD 2017); the fit is Hosking and Wallis, "Parameter and
Quantile Estimation for the Generalized Pareto Distribution" (1987). Other than in the former,
alarming scores count like all, so that a lasting change stops being news.

Limits: rates below 1 in `decay` are extrapolated. Where nothing is random all scores are nearly
one, and any other score is rare, however low: alert on score and grade together there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import Floats, Int64s
from operators.state_header import StateHeader

_HEADER = StateHeader("a grade", b"kwgr", 1, "HHQ")
_BINS = 1024
_REFRESH = 64
_TAIL_SHARE = 0.02
_TAIL_LEAST = 40.0


@dataclass(frozen=True, slots=True)
class GradeConfig:
    """How scores are graded.

    Attributes:
        decay: After so many scores one's weight has fallen to 1/e: 1,000 to 2**31 - 1.
        warm_up: So many scores have the grade 0: 200 to `decay`.

    Raises:
        SettingsError: A parameter is out of its range.
    """

    decay: int = 20_000
    warm_up: int = 1_000

    def __post_init__(self) -> None:
        if type(self.decay) is not int or not 1_000 <= self.decay < 2**31:
            msg = f"grade: decay is {self.decay}: it must be a whole number from 1,000 to 2**31 - 1"
            raise SettingsError(msg)
        if type(self.warm_up) is not int or not 200 <= self.warm_up <= self.decay:
            msg = f"grade: warm_up is {self.warm_up}: it must be a whole number from 200 to decay"
            raise SettingsError(msg)


class Grade:
    """Grades the scores of one stream.

    Args:
        config: How.
        most: The greatest possible score: `ForestConfig.most`.

    Attributes:
        seen: How many scores it has learnt from.
    """

    __slots__ = ("_counts", "_fresh", "_reach", "_tail", "_width", "config", "seen")

    def __init__(self, config: GradeConfig, most: float) -> None:
        self.config = config
        self.seen = 0
        self._width = most / _BINS
        self._counts = np.zeros(_BINS)
        self._fresh: Int64s = np.empty(0, np.int64)  # bins of the scores since the last refresh
        self._reach = np.ones(_BINS)
        self._tail = _Tail(most, 0.0, 1.0, 0.0)

    def grade(self, scores: Floats) -> Floats:
        """Grade scores in turn, each by those before it, and learn from them.

        What was learnt is taken into account after each 64th score.

        Args:
            scores: float64 [n]. 0, of a point that the forest didn't score yet, has the grade 0;
                NaN, of a refused one, has the grade NaN; neither counts.

        Returns:
            float64 [n] in [0, 1], the same whatever batches the scores come in.
        """
        grades = np.where(np.isnan(scores), np.nan, 0.0)
        scored = np.flatnonzero(scores > 0)
        at = 0
        while at < len(scored):
            rows = scored[at : at + _REFRESH - len(self._fresh)]
            at += len(rows)
            some = scores[rows]
            bins = np.minimum(some / self._width, _BINS - 1).astype(np.int64)
            rare = np.where(
                some > self._tail.start, self._tail.share_above(some), self._reach[bins]
            )
            warm = self.seen + np.arange(len(rows)) >= self.config.warm_up
            grades[rows] = np.where(warm, 1.0 - rare, 0.0)
            self.seen += len(rows)
            self._fresh = np.concatenate([self._fresh, bins])
            if len(self._fresh) == _REFRESH:
                self._counts *= math.exp(-_REFRESH / self.config.decay)
                self._counts += np.bincount(self._fresh, minlength=_BINS)
                self._fresh = self._fresh[:0]
                self._refresh()
        return grades

    def dump(self) -> bytes:
        """Return the whole state, as `load` takes it."""
        used = np.flatnonzero(self._counts)
        header = _HEADER.pack(len(used), len(self._fresh), self.seen)
        parts = (used.astype("<u2"), self._fresh.astype("<u2"), self._counts[used])
        return b"".join([header, *(part.tobytes() for part in parts)])

    @classmethod
    def load(cls, config: GradeConfig, most: float, state: bytes) -> Grade:
        """Return the grade that was dumped: its further grades are the same, bit for bit.

        Raises:
            LayoutError: `state` is of another version, or isn't whole.
        """
        used, fresh, seen = _HEADER.unpack(state)
        if len(state) != _HEADER.size + 10 * used + 2 * fresh or fresh >= _REFRESH:
            _HEADER.refuse("it isn't as long as it says")
        bins = np.frombuffer(state, "<u2", used + fresh, _HEADER.size).astype(np.int64)
        if bins.size and bins.max() >= _BINS:
            _HEADER.refuse("it holds a score above the greatest")
        grade = cls(config, most)
        grade.seen = seen
        grade._fresh = bins[used:]
        grade._counts[bins[:used]] = np.frombuffer(
            state, "<f8", used, _HEADER.size + 2 * (used + fresh)
        )
        if used:
            grade._refresh()
        return grade

    def _refresh(self) -> None:
        """Compute the shares and the tail from the counts."""
        total = self._counts.sum()
        above = np.cumsum(self._counts[::-1])[::-1]  # in a bin or above it
        self._reach = above / total
        beyond = max(total * _TAIL_SHARE, min(_TAIL_LEAST, total))
        first = int(np.argmax(above <= beyond)) if above[-1] <= beyond else _BINS
        excesses = self._counts[first:]
        start = first * self._width
        if not excesses.any():
            self._tail = _Tail(_BINS * self._width, 0.0, 1.0, 0.0)
            return
        middles = (np.arange(len(excesses)) + 0.5) * self._width
        weight = excesses.sum()
        mean = float((excesses * middles).sum() / weight)
        variance = float((excesses * (middles - mean) ** 2).sum() / weight) + self._width**2 / 12
        ratio = mean * mean / variance
        # A tail that ends (shape < 0) would make certain what is only extrapolated.
        shape = min(max(0.5 * (1 - ratio), 0.0), 0.5)
        self._tail = _Tail(start, float(weight / total), mean * (1 - shape), shape)


@dataclass(frozen=True, slots=True)
class _Tail:
    """P(score > s) = share * (1 + shape * (s - start) / scale) ** (-1 / shape), for s > start."""

    start: float
    share: float
    scale: float
    shape: float

    def share_above(self, scores: Floats) -> npt.NDArray[np.float64]:
        x = np.maximum(scores - self.start, 0.0) / self.scale
        if self.shape < 1e-6:
            return self.share * np.exp(-x)
        return self.share * np.exp(-np.log1p(self.shape * x) / self.shape)
