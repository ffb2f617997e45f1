"""Rows to partial aggregates, one worker tick at a time, cut up by key group.

All that the slots of a worker took in one tick is aggregated together before it travels, so what
goes between processes is one entry a key and window instead of one a row (local-global
aggregation), and marks are sent once a group and tick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from messages import Int64s, Mark, Packet, Partial, Scalar, UInt64s
from operators.accumulators import EVENT_TIME, accumulate, accumulators_of
from operators.codes import (
    TextCodes,
    combine,
    first_of_runs,
    group_edges,
    integer_codes,
)
from operators.decode import Column
from operators.intake import Rows, Taken
from operators.spec import Distinct, First, Last, Window

_US_PER_SECOND = 1_000_000


class _Columns:
    """The rows of one tick, with each column's codes made once."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self.columns: dict[str, Column] = {
            name: np.concatenate([part.columns[name] for part in rows]) for name in rows[0].columns
        }
        self.times_us: Int64s = np.concatenate([part.times_us for part in rows])
        self.columns[EVENT_TIME] = self.times_us
        self._codes: dict[str, UInt64s] = {}

    def codes(self, name: str) -> UInt64s:
        """Return uint64[n], the codes of one column."""
        if name not in self._codes:
            column = self.columns[name]
            is_text = column.dtype == np.uint64
            self._codes[name] = (
                column.view(np.uint64) if is_text else integer_codes(column.view(np.int64))
            )
        return self._codes[name]


class Partials:
    """Makes the packets of one worker.

    Args:
        windows: The windows of the run.
        group_names: For each window's name, the state keys of its groups, in order.
        texts: What the rows' codes of texts were made with.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        group_names: Mapping[str, Sequence[str]],
        texts: TextCodes,
    ) -> None:
        self._windows = tuple(windows)
        self._names = group_names
        self._edges = {window.name: group_edges(window.groups) for window in windows}
        self._texts = texts

    def packets(self, taken: Sequence[Taken]) -> list[Packet]:
        """Return one packet for each group that has something to hear."""
        marks: tuple[Mark, ...] = tuple(mark for one in taken for mark in one.marks)
        rows = [part for one in taken for part in one.rows]
        partials: dict[str, list[Partial]] = {}
        if rows:
            columns = _Columns(rows)
            for index, window in enumerate(self._windows):
                counted = _counted_rows(rows, index)
                for name, partial in self._aggregate(window, columns, counted):
                    partials.setdefault(name, []).append(partial)
        self._texts.forget()
        if marks:
            names = [name for window in self._windows for name in self._names[window.name]]
        else:
            names = list(partials)
        return [Packet(name, marks, tuple(partials.get(name, ()))) for name in names]

    def _aggregate(
        self, window: Window, columns: _Columns, counted: Int64s | None
    ) -> Iterator[tuple[str, Partial]]:
        """Yield (group name, partial) for each window and group that has rows."""
        length_us = window.length_seconds * _US_PER_SECOND
        starts_us = columns.times_us - columns.times_us % length_us
        codes = combine([columns.codes(name) for name in window.key])
        order = _order(starts_us, codes, counted)
        if len(order) == 0:
            return
        starts_us, codes = starts_us[order], codes[order]
        begins = first_of_runs(starts_us, codes)
        counts = np.diff(begins, append=len(order))
        run_starts, run_codes = starts_us[begins], codes[begins]
        first_rows = order[begins]
        arrays = self._arrays(window, columns, order, begins)
        members = [
            combine([codes, columns.codes(value.of)[order]])
            for value in window.values
            if isinstance(value, Distinct)
        ]
        run_of_row = np.repeat(np.arange(len(begins)), counts) if members else begins
        ends = np.append(begins, len(order))
        keys = self._keys(window, columns, first_rows)
        for group, (lo, hi) in _cut(run_starts, run_codes, self._edges[window.name]):
            yield (
                self._names[window.name][group],
                Partial(
                    start_us=int(run_starts[lo]),
                    codes=run_codes[lo:hi],
                    keys=None if keys is None else tuple(keys[lo:hi]),
                    values=tuple(array[lo:hi] for array in arrays),
                    members=tuple(
                        (pairs[ends[lo] : ends[hi]], run_of_row[ends[lo] : ends[hi]] - lo)
                        for pairs in members
                    ),
                    events=int(counts[lo:hi].sum()),
                ),
            )

    def _arrays(
        self,
        window: Window,
        columns: _Columns,
        order: Int64s,
        begins: npt.NDArray[np.intp],
    ) -> list[Int64s]:
        arrays: list[Int64s] = []
        for accumulator in accumulators_of(window.values):
            value = window.values[accumulator.value]
            if isinstance(value, Distinct):
                arrays.append(np.zeros(len(begins), np.int64))  # grows by the new pairs, later
                continue
            matches = None
            where = None if isinstance(value, First | Last) else value.where
            if where is not None:
                wanted = self._texts.of(where.choices, len(where.choices))
                matches = np.isin(columns.codes(where.field), wanted)
            arrays.append(accumulate(accumulator, columns.columns, matches, order, begins))
        return arrays

    def _keys(
        self, window: Window, columns: _Columns, rows: Int64s
    ) -> list[tuple[Scalar, ...]] | None:
        """Return the keys at `rows`; None for one integer: its code can be turned back."""
        parts: list[list[Scalar]] = []
        for name in window.key:
            entries = columns.columns[name][rows]
            if entries.dtype == np.uint64:
                parts.append([self._texts.text_of(code) for code in entries.tolist()])
            elif len(window.key) == 1:
                return None
            else:
                parts.append(entries.tolist())
        return list(zip(*parts, strict=True))


def _counted_rows(rows: Sequence[Rows], window: int) -> Int64s | None:
    """Return the rows of all parts together that a window counts; None for all."""
    if all(part.counted[window] is None for part in rows):
        return None
    found: list[Int64s] = []
    offset = 0
    for part in rows:
        size, counted = len(part.times_us), part.counted[window]
        found.append(offset + (np.arange(size) if counted is None else counted))
        offset += size
    return np.concatenate(found)


def _order(starts_us: Int64s, codes: UInt64s, rows: Int64s | None) -> Int64s:
    """Return the rows sorted by (window, code): one sort by code, then a cheap stable one."""
    order = np.argsort(codes) if rows is None else rows[np.argsort(codes[rows])]
    if len(order) == 0:
        return order
    sorted_starts = starts_us[order]
    distinct, ranks = np.unique(sorted_starts, return_inverse=True)
    if len(distinct) == 1:
        return order
    narrow = ranks.astype(np.uint16) if len(distinct) < 1 << 16 else ranks  # radix sort
    return order[np.argsort(narrow, kind="stable")]


def _cut(
    starts_us: Int64s, codes: UInt64s, edges: UInt64s
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (group, (begin, end)) for each run of one window and one group."""
    window_begins = [*first_of_runs(starts_us).tolist(), len(codes)]
    for begin, end in pairwise(window_begins):
        bounds = [begin, *(np.searchsorted(codes[begin:end], edges) + begin).tolist(), end]
        for group, (lo, hi) in enumerate(pairwise(bounds)):
            if lo < hi:
                yield group, (lo, hi)
