"""Keys as 64-bit codes, so that windows and groups work on arrays.

The code of one integer is a bijection (SplitMix64's finaliser), so it can be turned back and two
keys never share one. Texts and keys of several fields are hashed: n keys in a window share a code
with a probability of about n^2 / 2^65. The functions are fixed for ever: codes are in snapshots.
A group owns an equal share of the code space, so rows sorted by code are sorted by group too.

Source of the constants: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators"
(2014), variant 13 of Stafford; the inverse multiplies by the modular inverses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from messages import Int64s, UInt64s

_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_INVERSE_1, _INVERSE_2 = np.uint64(0x96DE1B173F119089), np.uint64(0x319642B2D24D8EC3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_27, _30, _31, _54, _60, _62 = (np.uint64(bits) for bits in (27, 30, 31, 54, 60, 62))
_TEXT_CACHE_ENTRIES = 100_000


def mix(values: UInt64s) -> UInt64s:
    """Return SplitMix64's finaliser of each value, a bijection on 64 bits."""
    x: UInt64s = values ^ (values >> _30)
    x *= _MULTIPLY_1
    x ^= x >> _27
    x *= _MULTIPLY_2
    x ^= x >> _31
    return x


def unmix(codes: UInt64s) -> UInt64s:
    """Return what `mix` made these codes of."""
    x: UInt64s = codes ^ (codes >> _31) ^ (codes >> _62)
    x *= _INVERSE_2
    x ^= (x >> _27) ^ (x >> _54)
    x *= _INVERSE_1
    x ^= (x >> _30) ^ (x >> _60)
    return x


def integer_codes(values: Int64s) -> UInt64s:
    """Return the codes of int64 keys."""
    return mix(values.view(np.uint64))


def integers_of(codes: UInt64s) -> Int64s:
    """Return the int64 keys of these codes."""
    values: Int64s = unmix(codes).view(np.int64)
    return values


def combine(codes: Sequence[UInt64s]) -> UInt64s:
    """Return one code for each tuple of codes; order matters."""
    combined = codes[0]
    for other in codes[1:]:
        combined = mix(combined * _GOLDEN + other)
    return combined


class TextCodes(dict[str | None, int]):
    """Codes of texts, each made once: the first 8 bytes of its BLAKE2b. None counts as "".

    A dictionary that fills itself, because looking a text up is on the path of every event.
    `forget` bounds its memory; codes are the same afterwards.

    Attributes:
        generation: How often it forgot; who keeps codes of texts must not keep them for longer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0
        self._texts: dict[int, str] = {}
        self._older: dict[int, str] = {}

    def __missing__(self, text: str | None) -> int:
        digest = blake2b((text or "").encode(), digest_size=8).digest()
        code = self[text] = int.from_bytes(digest, "little")
        self._texts[code] = text or ""
        return code

    def text_of(self, code: int) -> str:
        """Return the text of a code made since the last but one `forget`."""
        text = self._texts.get(code)
        return self._older[code] if text is None else text

    def of(self, texts: Iterable[str | None], size: int) -> UInt64s:
        """Return uint64[size], the code of each text."""
        return np.fromiter(map(self.__getitem__, texts), np.uint64, size)

    def forget(self) -> None:
        """Drop texts once they are many; those met since the last time can still be turned back."""
        if len(self) > _TEXT_CACHE_ENTRIES:
            self.clear()
            self.generation += 1
            self._older, self._texts = self._texts, {}


def group_edges(groups: int) -> UInt64s:
    """Return the first code of each group but the first: uint64[groups - 1], ascending."""
    edges = [-(-(index << 64) // groups) for index in range(1, groups)]
    return np.array(edges, np.uint64)


def first_of_runs(*columns: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Return where each run of equal rows begins, for columns sorted together."""
    size = len(columns[0])
    if size == 0:
        return np.empty(0, np.intp)
    begins = np.zeros(size, bool)
    begins[0] = True
    for column in columns:
        begins[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(begins)
