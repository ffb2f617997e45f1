"""A Kinesis in memory, for what no local server does on request: faults, expiry, slow listings.

It holds to the service's rules (closed shards end, children name their parents, positions may be
trimmed) and answers as boto3 does, errors included. `SteppedStream` runs a process's background
work on demand, so that a test decides what happens before what.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.exceptions import ClientError

from sources.kinesis.pacing import Pacing
from sources.kinesis.stream import Stream

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HASH_KEYS = 1 << 128


def client_error(code: str, status: int = 400, message: str = "scripted") -> ClientError:
    reply = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(reply, "Scripted")


def aggregate(*payloads: bytes, partition_key: str = "k") -> bytes:
    """Pack user records as the KPL does."""
    aggregator = RecordAggregator()
    for payload in payloads:
        aggregator.add_user_record(partition_key, payload)
    contents: bytes = aggregator.clear_and_get().get_contents()[2]
    return contents


@dataclass
class FakeShard:
    id: str
    first_hash: int
    last_hash: int
    parents: tuple[str, ...]
    records: list[tuple[int, int, bytes]] = field(default_factory=list)  # sequence, arrival, data
    closed: bool = False
    closed_us: int | None = None
    listed: bool = True  # False: a listing doesn't show it yet

    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "ShardId": self.id,
            "HashKeyRange": {
                "StartingHashKey": str(self.first_hash),
                "EndingHashKey": str(self.last_hash),
            },
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        }
        names = ("ParentShardId", "AdjacentParentShardId")
        return entry | dict(zip(names, self.parents, strict=False))


class FakeKinesis:
    """One stream; its clock moves a second with each record put.

    Attributes:
        faults: Called with each operation's name and arguments; an exception it returns is raised.
        names_children: Whether the last reply of a closed shard has ChildShards.
        calls: The operations called, with arguments.
    """

    def __init__(self, shards: int = 1, *, names_children: bool = True) -> None:
        self.meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None))
        self.names_children = names_children
        self.faults: Callable[[str, dict[str, Any]], Exception | None] = lambda *_: None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.now_us = 1_700_000_000_000_000
        self.retention_hours = 24
        self.created = EPOCH
        self.page_size = 1000
        self.shards: dict[str, FakeShard] = {}
        self.expired: dict[str, FakeShard] = {}
        self.closed = False
        self._sequence = 0
        for number in range(shards):
            first, last = HASH_KEYS * number // shards, HASH_KEYS * (number + 1) // shards - 1
            self._open(first, last, ())

    # ---- what a test does to the stream ----

    def clock(self) -> int:
        return self.now_us

    def put(self, data: bytes, hash_key: int = 0) -> str:
        shard = next(s for s in self.open_shards() if s.first_hash <= hash_key <= s.last_hash)
        self._sequence += 1
        self.now_us += 1_000_000
        shard.records.append((self._sequence, self.now_us, data))
        return str(self._sequence)

    def open_shards(self) -> list[FakeShard]:
        return [shard for shard in self.shards.values() if not shard.closed]

    def split(self, shard_id: str) -> tuple[str, str]:
        shard = self.shards[shard_id]
        middle = (shard.first_hash + shard.last_hash) // 2
        self._close(shard)
        return (
            self._open(shard.first_hash, middle, (shard_id,)),
            self._open(middle + 1, shard.last_hash, (shard_id,)),
        )

    def merge(self, one: str, other: str) -> str:
        low, high = sorted((self.shards[one], self.shards[other]), key=lambda s: s.first_hash)
        assert low.last_hash + 1 == high.first_hash
        self._close(low)
        self._close(high)
        return self._open(low.first_hash, high.last_hash, (one, other))

    def expire(self, shard_id: str) -> None:
        """Forget a closed shard, as the service does when its last record has expired."""
        self.expired[shard_id] = self.shards.pop(shard_id)

    def recreate(self) -> None:
        """Delete the stream and create another of its name: shard ids begin again."""
        self.created += timedelta(days=1)
        self.shards.clear()
        self._open(0, HASH_KEYS - 1, ())

    def has_expired(self, shard: FakeShard) -> bool:
        """Tell whether the retention has passed since a shard was closed."""
        retention_us = self.retention_hours * 3_600_000_000
        return shard.closed_us is not None and shard.closed_us + retention_us < self.now_us

    def _close(self, shard: FakeShard) -> None:
        shard.closed = shard.listed = True
        shard.closed_us = self.now_us

    def _open(self, first: int, last: int, parents: tuple[str, ...]) -> str:
        number = len(self.shards) and 1 + int(max(self.shards)[-12:])
        name = f"shardId-{number:012d}"
        self.shards[name] = FakeShard(name, first, last, parents)
        return name

    # ---- the client ----

    def close(self) -> None:
        self.closed = True

    def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        self._call("describe_stream_summary", arguments)
        return {
            "StreamDescriptionSummary": {
                "StreamARN": "arn:aws:kinesis:eu-west-1:1:stream/s",
                "StreamCreationTimestamp": self.created,
                "OpenShardCount": len(self.open_shards()),
                "RetentionPeriodHours": self.retention_hours,
            }
        }

    def list_shards(self, **arguments: Any) -> dict[str, Any]:
        self._call("list_shards", arguments)
        names = sorted(name for name, shard in self.shards.items() if shard.listed)
        start = int(arguments.get("NextToken", 0))
        page = names[start : start + self.page_size]
        reply: dict[str, Any] = {"Shards": [self.shards[name].entry() for name in page]}
        if start + self.page_size < len(names):
            reply["NextToken"] = str(start + self.page_size)
        return reply

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        self._call("get_shard_iterator", arguments)
        shard = self._shard(arguments["ShardId"])
        match arguments["ShardIteratorType"]:
            case "TRIM_HORIZON":
                after = 0
            case "AFTER_SEQUENCE_NUMBER":
                after = int(arguments["StartingSequenceNumber"])
            case "AT_SEQUENCE_NUMBER":
                after = int(arguments["StartingSequenceNumber"]) - 1
            case "AT_TIMESTAMP":
                start_us = round(arguments["Timestamp"] * 1e6)
                before = [seq for seq, arrival, _ in shard.records if arrival < start_us]
                after = before[-1] if before else 0
        return {"ShardIterator": f"{shard.id}|{after}"}

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        self._call("get_records", arguments)
        name, after = arguments["ShardIterator"].split("|")
        shard = self._shard(name)
        rest = [record for record in shard.records if record[0] > int(after)]
        page = rest[: arguments["Limit"]]
        ended = shard.closed and len(page) == len(rest)
        reply: dict[str, Any] = {
            "Records": [
                {
                    "SequenceNumber": str(sequence),
                    "Data": data,
                    "ApproximateArrivalTimestamp": EPOCH + timedelta(microseconds=arrival),
                }
                for sequence, arrival, data in page
            ],
            "MillisBehindLatest": 1000 * (len(rest) - len(page)),
            "NextShardIterator": f"{name}|{page[-1][0] if page else after}",
        }
        if ended:
            reply["NextShardIterator"] = None
            if self.names_children:
                reply["ChildShards"] = [
                    {
                        "ShardId": child.id,
                        "ParentShards": list(child.parents),
                        "HashKeyRange": child.entry()["HashKeyRange"],
                    }
                    for child in self.shards.values()
                    if name in child.parents
                ]
        return reply

    def _call(self, operation: str, arguments: dict[str, Any]) -> None:
        self.calls.append((operation, arguments))
        error = self.faults(operation, arguments)
        if error is not None:
            raise error

    def _shard(self, name: str) -> FakeShard:
        if name not in self.shards:
            code = "ResourceNotFoundException"
            raise client_error(code)
        return self.shards[name]


class _Steps:
    """Stands in for `Prefetch`: runs a step when told to."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], float | None]] = []

    def add(self, step: Callable[[], float | None], delay_seconds: float = 0.0) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.steps.clear()

    def join(self, timeout_seconds: float) -> None:
        pass


