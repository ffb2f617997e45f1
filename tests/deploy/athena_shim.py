"""Athena's SQL on DuckDB: its tables are read by DuckDB, its views and queries are transpiled.

A table becomes a view over the files of a directory: DuckDB's JSON reader stands in for the SerDe,
with the declared columns and in any case of their names; the directory below the table's own
stands for S3, in the layout that the partition projection describes. What is not shown is how
Athena projects partitions: `partitions_of` computes them by the documented rule instead.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import orjson
import sqlglot
from sqlglot import exp

BUCKET = "s3://BUCKET/"


def create(connection: duckdb.DuckDBPyConnection, tables: str, views: str, bucket: Path) -> None:
    """Create what both scripts of deploy/athena/ declare, over a directory for the bucket."""
    connection.execute("SET TimeZone = 'UTC'")  # Athena's sessions are
    connection.execute("CREATE SCHEMA kinewax")
    for statement in sqlglot.parse(tables, read="athena", error_level=sqlglot.ErrorLevel.RAISE):
        if isinstance(statement, exp.Create) and statement.kind == "TABLE":
            connection.execute(_table(statement, bucket))
    for text in on_duckdb(views):
        connection.execute(text)
    connection.execute("SET schema = 'kinewax'")


def on_duckdb(text: str) -> list[str]:
    """Transpile what Athena runs as Trino; a database of Athena's is a schema of DuckDB's."""
    statements = sqlglot.parse(text, read="trino", error_level=sqlglot.ErrorLevel.RAISE)
    for one in statements:
        if isinstance(one, exp.Create) and one.kind == "DATABASE":
            one.set("kind", "SCHEMA")
    return [one.sql("duckdb") for one in statements if one is not None]


def properties_of(table: exp.Expression) -> dict[str, str]:
    """Return a table's TBLPROPERTIES."""
    # Subclasses of it are clauses with names of their own.
    plain = [one for one in table.find_all(exp.Property) if type(one) is exp.Property]
    return {one.name: one.args["value"].name for one in plain}


def location_of(table: exp.Expression) -> str:
    """Return where a table's files are."""
    found = table.find(exp.LocationProperty)
    assert found is not None
    return str(found.this.name)


def partitions_of(table: exp.Expression, now: datetime) -> list[str]:
    """Return the locations that Athena would read, by its rule for partitions of days."""
    properties = properties_of(table)
    (column,) = (
        name.split(".")[1] for name in properties if name.endswith(".type") and "projection" in name
    )
    of = {name: properties[f"projection.{column}.{name}"] for name in ("type", "format", "range")}
    assert of["type"] == "date"
    assert of["format"] == "yyyy/MM/dd"
    assert properties[f"projection.{column}.interval.unit"] == "DAYS"
    first, last = of["range"].split(",")
    assert last == "NOW"
    day = datetime.strptime(first, "%Y/%m/%d").replace(tzinfo=UTC)
    found = []
    while day <= now:
        text = day.strftime("%Y/%m/%d")
        found.append(properties["storage.location.template"].replace(f"${{{column}}}", text))
        day += timedelta(days=1)
    return found


def _first_keys(file: Path) -> list[str]:
    return list(orjson.loads(file.read_bytes().partition(b"\n")[0]))


def _table(table: exp.Create, bucket: Path) -> str:
    columns = {
        column.name: column.args["kind"].sql("duckdb")
        for column in table.this.find_all(exp.ColumnDef)
        if isinstance(column.parent, exp.Schema)
    }
    folder = bucket / location_of(table).removeprefix(BUCKET)
    view = table.this.this.sql("duckdb")
    # A day's files lie in folders of hours below it.
    files = f"{folder}/*/*/*/*/*"
    if not list(folder.glob("*/*/*/*/*")):
        empty = ", ".join(f'CAST(NULL AS {kind}) AS "{column}"' for column, kind in columns.items())
        return f"CREATE VIEW {view} AS SELECT {empty}, '' AS delivered_on LIMIT 0"
    # The SerDe finds keys in any case of their letters, DuckDB's reader only in their own.
    keys = {key.lower(): key for file in folder.glob("*/*/*/*/*") for key in _first_keys(file)}
    typed = ", ".join(f"'{keys.get(name, name)}': '{kind}'" for name, kind in columns.items())
    return (
        f"CREATE VIEW {view} AS SELECT * EXCLUDE (filename), "
        f"regexp_extract(filename, '\\d{{4}}/\\d\\d/\\d\\d') AS delivered_on "
        f"FROM read_json('{files}', format = 'newline_delimited', ignore_errors = true, "
        f"filename = true, columns = {{{typed}}})"
    )
