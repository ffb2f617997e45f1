"""Open windows of one key group: sorted arrays of partial aggregates, one set a window.

Memory follows distinct keys, not events. A window's keys are held as ascending 64-bit codes; taking
in k keys where n are held costs a binary search of k in n and one copy of the n.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import numpy.typing as npt

from messages import Int64s, Partial, Scalar, UInt64s
from operators.accumulators import accumulators_of
from operators.codes import first_of_runs, integers_of
from operators.hyperloglog import Registers, add_codes, empty_registers, estimates
from operators.spec import Window
from operators.top_counts import TopCounts
from operators.value_spec import ApproxDistinct, Distinct

_US_PER_SECOND = 1_000_000


@dataclass(slots=True)
class OpenWindow:
    """One window's state.

    Attributes:
        codes: uint64[n], ascending.
        arrays: One int64[n] an accumulator.
        pairs: For each distinct count, the distinct pairs' codes, ascending.
        keys: Key by code, where codes can't be turned back.
        registers: For each approximate count, one row of registers a key.
        changed: bool[n], the keys that have changed since their interim rows were written; None
            where there are none.
        tops: For each `Top` of the window, its counts.
    """

    codes: UInt64s
    arrays: list[Int64s]
    pairs: list[UInt64s]
    keys: dict[int, tuple[Scalar, ...]] = field(default_factory=dict)
    registers: list[Registers] = field(default_factory=list)
    changed: npt.NDArray[np.bool_] | None = None
    tops: list[TopCounts] = field(default_factory=list)

    def keys_of(self, codes: UInt64s) -> list[tuple[Scalar, ...]]:
        """Return the keys of these codes."""
        if self.keys:
            return [self.keys[code] for code in codes.tolist()]
        return [(number,) for number in integers_of(codes).tolist()]


@dataclass(frozen=True, slots=True)
class Change:
    """What a partial did to one window.

    Attributes:
        rows: int64[k], where in the window's arrays the partial's keys are now.
        before: One int64[k] an accumulator: its entries before; its identity for a new key.
    """

    window: OpenWindow
    rows: Int64s
    before: list[Int64s]


class OpenWindows:
    """The open windows of one key group of one declared `Window`."""

    def __init__(self, spec: Window, state: dict[str, Any] | None = None) -> None:
        self.length_us = spec.length_seconds * _US_PER_SECOND
        self._accumulators = accumulators_of(spec.values)
        self._exact: list[tuple[int, int]] = []  # of each: its members' place, its accumulator
        self._approximate: list[tuple[int, int]] = []
        self._bits: list[int] = []
        for index, accumulator in enumerate(self._accumulators):
            value = spec.values[accumulator.value]
            members = len(self._exact) + len(self._approximate)
            if isinstance(value, Distinct):
                self._exact.append((members, index))
            elif isinstance(value, ApproxDistinct):
                self._approximate.append((members, index))
                self._bits.append(value.bits)
        self._keeps_changes = spec.interim_seconds > 0
        self._tops = len(spec.evidence)
        self._open: dict[int, OpenWindow] = {}
        if state is not None:
            self._open = {start: OpenWindow(*parts) for start, parts in state["open"].items()}
            for start, tops in state.get("tops", {}).items():
                self._open[start].tops = [TopCounts(counts) for counts in tops]

    def __len__(self) -> int:
        return len(self._open)

    def snapshot(self) -> dict[str, Any]:
        """Return the state; its arrays are the live ones, so serialise it at once."""
        return {
            "open": {
                start: (
                    window.codes,
                    window.arrays,
                    window.pairs,
                    window.keys,
                    window.registers,
                    window.changed,
                )
                for start, window in self._open.items()
            },
            "tops": {
                start: [top.merged() for top in window.tops]
                for start, window in self._open.items()
                if window.tops
            },
        }

    def add(self, partial: Partial) -> Change:
        """Merge a partial into its window, opening it if need be."""
        window = self._open.get(partial.start_us)
        if window is None:
            window = self._open[partial.start_us] = self._begun(partial)
            at = np.arange(len(partial.codes))
            before = [np.full(len(at), one.identity, np.int64) for one in self._accumulators]
        else:
            at = self._places(window, partial)
            before = [array[at] for array in window.arrays]
            for array, was, added, accumulator in zip(
                window.arrays, before, partial.values, self._accumulators, strict=True
            ):
                array[at] = accumulator.merge(was, added)
        for which, (members, index) in enumerate(self._exact):
            window.pairs[which], new_pairs = _add_pairs(window.pairs[which], partial, members)
            window.arrays[index][at] += new_pairs
        for registers, (members, _) in zip(window.registers, self._approximate, strict=True):
            codes, key_of_code = partial.members[members]
            add_codes(registers, at[key_of_code], codes)
        for top, more in zip(window.tops, partial.tops, strict=True):
            top.add(more)
        if window.changed is not None:
            window.changed[at] = True
        return Change(window, at, before)

    def close(self, watermark_us: int) -> list[tuple[int, OpenWindow]]:
        """Take out the windows whose end the watermark has reached, oldest first."""
        ripe = sorted(start for start in self._open if start + self.length_us <= watermark_us)
        closed = [(start, self._open.pop(start)) for start in ripe]
        for _, window in closed:
            self._estimate(window)
        return closed

    def changed(self, watermark_us: int) -> list[tuple[int, OpenWindow]]:
        """Return the keys that have changed since the last time, of windows that have begun."""
        found: list[tuple[int, OpenWindow]] = []
        for start_us, window in sorted(self._open.items()):
            if start_us <= watermark_us and window.changed is not None and window.changed.any():
                rows = np.flatnonzero(window.changed)
                window.changed[:] = False
                part = OpenWindow(
                    window.codes[rows],
                    [array[rows] for array in window.arrays],
                    [],
                    window.keys,
                    [registers[rows] for registers in window.registers],
                )
                self._estimate(part)
                found.append((start_us, part))
        return found

    def _estimate(self, window: OpenWindow) -> None:
        """Write approximate counts where exact ones stand already."""
        for registers, (_, index) in zip(window.registers, self._approximate, strict=True):
            window.arrays[index][:] = np.rint(estimates(registers)).astype(np.int64)

    def _begun(self, partial: Partial) -> OpenWindow:
        """Return a window of a partial's keys and accumulators.

        They are copied, since what comes from this process is a piece of a whole tick's arrays.
        """
        keys = {}
        if partial.keys is not None:
            keys = dict(zip(partial.codes.tolist(), partial.keys, strict=True))
        return OpenWindow(
            codes=partial.codes.copy(),
            arrays=[array.copy() for array in partial.values],
            pairs=[np.empty(0, np.uint64) for _ in self._exact],
            keys=keys,
            registers=[empty_registers(len(partial.codes), bits) for bits in self._bits],
            changed=np.zeros(len(partial.codes), bool) if self._keeps_changes else None,
            tops=[TopCounts() for _ in range(self._tops)],
        )

    def _places(self, window: OpenWindow, partial: Partial) -> Int64s:
        """Return where a partial's keys are in a window, once the new ones have gone in."""
        at = np.searchsorted(window.codes, partial.codes)
        is_new = np.ones(len(at), bool)
        inside = at < len(window.codes)
        is_new[inside] = window.codes[at[inside]] != partial.codes[inside]
        if is_new.any():
            at = at + np.cumsum(is_new) - is_new
            self._insert(window, partial, at[is_new], is_new)
        return at

    def _insert(
        self, window: OpenWindow, partial: Partial, at: Int64s, is_new: npt.NDArray[np.bool_]
    ) -> None:
        """Make room for new keys; their accumulators begin at the identity."""
        codes = partial.codes[is_new]
        was_there = np.ones(len(window.codes) + len(codes), bool)
        was_there[at] = False
        grown = np.empty(len(was_there), np.uint64)
        grown[was_there] = window.codes
        grown[at] = codes
        window.codes = grown
        for index, accumulator in enumerate(self._accumulators):
            entries = np.full(len(was_there), accumulator.identity, np.int64)
            entries[was_there] = window.arrays[index]
            window.arrays[index] = entries
        for which, registers in enumerate(window.registers):
            grown_registers = np.zeros((len(was_there), registers.shape[1]), np.uint8)
            grown_registers[was_there] = registers
            window.registers[which] = grown_registers
        if window.changed is not None:
            changed = np.zeros(len(was_there), bool)
            changed[was_there] = window.changed
            window.changed = changed
        if partial.keys is not None:
            keys = compress(partial.keys, is_new.tolist())
            window.keys.update(zip(codes.tolist(), keys, strict=True))


def top_rows(window: OpenWindow, accumulator: int, most: int) -> Int64s:
    """Return the rows of the keys with the greatest entries, the greatest first.

    Args:
        window: Of which.
        accumulator: Whose entries.
        most: How many rows; of equal entries those with the least codes come first.
    """
    rows: Int64s = np.lexsort((window.codes, -window.arrays[accumulator]))[:most]
    return rows


def _add_pairs(pairs: UInt64s, partial: Partial, members: int) -> tuple[UInt64s, Int64s]:
    """Add a partial's distinct pairs; return all pairs, and how many were new for each key."""
    codes, key_of_pair = partial.members[members]
    order = np.argsort(codes)
    order = order[first_of_runs(codes[order])]
    codes, key_of_pair = codes[order], key_of_pair[order]
    at = np.searchsorted(pairs, codes)
    is_new = np.ones(len(at), bool)
    inside = at < len(pairs)
    is_new[inside] = pairs[at[inside]] != codes[inside]
    counts = np.bincount(key_of_pair[is_new], minlength=len(partial.codes))
    return np.insert(pairs, at[is_new], codes[is_new]), counts
