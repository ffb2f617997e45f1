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

from messages import Int64s, Mark, Packet, PairCounts, Partial, Seen, SessionPieces, UInt64s
from operators.codes import TextCodes, combine, first_of_runs, group_edges
from operators.intake import Taken
from operators.session_pieces import pieces_of
from operators.session_spec import AnyWindow, SessionWindow
from operators.session_values import SessionValues
from operators.spec import Window
from operators.tick import Tick
from operators.value_spec import ApproxDistinct, Distinct, Top


class Partials:
    """Makes the packets of one worker.

    Args:
        windows: The windows of the run.
        group_names: For each window's name, the state keys of its groups, in order.
        texts: What the rows' codes of texts were made with.
    """

    def __init__(
        self,
        windows: Sequence[AnyWindow],
        group_names: Mapping[str, Sequence[str]],
        texts: TextCodes,
    ) -> None:
        self._windows = tuple(windows)
        self._names = group_names
        self._edges = {window.name: group_edges(window.groups) for window in windows}
        self._sessions = {
            window.name: SessionValues(window.values)
            for window in windows
            if isinstance(window, SessionWindow)
        }
        self._texts = texts

    def packets(self, taken: Sequence[Taken]) -> list[Packet]:
        """Return one packet for each group that has something to hear."""
        marks = last_seen([mark for one in taken for mark in one.marks])
        rows = [part for one in taken for part in one.rows]
        partials: dict[str, list[Partial | SessionPieces]] = {}
        if rows:
            tick = Tick(rows, self._texts)
            for index, window in enumerate(self._windows):
                names = self._names[window.name]
                for group, partial in self._aggregate(window, tick, tick.counted(index)):
                    partials.setdefault(names[group], []).append(partial)
        self._texts.forget()
        if marks:
            hear = [name for window in self._windows for name in self._names[window.name]]
        else:
            hear = list(partials)
        return [Packet(name, marks, tuple(partials.get(name, ()))) for name in hear]

    def _aggregate(
        self, window: AnyWindow, tick: Tick, counted: Int64s | None
    ) -> Iterator[tuple[int, Partial | SessionPieces]]:
        edges = self._edges[window.name]
        if isinstance(window, SessionWindow):
            return pieces_of(window, self._sessions[window.name], tick, counted, edges)
        return _partials_of(window, tick, counted, edges)


def last_seen(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Return marks without what a shard had seen before it saw more.

    A shard's maximum never falls, and a group takes a packet's marks in at once, so no watermark
    differs; but every group hears them all, and a block that was read makes one.
    """
    last = {mark.shard: place for place, mark in enumerate(marks) if isinstance(mark, Seen)}
    return tuple(
        mark
        for place, mark in enumerate(marks)
        if not isinstance(mark, Seen) or last[mark.shard] == place
    )


def _partials_of(
    window: Window, tick: Tick, counted: Int64s | None, edges: UInt64s
) -> Iterator[tuple[int, Partial]]:
    """Yield (group, partial) for each window and group that has rows."""
    starts_us = tick.times_us - tick.times_us % window.grain_us
    codes = tick.key_codes(window.key)
    order = _order(starts_us, codes, counted, window.grain_us)
    if len(order) == 0:
        return
    starts_us, codes = starts_us[order], codes[order]
    begins = first_of_runs(starts_us, codes)
    counts = np.diff(begins, append=len(order))
    run_starts, run_codes = starts_us[begins], codes[begins]
    arrays = tick.accumulated(window.values, order, begins)
    distinct = [v for v in window.values if isinstance(v, Distinct | ApproxDistinct)]
    pairs_of = {of: combine([codes, tick.codes(of)[order]]) for of in {v.of for v in distinct}}
    members = [pairs_of[value.of] for value in distinct]
    run_of_row = np.repeat(np.arange(len(begins)), counts) if members or window.evidence else begins
    ends = np.append(begins, len(order))
    tops = [_counted(top, tick, order, run_of_row) for top in window.evidence]
    keys = tick.keys(window.key, order[begins])
    for group, (lo, hi) in _cut(run_starts, run_codes, edges):
        yield (
            group,
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
                tops=tuple(_between(top, lo, hi, run_codes, tick) for top in tops),
            ),
        )


def _counted(
    top: Top, tick: Tick, order: Int64s, run_of_row: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], UInt64s, Int64s]:
    """Count the rows of each pair of run and text; return runs, texts' codes and counts, sorted."""
    if top.where is not None:
        passes = tick.matches(top.where)[order]
        order, run_of_row = order[passes], run_of_row[passes]
    members = tick.codes(top.of)[order]
    by_pair = np.lexsort((members, run_of_row))
    runs, members = run_of_row[by_pair], members[by_pair]
    firsts = first_of_runs(runs, members)
    return runs[firsts], members[firsts], np.diff(firsts, append=len(runs))


def _between(
    counted: tuple[npt.NDArray[np.intp], UInt64s, Int64s],
    lo: int,
    hi: int,
    run_codes: UInt64s,
    tick: Tick,
) -> PairCounts:
    """Return the counts of the runs from `lo` to `hi`, by the codes of their keys."""
    runs, members, counts = counted
    begin, end = np.searchsorted(runs, (lo, hi)).tolist()
    members = members[begin:end]
    return PairCounts(
        run_codes[runs[begin:end]], members, counts[begin:end], tick.texts_of(members)
    )


def _order(starts_us: Int64s, codes: UInt64s, rows: Int64s | None, grain_us: int) -> Int64s:
    """Return the rows sorted by (window, code): one sort by code, then a cheap stable one."""
    order = np.argsort(codes) if rows is None else rows[np.argsort(codes[rows])]
    if len(order) == 0:
        return order
    starts_us = starts_us[order]
    windows = (starts_us - starts_us.min()) // grain_us
    last = int(windows.max())
    if last == 0:
        return order
    narrow = windows.astype(np.uint16) if last < 1 << 16 else windows  # radix sort
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
