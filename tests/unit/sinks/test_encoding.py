"""The pure halves of the batched sinks: what each call would hold."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import AggregateRows, Events
from sinks import cloudwatch, firehose, kinesis
from sinks.firehose import RECORD_BYTES, pack
from tests.fakes.sink_cases import START_US, alert, digest, reject, rows


def test_a_row_of_the_second_stream_is_the_seeds() -> None:
    [entry] = kinesis.encode([alert(101, value=6)])
    assert entry.body.data == (
        b'{"user_id":101,"num_actions_per_watermark":6,"window_start":"2023-11-14T22:13:20Z"}\n'
    )
    assert entry.body.partition_key == "101"


def test_a_partition_key_is_within_its_limit_and_never_empty() -> None:
    keys = [
        entry.body.partition_key
        for entry in kinesis.encode([alert(1, key={"agent": "x" * 1000}), alert(1, key={})])
    ]
    assert [1 <= len(key) <= 256 for key in keys] == [True, True]


def test_the_second_stream_and_the_metric_take_each_incident_once(  # at its final value
) -> None:
    phases = [alert(1, phase) for phase in ("open", "raised", "final")]
    for sink in (kinesis.KinesisSink, cloudwatch.CloudWatchSink):
        wanted = [item.phase for item in phases if sink.wants(None, item)]  # type: ignore[arg-type]
        assert wanted == ["final"]


def test_incidents_of_one_severity_and_window_are_one_metric_of_as_many_ones() -> None:
    items = [alert(1), alert(2), alert(3, value=14), alert(4, window_end_us=START_US)]
    entries = list(cloudwatch.encode(items))
    assert sum(entry.count for entry in entries) == 4
    [two] = [entry for entry in entries if entry.count == 2]
    assert cloudwatch.request_of(two.body, "metric") == {
        "MetricName": "metric",
        "Dimensions": [{"Name": "severity", "Value": "warning"}],
        "Timestamp": datetime(2023, 11, 14, 22, 13, 30, tzinfo=UTC),
        "Values": [1.0],
        "Counts": [2.0],
        "Unit": "Count",
        "StorageResolution": 1,
    }


def test_events_go_out_with_their_own_keys_and_no_other() -> None:
    [entry] = firehose.encode([Events("shard-0", ({"host_address": "192.0.2.1"},) * 2)])
    assert entry.body == b'{"host_address":"192.0.2.1"}\n' * 2
    assert entry.count == 2


def test_rows_go_out_as_they_came_one_a_line() -> None:
    [entry] = firehose.encode([rows(0, 3)])
    assert entry.count == 3
    assert [orjson.loads(text)["row_id"] for text in entry.body.splitlines()] == [
        "row-0",
        "row-1",
        "row-2",
    ]


def test_an_aggregate_without_rows_sends_nothing() -> None:
    assert list(firehose.encode([AggregateRows("by_minute", ())])) == []


def test_rows_beyond_a_record_are_cut_between_lines() -> None:
    entries = list(firehose.encode([rows(0, 5000, padding="x" * 500)]))
    assert len(entries) > 1
    assert all(entry.size_bytes == len(entry.body) <= RECORD_BYTES for entry in entries)
    assert sum(entry.count for entry in entries) == 5000
    lines = b"".join(entry.body for entry in entries).splitlines()
    assert [orjson.loads(text)["row_id"] for text in lines] == [f"row-{n}" for n in range(5000)]


def test_a_digest_has_no_place_in_a_delivery_stream() -> None:
    with pytest.raises(TypeError):
        list(firehose.encode([digest()]))


def test_a_payload_of_control_characters_stays_within_records() -> None:
    entries = list(firehose.encode([reject(1, b"\x00" * 1_000_000)]))
    assert all(entry.size_bytes <= RECORD_BYTES for entry in entries)
    assert sum(entry.count for entry in entries) == 1
    assert "".join(orjson.loads(entry.body)["payload"] for entry in entries) == "\0" * 1_000_000


@given(st.lists(st.integers(1, RECORD_BYTES + 10), max_size=60))
def test_packing_keeps_the_order_and_the_limit(sizes: list[int]) -> None:
    chunks = [bytes(size) for size in sizes]
    records = pack(chunks)
    assert [position for record in records for position in record] == list(range(len(sizes)))
    for record in records:
        assert record
        assert sum(sizes[position] for position in record) <= RECORD_BYTES or len(record) == 1
