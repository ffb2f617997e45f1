"""The beginning of a snapshot in bytes: what it is, which version, and its own numbers."""

from __future__ import annotations

import struct
from typing import Any, NoReturn

from errors import LayoutError

_BEGINNING = struct.Struct("<4sH")


class StateHeader:
    """Packs and checks the header of one kind of state.

    Args:
        what: What the state is of, for messages: "a forest".
        magic: The four bytes that it begins with.
        version: The version that is written and read.
        numbers: The format of what else the header holds, as of `struct`, little-endian.
    """

    def __init__(self, what: str, magic: bytes, version: int, numbers: str) -> None:
        self._what = what
        self._magic = magic
        self._version = version
        self._numbers = struct.Struct("<" + numbers)
        self.size = _BEGINNING.size + self._numbers.size
        """How many bytes it takes."""

    def pack(self, *numbers: int) -> bytes:
        """Return a header."""
        return _BEGINNING.pack(self._magic, self._version) + self._numbers.pack(*numbers)

    def unpack(self, state: bytes) -> tuple[Any, ...]:
        """Return a state's numbers.

        Raises:
            LayoutError: The state is of something else, of another version, or cut short.
        """
        if state[:4] != self._magic:
            self.refuse("it is of something else")
        if len(state) < self.size:
            self.refuse("it is cut short")
        _, version = _BEGINNING.unpack_from(state)
        if version != self._version:
            self.refuse(f"it has version {version}, and this kinewax reads {self._version}")
        return self._numbers.unpack_from(state, _BEGINNING.size)

    def refuse(self, why: str) -> NoReturn:
        """Raise the error that says why a state can't be used."""
        msg = f"the snapshot of {self._what} can't be used: {why}"
        hint = "start with a new recovery store, or with the former version and parameters"
        raise LayoutError(msg, hint=hint)
