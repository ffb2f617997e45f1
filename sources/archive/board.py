"""How far the lanes of all processes are: numbers that they share through a small file.

Lanes wait for each other by it, so that none reads far ahead of the oldest object that isn't read:
windows stay open for as long as lanes are apart. Whoever shows progress reads it, too. It is no
part of any state: a lane writes its numbers anew when it is opened, and the file may be lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from sources.archive.listing import ArchiveObject

_DONE = 2**62


class Progress(NamedTuple):
    """How much of a lane, or of all of them, is read."""

    objects: int
    bytes: int
    records: int


class Board:
    """Four numbers a lane: the rank of its object, objects, bytes and records done.

    Args:
        lanes: How many lanes there are.
        path: A file that all processes share; None for lanes of one process.
    """

    def __init__(self, lanes: int, path: Path | None = None) -> None:
        shape = (lanes, 4)
        if path is None:
            self._cells = np.zeros(shape, np.int64)
            return
        if not path.exists():
            np.zeros(shape, np.int64).tofile(path)
        self._cells = np.memmap(path, np.int64, "r+", shape=shape)

    def tell(self, lane: int, rank: int | None, done: Progress) -> None:
        """Write down how far a lane is; a rank of None means to its end."""
        self._cells[lane] = (_DONE if rank is None else rank, *done)

    def oldest(self) -> int:
        """Return the least rank that any lane has not read to its end."""
        return int(self._cells[:, 0].min())

    def progress(self) -> Progress:
        """Return how much is read."""
        return Progress(*self._cells[:, 1:].sum(axis=0).tolist())


def may_begin(
    rank: int, oldest: int, objects: tuple[ArchiveObject, ...], lanes: int, drift_us: int
) -> bool:
    """Tell whether a lane may begin an object while another one is the oldest that isn't read.

    Where keys tell times, by those; where they tell none, or days only, a few objects ahead.
    """
    if rank <= oldest:
        return True
    mine, least = objects[rank].period, objects[oldest].period
    if mine is not None and least is not None:
        if mine.begin_us > least.begin_us + drift_us:
            return False
        if mine.is_precise:
            return True
    return rank < oldest + 2 * lanes
