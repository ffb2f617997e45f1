"""Pieces of buffers, copied one behind the other: the compiled part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from compiled import compiled

Array = Any  # numba infers types from the arguments of the first call

_NEWLINE = 10

# libc's is ten times as fast as a loop. `Any`: to a type checker its types are values.
_memcpy: Any = types.ExternalFunction("memcpy", types.uintp(types.uintp, types.uintp, types.uintp))


@compiled
def gather(
    source: Array, begins: Array, ends: Array, text: Array, at: int, bounds: Array, first: int
) -> int:
    """Copy pieces of a buffer, a line end behind each that has none of its own.

    Args:
        source: uint8[n].
        begins: int64[m], where each piece begins.
        ends: int64[m], where each ends.
        text: uint8[], with room for all of them and a line end each.
        at: Where in it to begin.
        bounds: int64[2, first + m or more], for where the pieces begin and end in it.
        first: Where in `bounds` to begin.

    Returns:
        Where in the text the last one ends, its line end included.
    """
    base, target = np.uintp(source.ctypes.data), np.uintp(text.ctypes.data)
    for piece in range(len(begins)):
        size = ends[piece] - begins[piece]
        _memcpy(target + np.uintp(at), base + np.uintp(begins[piece]), np.uintp(size))
        bounds[0, first + piece], bounds[1, first + piece] = at, at + size
        at += size
        if size == 0 or text[at - 1] != _NEWLINE:
            text[at] = _NEWLINE
            at += 1
    return at
