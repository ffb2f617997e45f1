"""Payloads that stand in one buffer, so that a record costs no Python object until it needs one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from messages import Int64s

_LINE_END = ord("\n")


class Lines(Sequence[bytes]):
    """Payloads that stand in one buffer, mostly a line each, cut out when asked for.

    Args:
        buffer: The payloads. Between two stands a line end, or nothing where the first one ends
            with a line end of its own.
        bounds: int64[2, n], where each begins and ends; None where each is a line without its end.
        braced: bool[n], whether each begins with `{` and ends with `}`, but for white space behind;
            None where nobody has looked.
    """

    __slots__ = ("bounds", "braced", "buffer")

    def __init__(
        self,
        buffer: bytes | memoryview,
        bounds: Int64s | None = None,
        braced: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self.braced = braced
        self.buffer = buffer
        if bounds is None:
            ends = np.flatnonzero(np.frombuffer(buffer, np.uint8) == _LINE_END)
            bounds = np.array([np.append(0, ends + 1), np.append(ends, len(buffer))])
        self.bounds = bounds

    def __len__(self) -> int:
        return len(self.bounds[0])

    def __iter__(self) -> Iterator[bytes]:
        return iter(self[:])

    def __reduce__(self) -> tuple[type[Lines], tuple[object, ...]]:
        """Travel between processes; a view can't."""
        return Lines, (bytes(self.buffer), self.bounds, self.braced)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            begins, ends = self.bounds[:, index].tolist()
            return [bytes(self.buffer[begin:end]) for begin, end in zip(begins, ends, strict=True)]
        if index not in range(-len(self), len(self)):
            msg = f"there is no line {index}"
            raise IndexError(msg)
        return bytes(self.buffer[self.bounds[0, index] : self.bounds[1, index]])

    def has_blank(self) -> bool:
        """Tell whether there is an empty one."""
        return bool((self.bounds[0] == self.bounds[1]).any())

    def are_lines(self) -> bool:
        """Tell whether none holds a line end, not even its own."""
        between = int(np.diff(self.bounds.T.ravel(), append=len(self.buffer))[1::2].sum())
        ends = np.count_nonzero(np.frombuffer(self.buffer, np.uint8) == _LINE_END)
        return int(ends) == between

    def loose_ends(self) -> Int64s:
        """Return, ascending, which ends (but for the last) don't stand between `}` and `{`.

        Outside of strings, which hold no line ends, JSON has the two beside each other only where
        one object ends and another begins. So between other ends each payload begins an object.
        """
        if self.braced is not None:
            return np.flatnonzero(~(self.braced[:-1] & self.braced[1:]))
        characters = np.frombuffer(self.buffer, np.uint8)
        begins, ends = self.bounds[:, :-1]
        last = ends - 1
        last -= (characters.take(last, mode="clip") == _LINE_END) & (ends > begins)  # its own
        before = characters.take(last, mode="clip")
        after = characters.take(self.bounds[0, 1:], mode="clip")
        return np.flatnonzero((before != ord("}")) | (after != ord("{")))

    def runs(self, lines: int) -> Iterator[tuple[int, bytes]]:
        """Yield runs of so many (the last may be shorter): how many, and their buffer."""
        size = len(self)
        begins = self.bounds[0, ::lines].tolist()
        ends = self.bounds[1, lines - 1 :: lines].tolist()
        if len(ends) < len(begins):
            ends.append(int(self.bounds[1, -1]))
        for first, begin, end in zip(range(0, size, lines), begins, ends, strict=True):
            yield min(lines, size - first), bytes(self.buffer[begin:end])


def joined(parts: Sequence[Lines]) -> Lines:
    """Return consecutive payloads as one.

    Args:
        parts: Behind the last of each stands a line end, its own or another, and nothing else.
    """
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.buffer) for part in parts)])
    bounds = [part.bounds + offset for part, offset in zip(parts, offsets, strict=False)]
    braced = [part.braced for part in parts if part.braced is not None]
    return Lines(
        b"".join(part.buffer for part in parts),
        np.concatenate(bounds, axis=1),
        np.concatenate(braced) if len(braced) == len(parts) else None,
    )
