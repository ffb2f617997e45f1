"""Codes of texts that stand in a buffer: no Python object is made for a text that was met before.

A table from bytes to codes in front of `TextCodes`, which makes each code and can turn it back.
Texts are compared byte by byte, so the hash (seeded anew in each process: clients choose their
agents) decides nothing but the speed. The table is emptied when `TextCodes` forgets, or at 64 MiB
of texts.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from messages import Int64s, UInt64s
from operators.codes import TextCodes

Array = Any  # numba infers types from the arguments of the first call
Word = Any

_FIRST_SLOTS = 1 << 12
_FIRST_WORDS = 1 << 15
_MOST_WORDS = 8 * 1024 * 1024  # 64 MiB
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
_1, _32, _63 = np.uint64(1), np.uint64(32), np.uint64(63)
_MULTIPLY = np.uint64(0x9E3779B97F4A7C15)
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

    _used: Int64s
    _slot_hashes: UInt64s
    _slot_entries: npt.NDArray[np.int32]
    _places: Int64s
    _sizes: Int64s
    _codes: UInt64s
    _arena: UInt64s
    _known: int

    def __init__(self, texts: TextCodes) -> None:
        self._texts = texts
        self._seed = np.uint64(secrets.randbits(64))
        self._clear()

    def of(self, words: UInt64s, begins: Int64s, ends: Int64s) -> UInt64s:
        """Return uint64[n], the code of each text.

        Args:
            words: The buffer, padded with 8 bytes or more.
            begins: int64[n], where each text begins.
            ends: int64[n], where it ends.
        """
        if self._generation != self._texts.generation or self._used[1] > _MOST_WORDS:
            self._clear()
        entries = np.empty(len(begins), np.int32)
        row = 0
        while True:
            row = find_texts(
                words,
                begins,
                ends,
                row,
                self._seed,
                self._slot_hashes,
                self._slot_entries,
                self._places,
                self._sizes,
                self._arena,
                self._used,
                entries,
            )
            self._add_codes()
            if row == len(begins):
                return self._codes[entries]
            self._grow(int(ends[row] - begins[row]))

    def _add_codes(self) -> None:
        """Have codes made for texts that are new."""
        used = int(self._used[0])
        for entry in range(self._known, used):
            begin = int(self._places[entry]) * 8
            written = self._arena.view(np.uint8)[begin : begin + int(self._sizes[entry])].tobytes()
            self._codes[entry] = self._texts[readable(written)]
        self._known = used

    def _clear(self) -> None:
        self._generation = self._texts.generation
        self._known = 0
        self._used = np.zeros(2, np.int64)
        self._slot_hashes = np.zeros(_FIRST_SLOTS, np.uint64)
        self._slot_entries = np.zeros(_FIRST_SLOTS, np.int32)
        self._places = np.zeros(_FIRST_SLOTS // 2, np.int64)
        self._sizes = np.zeros(_FIRST_SLOTS // 2, np.int64)
        self._codes = np.zeros(_FIRST_SLOTS // 2, np.uint64)
        self._arena = np.zeros(_FIRST_WORDS, np.uint64)

    def _grow(self, size: int) -> None:
        """Make room for one more text of so many bytes."""
        entries, words = (int(number) for number in self._used)
        if entries == len(self._places):
            hashes = np.zeros(2 * len(self._slot_hashes), np.uint64)
            numbers = np.zeros(2 * len(self._slot_hashes), np.int32)
            move_slots(self._slot_hashes, self._slot_entries, hashes, numbers)
            self._slot_hashes, self._slot_entries = hashes, numbers
            self._places = np.resize(self._places, 2 * entries)
            self._sizes = np.resize(self._sizes, 2 * entries)
            self._codes = np.resize(self._codes, 2 * entries)
        needed = words + -(-size // 8)
        if needed > len(self._arena):
            self._arena = np.resize(self._arena, max(needed, 2 * len(self._arena)))


# ---- compiled ---------------------------------------------------------------------------------


@njit(cache=True)
def _word_at(words: Array, at: int) -> Word:
    """Return the eight bytes from `at`."""
    index, shift = at >> 3, np.uint64((at & 7) << 3)
    return (words[index] >> shift) | ((words[index + 1] << (_63 - shift)) << _1)


@njit(cache=True)
def _hash(words: Array, begin: int, end: int, seed: Word) -> Word:
    """Return a hash of [begin, end), never 0. It only has to spread: equal hashes are compared."""
    state = seed ^ (np.uint64(end - begin) * _MULTIPLY)
    at = begin
    while at < end:
        word = _word_at(words, at)
        if end - at < 8:
            word &= (_1 << np.uint64((end - at) << 3)) - _1
        state = (state ^ word) * _MULTIPLY
        state ^= state >> _32
        at += 8
    return state | _1


@njit(cache=True)
def _is_equal(words: Array, begin: int, end: int, arena: Array, place: int) -> bool:
    """Tell whether [begin, end) is the text that stands in the arena, padded with zeros."""
    at = begin
    while at < end:
        word = _word_at(words, at)
        if end - at < 8:
            word &= (_1 << np.uint64((end - at) << 3)) - _1
        if word != arena[place]:
            return False
        place += 1
        at += 8
    return True


@njit(cache=True)
def find_texts(
    words: Array,
    begins: Array,
    ends: Array,
    first: int,
    seed: Word,
    slot_hashes: Array,
    slot_entries: Array,
    places: Array,
    sizes: Array,
    arena: Array,
    used: Array,
    entries: Array,
) -> int:
    """Give each span the number of its text in a table; a text that is new gets the next number.

    Args:
        words: uint64, the buffer.
        begins: int64[n], where the texts begin.
        ends: int64[n], where they end.
        first: The span to begin with.
        seed: uint64, of the hashes.
        slot_hashes: uint64[slots], a power of two; 0 in free slots.
        slot_entries: int32[slots], the entry in each slot.
        places: int64[slots / 2], where each entry's text begins in the arena.
        sizes: int64[slots / 2], each entry's size in bytes.
        arena: uint64, the texts, each padded with zeros.
        used: int64[2], how many entries and how many words of the arena are in use.
        entries: int32[n], out.

    Returns:
        n, or the span for whose text the table has no room.
    """
    mask = np.uint64(len(slot_hashes) - 1)
    for row in range(first, len(begins)):
        begin, end = begins[row], ends[row]
        code = _hash(words, begin, end, seed)
        slot = (code >> _32) & mask
        while True:
            if slot_hashes[slot] == 0:
                entry, place = used[0], used[1]
                if entry == len(places) or place + ((end - begin + 7) >> 3) > len(arena):
                    return row
                slot_hashes[slot], slot_entries[slot] = code, entry
                places[entry], sizes[entry] = place, end - begin
                at = begin
                while at < end:
                    word = _word_at(words, at)
                    if end - at < 8:
                        word &= (_1 << np.uint64((end - at) << 3)) - _1
                    arena[place] = word
                    place += 1
                    at += 8
                used[0], used[1] = entry + 1, place
                break
            if slot_hashes[slot] == code:
                entry = slot_entries[slot]
                if sizes[entry] == end - begin and _is_equal(
                    words, begin, end, arena, places[entry]
                ):
                    break
            slot = (slot + _1) & mask
        entries[row] = entry
    return len(begins)


@njit(cache=True)
def move_slots(
    slot_hashes: Array, slot_entries: Array, new_hashes: Array, new_entries: Array
) -> None:
    """Put all entries into other, more slots."""
    mask = np.uint64(len(new_hashes) - 1)
    for old in range(len(slot_hashes)):
        code = slot_hashes[old]
        if code:
            slot = (code >> _32) & mask
            while new_hashes[slot]:
                slot = (slot + _1) & mask
            new_hashes[slot], new_entries[slot] = code, slot_entries[old]
