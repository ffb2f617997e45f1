"""Shingles: each point together with the ones before it, as one longer point.

A forest over shingles sees shapes in time: a value that is usual, but not after those before it.
A shingle of size k is the last k points in a row, the oldest first. The first k - 1 points have
none.
"""

from __future__ import annotations

import numpy as np

from messages import Floats


class Shingle:
    """Makes shingles of the points of one stream.

    Args:
        columns: Columns of a point.
        size: Points in a shingle; 1 leaves points as they are.

    Attributes:
        tail: The last points, which the next shingle begins with: float64 [up to size - 1,
            columns].
    """

    __slots__ = ("_size", "tail")

    def __init__(self, columns: int, size: int) -> None:
        self._size = size
        self.tail: Floats = np.empty((0, columns))

    def take(self, points: Floats, *, keep: bool = True) -> Floats:
        """Return the shingles that end with these points.

        Args:
            points: float64 [n, columns], the stream's next points.
            keep: Whether later shingles hold them; if not, they are forgotten.

        Returns:
            float64 [m, columns * size], where m is n, less the points that have too few before.
        """
        if self._size == 1:
            return points
        held = np.concatenate([self.tail, points])
        if keep:
            self.tail = held[max(len(held) - self._size + 1, 0) :].copy()
        if len(held) < self._size:
            return np.empty((0, held.shape[1] * self._size))
        windows = np.lib.stride_tricks.sliding_window_view(held, self._size, axis=0)
        return windows.transpose(0, 2, 1).reshape(len(windows), -1)
