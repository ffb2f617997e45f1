"""An archive in DuckDB: each table's records read once, and the views that questions are asked of.

Everything is read as text and cast value by value. A record that isn't JSON, or lacks what it can't
be without, doesn't stop the rest: it is counted as rejected. A file that breaks off in the middle
is left whole, and named. What is read lies in a temporary database on disk, so memory stays bounded
however large the archive is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import duckdb

from errors import KinewaxError
from service.insights.archive import Archive, Shape
from service.insights.packed import unpacked
from service.insights.places import Links
from service.insights.readers import BROKEN_LINES, Columns, name, selected, text
from service.warehouse.tables import MOST_DIGITS, Column, Events, Member, Rows
from service.warehouse.views import latest, typed
from sources.archive.stores import ObjectError

Cell = Any  # whatever a column holds: DuckDB's Python types


@dataclass(frozen=True, slots=True)
class Reading:
    """What a table has got.

    Attributes:
        table: Its name.
        files: From how many files.
        records: How many there were.
        rejected: How many of them were no rows or events.
        broken: Files that could not be read to their end, and why.
    """

    table: str
    files: int
    records: int
    rejected: int
    broken: Mapping[Path, str]


class Database:
    """A temporary DuckDB database; leave the `with` block and it is closed.

    Args:
        folder: A temporary directory of one's own.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "files").mkdir()
        (folder / "unpacked").mkdir()
        self._links = Links(folder / "files")
        self._unpacked = folder / "unpacked"
        self._connection = duckdb.connect(
            str(folder / "insights.duckdb"),
            config={
                "temp_directory": str(folder / "spill"),
                # Nothing is downloaded: what is needed comes with the library.
                "autoinstall_known_extensions": False,
            },
        )
        # Times without a zone are in UTC, wherever this machine stands.
        self._connection.execute("SET TimeZone = 'UTC'")
        self._filled: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def load(self, archive: Archive, tables: Sequence[Rows | Events]) -> list[Reading]:
        """Read an archive into tables, and make their views.

        Raises:
            KinewaxError: The disk is full, or memory is not enough.
        """
        readings = []
        for table in tables:
            own = table.name if isinstance(table, Rows) else table.raw
            shapes = {shape: paths for shape, paths in archive.files.items() if shape.holds == own}
            if shapes:
                try:
                    readings.append(self._fill(table, own, shapes))
                except duckdb.Error as error:
                    msg = f"can't read the archive: {_first_line(error)}"
                    raise KinewaxError(msg, hint="see that TMPDIR has room") from error
        return readings

    def has(self, view: str) -> bool:
        """Tell whether a view has anything in it."""
        return view in self._filled

    def ask(self, sql: str) -> tuple[list[str], list[tuple[Cell, ...]]]:
        """Run a query and return its columns and rows."""
        found = self._connection.execute(sql)
        return [column[0] for column in found.description or ()], found.fetchall()

    def _fill(self, table: Rows | Events, own: str, shapes: dict[Shape, list[Path]]) -> Reading:
        columns = _columns(table)
        texts = ", ".join(f"{name(column)} VARCHAR" for column, _ in columns)
        self._connection.execute(f"CREATE TABLE {own} ({texts})")
        broken: dict[Path, str] = {}
        unfit = 0
        for shape, paths in shapes.items():
            unfit += self._read(own, shape, paths, columns, broken)
        records = self._count(own)
        kept = self._fill_views(table)
        self._connection.execute(f"DROP TABLE {own}")
        files = sum(map(len, shapes.values())) - len(broken)
        return Reading(own, files, records + unfit, records + unfit - kept, broken)

    def _read(
        self,
        own: str,
        shape: Shape,
        paths: Sequence[Path],
        columns: Columns,
        broken: dict[Path, str],
    ) -> int:
        """Read files; where one breaks off, all but that one. Return how many lines didn't fit."""
        if shape.compression == "packed":
            return self._read_packed(own, shape, paths, columns, broken)
        files = [self._links.of(path) for path in paths]
        try:
            self._connection.execute(f"INSERT INTO {own} {selected(shape, files, columns)}")
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            self._unfit(shape)
            if len(paths) == 1 and shape.format == "json":
                # An object in it is broken: taken apart as a replay does, it costs no others.
                return self._read_packed(own, shape, paths, columns, broken)
            if len(paths) == 1:
                broken[paths[0]] = f"can't be read to its end: {_first_line(error)}"
                return 0
            half = len(paths) // 2
            return sum(
                self._read(own, shape, part, columns, broken)
                for part in (paths[:half], paths[half:])
            )
        return self._unfit(shape)

    def _read_packed(
        self,
        own: str,
        shape: Shape,
        paths: Sequence[Path],
        columns: Columns,
        broken: dict[Path, str],
    ) -> int:
        """Unpack and read files one by one, so that the disk holds one of them."""
        lines = self._unpacked / "lines"
        for path in paths:
            try:
                unpacked(path, lines)
            except ObjectError as error:
                broken[path] = f"can't be read to its end: {error.detail}"
                continue
            each = replace(shape, format="json_lines", compression="none")
            self._read(own, each, [lines], columns, broken)
        return 0

    def _unfit(self, shape: Shape) -> int:
        """Count the lines of CSV that didn't fit, and forget them."""
        if shape.format != "csv" or not self._count(_NOTED):  # none before a CSV has begun
            return 0
        lines = self._count(f"(SELECT DISTINCT scan_id, file_id, line FROM {BROKEN_LINES})")
        self._connection.execute(f"DELETE FROM {BROKEN_LINES}")
        return lines

    def _fill_views(self, table: Rows | Events) -> int:
        """Make what is queried of a table's texts, and return how many of its records are sound."""
        if isinstance(table, Events):
            self._make(table.view, typed(table, read=_member, time=_time))
            return self._count(table.view)
        sound = " AND ".join(
            f"{_own(one, one)} IS NOT NULL" for one in table.columns if one.required
        )
        self._connection.execute(f"DELETE FROM {table.name} WHERE NOT ({sound})")
        for aggregate in table.aggregates:
            self._make(aggregate.view, latest(table, aggregate, read=_own, newest=_NEWEST))
        return self._count(table.name)

    def _make(self, view: str, select: str) -> None:
        self._connection.execute(f"CREATE TABLE {view} AS {select}")
        if self._count(view):
            self._filled.add(view)

    def _count(self, relation: str) -> int:
        return int(self._connection.execute(f"SELECT COUNT(*) FROM {relation}").fetchall()[0][0])


