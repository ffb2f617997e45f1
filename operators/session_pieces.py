"""The first half of sessions: a tick's events of a key become pieces without a gap, on the spot.

A group then merges pieces instead of events: where one user makes many events a tick, or a backlog
is read, they are far fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from messages import Int64s, SessionPieces, UInt64s
from operators.session_spec import SessionWindow
from operators.session_values import SessionValues
from operators.tick import Tick

_BITS = 63


def pieces_of(
    window: SessionWindow,
    values: SessionValues,
    tick: Tick,
    counted: Int64s | None,
    edges: UInt64s,
) -> Iterator[tuple[int, SessionPieces]]:
    """Yield (group, pieces) for each group that has some.

    Args:
        window: Whose sessions.
        values: The layout of its values.
        tick: The events.
        counted: The rows that it counts; None for all.
        edges: The first code of each group but the first.
    """
    codes = tick.key_codes(window.key)
    order = _by_key_and_time(codes, tick.times_us, counted)
    if len(order) == 0:
        return
    codes, times_us = codes[order], tick.times_us[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (codes[1:] != codes[:-1]) | (np.diff(times_us) >= window.gap_us)
    begins = np.flatnonzero(is_first)
    ends = np.append(begins[1:], len(order))
    codes, starts_us, ends_us = codes[begins], times_us[begins], times_us[ends - 1]
    table = values.of_rows(tick, order, begins)
    texts = tick.texts_of(values.text_codes(table))
    keys = tick.keys(window.key, order[begins])
    bounds = [0, *np.searchsorted(codes, edges).tolist(), len(codes)]
    for group, (lo, hi) in enumerate(pairwise(bounds)):
        if lo < hi:
            yield (
                group,
                SessionPieces(
                    codes=codes[lo:hi],
                    keys=None if keys is None else tuple(keys[lo:hi]),
                    starts_us=starts_us[lo:hi],
                    ends_us=ends_us[lo:hi],
                    values=table[:, lo:hi],
                    events=(ends - begins)[lo:hi],
                    texts=texts,
                ),
            )


def _by_key_and_time(codes: UInt64s, times_us: Int64s, rows: Int64s | None) -> Int64s:
    """Return the rows sorted by code, then by time: two fast sorts instead of one of pairs."""
    order = np.argsort(codes) if rows is None else rows[np.argsort(codes[rows])]
    if len(order) == 0:
        return order
    times_us = times_us[order]
    codes = codes[order]
    same = codes[1:] == codes[:-1]
    if not (same & (times_us[1:] < times_us[:-1])).any():
        return order
    first_us = int(times_us.min())
    span_bits = (int(times_us.max()) - first_us).bit_length()
    keys = np.append(0, np.cumsum(~same))
    if span_bits + int(keys[-1]).bit_length() > _BITS:
        return order[np.lexsort((times_us, keys))]
    return order[np.argsort((keys << span_bits) + (times_us - first_us))]
