"""State keys of key groups, chosen so that the engine spreads them evenly over its workers.

Bytewax routes a key to worker SipHash-1-3(key + 0xFF, keys 0 and 0) mod workers. Plain numbers fall
badly ("0" to "3" all on one of two workers), so each name gets the first suffix that makes its hash
the group's index modulo lcm(1..8): even for 1 to 8 workers. The names are part of a recovery
store's layout; this function must give the same ones for ever.

Source of the hash: Aumasson, Bernstein, "SipHash: a fast short-input PRF" (2012).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

_EVEN_UP_TO_WORKERS = 840  # lcm(1..8)
_SUFFIX_DIGITS = 5
_TRIED_AT_ONCE = 2_000
_END_OF_STRING = 0xFF
_START = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)

_Words = npt.NDArray[np.uint64]


@cache
def group_names(window: str, groups: int) -> tuple[str, ...]:
    """Return the state keys of a window's groups, in order, as `user_actions/07.00412`."""
    return tuple(_name(f"{window}/{group:02d}.", group) for group in range(groups))


def _name(stem: str, group: int) -> str:
    """Return the stem with the first suffix that routes it as its group's index would be."""
    fixed = np.tile(np.frombuffer(stem.encode(), np.uint8), (_TRIED_AT_ONCE, 1))
    for begin in range(0, 10**_SUFFIX_DIGITS, _TRIED_AT_ONCE):
        suffixes = np.arange(begin, begin + _TRIED_AT_ONCE)[:, None]
        digits = suffixes // 10 ** np.arange(_SUFFIX_DIGITS - 1, -1, -1) % 10 + ord("0")
        candidates = np.hstack([fixed, digits.astype(np.uint8)])
        residues = route_hashes(candidates) % np.uint64(_EVEN_UP_TO_WORKERS)
        found = np.flatnonzero(residues == group % _EVEN_UP_TO_WORKERS)
        if len(found):
            return f"{stem}{begin + int(found[0]):0{_SUFFIX_DIGITS}d}"
    msg = f"no suffix spreads {stem!r}"
    raise AssertionError(msg)


def route_hashes(keys: npt.NDArray[np.uint8]) -> _Words:
    """Return the hashes by which the engine routes keys.

    Args:
        keys: uint8[n, length], keys of one length.

    Returns:
        uint64[n].
    """
    count, length = keys.shape
    padded = np.zeros((count, (length + 1) // 8 * 8 + 8), np.uint8)
    padded[:, :length] = keys
    padded[:, length] = _END_OF_STRING
    padded[:, -1] = (length + 1) & 0xFF
    v0, v1, v2, v3 = (np.full(count, start, np.uint64) for start in _START)
    for word in padded.view("<u8").T:
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= np.uint64(0xFF)
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def _rotated(x: _Words, bits: int) -> _Words:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _round(v0: _Words, v1: _Words, v2: _Words, v3: _Words) -> tuple[_Words, ...]:
    v0 = v0 + v1
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = v2 + v3
    v3 = _rotated(v3, 16) ^ v2
    v0 = v0 + v3
    v3 = _rotated(v3, 21) ^ v0
    v2 = v2 + v1
    v1 = _rotated(v1, 17) ^ v2
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3
