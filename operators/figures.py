"""Figures and movers: a few numbers of a process's key groups, told as metrics.

They are for looking at, and no part of any state: after a restart a figure is there again with the
next window, movers with the one after it. The number of series is bounded by the declaration,
whatever the number of keys.

Limit: each process adds up its own groups. Processes may be a window apart for a moment, so a sum
over all of them may hold two windows' parts until the later ones have closed it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

import metrics
from messages import AggregateRows, Row
from operators.event_time import iso_times
from operators.figure_spec import Figure, Movers
from operators.spec import Window
from operators.watermarks import END

_US_PER_SECOND = 1_000_000


class Shown(Protocol):
    """What is made of a window's rows."""

    def take(self, group: str, watermark_us: int, rows: Sequence[Row]) -> None:
        """Take in what a group has written, and how far it is."""


class Figures:
    """All that a domain declares to be shown, of the key groups of one process.

    Args:
        domain: The domain's name.
        windows: The windows of the run.
        figures: What is declared.
        movers: What is declared.
    """

    def __init__(
        self,
        domain: str,
        windows: Iterable[Window],
        figures: Iterable[Figure],
        movers: Iterable[Movers],
    ) -> None:
        by_name = {window.name: window for window in windows}
        self._shown: defaultdict[str, list[Shown]] = defaultdict(list)
        for figure in figures:
            if window := by_name.get(figure.window):
                self._shown[window.name].append(
                    _Sums(domain, window, figure) if window.key else _Latest(domain, figure)
                )
        for one in movers:
            if window := by_name.get(one.window):
                self._shown[window.name].append(_Moves(domain, window.key[0], one))

    def take(self, group: str, watermark_us: int, found: Iterable[object]) -> None:
        """Take in what a group has written.

        Args:
            group: Its state key.
            watermark_us: Its watermark. When a finite input has ended, it is beyond all windows,
                and what was shown last stays.
            found: What it has given out; rows are picked.
        """
        window = group.partition("/")[0]
        if window not in self._shown or watermark_us >= END:
            return
        rows = [
            row
            for one in found
            if isinstance(one, AggregateRows) and one.aggregate == window
            for row in one.rows
        ]
        for shown in self._shown[window]:
            shown.take(group, watermark_us, rows)


class _Sums:
    """Sums over the rows of the last window that all groups of the process have closed."""

    def __init__(self, domain: str, window: Window, figure: Figure) -> None:
        self._length_us = window.length_seconds * _US_PER_SECOND
        self._values = figure.values
        self._field = figure.by.field if figure.by else ""
        parts = figure.by.choices if figure.by else ("",)
        self._gauges = {
            (value, of): metrics.aggregate_value.labels(domain, figure.window, value, of)
            for value in figure.values
            for of in parts
        }
        self._watermarks_us: dict[str, int] = {}
        self._sums: dict[str, defaultdict[tuple[str, str], float]] = {}

    def take(self, group: str, watermark_us: int, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.get("phase", "final") == "final":
                sums = self._sums.setdefault(str(row["window_start"]), defaultdict(float))
                of = str(row[self._field]) if self._field else ""
                for value in self._values:
                    sums[value, of] += _number(row[value])
        before_us = self._closed_us()
        self._watermarks_us[group] = watermark_us
        if rows or self._closed_us() != before_us:
            self._show()

    def _closed_us(self) -> int:
        """Return when the last window began that all groups have closed."""
        least_us = min(self._watermarks_us.values(), default=0)
        return least_us // self._length_us * self._length_us - self._length_us

    def _show(self) -> None:
        (start,) = iso_times(np.array([self._closed_us()]))  # as rows have it, of any year
        self._sums = {at: sums for at, sums in self._sums.items() if at >= start}
        sums = self._sums.get(start)
        for key, gauge in self._gauges.items():
            gauge.set(sums.get(key, 0.0) if sums else 0.0)


class _Latest:
    """The latest row of a window without a key."""

    def __init__(self, domain: str, figure: Figure) -> None:
        self._gauges = {
            value: metrics.aggregate_value.labels(domain, figure.window, value, "")
            for value in figure.values
        }

    def take(self, group: str, watermark_us: int, rows: Sequence[Row]) -> None:  # noqa: ARG002  # as of all
        if rows:
            latest = max(rows, key=lambda row: str(row["window_start"]))
            for value, gauge in self._gauges.items():
                gauge.set(_number(latest[value]))


class _Moves:
    """The keys that gained and lost most from one window to the next."""

    def __init__(self, domain: str, key: str, movers: Movers) -> None:
        self._labels = (domain, movers.window, movers.value)
        self._key = key
        self._value = movers.value
        self._most = movers.most
        self._before: tuple[str, dict[str, float]] | None = None  # its end, what each key had
        self._named: set[str] = set()

    def take(self, group: str, watermark_us: int, rows: Sequence[Row]) -> None:  # noqa: ARG002  # as of all
        windows: dict[tuple[str, str], dict[str, float]] = {}
        for row in rows:
            if row.get("phase", "final") == "final":
                bounds = (str(row["window_start"]), str(row["window_end"]))
                windows.setdefault(bounds, {})[str(row[self._key])] = _number(row[self._value])
        for (start, end), values in sorted(windows.items()):
            if self._before is not None:
                before_end, before = self._before
                self._show(before if before_end == start else {}, values)
            self._before = (end, values)

    def _show(self, before: dict[str, float], now: dict[str, float]) -> None:
        changes = [(now.get(key, 0.0) - before.get(key, 0.0), key) for key in {*before, *now}]
        up = sorted((-change, key) for change, key in changes if change > 0)[: self._most]
        down = sorted((change, key) for change, key in changes if change < 0)[: self._most]
        moved = {key: -change for change, key in up} | {key: change for change, key in down}
        for key in self._named - moved.keys():
            metrics.mover_change.labels(*self._labels, key).set(math.nan)  # a series that ends
        for key, change in moved.items():
            metrics.mover_change.labels(*self._labels, key).set(change)
        self._named |= moved.keys()


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
