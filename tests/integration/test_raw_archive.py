"""The stand-in for Firehose over a local Kinesis: what it leaves is what Firehose would."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from producers.kpl import aggregate
from producers.records import Record
from service.raw_archive import Delivery, Gathered, RawArchive, both
from sources.archive.layouts import layout_of
from tests.rig import wait_until
from tests.servers import Clients

ARRIVED_US = 1_795_344_930_000_000  # 2026-11-22T10:55:30
SECOND_US = 1_000_000


def gathered(most_bytes: int = 1000, most_seconds: float = 10.0) -> Gathered:
    return Gathered(Delivery("shop", "raw/", most_bytes, most_seconds), Random(1))


def test_an_object_is_named_as_firehose_names_it_by_its_oldest_record() -> None:
    one = gathered()
    one.add(b"{}", ARRIVED_US + 7 * SECOND_US, ARRIVED_US)
    one.add(b"{}", ARRIVED_US, ARRIVED_US)
    key, content = one.made() or ("", b"")
    assert re.fullmatch(r"raw/2026/11/22/10/shop-1-2026-11-22-10-55-30-[0-9a-f-]{36}\.gz", key)
    period = layout_of("raw/").period_of(key)
    assert period is not None
    assert period.begin_us == ARRIVED_US
    assert gzip.decompress(content) == b"{}\n{}\n"
    assert one.made() is None


def test_an_object_is_due_by_bytes_or_by_seconds_and_never_when_empty() -> None:
    one = gathered(most_bytes=10, most_seconds=10.0)
    assert not one.is_due(ARRIVED_US + 100 * SECOND_US)
    one.add(b"1234567", ARRIVED_US, ARRIVED_US)
    assert not one.is_due(ARRIVED_US + 9 * SECOND_US)
    assert one.is_due(ARRIVED_US + 10 * SECOND_US)
    one.add(b"1", ARRIVED_US, ARRIVED_US)
    assert one.is_due(ARRIVED_US)
    one.made()
    one.add(b"1", ARRIVED_US, ARRIVED_US + 20 * SECOND_US)  # it counts from this record on
    assert not one.is_due(ARRIVED_US + 29 * SECOND_US)


def test_a_kpl_aggregate_is_taken_apart() -> None:
    one = gathered()
    (packed,) = aggregate([Record(b"first", "a"), Record(b"second", "a")])
    one.add(packed.payload, ARRIVED_US, ARRIVED_US)
    assert gzip.decompress((one.made() or ("", b""))[1]) == b"first\nsecond\n"


@pytest.fixture
def stream(moto: Clients, unique_name: Callable[[str], str]) -> Iterator[str]:
    name = unique_name("raw")
    moto("kinesis").create_stream(StreamName=name, ShardCount=3)
    moto("kinesis").get_waiter("stream_exists").wait(StreamName=name)
    yield name
    moto("kinesis").delete_stream(StreamName=name)


def test_all_that_is_on_a_stream_is_archived_once_in_s3_and_on_disk(
    moto: Clients, unique_name: Callable[[str], str], stream: str, tmp_path: Path
) -> None:
    kinesis, s3, bucket = moto("kinesis"), moto("s3"), unique_name("raw")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def put(first: int, count: int) -> None:
        records = [
            {"Data": b"%d" % number, "PartitionKey": str(number)}
            for number in range(first, first + count)
        ]
        kinesis.put_records(StreamName=stream, Records=records)

    def archived() -> list[bytes]:
        found = [gzip.decompress(path.read_bytes()) for path in tmp_path.rglob("*.gz")]
        return b"".join(found).splitlines()

    put(0, 400)  # before it begins
    archive = RawArchive(
        kinesis,
        stream,
        both(s3, bucket, tmp_path),
        Delivery("shop", most_bytes=200),
        lambda: round(datetime.now(UTC).timestamp() * 1e6),
        Random(1),
    )
    with archive:
        wait_until(lambda: len(archived()) > 0, "the first object")
        put(400, 100)
        archive.finish()
    assert sorted(map(int, archived())) == list(range(500))
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="raw/")["Contents"]
    for one in listed:
        content = s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read()
        assert content == (tmp_path / one["Key"]).read_bytes()
    assert len(listed) == len(list(tmp_path.rglob("*.gz"))) > 1


class Resharded:
    """A stream whose one shard has ended, with two children."""

    def __init__(self) -> None:
        self.shards = {"parent": [b"1", b"2"], "left": [b"3"], "right": [b"4"]}
        self._listed = ["parent"]

    def list_shards(self, **_: object) -> dict[str, object]:
        return {"Shards": [{"ShardId": shard} for shard in self._listed]}

    def get_shard_iterator(self, **request: object) -> dict[str, object]:
        assert request["ShardIteratorType"] == "TRIM_HORIZON"
        return {"ShardIterator": f"{request['ShardId']} begin"}

    def get_records(self, **request: object) -> dict[str, object]:
        shard, place = str(request["ShardIterator"]).split()
        arrived = datetime.fromtimestamp(ARRIVED_US / 1e6, UTC)
        records = [
            {"Data": data, "ApproximateArrivalTimestamp": arrived} for data in self.shards[shard]
        ]
        if shard == "parent":
            self._listed = list(self.shards)
            return {"Records": records, "MillisBehindLatest": 0}
        found = records if place == "begin" else []
        return {"Records": found, "NextShardIterator": f"{shard} end", "MillisBehindLatest": 0}


def test_children_of_a_shard_that_has_ended_are_archived_too() -> None:
    objects: dict[str, bytes] = {}
    delivery = Delivery("shop")
    archive = RawArchive(
        Resharded(), "shop", objects.__setitem__, delivery, lambda: ARRIVED_US, Random(1)
    )
    with archive:
        archive.finish()
    (content,) = objects.values()
    assert sorted(gzip.decompress(content).splitlines()) == [b"1", b"2", b"3", b"4"]


def test_what_goes_wrong_is_raised_at_the_end() -> None:
    def refuse(_: str, __: bytes) -> None:
        msg = "no room"
        raise OSError(msg)

    archive = RawArchive(
        Resharded(), "shop", refuse, Delivery("shop", most_bytes=1), lambda: ARRIVED_US, Random(1)
    )
    with archive, pytest.raises(OSError, match="no room"):
        archive.finish()
