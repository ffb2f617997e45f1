"""Open sessions of one key group: pieces go in, merge where they touch, and come out when closed.

Guarantee: pieces that are not late give the same closed sessions in any order and any batches. Such
a piece begins at the watermark or later, and the watermark is at most what it was when the piece
was judged; so it can't touch a session that is closed, nor move the start of one that has begun by
the watermark, nor bridge two such sessions. That is why the start of a session can be its identity
as soon as the watermark has reached it, and why its interim rows never have to be taken back.

Sessions are columns: a sorted index (code, start) -> slot, and arrays by slot, so that taking in k
pieces moves 16 bytes a session of the index and k columns of the rest. Measured memory is in
docs/explanation/journeys.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from messages import Int64s, Scalar, SessionPieces, UInt64s
from operators.accumulators import GREATEST
from operators.codes import first_of_runs, integers_of
from operators.session_keys import KeyBuffer, keys_of
from operators.session_spec import SessionWindow
from operators.session_values import SessionValues

_LEAST_SLOTS = 1024
_FREE = GREATEST
"""The start and end of a slot without a session: no watermark reaches it."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sessions:
    """Some sessions: columns of length n.

    Attributes:
        keys_at: Whose: int64[n], where the key is one integer; else each key as one line of JSON.
        starts_us: Their first events.
        ends_us: Their last events.
        values: int64[height, n], as `SessionValues` lays them out; where events are counted,
            their numbers in one more row.
    """

    keys_at: Int64s | list[bytes]
    starts_us: Int64s
    ends_us: Int64s
    values: Int64s

    def __len__(self) -> int:
        return len(self.starts_us)

    def __getitem__(self, some: slice) -> Sessions:
        return Sessions(
            self.keys_at[some], self.starts_us[some], self.ends_us[some], self.values[:, some]
        )

    def where(self, flags: Flags) -> Sessions:
        """Return some of them."""
        keys_at = self.keys_at
        return Sessions(
            list(compress(keys_at, flags)) if isinstance(keys_at, list) else keys_at[flags],
            self.starts_us[flags],
            self.ends_us[flags],
            self.values[:, flags],
        )

    @property
    def keys(self) -> list[tuple[Scalar, ...]]:
        """Whose they are."""
        if isinstance(self.keys_at, list):
            return keys_of(self.keys_at)
        return [(number,) for number in self.keys_at.tolist()]


