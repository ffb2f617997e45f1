"""A lane of an archive: from objects to blocks, as if it were a shard.

Position: the object in the lane, and how many of its records were emitted. A resumed lane reads its
object from the beginning again and leaves those out. An object that can't be read, or not to its
end, is named once as `Unreadable`; what came before that in it stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import overload

import numpy as np

import metrics
from messages import Adopted, Block, Ended, EndOfInput, Hello, Int64s, Mark, Unreadable
from sources.archive.board import Board, Progress, may_begin
from sources.archive.fetch import Chunk, End, Failed, Fetch
from sources.archive.formats import Batch, batches
from sources.archive.listing import ArchiveObject, Listing
from sources.archive.stores import EMPTY, ObjectError, Store
from sources.base import SlotState

STATE_VERSION = 1
MOST_NAMED = 1_000
"""Unreadable objects whose names a lane's state keeps; the ledger counts them all."""

_WAIT = timedelta(milliseconds=10)


@dataclass(frozen=True, slots=True)
class Stamps:
    """Arrival times as the original's simulator had them: so many records a second, one by one.

    Attributes:
        begin_us: Of the first record.
        step_us: Between two.
    """

    begin_us: int
    step_us: int


@dataclass(frozen=True, slots=True)
class Lane:
    """What a lane reads.

    Attributes:
        name: Of its slot and its shard.
        number: Its place among the lanes.
        archive: The archive's name, for metrics.
        ranks: Which objects of the listing are its own.
        listing: All objects.
        drift_us: How far lanes may be apart.
        most_bytes: How many bytes may be read ahead.
        stamps: How to make up arrival times; None to go by the objects'.
        block_rows: How many records a block has at most; None for as many as come together.
    """

    name: str
    number: int
    archive: str
    ranks: tuple[int, ...]
    listing: Listing
    drift_us: int
    most_bytes: int
    stamps: Stamps | None = None
    block_rows: int | None = None


class Numbered(Sequence[str]):
    """Sequence numbers of an object's records, `key:number`, made when asked for."""

    __slots__ = ("_first", "_key", "_size")

    def __init__(self, key: str, first: int, size: int) -> None:
        self._key = key
        self._first = first
        self._size = size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        numbers = range(self._first, self._first + self._size)[index]
        if isinstance(numbers, range):
            return [f"{self._key}:{number}" for number in numbers]
        return f"{self._key}:{numbers}"