# ---- columns ------------------------------------------------------------------------------------

_LEAST_SECOND, _LAST_SECOND = -62_104_060_800, 253_370_764_799  # of the years 2 and 9998
_NOTED = f"(SELECT 1 FROM duckdb_tables() WHERE table_name = '{BROKEN_LINES}')"
_DIGITS = r"^(-?\d+)(?:\.0+)?$"
_NEWEST = "TRY_CAST(emitted_at AS TIMESTAMP)"


def _columns(table: Rows | Events) -> Columns:
    if isinstance(table, Rows):
        return [(one.name, (one.name,)) for one in table.columns]
    times = [(one, (one,)) for one in table.times]
    return times + [(one.column.name, one.path) for one in table.members]


def _own(column: Column, _: Column) -> str:
    """Read a column of texts as its own type; what doesn't fit is null."""
    if column.kind == "text":
        return name(column.name)
    if column.kind == "time":
        return _time(column.name)
    if column.kind == "integer":
        return _integer(column.name)
    kind = {
        "decimal": f"DECIMAL({MOST_DIGITS}, {column.scale})",
        "real": "DOUBLE",
        "boolean": "BOOLEAN",
    }[column.kind]
    return f"TRY_CAST({name(column.name)} AS {kind})"


def _integer(field: str) -> str:
    """Read digits only: a cast alone would round 12.6, and take 0x10 and 1_000 for numbers."""
    return f"TRY_CAST(regexp_extract({name(field)}, {text(_DIGITS)}, 1) AS BIGINT)"


def _member(member: Member) -> str:
    """Read a field of an event as the pipeline's decoder does, which rounds halves to even."""
    column = member.column
    if column.kind != "decimal":
        return _own(column, column)
    scaled = f"round_even(TRY_CAST({name(column.name)} AS DOUBLE) * 1e{column.scale}, 0)"
    unit = f"CAST(1e-{column.scale} AS DECIMAL({column.scale + 1}, {column.scale}))"
    whole = f"DECIMAL({MOST_DIGITS - column.scale}, 0)"
    return f"CAST(TRY_CAST({scaled} AS {whole}) * {unit} AS DECIMAL({MOST_DIGITS}, {column.scale}))"


def _time(field: str) -> str:
    """Read a time with or without a zone, which then is UTC, or seconds since the epoch."""
    seconds = _integer(field)
    # What is beyond the years that there are must not end the query.
    sound = f"CASE WHEN {seconds} BETWEEN {_LEAST_SECOND} AND {_LAST_SECOND} THEN {seconds} END"
    iso = f"TRY_CAST({name(field)} AS TIMESTAMPTZ)"
    return f"timezone('UTC', COALESCE({iso}, to_timestamp({sound})))"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
