"""Enhanced fan-out under everything that ends a subscription: every record once and in order.

A scripted server sends two shards, one of which ends in two children, and misbehaves by the seed:
subscriptions are refused, taken over, cut within a frame, damaged, ended early or silent, and empty
events come between the records. Meanwhile the job crashes and goes on from its last snapshot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import md5
from typing import Any

import pytest

from messages import Adopted, Block, Ended
from sources.kinesis import EnhancedFanOut, KinesisSource, StartPosition
from sources.kinesis.subscription import Patience
from tests.fakes.event_stream import (
    CONSUMER_ARN,
    STREAM_ARN,
    Arguments,
    CutError,
    EventStreamServer,
    RefusedError,
    child,
    event,
    exception,
    subscriber,
)
from tests.fakes.kinesis import aggregate
from tests.integration.test_kinesis_source import reading

HALF = 2**127
QUARTER = 2**126
RANGES = {
    "shardId-000000000000": (0, HALF - 1),
    "shardId-000000000001": (HALF, 2 * HALF - 1),
    "shardId-000000000002": (0, QUARTER - 1),
    "shardId-000000000003": (QUARTER, HALF - 1),
}
PARENT, OTHER, LEFT, RIGHT = RANGES
KEYS = {
    shard: next(
        str(key)
        for key in range(1000)
        if first <= int.from_bytes(md5(str(key).encode()).digest(), "big") <= last
    )
    for shard, (first, last) in RANGES.items()
}
"""A partition key that belongs to each shard."""

RECORDS = 80
STEP = 10  # between sequence numbers: continuation numbers lie between them


class Faulty:
    """The server's side."""

    def __init__(self, server: EventStreamServer, rng: random.Random) -> None:
        self.server = server
        self.rng = rng
        self.faults: list[str] = []
        self.reached = dict.fromkeys(RANGES, 0)
        self.payloads = {
            shard: [b"%s/%03d" % (shard[-1:].encode(), n) for n in range(RECORDS)]
            for shard in RANGES
        }
        server.subscribe = self.subscribe
        consumer = {"ConsumerARN": CONSUMER_ARN, "ConsumerStatus": "ACTIVE"}
        server.answers = {
            "DescribeStreamConsumer": lambda _: {
                "ConsumerDescription": consumer
                | {
                    "ConsumerName": "kinewax",
                    "ConsumerCreationTimestamp": 0,
                    "StreamARN": STREAM_ARN,
                }
            },
            "DescribeStreamSummary": lambda _: {
                "StreamDescriptionSummary": {
                    "StreamARN": STREAM_ARN,
                    "StreamCreationTimestamp": 0,
                    "OpenShardCount": 2,
                    "RetentionPeriodHours": 24 * 365 * 50,  # the records arrived long ago
                }
            },
            "ListShards": lambda _: {"Shards": [listed(name) for name in RANGES]},
        }

    def subscribe(self, arguments: Arguments) -> Iterator[bytes]:
        shard, position = arguments["ShardId"], arguments["StartingPosition"]
        place = 0  # of the next record; the n-th has the number (n + 1) * STEP
        if position["Type"] != "TRIM_HORIZON":
            at = position["Type"] == "AT_SEQUENCE_NUMBER"
            place = min((int(position["SequenceNumber"]) - at) // STEP, RECORDS)
        if self.rng.random() < 0.15:
            self.faults.append("refused")
            raise RefusedError(
                self.rng.choice(["ResourceInUseException", "LimitExceededException"])
            )
        for _ in range(self.rng.randint(1, 6)):
            self.server.over.wait(0.003)
            batch = self.rng.randint(0, 4)
            records = [
                (STEP * (n + 1), self.data(shard, n))
                for n in range(place, min(place + batch, RECORDS))
            ]
            place += len(records)
            if place == RECORDS and shard != OTHER:
                children = [child(name, PARENT, *RANGES[name]) for name in (LEFT, RIGHT)]
                if shard == PARENT:
                    yield event(records, children=children)
                    return
            # Further than the last record, and on for as long as nothing more is there.
            self.reached[shard] = max(self.reached[shard], STEP * place) + (place == RECORDS)
            after = STEP * place + STEP // 2 if place < RECORDS else self.reached[shard]
            yield event(records, after=after, behind_ms=0 if place == RECORDS else 5_000)
        yield from self.misbehave(shard, place)

    def data(self, shard: str, n: int) -> bytes:
        # Every seventh record is an aggregate of three: what is sent is its parts.
        payload = self.payloads[shard][n]
        if n % 7 == 0:
            parts = [payload + part for part in (b"a", b"b", b"c")]
            return aggregate(*parts, partition_key=KEYS[shard])
        return payload

    def wanted(self, shard: str) -> list[bytes]:
        return [
            payload + part
            for n, payload in enumerate(self.payloads[shard])
            for part in ((b"a", b"b", b"c") if n % 7 == 0 else (b"",))
        ]

    def misbehave(self, shard: str, place: int) -> Iterator[bytes]:
        fault = self.rng.choice(["ended", "cut", "damaged", "taken over", "broken", "silent"])
        self.faults.append(fault)
        more = [(STEP * (n + 1), b"never whole") for n in range(place, min(place + 3, RECORDS))]
        whole = event(more, after=STEP * (place + 3))
        if fault == "cut":
            yield whole[: self.rng.randrange(1, len(whole))]
            raise CutError
        if fault == "damaged":
            at = self.rng.randrange(12, len(whole))
            yield whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]
        if fault == "taken over":
            yield exception("ResourceInUseException")
        if fault == "broken":
            yield exception("InternalFailureException")
        if fault == "silent":
            yield from self.server.stall()


