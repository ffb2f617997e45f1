"""Resharding while running and while stopped, on the two servers that do it right.

kinesis-local ends a closed shard with ChildShards, kinesalite without, and always says that it has
nothing left (MillisBehindLatest 0).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from messages import Adopted, Block, Ended
from sources.kinesis import KinesisSource, StartPosition
from sources.kinesis.source import now_us
from tests.node_servers import PACKAGES
from tests.reshard.stream import ReshardedStream
from tests.servers import Clients

DEADLINE_SECONDS = 60.0
SLOTS = 7


class Numbers(ReshardedStream):
    """A stream of numbers."""

    def __init__(self, aws: Clients, name: str, rng: random.Random) -> None:
        super().__init__(aws, name, rng, shards=2)
        self._rng = rng
        self._next = 0

    def write(self, count: int) -> list[bytes]:
        """Write so many, and one to each open shard; return them as they are on the stream."""
        places = [self._rng.getrandbits(128) for _ in range(count)]
        places += [shard.first_hash for shard in self.open_shards()]
        numbers = range(self._next, self._next + len(places))
        self._next = numbers.stop
        self.put(
            [({"user_id": str(n)}, 0, place) for n, place in zip(numbers, places, strict=True)]
        )
        return [json.dumps({"user_id": str(n)}).encode() for n in numbers]

    def reshard(self) -> None:
        """Split or merge."""
        self.change(self._rng.choice(("split", "merge")))


class Job:
    """A service of some processes; its output counts up to the last snapshot only."""

    def __init__(self, aws: Clients, stream: str, first_start: StartPosition) -> None:
        self.aws = aws
        self.stream = stream
        self.first_start = first_start
        self.slots: list[Any] = []
        self.output: list[Any] = []
        self.committed: tuple[list[Any], dict[str, Any]] = ([], {})

    def start(self, processes: int) -> None:
        sources = [
            KinesisSource(
                self.stream,
                lambda: Clients(self.aws.endpoint)("kinesis"),
                start=self.first_start,
                slots=SLOTS,
            )
            for _ in range(processes)
        ]
        self.slots = [
            sources[number % processes].open(name, self.committed[1].get(name))
            for number, name in enumerate(sources[0].slots)
        ]
        self.output = list(self.committed[0])

    def stop(self) -> None:
        """Die: what was read since the last snapshot is forgotten."""
        for slot in self.slots:
            slot.close()
        self.slots = []

    def poll(self) -> None:
        """Poll each slot once, as an engine does that isn't in a hurry."""
        for slot in self.slots:
            self.output += slot.poll()
        time.sleep(0.005)

    def poll_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.poll()

    def commit(self) -> None:
        states = {f"slot-{n:02d}": slot.snapshot() for n, slot in enumerate(self.slots)}
        self.committed = (list(self.output), states)

    def payloads(self) -> list[bytes]:
        return [p for item in self.output if isinstance(item, Block) for p in item.payloads]

    def adopted(self) -> dict[str, tuple[str, ...]]:
        return {item.shard: item.parents for item in self.output if isinstance(item, Adopted)}

    def ended(self) -> dict[str, tuple[str, ...]]:
        return {item.shard: item.children for item in self.output if isinstance(item, Ended)}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_start_at_latest_on_a_stream_that_was_resharded_before(
    package: str, resharding: dict[str, Clients], unique_name: Callable[[str], str]
) -> None:
    aws = resharding[package]
    stream = Numbers(aws, unique_name("stream"), random.Random(5))
    for _ in range(3):
        stream.write(20)
        stream.reshard()
    stream.write(20)
    time.sleep(1.1)  # kinesalite keeps arrival times by the second
    job = Job(aws, stream.name, StartPosition("LATEST", now_us()))
    # kinesalite doesn't answer who asks for a time that no record of the shard has reached.
    expected = stream.write(20)
    job.start(1)
    try:
        expected += stream.write(20)
        stream.reshard()
        expected += stream.write(20)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(job.payloads()) < len(expected):
            assert time.monotonic() < deadline
            job.poll()
        job.poll_for(0.6)
        assert sorted(job.payloads()) == sorted(expected)
    finally:
        job.stop()


@pytest.mark.parametrize("package", PACKAGES)
def test_no_record_is_lost_or_doubled_by_reshards_crashes_and_other_process_counts(
    package: str, resharding: dict[str, Clients], unique_name: Callable[[str], str]
) -> None:
    rng = random.Random(20261122)
    aws = resharding[package]
    stream = Numbers(aws, unique_name("stream"), rng)
    expected = []
    job = Job(aws, stream.name, StartPosition("TRIM_HORIZON"))
    job.start(2)
    try:
        for _ in range(14):
            match rng.randrange(5):
                case 0:
                    expected += stream.write(20)
                    job.poll_for(0.1)
                case 1 | 2:
                    expected += stream.write(20)
                    stream.reshard()
                    expected += stream.write(20)
                    job.poll_for(rng.choice((0.0, 0.3)))
                case 3:
                    job.poll_for(0.3)
                    job.commit()
                case 4:
                    job.stop()
                    expected += stream.write(10)
                    stream.reshard()
                    expected += stream.write(10)
                    job.start(rng.randrange(1, 4))
        # A process that didn't read a parent finds its children by listing, every half a minute at
        # worst, or when it starts.
        job.commit()
        job.stop()
        job.start(2)
        shards = stream.shards()
        closed = {name for name, shard in shards.items() if not shard.is_open}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (
            len(job.payloads()) < len(expected)
            or set(job.ended()) != closed
            or set(job.adopted()) != set(shards)
        ):
            assert time.monotonic() < deadline
            job.poll()
        assert sorted(job.payloads()) == sorted(expected)
        assert stream.splits >= 3
        assert stream.merges >= 1
        for name, shard in shards.items():
            assert set(job.adopted()[name]) == set(shard.parents)
            for parent in shard.parents:
                assert name in job.ended()[parent]
    finally:
        job.stop()
