"""What lies at a place: which files there are, and by a look at each one's beginning what is in it.

A file is known by its content, not by its name: gzip, Parquet, CSV or JSON by its first bytes, and
rows or events by the names of its first records' fields. So a Firehose prefix, a directory of the
files sink and a CSV on a disk are all found alike, also mixed.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import duckdb
import orjson

from service.insights.packed import is_packed, records
from service.insights.places import Links
from service.warehouse.tables import Events, Rows
from sources.archive.stores import ObjectError

Format = Literal["json_lines", "json", "csv", "parquet"]
Compression = Literal["none", "gzip", "zstd", "packed"]

_HEAD_BYTES = 256 * 1024
_HEAD_LINES = 1_000
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_BOM = b"\xef\xbb\xbf"
_ROW = frozenset({"row_id", "aggregate", "domain", "window_start", "emitted_at"})
_HIDDEN = (".", "_")
_NEITHER = "holds neither rows of aggregates nor events of a domain"


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file is read; files of one shape are read together.

    Attributes:
        holds: The table that its records belong to.
        format: How it is written.
        compression: How it is compressed as a whole; Parquet is within. What is `packed` must be
            unpacked first.
        header: The columns of a CSV or Parquet, in their order.
    """

    holds: str
    format: Format
    compression: Compression = "none"
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """What was found.

    Attributes:
        files: The files of each shape, in the order of their paths.
        others: Files that hold neither rows nor events, and why they were left.
    """

    files: dict[Shape, list[Path]]
    others: dict[Path, str]


def look(place: Path, tables: Sequence[Rows | Events]) -> Archive:
    """Look at a file, or at all files in and below a directory.

    Args:
        place: Where.
        tables: What a file can hold records of.
    """
    files: dict[Shape, list[Path]] = {}
    others: dict[Path, str] = {}
    for path in _files(place):
        try:
            shape = shape_of(path, tables)
        except OSError as error:
            shape = f"can't be read: {error.strerror}"
        if isinstance(shape, Shape):
            files.setdefault(shape, []).append(path)
        else:
            others[path] = shape
    return Archive(files, others)


def shape_of(path: Path, tables: Sequence[Rows | Events]) -> Shape | str:
    """Return how a file is read, or why it isn't."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(_PARQUET):
        columns = _parquet_columns(path)
        return _shape(columns, tables, "parquet", "none", columns)
    compression: Compression = "none"
    if head.startswith(_GZIP):
        compression = "gzip"
        try:
            head = _gunzipped(path)
        except (OSError, EOFError, zlib.error):
            return "is no sound gzip"
    elif head.startswith(_ZSTD):
        compression = "zstd"
        try:
            head = _unzstd(path)
        except duckdb.Error:
            return "is no sound zstd"
    if is_packed(head):
        return _packed(path, tables)
    text = head.removeprefix(_BOM).lstrip()
    if not text:
        return "is empty"
    if objects := _head_objects(text):
        # The first may be no event, and the second be one.
        shapes = (_shape(_names(one), tables, "json_lines", compression) for one in objects)
        return next((one for one in shapes if isinstance(one, Shape)), _NEITHER)
    if text.startswith(b"{"):
        # Several objects on a line, or lines that are parts of one: read without regard to lines.
        first = _first_object(text)
        return _shape(_names(first), tables, "json", compression) if first else "is no sound JSON"
    columns = _csv_columns(text)
    return _shape(columns, tables, "csv", compression, columns)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for path in sorted(place.rglob("*")):
        hidden = any(part.startswith(_HIDDEN) for part in path.relative_to(place).parts)
        if path.is_file() and not hidden:
            yield path


def _gunzipped(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read(_HEAD_BYTES)


def _unzstd(path: Path) -> bytes:
    """Have DuckDB decompress: it can, and Python can't before 3.14."""
    with tempfile.TemporaryDirectory(prefix="kinewax-link-") as folder:
        lines = duckdb.execute(
            "SELECT line FROM read_csv(?, compression = 'zstd', header = false, delim = '\x01', "
            "quote = '', escape = '', auto_detect = false, strict_mode = false, "
            f"columns = {{'line': 'VARCHAR'}}, max_line_size = 67108864) LIMIT {_HEAD_LINES}",
            [Links(Path(folder)).of(path)],
        ).fetchall()
    return b"\n".join((line or "").encode() for (line,) in lines)


def _packed(path: Path, tables: Sequence[Rows | Events]) -> Shape | str:
    try:
        first = list(islice(records(path), _HEAD_LINES))
    except ObjectError as error:
        return f"can't be read: {error.detail}"
    objects = [found for record in first if (found := _object(record)) is not None]
    shapes = (_shape(_names(one), tables, "json_lines", "packed") for one in objects)
    return next((one for one in shapes if isinstance(one, Shape)), _NEITHER)


def _head_objects(text: bytes) -> list[dict[str, Any]]:
    """Return the objects that are a line each, if most of the first lines are."""
    lines = [line for line in text.split(b"\n")[:_HEAD_LINES] if line.strip()]
    found = [record for line in lines if (record := _object(line)) is not None]
    return found if 2 * len(found) >= len(lines) else []


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _first_object(text: bytes) -> dict[str, Any] | None:
    """Return the object that the text begins with, wherever it ends."""
    end = text.find(b"}")
    while end >= 0:
        if (found := _object(text[: end + 1])) is not None:
            return found
        end = text.find(b"}", end + 1)
    return None


def _names(record: dict[str, Any]) -> tuple[str, ...]:
    """Return a record's field names; a row also says of which domain it is."""
    return (*record, f"domain={record.get('domain')}")


def _csv_columns(text: bytes) -> tuple[str, ...]:
    first = io.StringIO(text.partition(b"\n")[0].decode("utf-8", "replace"))
    return tuple(next(csv.reader(first), []))


def _parquet_columns(path: Path) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="kinewax-link-") as folder:
        file = Links(Path(folder)).of(path)
        try:
            found = duckdb.execute("DESCRIBE SELECT * FROM read_parquet(?)", [file]).fetchall()
        except duckdb.Error:
            return ()
    return tuple(str(column[0]) for column in found)


def _shape(
    names: Iterable[str],
    tables: Sequence[Rows | Events],
    written: Format,
    compression: Compression,
    header: tuple[str, ...] = (),
) -> Shape | str:
    """Find the table whose records have these fields."""
    known = set(names)
    for table in tables:
        if isinstance(table, Rows):
            if known >= _ROW and f"domain={table.domain}" in known:
                return Shape(table.name, written, compression, header)
        elif _is_event(table, known):
            return Shape(table.raw, written, compression, header)
    return _NEITHER


def _is_event(events: Events, names: set[str]) -> bool:
    needed = {one.path[0] for one in events.members if one.column.required}
    has_time = not events.times or not names.isdisjoint(events.times)
    # A row of an aggregate can have a field of each name that an event needs.
    return needed <= names and has_time and not names >= _ROW
