"""One shard's reader, call by call."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError

import metrics
from errors import DataLossError, KinewaxError
from sources.kinesis.lineage import HASH_KEYS, Shard
from sources.kinesis.pacing import Pacing
from sources.kinesis.polling import PollingReader
from sources.kinesis.reader import End, Gone, Position, Tip
from sources.kinesis.records import Rows
from sources.kinesis.share import Share
from tests.fakes.kinesis import FakeKinesis, client_error

SHARD = "shardId-000000000000"
UNPACED = Pacing(shard_calls_per_second=1e9)
"""A pace at which a call need bring nothing."""
DAY_US = 24 * 3600 * 1_000_000


class Setup:
    """A reader of the first shard of a fake stream, and what it told others."""

    def __init__(
        self,
        stream: FakeKinesis,
        position: Position | None = None,
        share: Share | None = None,
        fails_on_loss: bool = False,
        retention_us: Callable[[], int] | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self.learned: list[Shard] = []
        self.losses: list[str] = []
        self.fails_on_loss = fails_on_loss
        self.reader = PollingReader(
            Shard(SHARD, 0, HASH_KEYS - 1),
            position or Position(),
            client=stream,
            stream="reader-test",
            pacing=pacing or Pacing(),
            retention_us=retention_us,
            share=share or Share(1 << 20),
            clock=stream.clock,
            rng=random.Random(1),
            learn=self.learned.extend,
            on_loss=self.on_loss,
        )

    def on_loss(self, shard: str, why: str) -> None:
        self.losses.append(why)
        if self.fails_on_loss:
            raise DataLossError(why)

    def steps(self, number: int) -> list[float | None]:
        return [self.reader.step() for _ in range(number)]

    def items(self) -> list[Any]:
        found = []
        while (item := self.reader.take()) is not None:
            found.append(item)
        return found

    def payloads(self) -> list[bytes]:
        return [p for item in self.items() if isinstance(item, Rows) for p in item.payloads]


def once(error: Exception, operation: str = "get_records") -> Any:
    """Fail the first call of an operation."""
    left = [error]
    return lambda called, _: left.pop() if called == operation and left else None


def errors_counted(error_type: str) -> float:
    return metrics.source_errors.labels("reader-test", error_type)._value.get()


def calls(stream: FakeKinesis, operation: str) -> list[dict[str, Any]]:
    return [arguments for called, arguments in stream.calls if called == operation]


def test_rows_come_in_order_and_the_tip_behind_them() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    stream.put(b"b")
    setup = Setup(stream)
    setup.steps(2)
    rows, tip = setup.items()
    assert list(rows.payloads) == [b"a", b"b"]
    assert tip == Tip(stream.now_us)


def test_the_tip_is_told_as_of_the_moment_the_request_was_sent() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.steps(1)
    asked_us = stream.now_us

    def slow_call(operation: str, _: dict[str, Any]) -> None:
        stream.now_us += 5_000_000

    stream.faults = slow_call
    setup.steps(1)
    assert setup.items()[-1] == Tip(asked_us)


def test_only_the_latest_of_several_tips_is_kept() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.steps(1)
    stream.now_us += 7
    setup.steps(2)
    assert setup.items() == [Tip(stream.now_us)]


def test_a_reply_with_rows_is_no_tip_and_neither_is_an_empty_one_that_lags() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.steps(1)
    assert not any(isinstance(item, Tip) for item in setup.items())
    empty = {"Records": [], "MillisBehindLatest": 9_000, "NextShardIterator": f"{SHARD}|1"}
    stream.get_records = lambda **_: empty  # type: ignore[method-assign]
    setup.steps(3)
    assert setup.items() == []
    gauge = metrics.behind_latest_seconds.labels("reader-test", SHARD)
    assert gauge._value.get() == 9.0


def test_no_tip_while_calls_fail() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.steps(1)
    setup.items()
    stream.faults = lambda *_: client_error("ProvisionedThroughputExceededException")
    setup.steps(5)
    assert setup.items() == []


def test_the_end_of_a_closed_shard_names_the_children_and_is_no_tip() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    children = stream.split(SHARD)
    setup = Setup(stream)
    assert setup.steps(1) == [None]
    rows, end = setup.items()
    assert list(rows.payloads) == [b"a"]
    assert end == End()
    assert tuple(shard.id for shard in setup.learned) == children


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (client_error("ProvisionedThroughputExceededException"), "throttled"),
        (client_error("KMSThrottlingException"), "throttled"),
        (client_error("InternalFailure", 500), "server"),
        (client_error("500", 500), "server"),
        (client_error("ExpiredIteratorException"), "expired_iterator"),
        (client_error("SomethingNew"), "other"),
        (ReadTimeoutError(endpoint_url="x"), "timeout"),
        (EndpointConnectionError(endpoint_url="x"), "network"),
    ],
)
def test_a_passing_failure_is_counted_and_costs_no_record(
    error: Exception, error_type: str
) -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    stream.put(b"b")
    setup = Setup(stream)
    before = errors_counted(error_type)
    stream.faults = once(error)
    (pause,) = setup.steps(1)
    assert pause is not None
    assert 0 <= pause <= 0.25
    assert errors_counted(error_type) == before + 1
    setup.steps(1)
    assert setup.payloads() == [b"a", b"b"]


def test_an_expired_iterator_is_renewed_behind_the_last_record_read() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.steps(1)
    stream.put(b"b")
    stream.faults = once(client_error("ExpiredIteratorException"))
    setup.steps(2)
    assert setup.payloads() == [b"a", b"b"]
    kinds = [arguments["ShardIteratorType"] for arguments in calls(stream, "get_shard_iterator")]
    assert kinds == ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"]


def test_an_iterator_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.steps(1)
    monkeypatch.setattr("sources.kinesis.polling._RENEW_AFTER_SECONDS", -1.0)
    stream.put(b"b")
    setup.steps(1)
    assert setup.payloads() == [b"a", b"b"]
    assert len(calls(stream, "get_shard_iterator")) == 2


def test_backoff_grows_with_failures_and_is_forgotten_after_a_success() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    stream.faults = lambda *_: client_error("ProvisionedThroughputExceededException")
    pauses = [pause for pause in setup.steps(40) if pause is not None]
    assert len(pauses) == 40
    assert max(pauses) > 2.5
    assert max(pauses) <= 5.0
    stream.faults = lambda *_: None
    setup.steps(1)
    stream.faults = lambda *_: client_error("ProvisionedThroughputExceededException")
    (pause,) = setup.steps(1)
    assert pause is not None
    assert pause <= 0.25


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        (Position(), {"ShardIteratorType": "TRIM_HORIZON"}),
        (
            Position(start_us=1_500_000),
            {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1.5},
        ),
        (
            Position("7", start_us=1_500_000),
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"},
        ),
        (
            Position("7", 3),
            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"},
        ),
    ],
)
def test_reading_goes_on_behind_the_position(position: Position, expected: dict[str, Any]) -> None:
    stream = FakeKinesis()
    Setup(stream, position).steps(1)
    (arguments,) = calls(stream, "get_shard_iterator")
    assert arguments == {"StreamName": "reader-test", "ShardId": SHARD, **expected}


def test_a_refused_position_is_a_loss_and_reading_goes_on_at_the_oldest_record() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream, Position("999"))
    stream.faults = once(client_error("InvalidArgumentException"), "get_shard_iterator")
    setup.steps(2)
    assert len(setup.losses) == 1
    assert setup.payloads() == [b"a"]


def test_a_refused_position_stops_the_job_when_the_policy_says_so() -> None:
    stream = FakeKinesis()
    setup = Setup(stream, Position("999"), fails_on_loss=True)
    stream.faults = once(client_error("InvalidArgumentException"), "get_shard_iterator")
    with pytest.raises(DataLossError):
        setup.steps(1)


def test_a_refused_iterator_is_renewed_without_a_loss() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.steps(1)
    stream.put(b"b")
    stream.faults = once(client_error("InvalidArgumentException"))
    setup.steps(2)
    assert setup.payloads() == [b"a", b"b"]
    assert setup.losses == []


def test_a_start_in_the_service_s_future_is_waited_for() -> None:
    """Our clock is ahead of the service's by a little."""
    stream = FakeKinesis()
    setup = Setup(stream, Position(start_us=stream.now_us))
    stream.faults = once(client_error("InvalidArgumentException"), "get_shard_iterator")
    assert setup.steps(2)[0] is not None
    assert setup.losses == []
    assert setup.items() == [Tip(stream.now_us)]


