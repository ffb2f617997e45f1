"""An archive in DuckDB: each table's records read once, and the views that questions are asked of.

Everything is read as text and cast value by value. A record that isn't JSON, or lacks what it can't
be without, doesn't stop the rest: it is counted as rejected. What is read lies in a temporary
database beside the files, so memory stays bounded however large the archive is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import duckdb

from service.insights.archive import Archive, Shape
from service.warehouse.tables import MOST_DIGITS, Column, Events, Member, Rows
from service.warehouse.views import latest, typed

Cell = Any  # whatever a column holds: DuckDB's Python types


@dataclass(frozen=True, slots=True)
class Reading:
    """What a table has got.

    Attributes:
        table: Its name.
        files: From how many files.
        records: How many there were.
        rejected: How many of them were no rows or events.
    """

    table: str
    files: int
    records: int
    rejected: int


class Database:
    """A temporary DuckDB database; leave the `with` block and it is closed.

    Args:
        folder: A temporary directory of one's own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._links = 0
        self._connection = duckdb.connect(
            str(folder / "insights.duckdb"),
            config={"temp_directory": str(folder / "spill"), "autoinstall_known_extensions": False},
        )
        self._connection.execute("SET TimeZone = 'UTC'")
        self._filled: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load(self, archive: Archive, tables: Sequence[Rows | Events]) -> list[Reading]:
        """Read an archive into tables, and make their views."""
        readings = []
        for table in tables:
            name = table.name if isinstance(table, Rows) else table.raw
            shapes = {shape: paths for shape, paths in archive.files.items() if shape.holds == name}
            if shapes:
                readings.append(self._fill(table, name, shapes))
        return readings

    def has(self, view: str) -> bool:
        """Tell whether a view has anything in it."""
        return view in self._filled

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Cell, ...]]]:
        """Run a query and return its columns and rows."""
        found = self._connection.execute(sql)
        return [column[0] for column in found.description or ()], found.fetchall()

    def _fill(self, table: Rows | Events, name: str, shapes: dict[Shape, list[Path]]) -> Reading:
        columns = _columns(table)
        for number, (shape, paths) in enumerate(shapes.items()):
            select = self._reader(shape, paths, columns)
            into = f"INSERT INTO {name}" if number else f"CREATE TABLE {name} AS"
            self._connection.execute(f"{into} {select}")
        # A line of CSV that doesn't fit its columns was passed over, and noted, maybe twice.
        has_csv = any(shape.format == "csv" for shape in shapes)
        broken = self._count(_BROKEN_LINES) if has_csv else 0
        records = self._count(name)
        if isinstance(table, Rows):
            kept = self._make_row_views(table)
        else:
            self._make(table.view, "TABLE", typed(table, read=_member, time=_time))
            kept = self._count(table.view)
        records += broken
        return Reading(name, sum(map(len, shapes.values())), records, records - kept)

    def _make_row_views(self, rows: Rows) -> int:
        sound = " AND ".join(
            f"{_own(one, one)} IS NOT NULL" for one in rows.columns if one.required
        )
        self._connection.execute(f"DELETE FROM {rows.name} WHERE NOT ({sound})")
        for aggregate in rows.aggregates:
            self._make(aggregate.view, "TABLE", latest(rows, aggregate, read=_own, newest=_NEWEST))
        return self._count(rows.name)

    def _make(self, view: str, kind: str, select: str) -> None:
        self._connection.execute(f"CREATE {kind} {view} AS {select}")
        if self._count(view):
            self._filled.add(view)

    def _count(self, relation: str) -> int:
        return int(self._connection.execute(f"SELECT COUNT(*) FROM {relation}").fetchall()[0][0])

    def _reader(
        self, shape: Shape, paths: Sequence[Path], columns: Sequence[tuple[str, tuple[str, ...]]]
    ) -> str:
        """Return a SELECT that reads files: each column by its name, as text."""
        files = self._linked(paths)
        compression = f"compression = '{'gzip' if shape.gzipped else 'none'}'"
        if shape.format in ("json", "json_lines"):
            lines = shape.format == "json_lines"
            source = (
                f"read_json_objects({files}, {compression}, maximum_object_size = 67108864, "
                f"format = '{'newline_delimited' if lines else 'unstructured'}'"
                f"{', ignore_errors = true' if lines else ''})"
            )
            values = [f"json_extract_string(json, {_json_path(path)})" for _, path in columns]
        elif shape.format == "csv":
            types = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in shape.header)
            source = (
                f"read_csv({files}, {compression}, header = true, auto_detect = false, "
                f"columns = {{{types}}}, delim = ',', quote = '\"', escape = '\"', "
                "null_padding = true, store_rejects = true)"
            )
            values = [_name(path[0]) if path[0] in shape.header else "NULL" for _, path in columns]
        else:
            source = f"read_parquet({files}, union_by_name = true)"
            _, found = self.ask(f"SELECT column_name FROM (DESCRIBE SELECT * FROM {source})")
            has = {str(name) for (name,) in found}
            values = [
                f"CAST({'.'.join(map(_name, path))} AS VARCHAR)" if path[0] in has else "NULL"
                for _, path in columns
            ]
        named = ", ".join(
            f"CAST({value} AS VARCHAR) AS {_name(name)}"
            for value, (name, _) in zip(values, columns, strict=True)
        )
        return f"SELECT {named} FROM {source}"

    def _linked(self, paths: Sequence[Path]) -> str:
        """Return a list of files as SQL, by links whose names hold nothing that DuckDB expands."""
        links = self._folder / "files"
        links.mkdir(exist_ok=True)
        names = []
        for path in paths:
            link = links / str(self._links)
            link.symlink_to(path.absolute())
            self._links += 1
            names.append(_text(str(link)))
        return f"[{', '.join(names)}]"


# ---- columns ------------------------------------------------------------------------------------

_BROKEN_LINES = "(SELECT DISTINCT scan_id, file_id, line FROM reject_errors)"
_NEWEST = "TRY_CAST(emitted_at AS TIMESTAMP)"


def _columns(table: Rows | Events) -> list[tuple[str, tuple[str, ...]]]:
    """Return the text columns of a table, and where in a record each one is."""
    if isinstance(table, Rows):
        return [(one.name, (one.name,)) for one in table.columns]
    times = [(name, (name,)) for name in table.times]
    return times + [(one.column.name, one.path) for one in table.members]


def _own(column: Column, _: Column) -> str:
    """Read a column of texts as its own type; what doesn't fit is null."""
    name = _name(column.name)
    if column.kind == "text":
        return name
    if column.kind == "time":
        return _time(column.name)
    kind = {
        "integer": "BIGINT",
        "decimal": f"DECIMAL({MOST_DIGITS}, {column.scale})",
        "real": "DOUBLE",
        "boolean": "BOOLEAN",
    }[column.kind]
    return f"TRY_CAST({name} AS {kind})"


def _member(member: Member) -> str:
    return _own(member.column, member.column)


def _time(field: str) -> str:
    """Read a time with or without a zone, which then is UTC."""
    return f"timezone('UTC', TRY_CAST({_name(field)} AS TIMESTAMPTZ))"


def _json_path(path: Sequence[str]) -> str:
    return _text("$" + "".join(f'."{part}"' for part in path))


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
