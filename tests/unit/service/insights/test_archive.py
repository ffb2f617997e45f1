"""A file is known by what is in it, whatever its name, and one that is none of ours is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import orjson
import pytest

from service.insights.answers import tables
from service.insights.archive import Shape, look, shape_of

EVENT = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "1",
    "category_code": "",
    "brand": 'o"neill, {inc}',
    "price": "1.50",
    "user_id": "7",
    "user_session": "s",
}
ROW = {
    "row_id": "ecommerce/trade/x/2019-10-01T00:00:00Z",
    "domain": "ecommerce",
    "aggregate": "trade",
    "window_start": "2019-10-01T00:00:00Z",
    "event_type": "view",
    "user_id": 7,
    "price": 1,
    "event_time": "2019-10-01T00:00:00Z",
    "emitted_at": "2019-10-01T00:01:00Z",
}
LINE = orjson.dumps(EVENT) + b"\n"
PRETTY = orjson.dumps(EVENT, option=orjson.OPT_INDENT_2)
CSV = (",".join(EVENT) + "\n" + "2019-10-01 00:00:00 UTC,view,1,,sony,1.5,7,s\n").encode()


def zipped(content: bytes) -> bytes:
    """Compress alike at any time: xdist tells tests by their parameters."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("content", "shape"),
    [
        (LINE * 3, Shape("ecommerce_raw", "json_lines")),
        (LINE.rstrip(), Shape("ecommerce_raw", "json_lines")),
        (b"\n" + LINE, Shape("ecommerce_raw", "json_lines")),
        (b"\xef\xbb\xbf" + LINE, Shape("ecommerce_raw", "json_lines")),
        (zipped(LINE), Shape("ecommerce_raw", "json_lines", "gzip")),
        (b'{"brand": "x"}\n{}\n' + LINE * 3, Shape("ecommerce_raw", "json_lines")),
        (b"not json\n" + LINE * 3, Shape("ecommerce_raw", "json_lines")),
        (LINE + b'{"event_time": \n' + LINE * 3, Shape("ecommerce_raw", "json_lines")),
        (PRETTY, Shape("ecommerce_raw", "json")),
        (PRETTY + PRETTY, Shape("ecommerce_raw", "json")),
        (LINE.rstrip() * 2, Shape("ecommerce_raw", "json")),
        (CSV, Shape("ecommerce_raw", "csv", header=tuple(EVENT))),
        (b"\xef\xbb\xbf" + CSV, Shape("ecommerce_raw", "csv", header=tuple(EVENT))),
        (
            zipped(CSV.replace(b"\n", b"\r\n")),
            Shape("ecommerce_raw", "csv", "gzip", header=tuple(EVENT)),
        ),
        (orjson.dumps(ROW), Shape("ecommerce_rows", "json_lines")),
        (
            b'{"customerId": "1", "event": {"type": "search", "product": ""}}',
            Shape("clickstream_raw", "json_lines"),
        ),
    ],
)
def test_a_file_is_known_by_its_content(tmp_path: Path, content: bytes, shape: Shape):
    (path := tmp_path / "some-object-1.dat").write_bytes(content)

    assert shape_of(path, tables()) == shape


def test_a_parquet_file_is_known_by_its_columns(tmp_path: Path):
    path = tmp_path / "part [0]*"
    columns = ", ".join(f"'x' AS {name}" for name in EVENT)
    duckdb.execute(f"COPY (SELECT {columns}) TO '{tmp_path}/x' (FORMAT parquet)")
    (tmp_path / "x").rename(path)

    assert shape_of(path, tables()) == Shape("ecommerce_raw", "parquet", header=tuple(EVENT))


def test_a_file_that_zstd_has_compressed_is_known_by_its_content(tmp_path: Path):
    path = tmp_path / "some [object]*"
    columns = ", ".join(f"'x' AS {name}" for name in EVENT)
    for written in ("json", "csv"):
        options = f"(FORMAT {written}, COMPRESSION zstd{', HEADER' * (written == 'csv')})"
        duckdb.execute(f"COPY (SELECT {columns}) TO '{tmp_path}/x' {options}")
        (tmp_path / "x").rename(path)

        shape = shape_of(path, tables())

        assert isinstance(shape, Shape)
        assert (shape.holds, shape.compression) == ("ecommerce_raw", "zstd")
        assert shape.format == {"json": "json_lines", "csv": "csv"}[written]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (zipped(LINE * 1000)[:20], "is no sound gzip"),
        (b"\x28\xb5\x2f\xfd and no more", "is no sound zstd"),
        (b'{"id": "x", "rule": "high_volume", "phase": "final"}', "holds neither"),
        (b"\x00\x01\x02", "holds neither"),
        (b"127.0.0.1 - - [01/Oct/2019:00:00:00 +0000]", "holds neither"),
        (b'{"event_time": ', "is no sound JSON"),
        (b"PAR1 and no more", "holds neither"),
    ],
)
def test_a_file_that_is_none_of_ours_says_why(tmp_path: Path, content: bytes, why: str):
    (path := tmp_path / "some-object-1.dat").write_bytes(content)

    found = shape_of(path, tables())

    assert isinstance(found, str)
    assert found.startswith(why)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a").write_bytes(LINE)
    (tmp_path / "b").write_bytes(LINE)
    opened = Path.open

    def refuse(path: Path, *arguments: str) -> object:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)

    found = look(tmp_path, tables())

    assert found.others == {tmp_path / "a": "can't be read: Permission denied"}
    assert [path.name for paths in found.files.values() for path in paths] == ["b"]


def test_files_below_a_directory_are_found_but_hidden_ones(tmp_path: Path):
    for name in ("2019/10/01/00/a", "b [1]*.jsonl", "_temporary/c", ".d", "e/_SUCCESS"):
        (path := tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINE)

    found = look(tmp_path, tables())

    (paths,) = found.files.values()
    assert [path.name for path in paths] == ["a", "b [1]*.jsonl"]
    assert found.others == {}
