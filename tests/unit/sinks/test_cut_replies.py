"""A reply whose body was cut on its way is a failure that passes, never a success."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from botocore.parsers import ResponseParserError

from producers.kinesis_writer import KinesisWriter
from producers.records import Record
from sinks import firehose, kinesis
from sinks.failures import classify
from sinks.incident_table import IncidentTable
from tests.servers import Clients

RECORD = kinesis.Record("key", b"{}", "ecommerce")


class Cut:
    """Answers as botocore does when a body was cut: with nothing. Then whole."""

    def __init__(self, **whole: Any) -> None:
        self._whole = whole
        self.calls = 0

    def _answer(self, **_request: Any) -> dict[str, Any]:
        self.calls += 1
        return {"ResponseMetadata": {}} if self.calls == 1 else self._whole

    put_records = put_record_batch = update_item = get_item = query = _answer


def test_a_cut_reply_of_firehose_is_tried_again() -> None:
    with pytest.raises(Exception) as raised:
        firehose.put(Cut(), "stream", [b"{}\n"])
    failure = classify(raised.value)
    assert failure is not None
    assert failure.retried


def test_a_cut_reply_of_the_second_stream_is_tried_again() -> None:
    with pytest.raises(Exception) as raised:
        kinesis.put(Cut(), "stream", [RECORD])
    failure = classify(raised.value)
    assert failure is not None
    assert failure.retried


def test_a_producer_writes_again_what_a_cut_reply_says_nothing_about() -> None:
    client = Cut(FailedRecordCount=0, Records=[{"SequenceNumber": "1"}])
    writer = KinesisWriter(
        client, "stream", sleep=lambda _seconds: None, monotonic=lambda: 0.0, rng=random.Random(1)
    )
    writer.write([Record(b"{}", "key")])
    writer.close()
    assert client.calls == 2


def test_a_cut_reply_is_not_taken_for_a_row_that_is_gone_nor_for_an_empty_outbox() -> None:
    asked: list[Callable[[IncidentTable], object]] = [
        lambda table: table.read(("a", "1")),
        lambda table: list(table.pending()),
    ]
    for ask in asked:
        with pytest.raises(Exception) as raised:
            ask(IncidentTable(Cut(), "table", "index"))
        failure = classify(raised.value)
        assert failure is not None
        assert failure.retried


def test_a_row_that_is_gone_is_told_from_a_cut_reply() -> None:
    table = IncidentTable(Cut(ConsumedCapacity={}), "table", "index")
    with pytest.raises(ResponseParserError):
        table.read(("a", "1"))
    assert table.read(("a", "1")) is None


def test_a_real_server_counts_failed_records_in_every_reply(
    moto: Clients, unique_name: Any
) -> None:
    stream = unique_name("stream")
    moto("kinesis").create_stream(StreamName=stream, ShardCount=1)
    outcomes = kinesis.put(moto("kinesis"), stream, [RECORD])
    assert outcomes == ["acknowledged"]