def test_a_start_that_is_refused_for_good_is_an_error() -> None:
    stream = FakeKinesis()
    setup = Setup(stream, Position(start_us=1))
    stream.faults = lambda *_: client_error("InvalidArgumentException")
    with pytest.raises(KinewaxError):
        setup.steps(1)


@pytest.mark.parametrize("error", [client_error("AccessDeniedException"), NoCredentialsError()])
def test_what_a_person_must_mend_is_an_error(error: Exception) -> None:
    stream = FakeKinesis()
    stream.faults = once(error)
    with pytest.raises(KinewaxError) as raised:
        Setup(stream).steps(1)
    assert raised.value.hint


def test_a_defect_of_ours_is_no_failed_call() -> None:
    stream = FakeKinesis()
    stream.faults = once(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        Setup(stream).steps(1)


def test_an_unknown_shard_is_gone_and_the_reader_stops() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    stream.expire(SHARD)
    assert setup.steps(1) == [None]
    assert setup.items() == [Gone()]


def test_a_full_queue_stops_the_calls_until_the_slot_has_taken_from_it() -> None:
    stream = FakeKinesis()
    for _ in range(300):
        stream.put(bytes(1000))
    setup = Setup(stream, share=Share(200_000), pacing=UNPACED)
    while len(calls(stream, "get_records")) < 50 and setup.reader.rows_waiting() * 1250 <= 100_000:
        setup.steps(1)
    called = len(calls(stream, "get_records"))
    setup.steps(5)
    assert len(calls(stream, "get_records")) == called
    assert setup.reader.rows_waiting() * 1250 < 250_000
    first = len(setup.payloads())
    assert setup.reader.rows_waiting() == 0
    setup.steps(1)
    assert len(calls(stream, "get_records")) == called + 1
    assert first + len(setup.payloads()) <= 300


def test_a_share_divides_the_memory_among_the_readers() -> None:
    stream = FakeKinesis()
    share = Share(1 << 20)
    share.readers = 512
    setup = Setup(stream, share=share, pacing=UNPACED)
    setup.steps(1)
    (arguments,) = calls(stream, "get_records")
    assert arguments["Limit"] == 1
    share.readers = 1
    setup.steps(1)
    assert calls(stream, "get_records")[1]["Limit"] == 512


@pytest.mark.parametrize("payload_bytes", [20, 300, 1_000, 100_000])
def test_a_busy_shard_among_five_hundred_is_read_faster_than_it_can_be_written(
    payload_bytes: int,
) -> None:
    stream = FakeKinesis()
    for _ in range(2_000):
        stream.put(bytes(payload_bytes))
    share = Share(64 << 20)
    share.readers = 500
    setup = Setup(stream, share=share)
    for _ in range(30):  # it learns how large the records are
        setup.steps(1)
        setup.items()
    limit = calls(stream, "get_records")[-1]["Limit"]
    calls_per_second = Pacing().shard_calls_per_second
    assert limit * calls_per_second >= 1_000 or limit * payload_bytes * calls_per_second >= 1 << 20


def test_an_iterator_that_nobody_answers_keeps_no_room_from_other_shards() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    share = Share(1 << 20)
    other = Setup(stream, share=share)
    read_meanwhile = []

    def unanswered(operation: str, _: dict[str, Any]) -> Exception | None:
        stream.faults = lambda *_: None
        assert operation == "get_shard_iterator"
        thread = threading.Thread(target=other.reader.step, daemon=True)
        thread.start()
        thread.join(5)
        read_meanwhile.extend(other.payloads())
        return ReadTimeoutError(endpoint_url="")

    stream.faults = unanswered
    Setup(stream, share=share).steps(1)
    assert read_meanwhile == [b"a"]


def test_a_stopped_reader_makes_no_call() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.reader.closed = True
    assert setup.steps(1) == [None]
    assert stream.calls == []


def test_a_stream_named_by_arn_is_asked_by_arn() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.reader._stream = "arn:aws:kinesis:eu-west-1:1:stream/s"
    setup.steps(1)
    for _, arguments in stream.calls:
        assert arguments["StreamARN"] == "arn:aws:kinesis:eu-west-1:1:stream/s"
        assert "StreamName" not in arguments


# ---- falling behind retention ---------------------------------------------------------------


def behind_setup(**options: Any) -> tuple[FakeKinesis, Setup]:
    """A reader that reads a record a call of a shard with many; a day is kept."""
    stream = FakeKinesis()
    for _ in range(20):
        stream.put(b"x" * 1000)
    setup = Setup(stream, share=Share(2500), retention_us=lambda: DAY_US, **options)
    return stream, setup


def test_falling_behind_retention_while_running_is_told_once() -> None:
    stream, setup = behind_setup()
    setup.steps(1)
    setup.items()
    for _ in range(5):
        stream.now_us += 2 * DAY_US
        setup.steps(1)
        setup.items()
    (why,) = setup.losses
    assert "fallen behind the stream's retention, by 24.0 hours" in why


def test_it_is_told_again_when_it_happens_again() -> None:
    stream, setup = behind_setup()
    for _ in range(2):
        setup.steps(1)
        setup.items()
        stream.now_us += 2 * DAY_US
        setup.steps(2)
        setup.items()
    assert len(setup.losses) == 2


def test_a_quiet_shard_that_is_asked_all_the_time_loses_nothing() -> None:
    stream, setup = behind_setup()
    for _ in range(100):
        setup.steps(1)
        setup.items()
        stream.now_us += DAY_US // 10
    assert setup.losses == []


def test_a_loss_while_running_stops_a_job_that_wants_it() -> None:
    stream, setup = behind_setup(fails_on_loss=True)
    setup.steps(1)
    setup.items()
    stream.now_us += 2 * DAY_US
    with pytest.raises(DataLossError):
        setup.steps(1)
    assert setup.items() == []


# ---- metrics --------------------------------------------------------------------------------


def value_of(metric: Any) -> float:
    return float(metric.labels("reader-test", SHARD)._value.get())


def test_polls_renewals_progress_and_what_waits_are_measured() -> None:
    stream = FakeKinesis()
    empty, renewed = (
        value_of(metric)
        for metric in (metrics.kinesis_empty_polls, metrics.kinesis_iterator_renewals)
    )
    setup = Setup(stream)
    setup.steps(2)
    assert value_of(metrics.kinesis_empty_polls) - empty == 2
    stream.put(b"abc")
    stream.faults = once(client_error("ExpiredIteratorException"))
    setup.steps(2)
    assert value_of(metrics.kinesis_iterator_renewals) - renewed == 1
    progress = value_of(metrics.kinesis_last_progress_timestamp_seconds)
    assert progress == stream.now_us / 1e6
    assert value_of(metrics.kinesis_prefetch_bytes) > 3
    setup.items()
    assert value_of(metrics.kinesis_prefetch_bytes) == 0
