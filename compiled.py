"""How loops are compiled: numba, without the interpreter's lock, kept in numba's cache.

numba keeps its cache in `NUMBA_CACHE_DIR`, beside the source, or in the user's cache folder,
whichever it can write to first, and refuses to define a function where it can write to none, as in
an image that is read-only throughout. A process there compiles for itself instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def inlined(function: Callable[..., Any]) -> Any:
    """Decorate a function that is compiled into those that call it."""
    return njit(nogil=True, inline="always")(function)


def compiled(function: Callable[..., Any]) -> Any:
    """Decorate a function that is compiled at its first call, or had from the cache."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # there is no place for the cache
        return njit(nogil=True)(function)
