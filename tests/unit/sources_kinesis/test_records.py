"""From replies to rows: the typed parse of GetRecords, and what becomes of records."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.exceptions import ClientError

from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import HASH_KEYS, Shard
from sources.kinesis.pacing import Pacing
from sources.kinesis.polling import PollingReader
from sources.kinesis.reader import Position
from sources.kinesis.records import Numbered, Rows, numbers_joined, to_rows
from sources.kinesis.replies import Records, columns, parse_body, use_typed_parse
from sources.kinesis.share import Share
from tests.fakes.kinesis import aggregate
from tests.servers import clients

ARRIVAL = 1_760_000_000.123
ARRIVAL_US = 1_760_000_000_123_000


def deaggregator() -> Deaggregator:
    return Deaggregator(0, HASH_KEYS - 1)


def entry(number: int, data: bytes, arrival: Any = ARRIVAL) -> dict[str, Any]:
    return {
        "SequenceNumber": str(number),
        "ApproximateArrivalTimestamp": arrival,
        "Data": base64.b64encode(data).decode(),
        "PartitionKey": "k",
    }


def body_of(*entries: dict[str, Any], **fields: Any) -> bytes:
    reply = {"Records": entries, "NextShardIterator": "next", "MillisBehindLatest": 7, **fields}
    return json.dumps(reply).encode()


@contextmanager
def canned(body: bytes, status: int = 200, length: int | None = None) -> Iterator[Any]:
    """A boto3 client with the hook, of a server that answers GetRecords with `body`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["X-Amz-Target"].endswith(".GetShardIterator"):
                self.answer(200, b'{"ShardIterator": "i"}', None)
            else:
                self.answer(status, body, length)

        def answer(self, status: int, body: bytes, length: int | None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with clients(f"http://127.0.0.1:{server.server_port}") as made:
            client = made("kinesis")
            use_typed_parse(client)
            yield client
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ---- the hook -----------------------------------------------------------------------------------


def test_botocore_fires_the_event_and_takes_what_the_hook_decoded() -> None:
    child = {
        "ShardId": "c",
        "ParentShards": ["p"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
    }
    with canned(body_of(entry(1, b"\x00\xff"), ChildShards=[child])) as client:
        reply = client.get_records(ShardIterator="i")
    # Were the event gone, botocore would have made dictionaries, sixteen times slower.
    records = reply["Records"]
    assert isinstance(records, Records)
    assert (list(records.payloads), list(records.numbers)) == ([b"\x00\xff"], [b"1"])
    assert records.arrival_us.tolist() == [ARRIVAL_US]
    assert reply["NextShardIterator"] == "next"
    assert reply["MillisBehindLatest"] == 7
    assert reply["ChildShards"] == [child]
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_the_last_reply_of_a_closed_shard_has_no_iterator() -> None:
    with canned(body_of(NextShardIterator=None)) as client:
        assert client.get_records(ShardIterator="i")["NextShardIterator"] is None
    with canned(json.dumps({"Records": [], "MillisBehindLatest": 0}).encode()) as client:
        assert client.get_records(ShardIterator="i")["NextShardIterator"] is None


def test_errors_stay_botocore_s() -> None:
    error = {"__type": "ExpiredIteratorException", "message": "old"}
    with canned(json.dumps(error).encode(), 400) as client, pytest.raises(ClientError) as raised:
        client.get_records(ShardIterator="i")
    assert raised.value.response["Error"]["Code"] == "ExpiredIteratorException"


def test_a_body_that_the_hook_cannot_decode_is_left_to_botocore() -> None:
    with canned(body_of(entry(1, b"x", "2025-10-09T08:53:20.123Z"))) as client:
        reply = client.get_records(ShardIterator="i")
    arrival = datetime(2025, 10, 9, 8, 53, 20, 123_000, tzinfo=UTC)
    assert reply["Records"][0]["ApproximateArrivalTimestamp"] == arrival
    (rows,) = to_rows(reply, deaggregator())
    assert list(rows.payloads) == [b"x"]
    assert rows.arrival_us.tolist() == [ARRIVAL_US]


@pytest.mark.parametrize("announced", ["half", "whole"])
def test_a_body_that_was_cut_is_a_failed_call_and_no_end_of_the_shard(announced: str) -> None:
    body = body_of(*(entry(n, b"x" * 50) for n in range(50)))
    half = body[: len(body) // 2]
    with canned(half, length=len(half if announced == "half" else body)) as client:
        reader = PollingReader(
            Shard("s", 0, HASH_KEYS - 1),
            Position(),
            client=client,
            stream="stream",
            pacing=Pacing(),
            share=Share(1 << 20),
            clock=lambda: 0,
            rng=random.Random(1),
            learn=lambda _: None,
            on_loss=lambda *_: None,
        )
        assert reader.step() is not None  # it will be tried again
        assert reader.take() is None


def test_the_hook_touches_nothing_but_good_replies() -> None:
    response = {"status_code": 500, "body": body_of(entry(1, b"x"))}
    laid_over: dict[str, Any] = {}
    parse_body(response, laid_over, operation_model=None)
    assert laid_over == {}
    assert response["body"] == body_of(entry(1, b"x"))


@pytest.mark.parametrize("arrival", ["1760000000.123", "1.760000000123E9", "1760000000.123000"])
def test_arrival_times_are_read_in_every_notation(arrival: str) -> None:
    body = body_of(entry(1, b"x")).replace(b"1760000000.123", arrival.encode())
    reply: dict[str, Any] = {}
    parse_body({"status_code": 200, "body": body}, reply)
    (rows,) = to_rows(reply, deaggregator())
    assert rows.arrival_us.tolist() == [ARRIVAL_US]
    assert rows.arrival_us.dtype == np.int64


def test_arrival_times_in_whole_seconds_are_read() -> None:
    reply: dict[str, Any] = {}
    parse_body({"status_code": 200, "body": body_of(entry(1, b"x", 1_760_000_000))}, reply)
    (rows,) = to_rows(reply, deaggregator())
    assert rows.arrival_us.tolist() == [1_760_000_000_000_000]


# ---- rows ---------------------------------------------------------------------------------------


def rows_of(*records: tuple[int, bytes], resume: tuple[str, int] | None = None) -> list[Rows]:
    return list(to_rows({"Records": records_of(*records)}, deaggregator(), resume))


def records_of(*records: tuple[int, bytes]) -> Records:
    numbers = [str(number) for number, _ in records]
    return columns([data for _, data in records], numbers, [ARRIVAL_US] * len(records))


def test_an_empty_reply_has_no_rows() -> None:
    assert rows_of() == []


def test_plain_records_keep_their_numbers() -> None:
    (rows,) = rows_of((5, b"a"), (6, b""), (9, b"b"))
    assert list(rows.payloads) == [b"a", b"", b"b"]
    assert list(rows.sequence_numbers) == ["5", "6", "9"]
    assert (rows.sequence, rows.sub_sequence) == ("9", None)
    assert (rows.plain, rows.aggregated, rows.foreign) == (3, 0, 0)


def test_payloads_of_any_bytes_beside_an_aggregate_stay_plain() -> None:
    (rows,) = rows_of((1, b"\xff"), (2, aggregate(b"a")), (3, b"\xf3\x89\x9a\xc2\xff"))
    assert list(rows.payloads) == [b"\xff", b"a", b"\xf3\x89\x9a\xc2\xff"]
    assert (rows.plain, rows.aggregated) == (2, 1)
    (rows,) = rows_of((1, b"\xff\x00"))
    assert (list(rows.payloads), list(rows.sequence_numbers), rows.plain) == (
        [b"\xff\x00"],
        ["1"],
        1,
    )


def test_user_records_are_numbered_within_their_record() -> None:
    (rows,) = rows_of((5, b"a"), (6, aggregate(b"b", b"c")), (7, b"d"))
    assert list(rows.payloads) == [b"a", b"b", b"c", b"d"]
    assert rows.payloads.are_lines()
    assert list(rows.sequence_numbers) == ["5", "6.0", "6.1", "7"]
    assert rows.arrival_us.tolist() == [ARRIVAL_US] * 4
    assert (rows.sequence, rows.sub_sequence) == ("7", None)
    assert (rows.plain, rows.aggregated, rows.foreign) == (2, 1, 0)


def test_numbers_of_user_records_are_a_sequence_like_another() -> None:
    (rows,) = rows_of((5, b"a"), (6, aggregate(b"b", b"c")), (7, b"d"))
    numbers = rows.sequence_numbers
    assert isinstance(numbers, Numbered)
    assert (len(numbers), numbers[1], numbers[-2]) == (4, "6.0", "6.1")
    assert list(numbers[1:3]) == ["6.0", "6.1"]
    with pytest.raises(IndexError):
        numbers[4]


def test_numbers_of_consecutive_rows_are_joined_in_order() -> None:
    (plain,), (mixed,) = rows_of((1, b"a"), (2, b"b")), rows_of((3, aggregate(b"c", b"d")))
    numbers = [rows.sequence_numbers for rows in (plain, mixed, plain)]
    assert list(numbers_joined(numbers)) == ["1", "2", "3.0", "3.1", "1", "2"]
    assert list(numbers_joined(numbers[:1] * 2)) == ["1", "2", "1", "2"]
    assert list(plain.sequence_numbers) == ["1", "2"]
    assert list(mixed.sequence_numbers) == ["3.0", "3.1"]


def test_a_record_of_foreign_user_records_only_still_moves_the_position() -> None:
    (rows,) = to_rows({"Records": records_of((3, aggregate(b"x", b"y")))}, Deaggregator(0, 0))
    assert list(rows.payloads) == []
    assert (rows.sequence, rows.aggregated, rows.foreign) == ("3", 1, 2)


def test_rows_are_bounded_and_say_when_a_record_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.kinesis.records.MAX_ROWS", 3)
    found = rows_of((1, b"a"), (2, aggregate(b"b", b"c", b"d", b"e", b"f", b"g")), (3, b"h"))
    assert [list(rows.payloads) for rows in found] == [
        [b"a", b"b", b"c"],
        [b"d", b"e", b"f"],
        [b"g", b"h"],
    ]
    places = [(rows.sequence, rows.sub_sequence) for rows in found]
    assert places == [("2", 1), ("2", 4), ("3", None)]
    assert [(rows.plain, rows.aggregated) for rows in found] == [(1, 0), (0, 0), (1, 1)]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_record_is_taken_up_where_it_was_left(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setattr("sources.kinesis.records.MAX_ROWS", 2)
    records = [(1, aggregate(b"a", b"b", b"c")), (2, aggregate(b"d", b"e")), (3, b"f")]
    whole = rows_of(*records)
    before = whole[:cut]
    left = before[-1] if before else None
    if left is None:
        after = rows_of(*records)
    elif left.sub_sequence is None:
        after = rows_of(*[record for record in records if record[0] > int(left.sequence)])
    else:
        rest = [record for record in records if record[0] >= int(left.sequence)]
        after = rows_of(*rest, resume=(left.sequence, left.sub_sequence))
    parts = before + after
    assert [payload for rows in parts for payload in rows.payloads] == [
        b"a",
        b"b",
        b"c",
        b"d",
        b"e",
        b"f",
    ]
    assert sum(rows.plain for rows in parts) == 1
    assert sum(rows.aggregated for rows in parts) == 2


def test_foreign_user_records_are_counted_once_across_a_resume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sources.kinesis.records.MAX_ROWS", 2)
    aggregator = RecordAggregator()
    for number in range(8):
        aggregator.add_user_record("k", b"%d" % number, str(number))
    records = records_of((1, aggregator.clear_and_get().get_contents()[2]))
    shard = Deaggregator(2, 6)
    first, *_ = to_rows({"Records": records}, shard)
    assert list(first.payloads) == [b"2", b"3"]
    assert first.sub_sequence == 3
    rest = list(to_rows({"Records": records}, shard, (first.sequence, first.sub_sequence)))
    assert [payload for rows in rest for payload in rows.payloads] == [b"4", b"5", b"6"]
    assert first.foreign + sum(rows.foreign for rows in rest) == 3