class SteppedStream(Stream):
    """What a process shares, without threads: `list_shards` and `fetch` do their work."""

    def __init__(
        self,
        client: FakeKinesis,
        *,
        start_us: int | None = None,
        slots: int = 1,
        on_data_loss: str = "warn",
        max_prefetch_bytes: int = 64 << 20,
    ) -> None:
        super().__init__(
            "stepped",
            client,
            start_us=start_us,
            slots=slots,
            on_data_loss=on_data_loss,
            pacing=Pacing(),
            max_prefetch_bytes=max_prefetch_bytes,
            clock=client.clock,
            rng=random.Random(1),
        )
        self.lister.start = lambda: None
        self.lister.join = lambda timeout_seconds: None
        self._prefetch = self.prefetch = _Steps()

    def list_shards(self) -> None:
        self._guard(self.lister.step)

    def fetch(self, number: int = 0) -> None:
        """Run one of the readers' steps; it goes to the back of the queue."""
        if self.prefetch.steps:
            step = self.prefetch.steps.pop(number % len(self.prefetch.steps))
            if self._guard(step) is not None:
                self.prefetch.steps.append(step)

    def fetch_all(self, times: int = 1) -> None:
        for _ in range(times * len(self.prefetch.steps)):
            self.fetch()

    def _guard(self, step: Callable[[], float | None]) -> float | None:
        try:
            return step()
        except Exception as error:
            self._fail(error)
            return None