class OpenSessions:
    """The open sessions of one key group of one declared `SessionWindow`.

    Args:
        spec: The declared window.
        values: The layout of its values.
        state: What `snapshot` returned, or None.
        counts_events: Whether each session knows how many events it stands for.

    Attributes:
        texts: The texts of the values' codes.
    """

    def __init__(
        self,
        spec: SessionWindow,
        values: SessionValues,
        state: dict[str, Any] | None = None,
        *,
        counts_events: bool = False,
    ) -> None:
        self._gap_us = spec.gap_us
        self._layout = values
        self._counts_events = counts_events
        self._height = values.height + counts_events
        restored = state or {}
        nothing = np.empty(0, np.int64)
        self._codes: UInt64s = restored.get("codes", np.empty(0, np.uint64))
        self._slots: Int64s = restored.get("slots", nothing)
        self._free: Int64s = restored.get("free", nothing)
        self._starts_us: Int64s = restored.get("starts_us", nothing)
        self._ends_us: Int64s = restored.get("ends_us", nothing)
        self._keys_at: Int64s = restored.get("keys_at", nothing)  # in the buffer, or the key itself
        self._changed: Flags = restored.get("changed", np.empty(0, bool))
        self._values: Int64s = restored.get("values", np.empty((self._height, 0), np.int64))
        self._keys = KeyBuffer(restored.get("keys", b""))
        self._has_integer_keys: bool = restored.get("has_integer_keys", False)
        self.texts: dict[int, str] = dict(restored.get("texts", {}))

    def __len__(self) -> int:
        return len(self._codes)

    def snapshot(self) -> dict[str, Any]:
        """Return the state; its arrays are the live ones, so serialise it at once."""
        return {
            "codes": self._codes,
            "slots": self._slots,
            "free": self._free,
            "starts_us": self._starts_us,
            "ends_us": self._ends_us,
            "keys_at": self._keys_at,
            "changed": self._changed,
            "values": self._values,
            "keys": self._keys.snapshot(),
            "has_integer_keys": self._has_integer_keys,
            "texts": self.texts,
        }

    def add(self, pieces: SessionPieces, watermark_us: int) -> Flags:
        """Merge pieces in.

        Args:
            pieces: Which.
            watermark_us: The group's watermark.

        Returns:
            bool[k], which of them were refused: pieces behind the watermark that their shards
            didn't call late (they had been idle, or are new), and that would change what may have
            been written.
        """
        refused = np.zeros(len(pieces.codes), bool)
        behind = np.flatnonzero(pieces.starts_us < watermark_us)
        for piece in behind.tolist():
            refused[piece] = not self._admits(pieces, piece, watermark_us)
        taken = np.flatnonzero(~refused)
        if len(taken):
            self.texts.update(pieces.texts)
            self._merge(pieces, taken)
        return refused

    def close(self, watermark_us: int) -> Sessions:
        """Take out the sessions whose gap the watermark has passed, oldest first."""
        is_ripe = self._ends_us <= watermark_us - self._gap_us
        ripe = np.flatnonzero(is_ripe)
        ripe = ripe[np.argsort(self._starts_us[ripe], kind="stable")]
        found = self._sessions(ripe)
        if len(ripe):
            kept = ~is_ripe[self._slots]
            self._codes, self._slots = self._codes[kept], self._slots[kept]
            self._release(ripe)
            self._pack()
        return found

    def changed(self, watermark_us: int) -> Sessions:
        """Return the sessions begun by the watermark that have changed since the last time."""
        begun = np.flatnonzero(self._changed & (self._starts_us <= watermark_us))
        self._changed[begun] = False
        return self._sessions(begun)

    def _admits(self, pieces: SessionPieces, piece: int, watermark_us: int) -> bool:
        """Tell whether a piece behind the watermark leaves alone what may have been written."""
        code, start_us = pieces.codes[piece], int(pieces.starts_us[piece])
        end_us = int(pieces.ends_us[piece])
        own = slice(*(int(np.searchsorted(self._codes, code, side)) for side in ("left", "right")))
        touched = [
            begun_us
            for begun_us, last_us in zip(
                self._starts_us[self._slots[own]].tolist(),
                self._ends_us[self._slots[own]].tolist(),
                strict=True,
            )
            if start_us - last_us < self._gap_us and begun_us - end_us < self._gap_us
        ]
        settled = [begun_us for begun_us in touched if begun_us <= watermark_us]
        if not settled:
            return end_us + self._gap_us > watermark_us  # else it would be closed at once
        return len(settled) == 1 and settled[0] <= start_us

    def _merge(self, pieces: SessionPieces, taken: Int64s) -> None:
        codes = pieces.codes[taken]
        distinct = codes[first_of_runs(codes)]
        held = _ranges(
            np.searchsorted(self._codes, distinct),
            np.searchsorted(self._codes, distinct, "right"),
        )
        held_slots = self._slots[held]

        codes = np.concatenate([self._codes[held], codes])
        starts_us = np.concatenate([self._starts_us[held_slots], pieces.starts_us[taken]])
        order = np.lexsort((starts_us, codes))
        codes, starts_us = codes[order], starts_us[order]
        ends_us = np.concatenate([self._ends_us[held_slots], pieces.ends_us[taken]])[order]
        slots = np.concatenate([held_slots, np.full(len(taken), -1)])[order]
        added = pieces.values[:, taken]
        if self._counts_events:
            added = np.vstack([added, pieces.events[taken]])
        table = np.concatenate([self._values[:, held_slots], added], axis=1)

        begins = _first_of_sessions(codes, starts_us, ends_us, self._gap_us)
        own_slots = np.maximum.reduceat(slots, begins)
        new = np.flatnonzero(own_slots < 0)
        own_slots[new] = self._take_slots(len(new))
        self._starts_us[own_slots] = starts_us[begins]
        self._ends_us[own_slots] = np.maximum.reduceat(ends_us, begins)
        table, height = table[:, order], self._layout.height
        self._values[:height, own_slots] = self._layout.merge(table, begins)
        if self._counts_events:
            self._values[height, own_slots] = np.add.reduceat(table[height], begins)
        self._changed[own_slots] |= np.logical_or.reduceat(slots < 0, begins)
        first_pieces = taken[order[begins[new]] - len(held)]
        self._keys_at[own_slots[new]] = self._places(pieces, first_pieces)
        self._release(np.setdiff1d(held_slots, own_slots))
        self._replace(held, codes[begins], own_slots)

    def _places(self, pieces: SessionPieces, rows: Int64s) -> Int64s:
        """Return where the keys of these pieces are kept."""
        if pieces.keys is None:
            self._has_integer_keys = True
            return integers_of(pieces.codes[rows])
        return self._keys.add([pieces.keys[row] for row in rows.tolist()])

    def _replace(self, held: Int64s, codes: UInt64s, slots: Int64s) -> None:
        """Put new entries into the index, in the place of all entries of their codes."""
        if len(held) == len(codes) and (self._codes[held] == codes).all():
            self._slots[held] = slots
            return
        base_codes, base_slots = np.delete(self._codes, held), np.delete(self._slots, held)
        at = np.searchsorted(base_codes, codes)
        self._codes = np.insert(base_codes, at, codes)
        self._slots = np.insert(base_slots, at, slots)

    def _sessions(self, slots: Int64s) -> Sessions:
        places = self._keys_at[slots]
        return Sessions(
            keys_at=places if self._has_integer_keys else self._keys.at(places),
            starts_us=self._starts_us[slots],
            ends_us=self._ends_us[slots],
            values=self._values[:, slots],
        )

    def _take_slots(self, count: int) -> Int64s:
        if count > len(self._free):
            self._grow(count - len(self._free))
        first = len(self._free) - count
        taken, self._free = self._free[first:], self._free[:first]
        return taken

    def _release(self, slots: Int64s) -> None:
        if len(slots):
            self._starts_us[slots] = self._ends_us[slots] = _FREE
            self._changed[slots] = False
            self._free = np.concatenate([self._free, slots])

    def _grow(self, count: int) -> None:
        """Make room for at least so many more sessions."""
        size = len(self._starts_us)
        more = max(count, size // 2, _LEAST_SLOTS)
        self._free = np.concatenate([np.arange(size + more - 1, size - 1, -1), self._free])
        self._starts_us = np.concatenate([self._starts_us, np.full(more, _FREE)])
        self._ends_us = np.concatenate([self._ends_us, np.full(more, _FREE)])
        self._keys_at = np.concatenate([self._keys_at, np.zeros(more, np.int64)])
        self._changed = np.concatenate([self._changed, np.zeros(more, bool)])
        room = np.zeros((self._height, more), np.int64)
        self._values = np.concatenate([self._values, room], axis=1)

    def _pack(self) -> None:
        """Give back memory once most of it is dead: slots, lines of keys, texts."""
        room = 2 * len(self) + _LEAST_SLOTS
        if len(self._free) > room:
            slots = self._slots
            self._starts_us, self._ends_us = self._starts_us[slots], self._ends_us[slots]
            self._keys_at, self._changed = self._keys_at[slots], self._changed[slots]
            self._values = self._values[:, slots]
            self._slots, self._free = np.arange(len(slots)), np.empty(0, np.int64)
        if self._keys.lines > room:
            self._keys_at[self._slots] = self._keys.keep(self._keys_at[self._slots])
        if len(self.texts) > room:
            live = self._layout.text_codes(self._values[:, self._slots])
            self.texts = {code: self.texts[code] for code in np.unique(live).tolist()}


def _ranges(begins: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> Int64s:
    """Return all numbers from each begin to before its end, one after another."""
    sizes = ends - begins
    before = np.cumsum(sizes) - sizes
    return np.repeat(begins - before, sizes) + np.arange(int(sizes.sum()))


def _first_of_sessions(
    codes: UInt64s, starts_us: Int64s, ends_us: Int64s, gap_us: int
) -> npt.NDArray[np.intp]:
    """Return where sessions begin, for pieces sorted by code and start that may overlap.

    What counts is the latest end of all earlier pieces of the key. Those running maxima are taken
    of all keys at once: of ranks among ends, raised by the key's rank.
    """
    size = len(codes)
    by_end = np.argsort(ends_us, kind="stable")
    ranks = np.empty(size, np.int64)
    ranks[by_end] = np.arange(size)
    is_other_key = codes[1:] != codes[:-1]
    keys = np.append(0, np.cumsum(is_other_key))
    latest = ends_us[by_end[np.maximum.accumulate(keys * size + ranks) % size]]
    is_first = np.ones(size, bool)
    is_first[1:] = is_other_key | (starts_us[1:] - latest[:-1] >= gap_us)
    return np.flatnonzero(is_first)
