"""Keys of many sessions in one buffer: some 40 bytes each, where Python objects take 200.

A key is one line of JSON. Where it begins is its place. Lines that nobody refers to any more are
dropped now and then, which moves the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from messages import Int64s, Scalar

_LINE_END = ord("\n")


class KeyBuffer:
    """Keys, by place."""

    def __init__(self, state: bytes = b"") -> None:
        self._buffer = bytearray(state)
        self.lines = state.count(b"\n")

    def snapshot(self) -> bytes:
        """Return the buffer."""
        return bytes(self._buffer)

    def add(self, keys: Sequence[tuple[Scalar, ...]]) -> Int64s:
        """Return the place of each key."""
        lines = [orjson.dumps(key) + b"\n" for key in keys]
        sizes = np.fromiter(map(len, lines), np.int64, len(lines))
        places: Int64s = len(self._buffer) + np.cumsum(sizes) - sizes
        self._buffer += b"".join(lines)
        self.lines += len(lines)
        return places

    def at(self, places: Int64s) -> list[bytes]:
        """Return the keys of these places, as `keys_of` reads them."""
        buffer = self._buffer
        return [bytes(buffer[place : buffer.index(_LINE_END, place)]) for place in places.tolist()]

    def keep(self, places: Int64s) -> Int64s:
        """Drop all keys but those of these places; return where they are now."""
        characters = np.frombuffer(self._buffer, np.uint8)
        ends = np.flatnonzero(characters == _LINE_END) + 1
        begins = np.append(0, ends[:-1]) if len(ends) else ends
        kept = np.zeros(len(ends), bool)
        lines = np.searchsorted(begins, places)
        kept[lines] = True
        sizes = np.where(kept, ends - begins, 0)
        moved: Int64s = (np.cumsum(sizes) - sizes)[lines]
        remaining = characters[np.repeat(kept, ends - begins)].tobytes()
        del characters  # a buffer that is looked at can't be changed
        self._buffer = bytearray(remaining)
        self.lines = int(kept.sum())
        return moved


def keys_of(lines: Sequence[bytes]) -> list[tuple[Scalar, ...]]:
    """Return the keys that stand in these lines."""
    return [tuple(orjson.loads(line)) for line in lines]
