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
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
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

    def take(self, group: str, watermark_us: int, written: Sequence[AggregateRows]) -> None:
        """Take in what a group has written, and how far it is."""


class Figures:
    """All that a domain declares to be shown, of the key groups of one process.

    Args:
        domain: The domain's name.
        windows: The windows of the run.
        figures: What is declared.
        movers: What is declared.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(
        self,
        domain: str,
        windows: Iterable[Window],
        figures: Iterable[Figure],
        movers: Iterable[Movers],
        clock: Callable[[], int],
    ) -> None:
        by_name = {window.name: window for window in windows}
        self._shown: defaultdict[str, list[Shown]] = defaultdict(list)
        for figure in figures:
            if window := by_name.get(figure.window):
                self._shown[window.name].append(
                    _Sums(domain, window, figure, clock) if window.key else _Latest(domain, figure)
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
        written = [
            one
            for one in found
            if isinstance(one, AggregateRows) and one.aggregate == window and one.rows
        ]
        for shown in self._shown[window]:
            shown.take(group, watermark_us, written)


class _Sums:
    """Sums over the rows of the last window that all groups of the process have closed.

    Rows are added up once a second at most, and only those of that window: a replay closes
    thousands of windows a second.
    """

    def __init__(
        self, domain: str, window: Window, figure: Figure, clock: Callable[[], int]
    ) -> None:
        self._length_us = window.length_seconds * _US_PER_SECOND
        self._values = figure.values
        self._field = figure.by.field if figure.by else ""
        self._clock = clock
        self._gauges = {
            (value, of): metrics.aggregate_value.labels(domain, figure.window, value, of)
            for value in figure.values
            for of in (figure.by.choices if figure.by else ("",))
        }
        self._watermarks_us: dict[str, int] = {}
        self._written: dict[str, list[Sequence[Row]]] = {}
        self._due_us = 0

    def take(self, group: str, watermark_us: int, written: Sequence[AggregateRows]) -> None:
        self._watermarks_us[group] = watermark_us
        for one in written:
            if _is_final(one):
                start = str(one.rows[0]["window_start"])
                self._written.setdefault(start, []).append(one.rows)
        now_us = self._clock()
        if now_us >= self._due_us:
            self._due_us = now_us + _US_PER_SECOND
            self._show()

    def _show(self) -> None:
        least_us = min(self._watermarks_us.values())
        closed_us = least_us // self._length_us * self._length_us - self._length_us
        (start,) = iso_times(np.array([closed_us]))  # as rows have it, of any year
        self._written = {at: rows for at, rows in self._written.items() if at >= start}
        sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        for row in chain.from_iterable(self._written.get(start, ())):
            of = str(row[self._field]) if self._field else ""
            for value in self._values:
                sums[value, of] += _number(row[value])
        for key, gauge in self._gauges.items():
            gauge.set(sums[key])


class _Latest:
    """The latest row of a window without a key."""

    def __init__(self, domain: str, figure: Figure) -> None:
        self._gauges = {
            value: metrics.aggregate_value.labels(domain, figure.window, value, "")
            for value in figure.values
        }

    def take(self, group: str, watermark_us: int, written: Sequence[AggregateRows]) -> None:  # noqa: ARG002  # as of all
        if written:
            latest = max((one.rows[0] for one in written), key=lambda row: str(row["window_start"]))
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

    def take(self, group: str, watermark_us: int, written: Sequence[AggregateRows]) -> None:  # noqa: ARG002  # as of all
        for one in written:
            if not _is_final(one):
                continue
            start, end = (str(one.rows[0][name]) for name in ("window_start", "window_end"))
            values = {str(row[self._key]): _number(row[self._value]) for row in one.rows}
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


def _is_final(written: AggregateRows) -> bool:
    """Return whether these are a closed window's rows; all of them are of one window."""
    return written.rows[0].get("phase", "final") == "final"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
