"""Values over time, made ready for a line: what is missing is seen, and too many become fewer.

A question gives only the times of which there is something. A line that joins them tells of
activity where there was none. So, of counts of less than a day, a time without a row is 0, since
nothing happened; of anything else, as of a day that the archive lacks, it is not known, and the
line breaks. More points than can be told apart become means over round steps of time, in which
those zeros count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median_low

from service.insights.scales import DAY_SECONDS

POINTS = 150
"""How many points a line has at most, where they are less than a day apart."""

_STEPS = tuple(60 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440))
_NAMED = {"second": 1, "minute": 60, "hour": 3_600}
_UNUSUAL = 1.5

Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """Several lines over the same times.

    Attributes:
        at: The times, ascending, in seconds since the epoch.
        lines: The values of each line, one a time; None where it breaks.
        whole: They are whole numbers, as counts are.
        mean_of: How many seconds a value is a mean of; 0 for none.
        filled: A time without a row was taken for 0.
        broken: The lines break somewhere.
    """

    at: Sequence[float]
    lines: Sequence[Values]
    whole: bool
    mean_of: float
    filled: bool
    broken: bool


def series(at: Sequence[int], lines: Sequence[Values], named: str) -> Series:
    """Make a series of what a question has answered.

    Args:
        at: The times, ascending, in seconds since the epoch.
        lines: The values of each line, one a time.
        named: What a time is called, as `minute`.
    """
    gaps = [later - earlier for earlier, later in pairwise(at) if later > earlier]
    step = _NAMED.get(named) or math.gcd(*gaps) or 1
    counts = all(value is None or value == int(value) >= 0 for line in lines for value in line)
    if step >= DAY_SECONDS or not gaps:
        return _broken(at, lines, gaps, counts, 0)
    size = _size(at[-1] - at[0], step)
    if counts and size:
        found = _binned(at, lines, step, size)
        return Series(*found, False, size, len(at) * step <= at[-1] - at[0], False)
    if counts:
        return _filled(at, lines, step)
    if size:
        at, lines = _means(at, lines, size)
        gaps = [later - earlier for earlier, later in pairwise(at)]
    return _broken(at, lines, gaps, False, size)


def _size(span: int, step: int) -> int:
    """Return how long a bin is; 0 where each time can be drawn."""
    if span / step < POINTS:
        return 0
    return next((one for one in _STEPS if one > step and span / one < POINTS), DAY_SECONDS)


def _filled(at: Sequence[int], lines: Sequence[Values], step: int) -> Series:
    every = range(at[0], at[-1] + 1, step)
    rows = dict(zip(at, zip(*lines, strict=True), strict=True))
    nothing = (0.0,) * len(lines)
    values = list(zip(*(rows.get(time, nothing) for time in every), strict=True))
    return Series(every, values, True, 0, len(rows) < len(every), _some_are_missing(values))


def _binned(
    at: Sequence[int], lines: Sequence[Values], step: int, size: int
) -> tuple[Sequence[float], Sequence[Values]]:
    """Return what a step holds on average, bin by bin; of an outer bin the part that is seen."""
    first, last = at[0] // size, at[-1] // size
    sums = [[0.0] * (last - first + 1) for _ in lines]
    for total, line in zip(sums, lines, strict=True):
        for time, value in zip(at, line, strict=True):
            total[time // size - first] += value or 0.0
    begins = [max(bin_ * size, at[0]) for bin_ in range(first, last + 1)]
    finishes = [min((bin_ + 1) * size, at[-1] + step) for bin_ in range(first, last + 1)]
    steps = [(end - start) / step for start, end in zip(begins, finishes, strict=True)]
    middles = [(start + end - step) / 2 for start, end in zip(begins, finishes, strict=True)]
    return middles, [
        [value / count for value, count in zip(total, steps, strict=True)] for total in sums
    ]


def _means(
    at: Sequence[int], lines: Sequence[Values], size: int
) -> tuple[list[int], list[list[float | None]]]:
    """Return the mean of the values that there are, for each bin that has a time."""
    bins: dict[int, list[int]] = {}
    for place, time in enumerate(at):
        bins.setdefault(time // size, []).append(place)
    return [bin_ * size + size // 2 for bin_ in bins], [
        [_mean([line[place] for place in places]) for places in bins.values()] for line in lines
    ]


def _mean(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _broken(
    at: Sequence[int], lines: Sequence[Values], gaps: Sequence[int], whole: bool, mean_of: float
) -> Series:
    """Put a time of which nothing is known into each step that is longer than usual."""
    usual = median_low(gaps) * _UNUSUAL if gaps else math.inf
    times: list[float] = []
    values: list[list[float | None]] = [[] for _ in lines]
    for place, time in enumerate(at):
        if place and time - at[place - 1] > usual:
            times.append((time + at[place - 1]) / 2)
            for line in values:
                line.append(None)
        times.append(time)
        for line, given in zip(values, lines, strict=True):
            line.append(given[place])
    return Series(times, values, whole, mean_of, False, _some_are_missing(values))


def _some_are_missing(lines: Sequence[Values]) -> bool:
    return any(value is None for line in lines for value in line)