def listed(name: str) -> dict[str, Any]:
    first, last = RANGES[name]
    entry: dict[str, Any] = {
        "ShardId": name,
        "HashKeyRange": {"StartingHashKey": str(first), "EndingHashKey": str(last)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    }
    return entry | ({"ParentShardId": PARENT} if name in (LEFT, RIGHT) else {})


@pytest.mark.parametrize("seed", range(4))
def test_every_record_comes_once_and_in_order_whatever_ends_a_subscription(seed: int) -> None:
    rng = random.Random(seed)
    with EventStreamServer() as server:
        faulty = Faulty(server, rng)
        patience = Patience(stall_seconds=0.1, call_seconds=0.0, renew_seconds=0.0)

        def source() -> KinesisSource:
            fan_out = EnhancedFanOut("kinewax", lambda: subscriber(server.endpoint), patience)
            return KinesisSource(
                STREAM_ARN,
                lambda: subscriber(server.endpoint),
                start=StartPosition("TRIM_HORIZON"),
                slots=4,
                fan_out=fan_out,
                seed=seed,
            )

        committed: list[Any] = []
        states: dict[str, Any] | None = None
        total = sum(len(faulty.wanted(shard)) for shard in RANGES)
        for goal in (total // 4, total // 2, total):
            with reading(source(), states) as job:
                job.until(lambda: count(committed + job.items) >= goal)  # noqa: B023
                committed += job.items
                states = job.snapshot()
                if goal < total:
                    assert count(committed) < total
                    begun = len(server.calls)  # read on, and crash before that is committed
                    job.until(lambda: len(server.calls) > begun)  # noqa: B023
                else:
                    job.until(lambda: Ended(PARENT, (LEFT, RIGHT)) in committed + job.items)  # noqa: B023
                    committed += [mark for mark in job.items if isinstance(mark, Ended)]
                    ledger = {key: job.ledger(key) for key in ("records", "user_records")}

    for shard in RANGES:
        rows = [p for b in blocks(committed) if b.shard == shard for p in b.payloads]
        assert rows == faulty.wanted(shard)
    assert ledger == {"records": RECORDS * len(RANGES), "user_records": total}
    assert Ended(PARENT, (LEFT, RIGHT)) in committed
    assert {mark.shard for mark in committed if isinstance(mark, Adopted)} == set(RANGES)
    assert len(set(faulty.faults)) >= 5


def blocks(items: list[Any]) -> list[Block]:
    return [item for item in items if isinstance(item, Block)]


def count(items: list[Any]) -> int:
    return sum(len(block.payloads) for block in blocks(items))
