"""What lies at a place: which files there are, and by a look at each one's beginning what is in it.

A file is known by its content, not by its name: gzip, Parquet, CSV or JSON by its first bytes, and
rows or events by the names of its first record's fields. So a Firehose prefix, a directory of the
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
from pathlib import Path
from typing import Any, Literal

import duckdb
import orjson

from service.insights.places import Links
from service.warehouse.tables import Events, Rows

Format = Literal["json_lines", "json", "csv", "parquet"]

_HEAD_BYTES = 256 * 1024
_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
_ROW = frozenset({"row_id", "aggregate", "domain", "window_start", "emitted_at"})
_HIDDEN = (".", "_")


@dataclass(frozen=True, slots=True)
class Shape:
    """How a file is read; files of one shape are read together.

    Attributes:
        holds: The table that its records belong to.
        format: How it is written.
        gzipped: Whether it is compressed as a whole.
        header: The columns of a CSV or Parquet, in their order.
    """

    holds: str
    format: Format
    gzipped: bool = False
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
        shape = shape_of(path, tables)
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
        return _shape(columns, tables, "parquet", header=columns)
    gzipped = head.startswith(_GZIP)
    if gzipped:
        try:
            head = _gunzipped(path)
        except (OSError, EOFError, zlib.error):
            return "is no sound gzip"
    text = head.removeprefix(_BOM).lstrip()
    if not text:
        return "is empty"
    if text.startswith(b"{"):
        return _json_shape(text, tables, gzipped)
    columns = _csv_columns(text)
    return _shape(columns, tables, "csv", gzipped, header=columns)


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


def _json_shape(text: bytes, tables: Sequence[Rows | Events], gzipped: bool) -> Shape | str:
    """Tell lines, each an object, from objects in any other arrangement."""
    first, _, rest = text.partition(b"\n")
    second = rest.partition(b"\n")[0].strip()
    record = _object(first)
    # Several objects on a line, or lines that are parts of one: read without regard to lines.
    if record is not None and (not second or _object(second) is not None or second[:1] != b"{"):
        return _shape(_names(record), tables, "json_lines", gzipped)
    record = _first_object(text)
    if record is None:
        return "begins with no whole JSON object"
    return _shape(_names(record), tables, "json", gzipped)


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
    gzipped: bool = False,
    header: tuple[str, ...] = (),
) -> Shape | str:
    """Find the table whose records have these fields."""
    known = set(names)
    for table in tables:
        if isinstance(table, Rows):
            if known >= _ROW and f"domain={table.domain}" in known:
                return Shape(table.name, written, gzipped, header)
        elif _is_event(table, known):
            return Shape(table.raw, written, gzipped, header)
    return "holds neither rows of aggregates nor events of a domain"


def _is_event(events: Events, names: set[str]) -> bool:
    needed = {one.path[0] for one in events.members if one.column.required}
    has_time = not events.times or not names.isdisjoint(events.times)
    # A row of an aggregate can have a field of each name that an event needs.
    return needed <= names and has_time and not names >= _ROW
