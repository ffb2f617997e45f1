"""Batched, metric and file sinks when things break: what is refused, what hangs, what fills up."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from errors import DeliveryError, MissingResourceError
from messages import Late, Reject
from sinks.delivery import DeliveryOptions
from sinks.files import FilesSink, prepare
from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.fakes.sink_cases import IMPATIENT, PATIENT, Aws, alert, late, now_us, payload_of, reject
from tests.fakes.sink_cases import rows as aggregate_rows
from tests.servers import Clients


@pytest.fixture
def proxy(moto: Clients) -> Iterator[FaultProxy]:
    with fault_proxy(moto.endpoint) as running:
        yield running


@pytest.fixture
def aws(moto: Clients, proxy: FaultProxy, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, proxy, unique_name("sink"))


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


# ---- refused for good ---------------------------------------------------------------------------


def test_a_call_refused_as_a_whole_costs_only_its_bad_entry(aws: Aws, proxy: FaultProxy) -> None:
    aws.stream()
    aws.delivery_stream()
    letters = aws.firehose(name="dead_letters", accepts=(Late, Reject))
    proxy.refuse(
        "PutRecords",
        400,
        "ValidationException",
        only=lambda request: any(record["PartitionKey"] == "13" for record in request["Records"]),
    )
    lingering = replace(PATIENT, linger_seconds=60)
    sink = aws.kinesis(dead_letters=lambda: letters.open("00", None), delivery=lingering)
    with closing(sink.open("00", None)) as part:
        part.write([alert(user) for user in range(30)])
        part.flush()
        ledger = part.state()["ledger"]
    assert ledger == {"kinesis.taken": 30, "kinesis.written": 29, "kinesis.dead_lettered": 1}
    arrived = sorted(record["user_id"] for record in aws.records())
    assert arrived == [user for user in range(30) if user != 13]
    # The flush of the sink vouched for its dead letter as well.
    [letter] = aws.delivered_lines()
    assert (letter["kind"], letter["reason"]) == ("dead_letter", "refused_by_destination")
    assert letter["domain"] == "ecommerce"
    assert "ValidationException" in letter["detail"]
    assert orjson.loads(payload_of(letter))["user_id"] == 13


def test_without_a_dead_letter_stream_a_refused_entry_raises(aws: Aws, proxy: FaultProxy) -> None:
    proxy.refuse("PutRecordBatch", 400, "InvalidArgumentException")
    with closing(aws.firehose().open("00", None)) as part:
        part.write([aggregate_rows(0, 3)])
        with pytest.raises(DeliveryError, match="refuses an entry for good") as raised:
            part.flush()
    assert "dead-letter stream" in raised.value.hint


def test_when_the_dead_letter_stream_fails_too_the_flush_raises(
    aws: Aws, proxy: FaultProxy
) -> None:
    aws.stream()
    proxy.refuse("PutRecords", 400, "ValidationException")
    proxy.drop("PutRecordBatch")
    letters = aws.firehose(name="dead_letters", accepts=(Late, Reject), delivery=IMPATIENT)
    sink = aws.kinesis(dead_letters=lambda: letters.open("00", None))
    with closing(sink.open("00", None)) as part:
        part.write([alert(1)])
        with pytest.raises(DeliveryError, match="dead_letters: delivery stream"):
            part.flush()


# ---- too large ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x00\xff" * 524_288, id="binary"),
        pytest.param("\x01é€𝄞".encode() * 104_857, id="text-of-characters-of-all-lengths"),
    ],
)
@pytest.mark.parametrize("kind", ["late", "dead_letter"])
def test_a_payload_of_a_mebibyte_is_written_in_pieces_and_nothing_is_lost(
    aws: Aws, payload: bytes, kind: str
) -> None:
    aws.delivery_stream()
    big = replace(late(1) if kind == "late" else reject(1), payload=payload)
    sink = aws.firehose(name="dead_letters", accepts=(Late, Reject))
    with closing(sink.open("00", None)) as part:
        part.write([late(0), big, reject(2)])
        part.flush()
        assert part.state()["ledger"] == {"dead_letters.taken": 3, "dead_letters.written": 3}
    lines = aws.delivered_lines()
    pieces = sorted((one for one in lines if "piece" in one), key=lambda one: one["piece"])
    assert [one["piece"] for one in pieces] == list(range(pieces[0]["pieces"]))
    assert {(one["kind"], one["sequence_number"]) for one in pieces} == {(kind, "1")}
    assert b"".join(payload_of(one) for one in pieces) == payload
    assert {one["sequence_number"] for one in lines if "piece" not in one} == {"0", "2"}


def test_many_rows_are_packed_into_records_and_calls_within_the_limits(
    aws: Aws, proxy: FaultProxy
) -> None:
    aws.delivery_stream()
    with closing(aws.firehose().open("00", None)) as part:
        part.write([aggregate_rows(0, 30_000, padding="x" * 200)])
        part.flush()
        assert part.state()["ledger"]["aggregates.written"] == 30_000
    calls = proxy.requests("PutRecordBatch")
    sizes = [[len(record["Data"]) * 3 // 4 for record in call["Records"]] for call in calls]
    assert all(size <= 1000 * 1024 for call in sizes for size in call)
    assert all(sum(call) <= 4 * 1024 * 1024 for call in sizes)
    assert sum(len(call) for call in sizes) < 12
    assert {line["row_id"] for line in aws.delivered_lines()} == {f"row-{n}" for n in range(30_000)}


# ---- what hangs and what waits ------------------------------------------------------------------


def test_a_destination_that_hangs_makes_the_flush_raise_after_the_deadline(
    aws: Aws, proxy: FaultProxy
) -> None:
    proxy.hang("PutRecords")
    sink = aws.kinesis(delivery=IMPATIENT)
    with closing(sink.open("00", None)) as part:
        part.write([alert(1)])
        # The client itself would wait for two seconds and be tried again.
        with pytest.raises(DeliveryError, match="took nothing"):
            part.flush()
        proxy.mend()


def test_a_write_blocks_while_too_much_waits_and_goes_on_when_there_is_room(
    aws: Aws, proxy: FaultProxy
) -> None:
    aws.stream()
    proxy.refuse("PutRecords", 400, "ProvisionedThroughputExceededException")
    size = 1000
    sink = aws.kinesis(delivery=replace(PATIENT, max_pending_bytes=size))
    with closing(sink.open("00", None)) as part:
        items = [alert(user) for user in range(100)]
        writer = threading.Thread(target=part.write, args=(items,))
        writer.start()
        proxy.wait_for("PutRecords", 3)
        assert writer.is_alive()
        taken = part.state()["ledger"]["kinesis.taken"]
        assert 0 < taken < 20
        proxy.mend()
        writer.join(20)
        assert not writer.is_alive()
        part.flush()
        assert part.state()["ledger"] == {"kinesis.taken": 100, "kinesis.written": 100}
    assert len(aws.records()) == 100


def test_a_blocked_write_raises_when_the_destination_never_comes_back(
    aws: Aws, proxy: FaultProxy
) -> None:
    proxy.drop("PutRecords")
    sink = aws.kinesis(delivery=replace(IMPATIENT, max_pending_bytes=100))
    with (
        closing(sink.open("00", None)) as part,
        pytest.raises(DeliveryError, match="didn't take"),
    ):
        part.write([alert(user) for user in range(100)])


def test_a_flush_does_not_wait_for_a_batch_to_fill(aws: Aws, proxy: FaultProxy) -> None:
    aws.delivery_stream()
    sink = aws.firehose(delivery=DeliveryOptions(linger_seconds=3600))
    with closing(sink.open("00", None)) as part:
        part.write([aggregate_rows(0, 1)])
        part.write([aggregate_rows(1, 1)])
        assert proxy.requests("PutRecordBatch") == []
        part.flush()
        # And what lingered went out as one record.
        assert [len(call["Records"]) for call in proxy.requests("PutRecordBatch")] == [1]
    assert {line["row_id"] for line in aws.delivered_lines()} == {"row-0", "row-1"}


# ---- the metric ---------------------------------------------------------------------------------


def test_a_metric_that_cannot_be_delivered_is_dropped_counted_and_logged(
    aws: Aws, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(aws.cloudwatch(delivery=IMPATIENT).open("00", None)) as part:
        proxy.refuse("PutMetricData", 500, "InternalServiceFault")
        part.write([alert(user) for user in range(5)])
        part.flush()
        assert part.state()["ledger"] == {"cloudwatch.taken": 5, "cloudwatch.dropped": 5}
        assert "InternalServiceFault" in caplog.text
        proxy.mend()
        end_us = (now_us() // 60_000_000 - 5) * 60_000_000
        part.write([alert(user, window_end_us=end_us) for user in range(3)])
        part.flush()
        assert part.state()["ledger"]["cloudwatch.written"] == 3
    assert aws.counted("warning") == {"sum": 3.0, "samples": 3.0}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
def test_a_metric_that_is_not_allowed_is_dropped_without_another_attempt(
    aws: Aws, proxy: FaultProxy, code: str
) -> None:
    proxy.refuse("PutMetricData", 400, code)
    with closing(aws.cloudwatch().open("00", None)) as part:
        part.write([alert(1)])
        part.flush()
        assert part.state()["ledger"] == {"cloudwatch.taken": 1, "cloudwatch.dropped": 1}
    assert len(proxy.requests("PutMetricData")) == 1


def test_a_metric_that_hangs_is_dropped_once_even_if_it_arrives_after_all(
    aws: Aws, proxy: FaultProxy
) -> None:
    proxy.hang("PutMetricData", times=1)
    with closing(aws.cloudwatch(delivery=IMPATIENT).open("00", None)) as part:
        part.write([alert(1)])
        part.flush()
        assert part.state()["ledger"] == {"cloudwatch.taken": 1, "cloudwatch.dropped": 1}
        proxy.mend()
        part.write([alert(2, severity="high")])
        part.flush()
        ledger = part.state()["ledger"]
    assert ledger["cloudwatch.taken"] == 2
    assert ledger["cloudwatch.dropped"] + ledger.get("cloudwatch.written", 0) == 2


# ---- files --------------------------------------------------------------------------------------


def users_in(path: Path) -> list[int]:
    return [orjson.loads(text)["key"]["user_id"] for text in path.read_bytes().splitlines()]


def test_a_disk_that_fills_up_in_mid_line_raises_and_the_next_start_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(tmp_path, [])
    sink = FilesSink(tmp_path, [])
    with closing(sink.open("alerts", None)) as part:
        part.write([alert(1)])
        part.flush()
        state = part.state()
        room = 100
        real = os.write

        def write(descriptor: int, content: memoryview) -> int:
            nonlocal room
            if not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real(descriptor, content[:room])
            room -= written
            return written

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(DeliveryError, match=r"alerts\.jsonl: No space left") as raised:
                part.write([alert(2), alert(3)])
        assert "room" in raised.value.hint
        # Room again, but a half-written line stands there: this part writes no more.
        with pytest.raises(DeliveryError):
            part.flush()
    assert not (tmp_path / "alerts.jsonl").read_bytes().endswith(b"\n")
    with closing(sink.open("alerts", state)) as part:
        part.write([alert(2), alert(3)])
        part.flush()
        assert part.state()["ledger"] == {"files.alerts.taken": 3, "files.alerts.written": 3}
    assert users_in(tmp_path / "alerts.jsonl") == [1, 2, 3]


def test_a_short_write_is_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path, [])
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:7]))
    with closing(FilesSink(tmp_path, []).open("alerts", None)) as part:
        part.write([alert(user) for user in range(20)])
        part.flush()
    assert users_in(tmp_path / "alerts.jsonl") == list(range(20))


def test_a_file_that_somebody_cut_is_named_instead_of_filled_with_zeros(tmp_path: Path) -> None:
    prepare(tmp_path, [])
    sink = FilesSink(tmp_path, [])
    with closing(sink.open("alerts", None)) as part:
        part.write([alert(1)])
        part.flush()
        state = part.state()
    os.truncate(tmp_path / "alerts.jsonl", 10)
    with pytest.raises(MissingResourceError, match=r"alerts\.jsonl has 10 bytes"):
        sink.open("alerts", state)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DeliveryError, match="taken"):
        prepare(tmp_path / "taken" / "below", ["by_minute"])


def test_all_files_are_there_and_empty_before_a_first_run(tmp_path: Path) -> None:
    (tmp_path / "late.jsonl").write_text("of an earlier run")
    prepare(tmp_path, ["by_minute"])
    found = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*.jsonl")}
    assert found == {
        "alerts.jsonl": b"",
        "late.jsonl": b"",
        "dead-letters.jsonl": b"",
        "aggregates/by_minute.jsonl": b"",
    }


def _write_for_ever(directory: Path, state: dict[str, Any] | None, first: int, ready: Any) -> None:
    part = FilesSink(directory, []).open("alerts", state)
    part.write([alert(user) for user in range(first, first + 500)])
    part.flush()
    ready.send(part.state())
    for user in range(first + 500, first + 1_000_000):
        part.write([alert(user)])


def test_a_file_is_exact_after_its_writer_is_killed_again_and_again(tmp_path: Path) -> None:
    prepare(tmp_path, [])
    state: dict[str, Any] | None = None
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "alerts.jsonl"
    for life in range(3):
        receiver, ready = context.Pipe(duplex=False)
        writer = context.Process(
            target=_write_for_ever, args=(tmp_path, state, 500 * life, ready), daemon=True
        )
        writer.start()
        state = receiver.recv()
        committed = state["position"]
        # Killed while it writes what no snapshot knows of.
        until(lambda: path.stat().st_size > committed + 10_000)  # noqa: B023
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    with closing(FilesSink(tmp_path, []).open("alerts", state)) as part:
        part.flush()
    assert users_in(path) == list(range(1500))
