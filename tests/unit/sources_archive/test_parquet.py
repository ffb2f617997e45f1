"""Parquet whose values are odd, and Parquet, zip, gzip and zstd that are damaged."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from contextlib import suppress
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from sources.archive.formats import batches
from sources.archive.stores import ObjectError

NANOSECONDS = pyarrow.timestamp("ns")
MOMENT_NS = 1_574_416_800_123_456_789  # 2019-11-22T10:00
MOMENT = "2019-11-22T10:00:00.123456"


def as_parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def rows(content: bytes) -> list[dict[str, Any]]:
    found = (batch for batch in batches("a.parquet", iter((content,))) if batch is not None)
    return [json.loads(payload) for batch in found for payload in batch.payloads]


KINDS: dict[str, tuple[Any, object, object]] = {
    "timestamp": (NANOSECONDS, MOMENT_NS, MOMENT),
    "zone": (pyarrow.timestamp("ns", "UTC"), MOMENT_NS, f"{MOMENT}+00:00"),
    "unknown zone": (pyarrow.timestamp("us", "Mars/Base"), MOMENT_NS // 1_000, f"{MOMENT}+00:00"),
    "list": (pyarrow.list_(NANOSECONDS), [MOMENT_NS], [MOMENT]),
    "large list": (pyarrow.large_list(NANOSECONDS), [MOMENT_NS], [MOMENT]),
    "list of two": (pyarrow.list_(NANOSECONDS, 2), [MOMENT_NS] * 2, [MOMENT] * 2),
    "struct": (pyarrow.struct([("t", NANOSECONDS)]), {"t": MOMENT_NS}, {"t": MOMENT}),
    "deep": (
        pyarrow.list_(pyarrow.struct([("t", pyarrow.list_(NANOSECONDS))])),
        [{"t": [MOMENT_NS]}],
        [{"t": [MOMENT]}],
    ),
    "map": (pyarrow.map_(pyarrow.string(), NANOSECONDS), [("k", MOMENT_NS)], [["k", MOMENT]]),
    "time": (pyarrow.time64("ns"), 1_001, "00:00:00.000001"),
    "duration": (pyarrow.duration("ns"), 1_500_001_001, 1.500001),
    "dictionary": (pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), "x", "x"),
    "far moment": (pyarrow.timestamp("us"), 2**58, None),
    "far day": (pyarrow.date32(), 2**30, None),
    "long duration": (pyarrow.duration("s"), 2**62, None),
    "far moment inside": (pyarrow.list_(pyarrow.timestamp("us")), [2**58], None),
}


@pytest.mark.parametrize(("kind", "value", "expected"), KINDS.values(), ids=list(KINDS))
def test_an_odd_value_costs_neither_its_object_nor_its_row(
    kind: Any, value: object, expected: object
) -> None:
    odd = pyarrow.array([value, None], kind)
    found = rows(as_parquet(user_id=pyarrow.array(["1", "2"]), odd=odd))
    assert found == [{"user_id": "1", "odd": expected}, {"user_id": "2", "odd": None}]


def test_a_value_that_does_not_fit_leaves_others_of_its_column_as_they_are() -> None:
    times = pyarrow.array([0, 2**58, 1_000_000], pyarrow.timestamp("us"))
    found = rows(as_parquet(t=times))
    assert [row["t"] for row in found] == ["1970-01-01T00:00:00", None, "1970-01-01T00:00:01"]


def test_text_that_is_not_utf_8_stays_so_and_its_row_alone_is_no_event() -> None:
    odd = pyarrow.array([b"a", b"b\xff", b"c"]).view(pyarrow.string())
    content = as_parquet(brand=odd, t=pyarrow.array([0, 1, 2], NANOSECONDS))
    (batch,) = (one for one in batches("a.parquet", iter((content,))) if one is not None)
    first, second, third = batch.payloads
    assert [json.loads(one)["brand"] for one in (first, third)] == ["a", "c"]
    assert second.startswith(b'{"brand": "b\xff"')


# ---- damage -------------------------------------------------------------------------------------

LINES = b"".join(b'{"user_id":"%d","brand":"b%d"}\n' % (n, n % 7) for n in range(60))


def as_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.json", LINES)
        archive.writestr("c.csv", "a,b\n1,2\n")
    return file.getvalue()


WHOLE = {
    "a.zip": as_zip(),
    "a.gz": gzip.compress(LINES),
    "a.zst": pyarrow.compress(LINES, "zstd", asbytes=True),
    "a.parquet": as_parquet(
        t=pyarrow.array([MOMENT_NS] * 20, NANOSECONDS),
        s=pyarrow.array([{"a": n, "b": [str(n)]} for n in range(20)]),
    ),
}
Damage = list[tuple[float, int]]
"""Bytes, as shares of the whole's length, and the bits of theirs that are turned over."""


@pytest.mark.parametrize("name", WHOLE)
@given(
    damage=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=5),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_a_damaged_object_is_that_objects_error_at_worst(
    name: str, damage: Damage, kept: float
) -> None:
    content = bytearray(WHOLE[name])
    for share, bits in damage:
        place = 4 + int(share * (len(content) - 5))  # the magic in front stays
        content[place] ^= bits
    content = content[: max(4, int(kept * len(content)))]
    with suppress(ObjectError):
        for _ in batches(name, iter((bytes(content),))):
            pass
