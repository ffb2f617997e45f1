"""Rows to partial aggregates, one worker tick at a time, cut up by key group.

All that the slots of a worker took in one tick is aggregated together before it travels, so what
goes between processes is one entry a key and window instead of one a row (local-global
aggregation), and marks are sent once a group and tick.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from messages import Int64s, Mark, Packet, Partial, Scalar, UInt64s
from operators.accumulators import accumulate, accumulators_of
from operators.codes import (
    TextCodes,
    combine,
    first_of_runs,
    group_edges,
    integer_codes,
    integers_of,
)
from operators.decode import Column
from operators.intake import Rows, Taken
from operators.spec import Count, Distinct, Window

_US_PER_SECOND = 1_000_000


class Columns:
    """The rows of one tick, with each column's codes made once."""

    def __init__(self, rows: Sequence[Rows], texts: TextCodes) -> None:
        self.columns: dict[str, Column] = {}
        self._codes: dict[str, UInt64s] = {}
        self._texts = texts
        for name in rows[0].columns:
            parts = [part.columns[name] for part in rows]
            if isinstance(parts[0], np.ndarray):
                self.columns[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
            else:
                self.columns[name] = list(chain.from_iterable(parts))
        self.times_us: Int64s = np.concatenate([part.times_us for part in rows])

    def codes(self, name: str) -> UInt64s:
        """Return uint64[n], the codes of one column."""
        if name not in self._codes:
            column = self.columns[name]
            if isinstance(column, np.ndarray):
                self._codes[name] = integer_codes(column)
            else:
                encoded = pa.array(column, pa.string()).fill_null("").dictionary_encode()
                distinct = self._texts.of(encoded.dictionary.to_pylist())
                self._codes[name] = distinct[encoded.indices.to_numpy()]
        return self._codes[name]


class Partials:
    """Makes the packets of one worker.

    Args:
        windows: The windows of the run.
        group_names: For each window's name, the state keys of its groups, in order.
    """

    def __init__(self, windows: Sequence[Window], group_names: Mapping[str, Sequence[str]]) -> None:
        self._windows = tuple(windows)
        self._names = group_names
        self._edges = {window.name: group_edges(window.groups) for window in windows}
        self._texts = TextCodes()

    def packets(self, taken: Sequence[Taken]) -> list[Packet]:
        """Return one packet for each group that has something to hear."""
        marks: tuple[Mark, ...] = tuple(mark for one in taken for mark in one.marks)
        rows = [part for one in taken for part in one.rows]
        partials: dict[str, list[Partial]] = {}
        if rows:
            columns = Columns(rows, self._texts)
            for index, window in enumerate(self._windows):
                counted = _counted_rows(rows, index)
                for name, partial in self._aggregate(window, columns, counted):
                    partials.setdefault(name, []).append(partial)
        if marks:
            names = [name for window in self._windows for name in self._names[window.name]]
        else:
            names = list(partials)
        return [Packet(name, marks, tuple(partials.get(name, ()))) for name in names]

    def _aggregate(
        self, window: Window, columns: Columns, counted: Int64s | None
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
        pairs = [
            _distinct_pairs(codes, columns.codes(value.of)[order], begins, counts)
            for value in window.values
            if isinstance(value, Distinct)
        ]
        keys = _keys(window, columns, first_rows)
        for group, (lo, hi) in _cut(run_starts, run_codes, self._edges[window.name]):
            yield (
                self._names[window.name][group],
                Partial(
                    start_us=int(run_starts[lo]),
                    codes=run_codes[lo:hi],
                    keys=None if keys is None else tuple(keys[lo:hi]),
                    values=tuple(array[lo:hi] for array in arrays),
                    members=tuple(_slice_pairs(pair, lo, hi) for pair in pairs),
                    events=int(counts[lo:hi].sum()),
                ),
            )

    @staticmethod
    def _arrays(
        window: Window, columns: Columns, order: Int64s, begins: npt.NDArray[np.intp]
    ) -> list[Int64s]:
        arrays: list[Int64s] = []
        for accumulator in accumulators_of(window.values):
            value = window.values[accumulator.value]
            if isinstance(value, Distinct):
                arrays.append(np.zeros(len(begins), np.int64))  # grows by the new pairs, later
                continue
            matches = None
            if not isinstance(value, Count) and value.where is not None:
                wanted = TextCodes().of([value.where.equals])[0]
                matches = columns.codes(value.where.field) == wanted
            arrays.append(
                accumulate(accumulator, value, columns.columns, matches, order, begins)
            )
        return arrays


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
    if rows is not None:
        order = rows[np.argsort(codes[rows])]
    else:
        order = np.argsort(codes)
    if len(order) == 0:
        return order
    sorted_starts = starts_us[order]
    distinct, ranks = np.unique(sorted_starts, return_inverse=True)
    if len(distinct) == 1:
        return order
    narrow = ranks.astype(np.uint16) if len(distinct) < 1 << 16 else ranks  # radix sort
    return order[np.argsort(narrow, kind="stable")]


def _keys(
    window: Window, columns: Columns, rows: Int64s
) -> list[tuple[Scalar, ...]] | None:
    """Return the keys at `rows`; None for one integer, which its code can be turned back into."""
    if len(window.key) == 1 and isinstance(columns.columns[window.key[0]], np.ndarray):
        return None
    parts: list[list[Scalar]] = []
    for name in window.key:
        column = columns.columns[name]
        if isinstance(column, np.ndarray):
            parts.append(column[rows].tolist())
        else:
            parts.append([column[row] or "" for row in rows.tolist()])
    return list(zip(*parts, strict=True))


def key_of_code(codes: UInt64s) -> list[tuple[Scalar, ...]]:
    """Return the one-integer keys of these codes."""
    return [(number,) for number in integers_of(codes).tolist()]


def _cut(
    starts_us: Int64s, codes: UInt64s, edges: UInt64s
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (group, (begin, end)) for each run of one window and one group."""
    window_begins = [*first_of_runs(starts_us).tolist(), len(codes)]
    for begin, end in zip(window_begins, window_begins[1:], strict=False):
        bounds = [begin, *(np.searchsorted(codes[begin:end], edges) + begin).tolist(), end]
        for group, (lo, hi) in enumerate(zip(bounds, bounds[1:], strict=False)):
            if lo < hi:
                yield group, (lo, hi)


_Pairs = tuple[UInt64s, Int64s]


def _distinct_pairs(
    codes: UInt64s, members: UInt64s, begins: npt.NDArray[np.intp], counts: Int64s
) -> _Pairs:
    """Return the distinct (key, member) pairs' codes, and each one's key by index, ascending."""
    run_of_row = np.repeat(np.arange(len(begins)), counts)
    order = np.argsort(members)
    order = order[np.argsort(run_of_row[order], kind="stable")]
    run_of_row, members = run_of_row[order], members[order]
    first = first_of_runs(run_of_row, members)
    run_of_pair = run_of_row[first]
    return combine([codes[begins][run_of_pair], members[first]]), run_of_pair


def _slice_pairs(pairs: _Pairs, lo: int, hi: int) -> tuple[UInt64s, Int64s]:
    codes, run_of_pair = pairs
    begin, end = np.searchsorted(run_of_pair, [lo, hi]).tolist()
    return codes[begin:end], run_of_pair[begin:end] - lo
