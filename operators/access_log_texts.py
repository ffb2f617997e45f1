"""Codes of texts that stand in a buffer: no Python object is made for a text that was met before.

A table from bytes to codes in front of `TextCodes`, which makes each code and can turn it back. The
table holds two 64-bit hashes of each text, and not the text. Their seeds and multipliers are drawn
anew in each process, because clients choose their agents: who doesn't know them can't make a text
that is taken for another, and n texts that weren't made for it share both hashes with a probability
of about n^2 / 2^128, which is nothing beside the 64 bits of a code. The table is emptied when
`TextCodes` forgets.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import numpy as np

from compiled import compiled
from messages import Int64s, UInt64s
from operators.codes import TextCodes

Array = Any  # numba infers types from the arguments of the first call

_FIRST_SLOTS = 1 << 12
_ESCAPE = re.compile(rb'\\(x[0-9A-Fa-f]{2}|[\\"bnrtv])')
_ESCAPED = {
    b"\\": b"\\",
    b'"': b'"',
    b"b": b"\b",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_0, _1, _29, _32, _63 = (np.uint64(number) for number in (0, 1, 29, 32, 63))
_CONTROLS = {number: f"\\x{number:02x}" for number in [*range(32), *range(127, 160)]}


def readable(written: bytes) -> str:
    r"""Return the text that a server wrote.

    Escapes are undone, so Apache's `\"` and nginx's `\x22` give the same text. What can't be shown
    is written as `\xNN` whoever wrote it: bytes that are not UTF-8, and control characters.
    """
    if b"\\" in written:
        written = _ESCAPE.sub(_unescaped, written)
    text = written.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.translate(_CONTROLS)


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    return bytes.fromhex(escape[1:].decode()) if len(escape) == 3 else _ESCAPED[escape]


class SpanCodes:
    """The codes of spans of a buffer.

    Args:
        texts: Makes the codes. If it forgets, so does this.
    """

    _slots: UInt64s
    _codes: UInt64s

    def __init__(self, texts: TextCodes) -> None:
        self._texts = texts
        # Multiplied by an even number two words could become one.
        self._key = np.array([secrets.randbits(64) | 1 for _ in range(4)], np.uint64)
        self._clear()

    def of(self, buffer: bytes, words: UInt64s, begins: Int64s, ends: Int64s) -> UInt64s:
        """Return uint64[n], the code of each text.

        Args:
            buffer: Where the texts stand.
            words: The same, padded with 16 bytes or more.
            begins: int64[n], where each text begins.
            ends: int64[n], where it ends.
        """
        if self._generation != self._texts.generation:
            self._clear()
        size = len(begins)
        codes = np.empty(size, np.uint64)
        slots, fresh = np.empty(size, np.int64), np.empty(size, np.int64)
        first = 0
        while first < size:
            room = len(self._codes) // 2 - self._used
            last, new = find_texts(
                words, begins, ends, first, self._key, self._slots, room, slots, fresh
            )
            if new:
                rows = fresh[:new]
                places = zip(begins[rows].tolist(), ends[rows].tolist(), strict=True)
                texts = (readable(buffer[begin:end]) for begin, end in places)
                self._codes[slots[rows]] = self._texts.of(texts, new)
            codes[first:last] = self._codes[slots[first:last]]
            self._used += new
            first = last
            if last < size:
                self._grow()
        return codes

    def _clear(self) -> None:
        self._generation = self._texts.generation
        self._used = 0
        self._slots = np.zeros((_FIRST_SLOTS, 2), np.uint64)
        self._codes = np.zeros(_FIRST_SLOTS, np.uint64)

    def _grow(self) -> None:
        slots = np.zeros((2 * len(self._slots), 2), np.uint64)
        codes = np.zeros(len(slots), np.uint64)
        move_slots(self._slots, self._codes, slots, codes)
        self._slots, self._codes = slots, codes


# ---- compiled ---------------------------------------------------------------------------------


@compiled
def _word_at(words: Array, at: int) -> Any:
    """Return the eight bytes from `at`, the first one lowest."""
    index, shift = np.uint64(at >> 3), np.uint64((at & 7) << 3)  # unsigned: see _at of the lines
    return (words[index] >> shift) | ((words[index + _1] << (_63 - shift)) << _1)


@compiled
def _lowest(size: int) -> Any:
    """Return a mask of the first so many bytes of a word, of 1 to 7."""
    return (_1 << np.uint64(size << 3)) - _1


@compiled
def find_texts(
    words: Array,
    begins: Array,
    ends: Array,
    first: int,
    key: Array,
    slots: Array,
    room: int,
    found: Array,
    fresh: Array,
) -> tuple[int, int]:
    """Find the slot of each text in a table; a text that is new gets a slot of its own.

    Args:
        words: uint64, the buffer.
        begins: int64[n], where the texts begin.
        ends: int64[n], where they end.
        first: The text to begin with.
        key: uint64[4], secret: two seeds and two odd multipliers.
        slots: uint64[s, 2], s a power of two: the hashes of known texts; zeros where it is free.
        room: How many texts more it may take.
        found: int64[n], out: each text's slot.
        fresh: int64[n], out: the rows of the texts that were new.

    Returns:
        Where it ended (n, or the text for which there is no room), and how many were new.
    """
    mask = np.uint64(len(slots) - 1)
    seed, other_seed, multiplier, other_multiplier = key[0], key[1], key[2], key[3]
    new = 0
    for row in range(first, len(begins)):
        begin, end = begins[row], ends[row]
        size = np.uint64(end - begin)
        one, other = seed ^ size, other_seed ^ size
        at = begin
        while at < end:
            word, next_word = _word_at(words, at), _word_at(words, at + 8)
            left = end - at
            if left < 16:
                next_word = next_word & _lowest(left - 8) if left > 8 else _0
                if left < 8:
                    word &= _lowest(left)
            # Each step can be undone: only the multipliers, which are secret, let texts meet.
            one, other = one ^ word, other ^ next_word
            one = (one ^ (one >> _32)) * multiplier
            other = (other ^ (other >> _32)) * other_multiplier
            one ^= other >> _29
            other ^= one >> _29
            at += 16
        one |= _1  # so that it is no free slot
        slot = (one >> _32) & mask
        while slots[slot, 0] != one or slots[slot, 1] != other:
            if slots[slot, 0] == 0:
                if new == room:
                    return row, new
                slots[slot, 0], slots[slot, 1] = one, other
                fresh[new] = row
                new += 1
                break
            slot = (slot + _1) & mask
        found[row] = slot
    return len(begins), new


@compiled
def move_slots(slots: Array, codes: Array, new_slots: Array, new_codes: Array) -> None:
    """Put all texts into another table, which has more slots."""
    mask = np.uint64(len(new_slots) - 1)
    for old in range(len(slots)):
        if slots[old, 0]:
            slot = (slots[old, 0] >> _32) & mask
            while new_slots[slot, 0]:
                slot = (slot + _1) & mask
            new_slots[slot, 0], new_slots[slot, 1] = slots[old, 0], slots[old, 1]
            new_codes[slot] = codes[old]
