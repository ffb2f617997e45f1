"""Enhanced fan-out against ministack: over a real socket, with boto3's client, through slots."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from errors import MissingResourceError
from messages import Adopted, Block, Ended, Hello, Idle
from service import settings
from service.aws import Aws
from service.endpoints import open_source
from sources.kinesis import EnhancedFanOut, KinesisSource, StartPosition
from sources.kinesis.source import now_us
from tests.fakes.event_stream import subscriber
from tests.integration.test_kinesis_source import Reading, put, reading
from tests.servers import Clients

TRIM_HORIZON = StartPosition("TRIM_HORIZON")


@pytest.fixture
def stream(ministack: Clients, unique_name: Callable[[str], str]) -> str:
    """A stream of three shards."""
    name = unique_name("stream")
    ministack("kinesis").create_stream(StreamName=name, ShardCount=3)
    return name


def source_of(
    aws: Clients,
    stream: str,
    start: StartPosition = TRIM_HORIZON,
    *,
    consumer: str | None = "job",
    max_subscriptions: int = 16,
) -> KinesisSource:
    fan_out = None
    if consumer is not None:
        fan_out = EnhancedFanOut(
            consumer, lambda: subscriber(aws.endpoint), max_subscriptions=max_subscriptions
        )
    return KinesisSource(
        stream, lambda: Clients(aws.endpoint)("kinesis"), start=start, slots=8, fan_out=fan_out
    )


def consumers(aws: Clients, stream: str) -> list[Any]:
    client = aws("kinesis")
    arn = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    found: list[Any] = client.list_stream_consumers(StreamARN=arn)["Consumers"]
    return found


def test_everything_comes_out_once_and_in_order_and_what_comes_later_too(
    ministack: Clients, stream: str
) -> None:
    wanted = [b"%06d" % number for number in range(3000)]
    put(ministack, stream, *wanted[:2000])
    with reading(source_of(ministack, stream)) as job:
        job.until(lambda: len(job.payloads()) >= 2000)
        put(ministack, stream, *wanted[2000:])
        job.until(lambda: len(job.payloads()) >= 3000)
        assert sorted(job.payloads()) == wanted
        assert {mark.slot for mark in job.of(Hello)} == set(job.slots)
        adopted = [mark.shard for mark in job.of(Adopted)]
        assert len(adopted) == len(set(adopted)) == 3
        for shard in adopted:
            rows = [p for b in job.of(Block) if b.shard == shard for p in b.payloads]
            assert rows == sorted(rows)
            assert len(rows) > 100
        assert abs(job.of(Block)[0].arrival_us[0] - now_us()) < 60_000_000
        assert job.ledger("records") == job.ledger("plain") == 3000
        (consumer,) = consumers(ministack, stream)
        assert consumer["ConsumerName"] == "job"


def test_an_idle_shard_says_so_and_a_start_at_latest_leaves_out_what_was_there(
    ministack: Clients, stream: str
) -> None:
    put(ministack, stream, *[b"old"] * 100)
    start_us = now_us() + 2_000  # arrival times are whole milliseconds
    while now_us() <= start_us:
        pass
    source = source_of(ministack, stream, StartPosition("LATEST", start_us))
    with reading(source) as job:
        job.until(lambda: len(job.of(Idle)) >= 3)
        assert all(start_us <= mark.as_of_us <= now_us() for mark in job.of(Idle))
        put(ministack, stream, *[b"new"] * 100)
        job.until(lambda: len(job.payloads()) >= 100)
        assert job.payloads() == [b"new"] * 100


def read_to(job: Reading, count: int) -> None:
    job.until(lambda: len(job.payloads()) >= count)


def test_a_position_holds_from_polling_to_enhanced_and_back(
    ministack: Clients, stream: str
) -> None:
    wanted = [b"%06d" % number for number in range(900)]
    committed: list[bytes] = []
    states: dict[str, Any] | None = None
    for consumer in (None, "first", None, "second"):
        begin = len(committed)
        with reading(source_of(ministack, stream, consumer=consumer), states) as job:
            put(ministack, stream, *wanted[begin + 100 * bool(begin) : begin + 200])
            read_to(job, 200)
            committed += job.payloads()
            states = job.snapshot()
            # And what is read on is never committed: a crash follows.
            put(ministack, stream, *wanted[begin + 200 : begin + 300])
            read_to(job, 300)
    assert sorted(committed) == wanted[:800]


def test_a_shard_that_is_taken_away_hands_over_to_its_children(
    ministack: Clients, unique_name: Callable[[str], str]
) -> None:
    """ministack deletes a parent at once, as if it had expired; nothing in it was unread here."""
    name = unique_name("stream")
    ministack("kinesis").create_stream(StreamName=name, ShardCount=1)
    put(ministack, name, b"before")
    with reading(source_of(ministack, name)) as job:
        job.until(lambda: bool(job.payloads()))
        ministack("kinesis").split_shard(
            StreamName=name,
            ShardToSplit="shardId-000000000000",
            NewStartingHashKey=str(2**127),
        )
        put(ministack, name, *[b"after"] * 20)
        job.until(lambda: len(job.payloads()) >= 21 and bool(job.of(Ended)))
        assert job.payloads() == [b"before"] + [b"after"] * 20
        (ended,) = job.of(Ended)
        children = ("shardId-000000000001", "shardId-000000000002")
        assert ended == Ended("shardId-000000000000", children)


def test_shards_beyond_the_bound_of_subscriptions_are_polled(
    ministack: Clients, stream: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(ministack, stream, *[b"%06d" % number for number in range(300)])
    with reading(source_of(ministack, stream, max_subscriptions=1)) as job:
        job.until(lambda: len(job.payloads()) >= 300)
        assert sorted(job.payloads()) == [b"%06d" % number for number in range(300)]
    told = [r for r in caplog.records if getattr(r, "event", "") == "subscriptions_bounded"]
    assert len(told) == 1


def test_a_consumer_that_is_deregistered_meanwhile_is_registered_again(
    ministack: Clients, stream: str
) -> None:
    with reading(source_of(ministack, stream)) as job:
        put(ministack, stream, b"1")
        job.until(lambda: len(job.payloads()) >= 1)
        (consumer,) = consumers(ministack, stream)
        ministack("kinesis").deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
        put(ministack, stream, b"2")
        job.until(lambda: len(job.payloads()) >= 2)
        assert job.payloads() == [b"1", b"2"]
        assert not job.of(Ended)


def test_a_consumer_given_by_an_arn_that_nobody_has_ends_the_job(
    ministack: Clients, stream: str
) -> None:
    with reading(source_of(ministack, stream)) as job:
        job.until(lambda: bool(consumers(ministack, stream)))
        (consumer,) = consumers(ministack, stream)
    missing = consumer["ConsumerARN"] + "9"
    with (
        reading(source_of(ministack, stream, consumer=missing)) as job,
        pytest.raises(MissingResourceError, match="does not exist"),
    ):
        job.until(lambda: False)


def test_the_setting_decides_how_a_stream_is_read_and_all_threads_end(
    ministack: Clients, stream: str
) -> None:
    put(ministack, stream, *[b"x"] * 30)
    before = set(threading.enumerate())
    for how in ("polling", "enhanced"):
        loaded = settings.load(
            environment={
                "KINEWAX_AWS__ENDPOINT_URL": ministack.endpoint,
                "KINEWAX_SOURCE__CONSUMER": how,
                "KINEWAX_SOURCE__CONSUMER_NAME": "named",
                "KINEWAX_SOURCE__START": "TRIM_HORIZON",
            }
        ).settings
        source = open_source(f"kinesis://{stream}", loaded, Aws(loaded.aws), started_at_us=0)
        assert isinstance(source, KinesisSource)
        with reading(source) as job:
            job.until(lambda: len(job.payloads()) >= 30)
            names = {thread.name for thread in set(threading.enumerate()) - before}
            assert any(name.startswith("subscribe-") for name in names) == (how == "enhanced")
        assert not {t for t in set(threading.enumerate()) - before if t.is_alive()}
        assert len(consumers(ministack, stream)) == (how == "enhanced")
