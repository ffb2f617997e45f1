"""Slots under random interleavings: reshards, expiries of nothing unread, crashes, late listings.

The oracle is the stream itself: every record put after the start comes out once in committed
history, in the order of its shard, and the marks tell the stream's lineage.
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given, settings
from hypothesis import strategies as st

from messages import Adopted, Block, Ended, Hello, Idle
from sources.kinesis.lineage import HASH_KEYS, covers
from sources.kinesis.slot import KinesisSlot
from tests.fakes.kinesis import FakeKinesis, SteppedStream, client_error

SLOTS = 5

operations = st.one_of(
    st.tuples(st.sampled_from(["put", "put aggregate"]), st.integers(0, HASH_KEYS - 1)),
    st.tuples(
        st.sampled_from(
            ["split", "merge", "hide", "show", "list", "fetch", "poll", "snapshot", "crash"]
        ),
        st.integers(0, 1000),
    ),
)


class Job:
    """A service of some processes: the engine's part is to commit and to roll back."""

    def __init__(self, stream: FakeKinesis, start_us: int | None, processes: int) -> None:
        self.stream = stream
        self.start_us = start_us
        self.output: list[Any] = []
        self.committed: tuple[list[Any], dict[str, Any]] = ([], {})
        self.build(processes)

    def build(self, processes: int) -> None:
        self.processes = [
            SteppedStream(self.stream, start_us=self.start_us, slots=SLOTS)
            for _ in range(processes)
        ]
        states = self.committed[1]
        self.slots = [
            KinesisSlot(f"slot-{n}", n, self.processes[n % processes], states.get(f"slot-{n}"))
            for n in range(SLOTS)
        ]

    def poll(self, number: int) -> None:
        self.output += self.slots[number % SLOTS].poll()

    def snapshot(self) -> None:
        states = {f"slot-{n}": slot.snapshot() for n, slot in enumerate(self.slots)}
        self.committed = (list(self.output), copy.deepcopy(states))

    def crash(self, processes: int) -> None:
        self.output = list(self.committed[0])
        self.build(processes)

    def settle(self) -> None:
        for _ in range(12):
            for process in self.processes:
                process.list_shards()
                process.fetch_all(3)
            for number in range(SLOTS):
                while items := self.slots[number].poll():
                    self.output += items

    def ledger(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for slot in self.slots:
            total.update(slot.snapshot()["ledger"])
        return total


def drive(stream: FakeKinesis, job: Job, steps: list[tuple[str, int]]) -> list[bytes]:
    wanted = []
    for step, number in steps:
        match step:
            case "put":
                data = b"%d" % len(wanted)
                stream.put(data, number)
                wanted.append(data)
            case "put aggregate":
                packed = [b"%d" % (len(wanted) + n) for n in range(1 + number % 6)]
                stream.put(with_hash_keys(packed, number), number)
                wanted += packed
            case "split":
                stream.split(_pick(stream.open_shards(), number).id)
            case "merge":
                alive = sorted(stream.open_shards(), key=lambda shard: shard.first_hash)
                if len(alive) > 1:
                    place = number % (len(alive) - 1)
                    stream.merge(alive[place].id, alive[place + 1].id)
            case "hide":
                _pick(stream.open_shards(), number).listed = False
            case "show":
                for shard in stream.shards.values():
                    shard.listed = True
            case "list":
                _pick(job.processes, number).list_shards()
            case "fetch":
                _pick(job.processes, number).fetch(number)
            case "poll":
                job.poll(number)
            case "snapshot":
                job.snapshot()
            case "crash":
                job.crash(1 + number % 3)
    for shard in stream.shards.values():
        shard.listed = True
    job.settle()
    return wanted


def with_hash_keys(payloads: list[bytes], hash_key: int) -> bytes:
    aggregator = RecordAggregator()
    for payload in payloads:
        aggregator.add_user_record("k", payload, str(hash_key))
    contents: bytes = aggregator.clear_and_get().get_contents()[2]
    return contents


@pytest.fixture(autouse=True, scope="module")
def small_rows() -> Iterator[None]:
    """Let aggregates be cut often, and polls end in the middle of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sources.kinesis.records.MAX_ROWS", 2)
        patch.setattr("sources.kinesis.slot._POLL_ROWS", 3)
        yield


def _pick(things: list[Any], number: int) -> Any:
    return things[number % len(things)]


def check_output(stream: FakeKinesis, job: Job, wanted: list[bytes], old: int = 0) -> None:
    blocks = [item for item in job.output if isinstance(item, Block)]
    emitted = [payload for block in blocks for payload in block.payloads]
    assert sorted(emitted) == sorted(wanted)
    ledger = job.ledger()
    assert ledger["user_records"] == len(wanted)
    assert ledger["records"] == ledger["plain"] + ledger["aggregated"]
    assert ledger["records"] == sum(len(shard.records) for shard in stream.shards.values()) - old

    adopted: set[str] = set()
    ended: set[str] = set()
    last: dict[str, tuple[int, ...]] = {}
    for item in job.output:
        match item:
            case Adopted(shard, parents):
                assert parents == stream.shards[shard].parents
                adopted.add(shard)
            case Hello(_, shards):
                assert set(shards) <= adopted
            case Block(shard, _, numbers):
                assert shard in adopted
                assert shard not in ended
                for number in numbers:
                    place = tuple(map(int, number.split(".")))
                    assert place > last.get(shard, (0,))
                    last[shard] = place
            case Idle(shard):
                assert shard in adopted
                assert shard not in ended
            case Ended(shard, children):
                assert shard not in ended
                assert stream.shards[shard].closed
                ended.add(shard)
                heirs = [stream.shards[child] for child in children]
                assert all(shard in heir.parents for heir in heirs)
                one = stream.shards[shard]
                assert covers(heirs, one.first_hash, one.last_hash)  # type: ignore[arg-type]
    assert adopted == set(stream.shards)
    assert ended == {shard.id for shard in stream.shards.values() if shard.closed}


@settings(max_examples=150)
@given(st.integers(1, 3), st.booleans(), st.lists(operations, max_size=60))
def test_every_record_comes_out_once_whatever_happens_in_between(
    shards: int, names_children: bool, steps: list[tuple[str, int]]
) -> None:
    stream = FakeKinesis(shards, names_children=names_children)
    job = Job(stream, None, 2)
    wanted = drive(stream, job, steps)
    check_output(stream, job, wanted)


@settings(max_examples=75)
@given(
    st.lists(operations, max_size=25),
    st.lists(operations, max_size=40),
)
def test_a_start_at_latest_reads_what_came_since_in_every_shard(
    before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    stream = FakeKinesis(2)
    stream.put(b"old", 5)
    reshard = [step for step in before if step[0] in ("put", "split", "merge")]
    drive(stream, Job(stream, None, 1), reshard)
    old = sum(len(shard.records) for shard in stream.shards.values())
    stream.now_us += 1_000
    job = Job(stream, stream.now_us, 2)
    # Listings are whole here: what the first one hides is taken for new, and read from its oldest.
    wanted = drive(stream, job, [step for step in after if step[0] != "hide"])
    check_output(stream, job, wanted, old)


@settings(max_examples=75)
@given(st.lists(operations, max_size=40), st.integers(0, 2**32))
def test_faults_neither_lose_nor_double_a_record(steps: list[tuple[str, int]], seed: int) -> None:
    rng = random.Random(seed)
    codes = (
        ("ProvisionedThroughputExceededException", 400),
        ("ExpiredIteratorException", 400),
        ("InternalFailure", 500),
    )
    stream = FakeKinesis(2)
    stream.faults = lambda operation, _: (
        client_error(*rng.choice(codes))
        if operation != "describe_stream_summary" and rng.random() < 0.3
        else None
    )
    job = Job(stream, None, 2)
    wanted = drive(stream, job, steps)
    stream.faults = lambda *_: None
    job.settle()
    check_output(stream, job, wanted)


@pytest.mark.parametrize("processes", [1, 3])
def test_the_fake_can_fail_the_test(processes: int) -> None:
    """A record that the source never saw must be missed, else the tests above prove nothing."""
    stream = FakeKinesis(2)
    job = Job(stream, None, processes)
    wanted = drive(stream, job, [("put", 1), ("put", HASH_KEYS - 1)])
    check_output(stream, job, wanted)
    with pytest.raises(AssertionError):
        check_output(stream, job, [*wanted, b"unread"])
