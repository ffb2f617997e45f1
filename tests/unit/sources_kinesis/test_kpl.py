"""Aggregated records: vectors from the KPL's own users, and some made here."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sources.kinesis.kpl import MAGIC, Deaggregator
from sources.kinesis.lineage import HASH_KEYS
from tests.conftest import SHARED_DATA
from tests.fakes.kpl_message import KplMessage

VECTORS = SHARED_DATA / "kpl" / "vectors.json"
OWN_VECTORS = Path(__file__).with_name("kpl_vectors.json")
HALF = HASH_KEYS // 2


def everything() -> Deaggregator:
    return Deaggregator(0, HASH_KEYS - 1)


def hash_of(partition_key: str | bytes) -> int:
    key = partition_key.encode() if isinstance(partition_key, str) else partition_key
    return int(hashlib.md5(key).hexdigest(), 16)


def aggregate(*records: tuple[str, bytes, str | None]) -> bytes:
    aggregator = RecordAggregator()
    for partition_key, data, explicit_hash_key in records:
        aggregator.add_user_record(partition_key, data, explicit_hash_key)
    contents: bytes = aggregator.clear_and_get().get_contents()[2]
    return contents


def vector_data(vector: dict[str, Any]) -> bytes:
    if "data_b64" in vector:
        return base64.b64decode(vector["data_b64"])
    event = vector["event"]
    return base64.b64decode(event["kinesis"]["data"] if "kinesis" in event else event["data"])


def sealed(message: bytes) -> bytes:
    return MAGIC + message + hashlib.md5(message).digest()


def test_published_vectors_come_apart_as_published() -> None:
    if not VECTORS.exists():
        pytest.skip(f"{VECTORS} is not on this machine")
    vectors = json.loads(VECTORS.read_text())
    assert len(vectors) == 10
    for vector in vectors:
        data = vector_data(vector)
        found = everything().user_records(data)
        if not vector["aggregated"]:
            assert found is None, vector["name"]
            continue
        expected = [base64.b64decode(record["data_b64"]) for record in vector["user_records"]]
        assert found is not None, vector["name"]
        assert found.payloads == expected, vector["name"]
        assert list(found.indexes) == list(range(len(expected)))
        assert found.foreign == 0
        keys = [
            int(record["explicitHashKey"] or hash_of(record["partitionKey"]))
            for record in vector["user_records"]
        ]
        half = Deaggregator(0, HALF - 1).user_records(data)
        assert half is not None
        assert list(half.indexes) == [n for n, key in enumerate(keys) if key < HALF]


def test_own_vectors_come_apart_as_written() -> None:
    for vector in json.loads(OWN_VECTORS.read_text()):
        found = everything().user_records(base64.b64decode(vector["data"]))
        if vector["payloads"] is None:
            assert found is None, vector["name"]
        else:
            assert found is not None, vector["name"]
            assert found.payloads == [base64.b64decode(text) for text in vector["payloads"]]


@pytest.mark.parametrize("hash_keys", ["none", "all", "some"])
def test_foreign_user_records_are_dropped_and_counted(hash_keys: str) -> None:
    rng = random.Random(7)
    records: list[tuple[str, bytes, str | None]] = []
    for number in range(200):
        explicit = hash_keys == "all" or (hash_keys == "some" and number % 3 == 0)
        hash_key = str(rng.randrange(HASH_KEYS)) if explicit else None
        records.append((f"key-{rng.randrange(40)}", b"%d" % number, hash_key))
    mine = [
        (index, data)
        for index, (partition_key, data, hash_key) in enumerate(records)
        if (int(hash_key) if hash_key else hash_of(partition_key)) < HALF
    ]
    assert 0 < len(mine) < len(records)
    found = Deaggregator(0, HALF - 1).user_records(aggregate(*records))
    assert found is not None
    assert found.payloads == [data for _, data in mine]
    assert list(found.indexes) == [index for index, _ in mine]
    assert found.foreign == len(records) - len(mine)


def test_the_range_of_a_shard_is_inclusive_at_both_ends() -> None:
    key = hash_of("k")
    data = aggregate(("k", b"x", None))
    for first, last, kept in [(key, key, 1), (key + 1, HASH_KEYS - 1, 0), (0, key - 1, 0)]:
        found = Deaggregator(first, last).user_records(data)
        assert found is not None
        assert (len(found.payloads), found.foreign) == (kept, 1 - kept)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain",
        MAGIC,
        MAGIC + bytes(16),
        MAGIC + b"message" + bytes(16),
        aggregate(("k", b"x", None))[:-1],
        b"\xf3\x89\x9a\xc3" + aggregate(("k", b"x", None))[4:],
        sealed(b"\xff\xff\xff not a protobuf"),
        # A record that points outside the table of keys, and a hash key that is no number:
        sealed(
            AggregatedRecord(records=[{"partition_key_index": 0, "data": b"x"}]).SerializeToString()
        ),
        sealed(
            AggregatedRecord(
                partition_key_table=["k"],
                explicit_hash_key_table=["not a number"],
                records=[{"partition_key_index": 0, "data": b"x"}],
            ).SerializeToString()
        ),
        # A record without a key, and one without data:
        sealed(b"\x0a\x01k" + b"\x1a\x03\x1a\x01x"),
        sealed(b"\x0a\x01k" + b"\x1a\x02\x08\x00"),
    ],
)
def test_what_is_no_sound_aggregate_is_a_plain_record(data: bytes) -> None:
    assert everything().user_records(data) is None


def message_of(keys: list[str], hash_keys: list[str], records: list[dict[str, Any]]) -> bytes:
    message: bytes = AggregatedRecord(
        partition_key_table=keys, explicit_hash_key_table=hash_keys, records=records
    ).SerializeToString()
    return message


indexes = st.integers(0, 3) | st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64 - 1])
records = st.fixed_dictionaries(
    {"partition_key_index": indexes, "data": st.binary(max_size=200)},
    optional={
        "explicit_hash_key_index": indexes,
        "tags": st.just([{"key": "k", "value": "v"}]),
    },
)


@given(
    st.lists(st.text("ab\xe9", max_size=3), max_size=3),
    st.lists(st.integers(0, HASH_KEYS - 1).map(str), max_size=2),
    st.lists(records, max_size=5),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=2),
    st.binary(max_size=3),
)
@example(["k"], [], [{"partition_key_index": 0, "data": b"x"}], [(5, 0x20)], b"")  # no key
@example(["k"], [], [{"partition_key_index": 0, "data": b"x"}], [(7, 0x22)], b"")  # no data
@settings(max_examples=400)
def test_messages_are_read_as_protobuf_reads_them(
    keys: list[str],
    hash_keys: list[str],
    records: list[dict[str, Any]],
    changes: list[tuple[int, int]],
    tail: bytes,
) -> None:
    changed = bytearray(message_of(keys, hash_keys, records) + tail)
    for place, byte in changes if changed else ():
        changed[place % len(changed)] = byte
    message = bytes(changed)
    found = Deaggregator(0, HALF - 1).user_records(sealed(message))
    try:
        parsed = KplMessage.FromString(message)
    except DecodeError:
        assert found is None
        return
    if not parsed.IsInitialized():  # a field is missing that each record has to have
        assert found is None
        return
    hashes = [hash_of(key) for key in parsed.partition_key_table]
    explicit = list(parsed.explicit_hash_key_table)
    owners = [
        (explicit, one.explicit_hash_key_index)
        if one.HasField("explicit_hash_key_index")
        else (hashes, one.partition_key_index)
        for one in parsed.records
    ]
    try:
        owned = [int(table[index]) < HALF for table, index in owners]
        _ = [int(key) for key in explicit]
    except (IndexError, ValueError):
        assert found is None
        return
    if found is None:
        assert has_group(message) or not message
        return
    mine = [index for index, is_mine in enumerate(owned) if is_mine]
    assert found.payloads == [parsed.records[index].data for index in mine]
    assert list(found.indexes) == mine
    assert found.foreign == len(owned) - len(mine)


def has_group(message: bytes) -> bool:
    """Tell whether a byte may begin a group, which protobuf passes over and we refuse."""
    return any(byte & 7 == 3 for byte in message)


def test_an_empty_aggregate_has_no_user_records() -> None:
    message = AggregatedRecord(partition_key_table=["k"]).SerializeToString()
    found = everything().user_records(sealed(message))
    assert found is not None
    assert (found.payloads, found.foreign) == ([], 0)


def test_more_keys_than_are_remembered_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.kinesis.kpl._REMEMBERED_KEYS", 3)
    deaggregator = Deaggregator(0, HALF - 1)
    for round_number in range(3):
        keys = [f"{round_number}-{n}" for n in range(10)]
        found = deaggregator.user_records(aggregate(*((key, key.encode(), None) for key in keys)))
        assert found is not None
        assert found.payloads == [key.encode() for key in keys if hash_of(key) < HALF]


def test_a_partition_key_that_is_no_utf8_is_hashed_as_it_is() -> None:
    digest = int(hashlib.md5(b"\xff\xfe").hexdigest(), 16)
    data = sealed(b"\x0a\x02\xff\xfe" + b"\x1a\x05\x08\x00\x1a\x01x")
    found = Deaggregator(digest, digest).user_records(data)
    assert found is not None
    assert (found.payloads, found.foreign) == ([b"x"], 0)
