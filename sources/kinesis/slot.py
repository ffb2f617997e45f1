"""A slot: owns the shards whose hash range has its midpoint in the slot's share of the key space.

The engine polls it in its one thread. Everything a poll needs is already here: rows in the readers'
queues, the newest listing in the lister. What a poll returns, in order: `Adopted` for the shards
the slot owns and then `Hello` (on resume at once, from the state; else with the first listing);
later `Adopted` before the first block of a shard found later, `Block`s, `Idle` behind the rows
that came before it, and `Ended` once a shard is read to its end and its heirs are known.

Guarantee: the snapshot is the position behind what the last poll returned, never ahead of it, so
that a restart reads again what was not committed and nothing else. A shard is adopted once: an
ended one stays in the state until the stream has forgotten it, which is not before its records
have expired. A state belongs to one stream: another one of its name is refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np

from errors import LayoutError
from messages import Adopted, Block, Ended, Hello, Idle, Mark
from payloads import joined
from sources.base import SlotState
from sources.kinesis.lineage import Shard, heirs, oldest_first, slot_of
from sources.kinesis.lister import Listing
from sources.kinesis.reader import End, Position, ShardReader, Tip
from sources.kinesis.records import MAX_ROWS, Rows, numbers_joined
from sources.kinesis.stream import Stream

STATE_VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK_US = 100_000
_FEW_ROWS = 1_000
_POLL_ROWS = 3 * MAX_ROWS
_FORGOTTEN_ROUNDS = 3

_LEDGER_KEYS = ("records", "plain", "aggregated", "user_records", "foreign_user_records")

_ShardPhase = Literal["reading", "drained", "ended"]


@dataclass(slots=True)
class _Owned:
    """A shard of this slot.

    Attributes:
        shard: Its range and parents.
        position: Behind what was emitted.
        phase: `drained` is read to its end, but its heirs are not all known yet.
        read_until_us: All records that arrived before this time were emitted; None if unknown.
        gone_round: The service denies that it exists; a listing of this round or later decides.
        absent_rounds: For how many ListShards in a row it has been missing, once ended.
    """

    shard: Shard
    position: Position
    phase: _ShardPhase = "reading"
    read_until_us: int | None = None
    gone_round: int | None = None
    absent_rounds: int = 0


class KinesisSlot:
    """One slot of a `KinesisSource`.

    Args:
        name: As `slot-07`.
        number: Its place among the slots.
        stream: What the slots of a process share.
        state: What `snapshot` returned, or None.
    """

    finished = False

    def __init__(self, name: str, number: int, stream: Stream, state: SlotState | None) -> None:
        self._name = name
        self._number = number
        self._stream = stream
        self._owned: dict[str, _Owned] = {}
        self._readers: dict[str, ShardReader] = {}
        self._ledger: Counter[str] = Counter(dict.fromkeys(_LEDGER_KEYS, 0))
        self._start_us = stream.start_us
        self._listed = False  # the first listing of this slot's life was taken in
        self._created_us: int | None = None  # of the stream; None before the first listing
        self._listing: Listing | None = None
        self._closed: set[str] = set()  # shards that the listing names as parents
        self._greeted = False
        self._turn = 0
        if state is not None:
            self._restore(state)
        stream.acquire()

    # ---- the contract ----

    def poll(self) -> list[Block | Mark]:
        """Return what is there now; raise what a background thread failed with."""
        self._stream.check()
        out: list[Block | Mark] = []
        if self._listed and not self._greeted:
            self._greet(out)
        listing = self._stream.lister.listing
        if listing is not None and listing is not self._listing:
            self._take_listing(listing, out)
        self._take_rows(out)
        return out

    def next_awake(self) -> datetime | None:
        """Return the next multiple of 100 ms; None while many rows wait.

        All slots of a worker wake together, so that the engine runs once for all of them; and
        few rows wait for that moment, so that they travel in one block.
        """
        if sum(reader.rows_waiting() for reader in self._readers.values()) >= _FEW_ROWS:
            return None
        now_us = self._stream.clock()
        return _EPOCH + timedelta(microseconds=(now_us // _TICK_US + 1) * _TICK_US)

    def snapshot(self) -> SlotState:
        """Return the positions behind the last poll and the ledger, as plain values."""
        return {
            "version": STATE_VERSION,
            "t0_us": self._start_us,
            "listed": self._listed,
            "created_us": self._created_us,
            "shards": {name: _dump(owned) for name, owned in self._owned.items()},
            "ledger": dict(self._ledger),
        }

    def close(self) -> None:
        """Stop reading; the last slot of the process to close stops the threads."""
        for name in list(self._readers):
            self._stop(name)
        self._stream.release(self._name)

    # ---- shards ----

    def _restore(self, state: SlotState) -> None:
        if state["version"] != STATE_VERSION:
            message = f"{self._name} has a state of version {state['version']}, not {STATE_VERSION}"
            raise ValueError(message)
        self._start_us = state["t0_us"]
        self._listed = state["listed"]
        self._created_us = state.get("created_us")  # a move between stores leaves it out
        self._owned = {name: _load(name, dumped) for name, dumped in state["shards"].items()}
        self._ledger.update(state["ledger"])

    def _greet(self, out: list[Block | Mark]) -> None:
        alive = [owned.shard for owned in self._owned.values() if owned.phase != "ended"]
        out.extend(Adopted(shard.id, shard.parents) for shard in alive)
        out.append(Hello(self._name, tuple(shard.id for shard in alive)))
        self._greeted = True

    def _take_listing(self, listing: Listing, out: list[Block | Mark]) -> None:
        self._check_stream(listing)
        new_round = self._listing is None or listing.round_number != self._listing.round_number
        self._listing = listing
        self._closed = {parent for shard in listing.shards.values() for parent in shard.parents}
        # Every shard of the first listing begins at the start position, child or not. Later ones
        # were opened since: everything in them is new.
        start_us = None if self._listed else self._start_us
        self._listed = True
        found = [
            shard
            for shard in listing.shards.values()
            if shard.id not in self._owned and slot_of(shard, self._stream.slots) == self._number
        ]
        for shard in oldest_first(found, listing.shards):
            self._owned[shard.id] = _Owned(shard, Position(start_us=start_us))
            if self._greeted:
                out.append(Adopted(shard.id, shard.parents))
        if not self._greeted:
            self._greet(out)
        for name, owned in list(self._owned.items()):
            if owned.gone_round is not None:
                if listing.round_number >= owned.gone_round:
                    self._settle_gone(owned, listing)
            elif owned.phase == "reading" and name not in self._readers:
                if name in listing.shards:  # else the service will say that it is gone
                    self._check_expired(owned, listing)
                self._start(owned)
            if owned.phase == "drained":
                self._end(owned, out)
            elif owned.phase == "ended" and new_round:
                self._forget(owned, listing)
        self._count_shards()

    def _check_stream(self, listing: Listing) -> None:
        """Refuse another stream of the same name: its shards have the ids of those we know."""
        if self._created_us not in (None, listing.created_us):
            message = (
                f"Stream {self._stream.name!r} was deleted and created again: "
                "the positions are those of the one before"
            )
            raise LayoutError(message, hint="start afresh with another --recovery directory")
        self._created_us = listing.created_us

    def _check_expired(self, owned: _Owned, listing: Listing) -> None:
        until_us = owned.read_until_us
        trimmed_us = self._stream.clock() - listing.retention_us
        if until_us is not None and until_us < trimmed_us:
            hours = (trimmed_us - until_us) / 3.6e9
            why = f"records have expired since it was last read, up to {hours:.1f} hours of them"
            self._stream.on_loss(owned.shard.id, why)

    def _start(self, owned: _Owned) -> None:
        self._readers[owned.shard.id] = self._stream.read(owned.shard, owned.position)

    def _stop(self, name: str) -> None:
        self._stream.stop(self._readers.pop(name))

    def _settle_gone(self, owned: _Owned, listing: Listing) -> None:
        owned.gone_round = None
        if owned.shard.id in listing.shards:
            self._start(owned)  # the service knows it again, or not yet
            return
        why = "the shard expired before it was read to its end"
        self._stream.on_loss(owned.shard.id, why)
        owned.phase = "drained"

    def _end(self, owned: _Owned, out: list[Block | Mark]) -> None:
        listing = self._listing
        children = heirs(owned.shard, listing.shards) if listing is not None else None
        if children is None:
            self._stream.lister.refresh()
            return
        out.append(Ended(owned.shard.id, children))
        owned.phase = "ended"
        owned.read_until_us = self._stream.clock()

    def _forget(self, owned: _Owned, listing: Listing) -> None:
        # A shard that listings left out by a slip would be adopted again, and read once more. The
        # stream lists a closed shard until its records have expired.
        owned.absent_rounds = 0 if owned.shard.id in listing.shards else owned.absent_rounds + 1
        has_expired = (owned.read_until_us or 0) < self._stream.clock() - listing.retention_us
        if has_expired and owned.absent_rounds >= _FORGOTTEN_ROUNDS:
            del self._owned[owned.shard.id]

    def _count_shards(self) -> None:
        phases = Counter(owned.phase for owned in self._owned.values())
        self._stream.count_shards(
            self._name,
            {
                "reading": phases["reading"],
                "waiting": phases["drained"],
                "ended": phases["ended"],
            },
        )

    # ---- rows ----

    def _take_rows(self, out: list[Block | Mark]) -> None:
        names = list(self._readers)
        if not names:
            return
        # Another shard comes first each time, so that none starves behind the limit of a poll.
        self._turn = (self._turn + 1) % len(names)
        room = _POLL_ROWS
        for name in names[self._turn :] + names[: self._turn]:
            if room <= 0:
                break
            room -= self._take_shard(self._owned[name], self._readers[name], room, out)

    def _take_shard(
        self, owned: _Owned, reader: ShardReader, room: int, out: list[Block | Mark]
    ) -> int:
        gathered: list[Rows] = []
        taken = 0
        while taken < room and (item := reader.take()) is not None:
            if isinstance(item, Rows):
                gathered.append(item)
                taken += len(item.payloads)
                continue
            self._emit(owned, gathered, out)
            gathered = []
            if isinstance(item, Tip):
                owned.read_until_us = item.as_of_us
                # A closed shard that was found empty will end, and its children, which hold in its
                # place then, may have rows from long before.
                if owned.shard.id not in self._closed:
                    out.append(Idle(owned.shard.id, item.as_of_us))
                continue
            self._stop(owned.shard.id)
            if isinstance(item, End):
                owned.phase = "drained"
                self._end(owned, out)
            else:
                self._stream.lister.doubt()
                owned.gone_round = self._stream.lister.refresh()
            self._count_shards()
            break
        self._emit(owned, gathered, out)
        return taken

    def _emit(self, owned: _Owned, gathered: list[Rows], out: list[Block | Mark]) -> None:
        if not gathered:
            return
        last = gathered[-1]
        for rows in gathered:
            self._ledger["records"] += rows.plain + rows.aggregated
            self._ledger["plain"] += rows.plain
            self._ledger["aggregated"] += rows.aggregated
            self._ledger["user_records"] += len(rows.payloads) + rows.foreign
            self._ledger["foreign_user_records"] += rows.foreign
        owned.position = Position(last.sequence, last.sub_sequence)
        filled = [rows for rows in gathered if len(rows.payloads)]
        if filled:
            block = _block(owned.shard.id, filled)
            out.append(block)
            owned.read_until_us = int(filled[-1].arrival_us[-1])


def _block(shard: str, parts: list[Rows]) -> Block:
    return Block(
        shard,
        joined([rows.payloads for rows in parts]),
        numbers_joined([rows.sequence_numbers for rows in parts]),
        np.concatenate([rows.arrival_us for rows in parts]),
    )


def _dump(owned: _Owned) -> dict[str, Any]:
    shard, position = owned.shard, owned.position
    return {
        "sequence": position.sequence,
        "sub_sequence": position.sub_sequence,
        "start_us": position.start_us,
        "read_until_us": owned.read_until_us,
        "parents": list(shard.parents),
        # Text, as Kinesis has them: 128 bits survive no JSON reader's floats.
        "hash_range": [str(shard.first_hash), str(shard.last_hash)],
        "state": owned.phase,
    }


def _load(name: str, dumped: dict[str, Any]) -> _Owned:
    first_hash, last_hash = map(int, dumped["hash_range"])
    return _Owned(
        Shard(name, first_hash, last_hash, tuple(dumped["parents"])),
        Position(dumped["sequence"], dumped["sub_sequence"], dumped["start_us"]),
        dumped["state"],
        dumped["read_until_us"],
    )
