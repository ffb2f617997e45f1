"""The detectors that the Numenta Anomaly Benchmark is run with: each gives every row a score.

All are streaming: a row's score follows from that row and those before it. None is told which
series it sees, how long it is, or where its windows are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from messages import Floats, Int64s
from operators.detector import Detector, DetectorConfig
from operators.forest import ForestConfig
from operators.grade import GradeConfig

_DAY_US = 86_400_000_000
_RAREST = 1e-12

NabDetector = Callable[[Int64s, Floats, int], Floats]
"""Times in microseconds int64 [n], values float64 [n], a seed -> scores in [0, 1], float64 [n]."""


DETECTOR = DetectorConfig(
    ForestConfig(
        columns=3,
        number_of_trees=100,
        sub_sample_size=256,
        time_decay=2_000,
        scales="spread",
    ),
    GradeConfig(decay=20_000, warm_up=200),
)
"""Chosen on NAB's category realKnownCause, and on no other."""


@dataclass(frozen=True, slots=True)
class ForestOfNab:
    """The one configuration that our forest is run with.

    A point is a value and its time of day, as sine and cosine, each divided by its spread over the
    first 256 points. Its grade becomes a score by the logarithm of how rare it is, since
    thresholds between 0.99999 and 1 matter. Then only the rarest points stay: a point counts if
    it is rarer than each of those in the last `quiet_rows`, and has the score 0 otherwise, so that
    an anomaly that goes on isn't one more false alarm with each row.

    Attributes:
        detector: Forest and grade, as a user would set them.
        quiet_rows: About a day of the most usual series, of a row in 5 minutes.
    """

    detector: DetectorConfig = DETECTOR
    quiet_rows: int = 300

    def __call__(self, times_us: Int64s, values: Floats, seed: int) -> Floats:
        """Score a series."""
        points = np.column_stack([values, *time_of_day(times_us)])
        grades = Detector(self.detector, seed).take(points, times_us).grades
        return records(rarity(grades), self.quiet_rows)


def time_of_day(times_us: Int64s) -> tuple[Floats, Floats]:
    """Return the time of day in UTC as a point on a circle: 23:59 and 00:01 are close."""
    angles = (times_us % _DAY_US) * (2 * np.pi / _DAY_US)
    return np.sin(angles), np.cos(angles)


def rarity(grades: Floats) -> Floats:
    """Return grades on the scale of -log10(1 - grade), from 0 to 1 at a rate of 1e-12.

    Args:
        grades: float64 [n] in [0, 1]; NaN, of a point that the forest refused, gives 0.
    """
    rates = np.clip(1 - np.nan_to_num(grades, nan=0.0), _RAREST, 1.0)
    scaled: Floats = np.log10(rates) / math.log10(_RAREST)
    return scaled


def records(scores: Floats, rows: int) -> Floats:
    """Keep each score that is above all of the `rows` before it; the others become 0."""
    before = np.concatenate([np.full(rows, -1.0), scores])
    highest = np.lib.stride_tricks.sliding_window_view(before, rows)[: len(scores)].max(axis=1)
    return np.where(scores > highest, scores, 0.0)


def at_random(_times_us: Int64s, values: Floats, seed: int) -> Floats:
    """Score by chance: what the rules give for nothing."""
    return np.random.default_rng(seed).random(len(values))


def windowed_gaussian(_times_us: Int64s, values: Floats, _seed: int) -> Floats:
    """Score by the tail of a normal distribution over past values, as NAB's own detector does.

    Its mean and deviation are those of all values up to 6,400, then of 6,400 that move on by 100.
    The score is 1 - P(a value as far from the mean, on one side).
    """
    size, step = 6_400, 100
    scores = np.zeros(len(values))
    for row in range(1, len(values)):
        end = row if row <= size else size + (row - size) // step * step
        if row <= size or end == row:
            past = values[max(end - size, 0) : end]
            mean, deviation = float(past.mean()), float(past.std()) or 1e-6
        scores[row] = 1 - 0.5 * math.erfc(abs(values[row] - mean) / deviation / math.sqrt(2))
    return scores


def gaussian_records(times_us: Int64s, values: Floats, seed: int) -> Floats:
    """Keep the rarest scores of `windowed_gaussian`, as the forest does: what that alone adds."""
    return records(windowed_gaussian(times_us, values, seed), ForestOfNab().quiet_rows)


DETECTORS: dict[str, NabDetector] = {
    "forest": ForestOfNab(),
    "windowed_gaussian": windowed_gaussian,
    "windowed_gaussian_records": gaussian_records,
    "random": at_random,
}
