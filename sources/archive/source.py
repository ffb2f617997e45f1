"""The source of a replay: the objects of a listing, in lanes.

Finite; a slot is a lane, and a lane is one shard. Guarantee: each record is emitted once per
committed position, in the order of its lane; an object that can't be read costs no other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sources.archive.board import Board
from sources.archive.listing import Listing
from sources.archive.slot import ArchiveSlot, Lane, Stamps
from sources.archive.stores import Store
from sources.base import SlotState

DEFAULT_LANES = 8
DEFAULT_DRIFT_US = 3_600_000_000
DEFAULT_PREFETCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reading:
    """How an archive is read.

    Attributes:
        drift_us: How far lanes may be apart, by the times in keys.
        prefetch_bytes: How many bytes may wait in a process, about.
        board: The file in which processes tell each other how far they are; None for one process.
        stamps: How to make up arrival times; None to go by the objects'.
        block_rows: How many records a block has at most; None for as many as come together.
    """

    drift_us: int = DEFAULT_DRIFT_US
    prefetch_bytes: int = DEFAULT_PREFETCH_BYTES
    board: Path | None = None
    stamps: Stamps | None = None
    block_rows: int | None = None


class ArchiveSource:
    """An archive.

    Args:
        listing: Which objects, in which lanes.
        store: Where they are.
        reading: How they are read.
    """

    finite = True

    def __init__(self, listing: Listing, store: Store, reading: Reading) -> None:
        self.name = listing.url
        self.slots = tuple(f"lane-{number:02d}" for number in range(listing.lanes))
        self._listing = listing
        self._store = store
        self._reading = reading
        self._board: Board | None = None

    def open(self, slot: str, state: SlotState | None) -> ArchiveSlot:
        """Open a lane at its beginning, or where `state` left off."""
        reading, listing = self._reading, self._listing
        if self._board is None:
            self._board = Board(listing.lanes, reading.board)
        number = self.slots.index(slot)
        lane = Lane(
            name=slot,
            number=number,
            archive=self.name,
            ranks=listing.lane(number),
            listing=listing,
            drift_us=reading.drift_us,
            most_bytes=max(1, reading.prefetch_bytes // listing.lanes),
            stamps=reading.stamps,
            block_rows=reading.block_rows,
        )
        return ArchiveSlot(lane, self._store, self._board, state)
