"""Records of objects of every kind, whatever pieces their bytes come in."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

import aws_kinesis_agg.aggregator  # noqa: F401  # lets messages_pb2 find what it imports
import pyarrow
import pytest
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sources.archive.formats import batches
from sources.archive.stores import ObjectError
from sources.kinesis.kpl import MAGIC

EVENTS = [
    {"user_id": "1", "brand": 'an "odd" one, }{ and \\ more'},
    {"user_id": "2", "brand": "é\u2028", "more": {"a": [{"b": 1}, {"b": 2}]}},
    {"user_id": "3", "brand": ""},
]
TEXTS = [json.dumps(event) for event in EVENTS]


def cut(content: bytes, size: int) -> Iterator[bytes]:
    """The content in pieces, with nothing there yet between any two of them."""
    for place in range(0, len(content), size):
        yield b""
        yield content[place : place + size]


def records(name: str, content: bytes, size: int = 1 << 18) -> list[bytes]:
    found = (batch for batch in batches(name, cut(content, size)) if batch is not None)
    return [payload for batch in found for payload in batch.payloads]


def values(name: str, content: bytes, size: int = 1 << 18) -> list[object]:
    return [json.loads(payload) for payload in records(name, content, size)]


def aggregate(*payloads: bytes) -> bytes:
    message = AggregatedRecord(partition_key_table=["key"])
    for payload in payloads:
        message.records.add(partition_key_index=0, data=payload)
    body = message.SerializeToString()
    return MAGIC + body + hashlib.md5(body).digest()


def zipped(content: bytes, name: str = "inner.json") -> bytes:
    return zip_of({name: content})


def zip_of(contents: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def as_parquet(compression: str = "snappy") -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(EVENTS), file, compression=compression)
    return file.getvalue()


SHAPES = {
    "lines": "\n".join(TEXTS) + "\n",
    "lines without a last end": "\n".join(TEXTS),
    "records with ends and a delimiter": "\n\n".join(TEXTS) + "\n\n",
    "carriage returns": "\r\n".join(TEXTS),
    "byte order mark": "\ufeff" + "\n".join(TEXTS),
    "back to back": "".join(TEXTS),
    "back to back with an end": "".join(TEXTS) + "\n",
    "pretty-printed": "".join(json.dumps(event, indent=2) for event in EVENTS),
    "pretty-printed, delimited": "\n".join(json.dumps(event, indent=2) for event in EVENTS),
}


@pytest.mark.parametrize("size", [1, 7, 1 << 18])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_json_is_read_whatever_stands_between_its_objects(shape: str, size: int) -> None:
    assert values("a", shape.encode(), size) == EVENTS


@pytest.mark.parametrize("size", [1, 5, 1 << 18])
def test_what_is_packed_is_unpacked_by_its_first_bytes_and_not_by_its_name(size: int) -> None:
    content = SHAPES["lines"].encode()
    zstd = pyarrow.compress(content, codec="zstd", asbytes=True)
    for name in ("a", "a.dat"):
        for packed in (gzip.compress(content), zipped(content), zstd, as_parquet()):
            assert [one["user_id"] for one in values(name, packed, size)] == ["1", "2", "3"]


def test_empty_and_hidden_files_of_a_zip_cost_none_behind_them() -> None:
    row = b'{"a":1}'
    packed = zip_of({
        "empty.json": b"", "folder/": b"", "__MACOSX/._a.json": b"Mac", "folder/.DS_Store": b"Mac",
        "./a.json": row, "empty.json.gz": gzip.compress(b""), "_SUCCESS": b"x", "day=1/_b=2/b": row,
        "blank": b"\n", "_temporary/c.json": row, "_.json": row,
    })  # fmt: skip
    assert records("a.zip", packed) == [row, row]


def test_gzip_of_several_members_is_one_object() -> None:
    packed = gzip.compress(b'{"a":1}\n') + gzip.compress(b'{"a":2}\n') + b"\0" * 7
    assert values("a.gz", packed, 3) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("size", [1, 4, 1 << 18])
def test_csv_rows_become_objects_of_strings(size: int) -> None:
    text = '\ufeffid,name\r\n1,"a ""b"", c"\n2,"two\nlines"\n3,é\n'
    expected = [
        {"id": "1", "name": 'a "b", c'},
        {"id": "2", "name": "two\nlines"},
        {"id": "3", "name": "é"},
    ]
    assert values("a.csv", text.encode(), size) == expected
    assert values("a.csv.gz", gzip.compress(text.encode()), size) == expected
    assert values("a.zip", zipped(text.encode(), "inner.csv"), size) == expected


@pytest.mark.parametrize("size", [1, 2, 5, 1 << 18])
@pytest.mark.parametrize("before", ["\ufeff", "\r\n\n", "\ufeff\n", " \n,\n"])
def test_what_stands_before_a_csv_header_is_no_part_of_it(before: str, size: int) -> None:
    text = before + '"id","name"\r\n"1","a"\r\n'
    assert values("a.csv", text.encode(), size) == [{"id": "1", "name": "a"}]


def test_a_csv_row_that_does_not_fit_its_header_is_passed_on_as_it_is() -> None:
    assert records("a.csv", b"id,name\n1,2,3\n4,x\n") == [b"1,2,3", b'{"id":"4","name":"x"}']


@pytest.mark.parametrize("size", [1, 11, 1 << 18])
@pytest.mark.parametrize("delimiter", [b"", b"\n"])
def test_aggregates_amid_an_object_are_taken_apart(size: int, delimiter: bytes) -> None:
    parts = [b'{"a":1}', aggregate(b'{"a":2}', b'{"a":3}'), b'{"a":4}', aggregate(b'{"a":5}')]
    content = delimiter.join(parts) + delimiter
    assert values("a", content, size) == [{"a": number} for number in range(1, 6)]


def test_a_magic_without_its_aggregate_is_text() -> None:
    whole = aggregate(b'{"a":2}')
    assert b"".join(records("a", b'{"a":1}\n' + whole[:-1])).endswith(whole[-5:-1])


DAMAGE = {
    "digest": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "digest that looks like a field": lambda whole: whole[:-16] + b"\x1a\xff\xff\x03" + whole[-12:],
    "digest that looks like a long field": lambda whole: whole[:-16] + b"\x1a" + b"\xff" * 15,
    "end": lambda whole: whole[:-20],
    "all but the magic": lambda whole: whole[:4],
    "length": lambda whole: whole[:5] + b"\x7f" + whole[6:],
}


@pytest.mark.parametrize("size", [1, 11, 1 << 18])
@pytest.mark.parametrize("delimiter", [b"", b"\n"])
@pytest.mark.parametrize("damaged", DAMAGE.values(), ids=list(DAMAGE))
def test_a_damaged_aggregate_costs_none_behind_it(
    damaged: Callable[[bytes], bytes], delimiter: bytes, size: int
) -> None:
    bad = damaged(aggregate(b'{"bad":1}', b'{"bad":2}'))
    good = [aggregate(b'{"a":%d}' % n, b'{"b":%d}' % n) for n in range(4)]
    content = delimiter.join([good[0], bad, bad, good[1], good[2], bad, good[3], bad])
    found = records("a", content, size)
    assert [one for one in found if one.startswith(b'{"a')] == [b'{"a":%d}' % n for n in range(4)]
    assert [one for one in found if one.startswith(b'{"b":')] == [b'{"b":%d}' % n for n in range(4)]


@pytest.mark.parametrize("size", [1, 2, 9, 1 << 18])
def test_blank_lines_are_no_records_wherever_an_object_is_cut(size: int) -> None:
    content = b'\r\n{"a":1}\r\n\r\n\r\n{"a":2}\n\n{"a":3}\r\n\r\n'
    assert records("a", content, size) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']


def test_lines_of_text_are_records() -> None:
    log = b'1.2.3.4 - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 5 "-" "x"\n'
    assert records("a.log", log * 2) == [log.rstrip()] * 2


@pytest.mark.parametrize("bad", [b'{"a": "unclosed}', b'{"a":{"b":1}', b'"', b"}{"])
def test_a_bad_object_costs_its_neighbours_nothing(bad: bytes) -> None:
    for between in (b"\n", b""):
        found = b"\n".join(records("a", between.join([b'{"a":1}', bad, b'{"a":2}', b'{"a":3}'])))
        assert b'{"a":1}' in found
        assert found.endswith(b'{"a":3}')


@given(
    st.lists(
        st.dictionaries(st.text('ab{}"', min_size=1), st.text('a"{}:,\\ \n'), min_size=1),
        min_size=1,
    ),
    st.sampled_from(["", "\n", " \n "]),
    st.sampled_from([None, 2]),
    st.integers(1, 40),
)
def test_pieces_do_not_change_what_is_read(
    events: list[dict[str, str]], between: str, indent: int | None, size: int
) -> None:
    content = between.join(json.dumps(event, indent=indent) for event in events).encode()
    assert records("a", content, size) == records("a", content)


def changed(packed: bytes, local: int, central: int, value: int) -> bytes:
    """Return a zip archive of one file with one byte of both of its headers changed."""
    found = bytearray(packed)
    found[local] = found[packed.index(b"PK\x01\x02") + central] = value
    return bytes(found)


BAD = {
    "empty": ("a", b"", "object_empty"),
    "zip of empty files": ("a.zip", zip_of({"a": b"", "b": b"\n"}), "object_empty"),
    "zip of hidden files": ("a.zip", zip_of({"__MACOSX/a": b"{}", ".b": b"{}"}), "object_empty"),
    "zip of nothing": ("a.zip", zip_of({"a/": b""}), "object_empty"),
    "no gzip": ("a.gz", b"plain text", "object_corrupt"),
    "no parquet": ("a.parquet", b"plain text", "object_corrupt"),
    "cut gzip": ("a.gz", gzip.compress(b'{"a":1}\n' * 99)[:-5], "object_truncated"),
    "rubbish behind gzip": ("a.gz", gzip.compress(b'{"a":1}\n') + b"rubbish", "object_corrupt"),
    "cut zip": ("a.zip", zipped(b'{"a":1}\n' * 99)[:-30], "object_truncated"),
    "zip with a password": ("a.zip", changed(zipped(b'{"a":1}'), 6, 8, 1), "object_corrupt"),
    "zip of an unknown method": ("a.zip", changed(zipped(b'{"a":1}'), 8, 10, 99), "object_corrupt"),
    "cut parquet": ("a.parquet", as_parquet()[:-9], "object_truncated"),
    "damaged parquet": ("a", b"PAR1" + b"\0" * 99 + b"PAR1", "object_corrupt"),
    "cut zstd": (
        "a.zst",
        pyarrow.compress(b"".join(b'{"a":%d}\n' % n for n in range(9999)), "zstd", asbytes=True)[
            :-99
        ],
        "object_truncated",
    ),
}


@pytest.mark.parametrize(("name", "content", "reason"), BAD.values(), ids=list(BAD))
def test_what_is_wrong_with_an_object_is_named(name: str, content: bytes, reason: str) -> None:
    with pytest.raises(ObjectError) as caught:
        records(name, content)
    assert caught.value.reason == reason


def test_what_comes_before_damage_is_the_same_each_time() -> None:
    rows = b"".join(b'{"a":"%s"}\n' % base64.b64encode(hashlib.md5(b"%d" % n).digest())
                    for n in range(20_000))  # fmt: skip
    packed = bytearray(gzip.compress(rows))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    counts = set()
    for _ in range(2):
        found = 0
        with suppress(ObjectError):
            for batch in batches("a.gz", cut(bytes(packed), 1 << 18)):
                found += len(batch.payloads) if batch else 0
        assert found > 5_000
        counts.add(found)
    assert len(counts) == 1