class ArchiveSlot:
    """Reads one lane.

    Args:
        lane: What it reads.
        store: Where the objects are.
        board: How far all lanes are.
        state: What `snapshot` returned, or None.
    """

    def __init__(self, lane: Lane, store: Store, board: Board, state: SlotState | None) -> None:
        self._lane = lane
        self._board = board
        self._objects = [lane.listing.objects[rank] for rank in lane.ranks]
        self._place = state["place"] if state else 0
        self._records = state["records"] if state else 0  # emitted of the object at `_place`
        self._total = state["total"] if state else 0
        sizes = (one.size for one in self._objects)
        self._bytes_before = list(accumulate(sizes, initial=0))  # each object
        self._bytes = self._bytes_before[self._place]
        self._unreadable: list[list[str]] = list(state["unreadable"]) if state else []
        self._ledger: Counter[str] = Counter(state["ledger"] if state else {})
        self._greeted = False
        self.finished = False
        self._waits = False
        self._skip = 0
        self._batches: Iterator[Batch | None] | None = None
        self._first = self._place  # the fetch counts objects from here on
        self._fetch = Fetch(lane.name, store, self._objects[self._place :], lane.most_bytes)
        self._left: list[Batch] = []
        self._tell()

    def poll(self) -> list[Block | Mark | Unreadable]:
        """Return the next records of the lane, the marks of a finite shard around them."""
        items: list[Block | Mark | Unreadable] = []
        name = self._lane.name
        self._waits = False
        if not self._greeted:
            self._greeted = True
            items += [Hello(name, (name,)), Adopted(name)]
        if self._place == len(self._objects):
            self.finished = True
            return [*items, EndOfInput(name), Ended(name)]
        if self._batches is None and not self._begin():
            self._waits = True
            return items
        try:
            batch = self._next()
        except ObjectError as error:
            self._fetch.give_up(self._place - self._first)
            items.append(self._failed(error))
            self._go_on()
            return items
        if batch is None:
            self._waits = True
        elif batch.payloads:
            items.append(self._block(batch))
        self._tell()
        return items

    def next_awake(self) -> datetime | None:
        """Poll at once, or in a moment where nothing was there."""
        return datetime.now(UTC) + _WAIT if self._waits else None

    def snapshot(self) -> SlotState:
        """Return the position behind the last poll."""
        return {
            "version": STATE_VERSION,
            "place": self._place,
            "records": self._records,
            "total": self._total,
            "unreadable": list(self._unreadable),
            "ledger": dict(self._ledger),
        }

    def close(self) -> None:
        """Stop reading."""
        self._fetch.close()

    # ---- objects ----

    def _begin(self) -> bool:
        """Begin the object at the position, unless others must catch up first."""
        lane = self._lane
        rank = lane.ranks[self._place]
        objects, lanes = lane.listing.objects, lane.listing.lanes
        if not may_begin(rank, self._board.oldest(), objects, lanes, lane.drift_us):
            return False
        self._skip = self._records
        self._batches = batches(objects[rank].key, self._chunks())
        return True

    def _chunks(self) -> Iterator[bytes]:
        """Yield the bytes of the object at the position; none where none are there yet."""
        while True:
            item = self._fetch.take()
            if item is None:
                yield b""
            elif isinstance(item, Chunk):
                self._bytes += len(item.data)
                metrics.source_bytes.labels(self._lane.archive, self._lane.name).inc(len(item.data))
                yield item.data
            elif isinstance(item, Failed):
                raise item.error
            elif isinstance(item, End):
                return

    def _next(self) -> Batch | None:
        """Return the next batch to emit, one without payloads at an object's end; None: wait."""
        assert self._batches is not None, "the object has begun"
        if self._left:
            return self._cut(self._left.pop())
        for batch in self._batches:
            if batch is None:
                return None
            if self._skip >= len(batch.payloads):
                self._skip -= len(batch.payloads)
                continue
            if self._skip:
                batch = _rest_of(batch, self._skip)
                self._skip = 0
            return self._cut(batch)
        if not self._records:
            raise ObjectError(EMPTY, "it has no records")
        self._go_on()
        self._ledger["objects"] += 1
        return Batch(())

    def _cut(self, batch: Batch) -> Batch:
        most = self._lane.block_rows
        if most is None or len(batch.payloads) <= most:
            return batch
        self._left.append(_rest_of(batch, most))
        return Batch(batch.payloads[:most], batch.aggregates)

    def _go_on(self) -> None:
        self._place += 1
        self._records = 0
        self._batches = None
        self._left.clear()
        self._bytes = self._bytes_before[self._place]
        self._tell()

    def _failed(self, error: ObjectError) -> Unreadable:
        """Account for an object that can't be read on: what is left of it is one record."""
        one: ArchiveObject = self._objects[self._place]
        for count in ("records", "plain", "user_records", "objects", "objects_unreadable"):
            self._ledger[count] += 1
        if len(self._unreadable) < MOST_NAMED:
            self._unreadable.append([one.key, error.reason, error.detail])
        number = f"{one.key}:{self._records + 1}"
        return Unreadable(self._lane.name, number, error.reason, error.detail)

    # ---- records ----

    def _block(self, batch: Batch) -> Block:
        size = len(batch.payloads)
        one = self._objects[self._place]
        block = Block(
            self._lane.name,
            batch.payloads,
            Numbered(one.key, self._records + 1, size),
            self._arrivals(one, size),
        )
        self._records += size
        self._total += size
        plain = size if batch.aggregates is None else 0
        aggregated = batch.aggregates or 0
        self._ledger["records"] += plain + aggregated
        self._ledger["plain"] += plain
        self._ledger["aggregated"] += aggregated
        self._ledger["user_records"] += size
        metrics.source_records.labels(self._lane.archive, self._lane.name).inc(size)
        return block

    def _arrivals(self, one: ArchiveObject, size: int) -> Int64s | None:
        stamps = self._lane.stamps
        if stamps is not None:
            numbers = np.arange(self._total, self._total + size, dtype=np.int64)
            return stamps.begin_us + numbers * stamps.step_us
        latest_us = one.latest_arrival_us
        return None if latest_us is None else np.full(size, latest_us, np.int64)

    def _tell(self) -> None:
        at_end = self._place == len(self._objects)
        rank = None if at_end else self._lane.ranks[self._place]
        done = Progress(self._place, self._bytes, self._total)
        self._board.tell(self._lane.number, rank, done)


def _rest_of(batch: Batch, emitted: int) -> Batch:
    """Return what is left of a batch; an aggregate was counted with what was emitted of it."""
    return Batch(batch.payloads[emitted:], None if batch.aggregates is None else 0)
