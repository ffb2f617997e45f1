"""Aggregates, taken apart by AWS's own deaggregator."""

import base64
from collections import defaultdict

from aws_kinesis_agg.deaggregator import deaggregate_records

from producers.kpl import MAX_AGGREGATE_BYTES, aggregate
from producers.records import Record


def taken_apart(record: Record) -> list[tuple[str, bytes]]:
    """Let AWS's library read a record, in the form in which a Lambda function gets it."""
    given = {
        "kinesis": {
            "partitionKey": record.partition_key,
            "data": base64.b64encode(record.payload).decode(),
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 0,
            "kinesisSchemaVersion": "1.0",
        },
        "eventSource": "aws:kinesis",
    }
    return [
        (user["kinesis"]["partitionKey"], base64.b64decode(user["kinesis"]["data"]))
        for user in deaggregate_records(given)
    ]


def records(count: int, keys: int, size: int = 300) -> list[Record]:
    return [Record(f"{n:0{size}d}".encode(), f"key-{n % keys}") for n in range(count)]


def test_every_user_record_comes_out_again_in_the_order_of_its_key():
    sent = records(1_000, keys=7)
    got = defaultdict(list)
    for record in aggregate(sent):
        for key, payload in taken_apart(record):
            got[key].append(payload)
    expected = defaultdict(list)
    for record in sent:
        expected[record.partition_key].append(record.payload)
    assert got == expected


def test_records_of_different_keys_never_share_an_aggregate():
    for record in aggregate(records(100, keys=9)):
        assert {key for key, _ in taken_apart(record)} == {record.partition_key}


def test_an_aggregate_is_no_larger_than_kpls():
    packed = aggregate(records(2_000, keys=2))
    assert all(len(record.payload) < MAX_AGGREGATE_BYTES * 1.1 for record in packed)
    assert len(packed) < 20


def test_a_record_alone_and_a_huge_one_travel_plain():
    alone = Record(b'{"a":1}', "alone")
    huge = Record(b"x" * 900_000, "huge")
    assert aggregate([alone, huge]) == [alone, huge]
