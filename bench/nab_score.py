"""The scoring rules of the Numenta Anomaly Benchmark (NAB), from their definition.

A detector gives each row of each series a score in [0, 1]; a row is detected where its score is at
or above a threshold, one for all series of a corpus: the one at which the corpus scores best.

- Labels are windows of rows. In each the earliest detection counts, by its position: nearly 1 at
  the window's first row, falling to nearly 0 at its last. A window without any is missed.
- A detection outside is false. It costs by its distance from the window before it: next to nothing
  right behind that, 1 from three widths on, and 1 before the first window.
- The first 15 % of a series, but no more than 750 rows, are probation and count for nothing.
- A profile weighs true, false and missed. Scores are scaled so that a detector that finds nothing
  has 0 and one that finds each window at its first row, and nothing else, has 100.

Source: Lavin, Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly
Benchmark" (ICMLA 2015), and where it leaves details open (positions, weights), NAB's version 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from messages import Floats, Int64s

PROBATION_SHARE = 0.15
PROBATION_ROWS = 5_000
"""Of longer series, the share of so many rows is probation."""
_OUTSIDE = -1


@dataclass(frozen=True, slots=True)
class Profile:
    """What a true, a false and a missed detection weigh."""

    name: str
    true: float
    false: float
    missed: float


PROFILES = (
    Profile("standard", true=1.0, false=0.11, missed=1.0),
    Profile("reward_low_fp", true=1.0, false=0.22, missed=1.0),
    Profile("reward_low_fn", true=1.0, false=0.11, missed=2.0),
)


def scaled_sigmoid(position: Floats) -> Floats:
    """Return what a detection is worth at a position, in widths from the window's end.

    Args:
        position: -1 is the window's first row, 0 just behind its last.

    Returns:
        Nearly 1 at -1, 0 at 0, nearly -1 at 1 and -1 from 3 on.
    """
    near = 2 / (1 + np.exp(5 * np.minimum(position, 3.0))) - 1
    return np.where(position >= 3.0, -1.0, near)


_BEST = float(scaled_sigmoid(np.array(-1.0)))


def probation(rows: int) -> int:
    """Return how many rows at the beginning of a series count for nothing."""
    return math.floor(PROBATION_SHARE * min(rows, PROBATION_ROWS))


@dataclass(frozen=True, slots=True)
class Labels:
    """What a detection at each row of a series is worth.

    Attributes:
        windows: How many windows reach beyond probation; the others count for nothing.
        first: The first row that counts.
        window: int64 [rows], the number of the row's window, or -1.
        worth: float64 [rows]: from 0 to 1 within a window, from -1 to 0 outside.
    """

    windows: int
    first: int
    window: Int64s
    worth: Floats

    @classmethod
    def of(cls, rows: int, windows: Sequence[tuple[int, int]]) -> Labels:
        """Make them of windows, each its first and its last row.

        Args:
            rows: The series' length.
            windows: In order; none overlaps another.
        """
        window = np.full(rows, _OUTSIDE, np.int64)
        worth = np.full(rows, -1.0)
        for number, (begin, end) in enumerate(windows):
            width = end - begin + 1
            inside = np.arange(begin, end + 1)
            window[inside] = number
            worth[inside] = scaled_sigmoid((inside - end - 1) / width) / _BEST
            behind = np.arange(end + 1, rows)  # the next window, if any, writes over its part
            worth[behind] = scaled_sigmoid((behind - end) / max(width - 1, 1))
        first = probation(rows)
        return cls(sum(end >= first for _, end in windows), first, window, worth)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was detected, at each of some thresholds; tallies of several series add up.

    Attributes:
        windows: How many windows there are.
        found: How many of them were, int64 [thresholds].
        true: What their earliest detections are worth, float64 [thresholds].
        false: What the false ones cost, 0 or less, float64 [thresholds].
    """

    windows: int
    found: Int64s
    true: Floats
    false: Floats

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.windows + other.windows,
            self.found + other.found,
            self.true + other.true,
            self.false + other.false,
        )

    def scores(self, profile: Profile) -> Floats:
        """Return the scaled score at each threshold; NaN where no window can be found."""
        missed = self.windows - self.found
        raw = profile.true * self.true + profile.false * self.false - profile.missed * missed
        least = -profile.missed * self.windows
        perfect = profile.true * self.windows
        if not self.windows:
            return np.full(len(raw), np.nan)
        scaled: Floats = 100 * (raw - least) / (perfect - least)
        return scaled


def tally(labels: Labels, scores: Floats, thresholds: Floats) -> Tally:
    """Return what is detected in a series at each threshold.

    Args:
        labels: The series'.
        scores: float64 [rows].
        thresholds: float64 [n], falling.
    """
    rows = np.arange(labels.first, len(scores))
    rows = rows[np.argsort(-scores[rows], kind="stable")]  # as a falling threshold meets them
    window, worth = labels.window[rows], labels.worth[rows]
    outside = window == _OUTSIDE
    found = np.zeros(len(rows), np.int64)
    true = np.zeros(len(rows))
    for number in np.unique(window[~outside]):
        at = np.flatnonzero(window == number)
        best = np.maximum.accumulate(worth[at])  # the earliest is worth most
        found[at[0]] = 1
        true[at] = np.diff(best, prepend=0.0)
    met = np.searchsorted(-scores[rows], -thresholds, side="right")

    def until(each: npt.NDArray[np.float64] | Int64s) -> npt.NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(each)])[met]

    false = until(np.where(outside, worth, 0.0))
    return Tally(labels.windows, until(found).astype(np.int64), until(true), false)


def judge(
    corpus: dict[str, list[tuple[Labels, Floats]]], profile: Profile
) -> tuple[float, dict[str, float]]:
    """Score a detector over a corpus with the one threshold that suits all of it best.

    Args:
        corpus: By category, each series' labels and the detector's scores.
        profile: What weighs how much.

    Returns:
        The threshold, infinite where it is best to detect nothing; and the scaled score of each
        category, and of `all`.
    """
    every = [series for some in corpus.values() for series in some]
    met = np.concatenate([scores[labels.first :] for labels, scores in every])
    thresholds = np.concatenate([[np.inf], np.unique(met)[::-1]])
    categories = {name: _total(some, thresholds) for name, some in corpus.items()}
    whole = _sum(list(categories.values()))
    best = int(np.argmax(whole.scores(profile)))
    found = {name: float(part.scores(profile)[best]) for name, part in categories.items()}
    return float(thresholds[best]), {**found, "all": float(whole.scores(profile)[best])}


def _total(series: Sequence[tuple[Labels, Floats]], thresholds: Floats) -> Tally:
    return _sum([tally(labels, scores, thresholds) for labels, scores in series])


def _sum(tallies: Sequence[Tally]) -> Tally:
    whole = tallies[0]
    for part in tallies[1:]:
        whole = whole + part
    return whole
