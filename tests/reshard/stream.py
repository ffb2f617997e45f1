"""A stream that is written to and resharded, and the truth about what lies where."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tests.servers import Clients

Change = Literal["split", "merge", "scale"]

_DEADLINE_SECONDS = 60.0
_MOST_OPEN = 6


@dataclass(frozen=True)
class Written:
    """A record as the service acknowledged it."""

    event: dict[str, str]
    time_us: int
    shard: str
    sequence: int


@dataclass(frozen=True)
class ListedShard:
    """A shard as ListShards tells it."""

    id: str
    first_hash: int
    last_hash: int
    parents: tuple[str, ...]
    is_open: bool


class ReshardedStream:
    """Writes to a stream and reshards it, as far as its server allows.

    Args:
        aws: The server's clients.
        name: The stream, which is made.
        rng: Chooses what to split and to merge.
        shards: How many it begins with.
    """

    def __init__(self, aws: Clients, name: str, rng: random.Random, shards: int) -> None:
        self.name = name
        self.written: dict[str, list[Written]] = defaultdict(list)
        """By shard, in the order of their sequence numbers."""
        self.splits = self.merges = 0
        self._kinesis = aws("kinesis")
        self._rng = rng
        self._kinesis.create_stream(StreamName=name, ShardCount=shards)
        self._wait_until_active()

    def delete(self) -> None:
        """Delete it."""
        self._kinesis.delete_stream(StreamName=self.name)

    def shards(self) -> dict[str, ListedShard]:
        """Return all shards, by id."""
        entries = self._kinesis.list_shards(StreamName=self.name)["Shards"]
        return {shard.id: shard for shard in map(_listed, entries)}

    def open_shards(self) -> list[ListedShard]:
        """Return the shards that can be written to, in the order of their hash ranges."""
        alive = [shard for shard in self.shards().values() if shard.is_open]
        return sorted(alive, key=lambda shard: shard.first_hash)

    def put(self, events: Sequence[tuple[dict[str, str], int, int]]) -> None:
        """Write (event, its time, hash key) in one call."""
        records = [
            {
                "Data": json.dumps(event).encode(),
                "PartitionKey": event["user_id"],
                "ExplicitHashKey": str(hash_key),
            }
            for event, _, hash_key in events
        ]
        reply = self._kinesis.put_records(StreamName=self.name, Records=records)
        assert reply["FailedRecordCount"] == 0, reply
        for (event, time_us, _), entry in zip(events, reply["Records"], strict=True):
            written = Written(event, time_us, entry["ShardId"], int(entry["SequenceNumber"]))
            self.written[written.shard].append(written)

    def change(self, change: Change) -> int:
        """Split, merge or scale, where there are shards for it; return how many reshards it was."""
        alive = self.open_shards()
        before = self.splits + self.merges
        if change == "scale" and len(alive) < _MOST_OPEN:
            self._scale(alive)
        elif len(alive) > 1 and (change == "merge" or len(alive) >= _MOST_OPEN):
            self._merge(alive)
        else:
            self._split(alive)
        self._wait_until_active()
        return self.splits + self.merges - before

    def _split(self, alive: Sequence[ListedShard]) -> None:
        shard = self._rng.choice(alive)
        self._kinesis.split_shard(
            StreamName=self.name,
            ShardToSplit=shard.id,
            NewStartingHashKey=str(self._rng.randrange(shard.first_hash + 1, shard.last_hash)),
        )
        self.splits += 1

    def _merge(self, alive: Sequence[ListedShard]) -> None:
        place = self._rng.randrange(len(alive) - 1)
        self._kinesis.merge_shards(
            StreamName=self.name,
            ShardToMerge=alive[place].id,
            AdjacentShardToMerge=alive[place + 1].id,
        )
        self.merges += 1

    def _scale(self, alive: Sequence[ListedShard]) -> None:
        """Let the service choose what to split and to merge for another number of shards."""
        known = set(self.shards())
        self._kinesis.update_shard_count(
            StreamName=self.name,
            TargetShardCount=len(alive) + self._rng.choice((-1, 1) if len(alive) > 1 else (1,)),
            ScalingType="UNIFORM_SCALING",
        )
        self._wait_until_active()
        new = [shard for name, shard in self.shards().items() if name not in known]
        self.merges += sum(len(shard.parents) == 2 for shard in new)
        self.splits += len({shard.parents for shard in new if len(shard.parents) == 1})

    def _wait_until_active(self) -> None:
        deadline = time.monotonic() + _DEADLINE_SECONDS
        while True:
            summary = self._kinesis.describe_stream_summary(StreamName=self.name)
            if summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                return
            assert time.monotonic() < deadline, f"{self.name} doesn't become active"
            time.sleep(0.01)


def _listed(entry: dict[str, Any]) -> ListedShard:
    hash_range = entry["HashKeyRange"]
    parents = (entry.get("ParentShardId"), entry.get("AdjacentParentShardId"))
    return ListedShard(
        entry["ShardId"],
        int(hash_range["StartingHashKey"]),
        int(hash_range["EndingHashKey"]),
        tuple(parent for parent in parents if parent),
        "EndingSequenceNumber" not in entry["SequenceNumberRange"],
    )
