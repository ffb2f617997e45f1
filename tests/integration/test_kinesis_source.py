"""The source against real servers over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator

from errors import MissingResourceError
from messages import Adopted, Block, Ended, Hello, Idle
from sources.kinesis import KinesisSource, StartPosition, resolve_stream
from sources.kinesis.source import now_us
from tests.servers import Clients

DEADLINE_SECONDS = 30.0
TRIM_HORIZON = StartPosition("TRIM_HORIZON")


class Reading:
    """All slots of a source in one process, polled like the engine does."""

    def __init__(self, source: KinesisSource, states: dict[str, Any] | None = None) -> None:
        self.slots = {name: source.open(name, (states or {}).get(name)) for name in source.slots}
        self.items: list[Any] = []

    def until(self, reached: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not reached():
            assert time.monotonic() < deadline, self.items
            for slot in self.slots.values():
                self.items += slot.poll()
            time.sleep(0.005)

    def payloads(self) -> list[bytes]:
        return [p for item in self.items if isinstance(item, Block) for p in item.payloads]

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.items if isinstance(item, kind)]

    def snapshot(self) -> dict[str, Any]:
        return {name: slot.snapshot() for name, slot in self.slots.items()}

    def ledger(self, key: str) -> int:
        return sum(state["ledger"][key] for state in self.snapshot().values())

    def close(self) -> None:
        for slot in self.slots.values():
            slot.close()


@contextmanager
def reading(source: KinesisSource, states: dict[str, Any] | None = None) -> Iterator[Reading]:
    made = Reading(source, states)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=["moto", "ministack"])
def aws(request: pytest.FixtureRequest, moto: Clients, ministack: Clients) -> Clients:
    return moto if request.param == "moto" else ministack


@pytest.fixture
def name(unique_name: Callable[[str], str]) -> str:
    return unique_name("stream")


@pytest.fixture
def stream(aws: Clients, name: str) -> str:
    """A stream of three shards."""
    aws("kinesis").create_stream(StreamName=name, ShardCount=3)
    return name


def source_of(aws: Clients, stream: str, start: StartPosition, slots: int = 8) -> KinesisSource:
    return KinesisSource(stream, lambda: Clients(aws.endpoint)("kinesis"), start=start, slots=slots)


def put(aws: Clients, stream: str, *payloads: bytes) -> None:
    for begin in range(0, len(payloads), 500):
        reply = aws("kinesis").put_records(
            StreamName=stream,
            Records=[
                {"Data": payload, "PartitionKey": f"key-{begin + number}"}
                for number, payload in enumerate(payloads[begin : begin + 500])
            ],
        )
        assert reply["FailedRecordCount"] == 0


def test_everything_from_the_oldest_record_comes_out_once_and_in_order(
    aws: Clients, stream: str
) -> None:
    wanted = [b"%06d" % number for number in range(2000)]
    put(aws, stream, *wanted)
    with reading(source_of(aws, stream, TRIM_HORIZON)) as job:
        job.until(lambda: len(job.payloads()) >= 2000 and len(job.of(Idle)) >= 3)
        assert sorted(job.payloads()) == wanted
        assert {mark.slot for mark in job.of(Hello)} == set(job.slots)
        adopted = [mark.shard for mark in job.of(Adopted)]
        assert len(adopted) == len(set(adopted)) == 3
        for shard in adopted:
            rows = [p for b in job.of(Block) if b.shard == shard for p in b.payloads]
            assert rows == sorted(rows)
            assert len(rows) > 100
        block = job.of(Block)[0]
        assert abs(block.arrival_us[0] - now_us()) < 60_000_000
        assert job.ledger("records") == job.ledger("plain") == 2000


def test_a_start_at_latest_leaves_out_what_was_there(aws: Clients, stream: str) -> None:
    put(aws, stream, *[b"old"] * 100)
    time.sleep(0.002)  # arrival times are whole milliseconds
    start = StartPosition("LATEST", now_us())
    put(aws, stream, *[b"new"] * 100)
    with reading(source_of(aws, stream, start)) as job:
        job.until(lambda: len(job.payloads()) >= 100 and len(job.of(Idle)) >= 3)
        put(aws, stream, *[b"newer"] * 100)
        job.until(lambda: len(job.payloads()) >= 200)
        assert job.payloads() == [b"new"] * 100 + [b"newer"] * 100


def test_another_process_goes_on_where_a_snapshot_was_taken(aws: Clients, stream: str) -> None:
    put(aws, stream, *[b"%06d" % number for number in range(300)])
    with reading(source_of(aws, stream, TRIM_HORIZON)) as first:
        first.until(lambda: len(first.payloads()) >= 300)
        committed, states = list(first.payloads()), first.snapshot()
        put(aws, stream, *[b"%06d" % number for number in range(300, 600)])
        first.until(lambda: len(first.payloads()) >= 600)  # never committed: a crash follows
    with reading(source_of(aws, stream, TRIM_HORIZON), states) as second:
        second.until(lambda: len(second.payloads()) >= 300 and len(second.of(Idle)) >= 3)
        assert sorted(committed + second.payloads()) == [b"%06d" % n for n in range(600)]
        assert second.ledger("records") == 600


def test_aggregated_records_come_apart(aws: Clients, stream: str) -> None:
    aggregator = RecordAggregator()
    for number in range(50):
        aggregator.add_user_record("one-key", b"%03d" % number)
    key, _, data = aggregator.clear_and_get().get_contents()
    put(aws, stream, b"plain")
    aws("kinesis").put_record(StreamName=stream, Data=data, PartitionKey=key)
    with reading(source_of(aws, stream, TRIM_HORIZON)) as job:
        job.until(lambda: len(job.payloads()) >= 51)
        assert sorted(job.payloads()) == [b"%03d" % number for number in range(50)] + [b"plain"]
        ledger = {
            key: job.ledger(key)
            for key in ("records", "plain", "aggregated", "user_records", "foreign_user_records")
        }
        assert ledger == {
            "records": 2,
            "plain": 1,
            "aggregated": 1,
            "user_records": 51,
            "foreign_user_records": 0,
        }


def test_a_missing_stream_is_told_by_the_next_poll(aws: Clients, name: str) -> None:
    with (
        reading(source_of(aws, name, TRIM_HORIZON, slots=2)) as job,
        pytest.raises(MissingResourceError, match=name),
    ):
        job.until(lambda: False)
    with pytest.raises(MissingResourceError, match=name):
        resolve_stream(aws("kinesis"), name)


def test_a_stream_tells_who_it_is(aws: Clients, stream: str) -> None:
    identity = resolve_stream(aws("kinesis"), stream)
    assert identity.arn.endswith(f":stream/{stream}")
    assert identity.open_shards == 3
    assert abs(identity.created_us - now_us()) < 600_000_000
    assert identity.retention_us == 24 * 3_600_000_000


def test_a_reshard_that_takes_the_parent_away_hands_over_to_its_children(
    ministack: Clients, name: str
) -> None:
    """ministack deletes a parent at once, as if it had expired; nothing in it was unread here."""
    ministack("kinesis").create_stream(StreamName=name, ShardCount=1)
    put(ministack, name, b"before")
    with reading(source_of(ministack, name, TRIM_HORIZON)) as job:
        job.until(lambda: bool(job.payloads()) and bool(job.of(Idle)))
        ministack("kinesis").split_shard(
            StreamName=name,
            ShardToSplit="shardId-000000000000",
            NewStartingHashKey=str(2**127),
        )
        put(ministack, name, *[b"after"] * 20)
        job.until(lambda: len(job.payloads()) >= 21 and bool(job.of(Ended)))
        assert job.payloads() == [b"before"] + [b"after"] * 20
        (ended,) = job.of(Ended)
        assert ended == Ended(
            "shardId-000000000000", ("shardId-000000000001", "shardId-000000000002")
        )


def test_the_threads_and_the_client_end_with_the_last_slot(aws: Clients, stream: str) -> None:
    source = source_of(aws, stream, TRIM_HORIZON, slots=2)
    before = set(threading.enumerate())
    with reading(source) as job:
        job.until(lambda: len(job.of(Idle)) >= 3)
        assert set(threading.enumerate()) - before
    assert not {t for t in set(threading.enumerate()) - before if t.is_alive()}
    with reading(source) as job:  # and begin anew when one is opened again
        job.until(lambda: len(job.of(Idle)) >= 3)
