"""External tables and views for Amazon Athena, as SQL text. Pure.

- Partitions are projected: Athena computes which days there are and where they lie, so nothing
  crawls and nothing is added when a day begins. A table's partition is a day of *delivery*, as
  Firehose's own layout YYYY/MM/DD/HH has it; the hours below it are read with it.
- Tables of an archive in Hive's folders (`kinewax convert`, and CSV as the shop's files lie) have
  a partition for each folder, `p_year=` and so on, projected as numbers.
- Events are read as texts and cast one by one in the view (TRY_CAST): a bad value is null, and an
  event that lacks what it can't be without isn't in the view. Times without an offset are taken to
  be in the session's zone, which in Athena is UTC.
- Views have times in milliseconds, which Athena keeps; rows are ranked by the text of
  `emitted_at`, which has microseconds: without its Z such texts are in the order of their times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from service.warehouse.tables import MOST_DIGITS, Aggregate, Column, Events, Member, Rows
from service.warehouse.views import latest, typed

DATABASE = "kinewax"
PARTITION = "delivered_on"
PERIOD_DATABASE, FIRST_DAY, LAST_DAY = "period_of_kinewax", "FIRST_DAY", "LAST_DAY"
"""To be replaced by who wants the views of some days, as BUCKET is."""

_SERDE = "org.openx.data.jsonserde.JsonSerDe"
_FIRST_DAY = "2026/01/01"
_PARQUET_FORMAT = "STORED AS PARQUET"
# Its columns are all texts, in the order of the file.
_CSV_FORMAT = "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'\nSTORED AS TEXTFILE"
_FOLDERS = {"p_year": "2019,2035", "p_month": "1,12", "p_day": "1,31", "p_hour": "0,23"}
_MONTHS = ("p_year", "p_month")


def tables(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that create the database and its tables."""
    yield f"CREATE DATABASE IF NOT EXISTS {DATABASE}"
    for rows in every_rows:
        columns = [f"{_ddl(one.name)} {_stored(one)}" for one in rows.columns]
        yield _external(rows.name, columns, f"{rows.domain}-aggregates")
    for events in every_events:
        columns = [f"{_ddl(name)} {stored_type(events, name)}" for name in events.fields]
        yield _external(events.raw, columns, f"{events.domain}-raw")


def hive_tables(
    every_events: Sequence[Events], csv_columns: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield the statements that create tables of archives in Hive's folders, and their views.

    Args:
        every_events: Of which `kinewax convert` writes Parquet.
        csv_columns: The columns of CSV files by domain, in the files' order.
    """
    for events in every_events:
        own = replace(events, raw=f"{events.domain}_parquet", view=f"{events.domain}_converted")
        columns = [f"{_ddl(name)} {stored_type(own, name)}" for name in own.fields]
        yield _foldered(own.raw, columns, f"{own.domain}-parquet", tuple(_FOLDERS), _PARQUET_FORMAT)
        yield _view(own, tuple(_FOLDERS))
    for events in every_events:
        if events.domain in csv_columns:
            names = csv_columns[events.domain]
            own = replace(
                events,
                raw=f"{events.domain}_csv",
                view=f"{events.domain}_from_csv",
                times=tuple(name for name in events.times if name in names),
            )
            columns = [f"{_ddl(name)} string" for name in names]
            yield _foldered(
                own.raw, columns, f"{own.domain}-csv", _MONTHS, _CSV_FORMAT, header_lines=1
            )
            yield _view(own, _MONTHS)


def views(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that create the views."""
    for rows in every_rows:
        for aggregate in rows.aggregates:
            yield _latest_view(DATABASE, rows, aggregate)
    yield from (_view(events, (PARTITION,)) for events in every_events)


def period_views(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that create the same views over some days of delivery, in a database.

    Trino applies a condition from outside before it ranks rows only where it is on what they are
    ranked within, and a day of delivery can't be: a row that came again on the next day would be
    seen twice. So the days stand inside.
    """
    days = f"{PARTITION} BETWEEN '{FIRST_DAY}' AND '{LAST_DAY}'"
    yield f"CREATE DATABASE IF NOT EXISTS {PERIOD_DATABASE}"
    for rows in every_rows:
        for aggregate in rows.aggregates:
            yield _latest_view(PERIOD_DATABASE, rows, aggregate, among=days)
    for events in every_events:
        yield (
            f"CREATE OR REPLACE VIEW {PERIOD_DATABASE}.{events.view} AS\n"
            f"SELECT *\nFROM {DATABASE}.{events.view}\nWHERE {days}"
        )


def _latest_view(database: str, rows: Rows, aggregate: Aggregate, *, among: str = "") -> str:
    select = latest(
        rows,
        aggregate,
        schema=f"{DATABASE}.",
        read=_cast,
        newest="REPLACE(emitted_at, 'Z', '')",
        among=among,
    )
    return f"CREATE OR REPLACE VIEW {database}.{aggregate.view} AS\n{select}"


def _view(events: Events, partitions: Sequence[str]) -> str:
    schema = f"{DATABASE}."
    select = typed(events, schema=schema, read=_read, time=_time, also=partitions)
    return f"CREATE OR REPLACE VIEW {schema}{events.view} AS\n{select}"


def _external(name: str, columns: Sequence[str], prefix: str) -> str:
    location = f"s3://BUCKET/{prefix}/"
    properties = {
        "projection.enabled": "true",
        f"projection.{PARTITION}.type": "date",
        f"projection.{PARTITION}.format": "yyyy/MM/dd",
        f"projection.{PARTITION}.range": f"{_FIRST_DAY},NOW",
        f"projection.{PARTITION}.interval": "1",
        f"projection.{PARTITION}.interval.unit": "DAYS",
        "storage.location.template": f"{location}${{{PARTITION}}}/",
    }
    written = ",\n    ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {DATABASE}.{name} (\n    "
        + ",\n    ".join(columns)
        + f"\n)\nPARTITIONED BY ({_ddl(PARTITION)} string)\n"
        f"ROW FORMAT SERDE '{_SERDE}'\n"
        "WITH SERDEPROPERTIES ('ignore.malformed.json' = 'true')\n"
        f"LOCATION '{location}'\n"
        f"TBLPROPERTIES (\n    {written}\n)"
    )


def _foldered(
    name: str,
    columns: Sequence[str],
    prefix: str,
    folders: Sequence[str],
    stored_as: str,
    header_lines: int = 0,
) -> str:
    location = f"s3://BUCKET/{prefix}/"
    properties = {"projection.enabled": "true"}
    for folder in folders:
        properties[f"projection.{folder}.type"] = "integer"
        properties[f"projection.{folder}.range"] = _FOLDERS[folder]
        if folder != "p_year":
            properties[f"projection.{folder}.digits"] = "2"
    below = "/".join(f"{folder}=${{{folder}}}" for folder in folders)
    properties["storage.location.template"] = f"{location}{below}/"
    if header_lines:
        properties["skip.header.line.count"] = str(header_lines)
    written = ",\n    ".join(f"'{key}' = '{value}'" for key, value in properties.items())
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {DATABASE}.{name} (\n    "
        + ",\n    ".join(columns)
        + f"\n)\nPARTITIONED BY ({', '.join(f'{_ddl(one)} int' for one in folders)})\n"
        f"{stored_as}\n"
        f"LOCATION '{location}'\n"
        f"TBLPROPERTIES (\n    {written}\n)"
    )


# ---- columns ------------------------------------------------------------------------------------


def _ddl(name: str) -> str:
    """Write a column's name in a table: more words are reserved there than in queries (`views`)."""
    return f"`{name.lower()}`"


def _stored(column: Column) -> str:
    """Return how a column of rows is stored: JSON's own kinds, so that nothing needs parsing."""
    return {
        "integer": "bigint",
        "decimal": "double",
        "real": "double",
        "text": "string",
        "time": "string",
        "boolean": "boolean",
    }[column.kind]


def _cast(column: Column, stored: Column) -> str:
    if column.kind == "time":
        return f"CAST(REPLACE(REPLACE({column.name}, 'T', ' '), 'Z', '') AS TIMESTAMP)"
    if column.kind == "decimal":
        return f"CAST({column.name} AS DECIMAL({MOST_DIGITS}, {column.scale}))"
    if column.kind != stored.kind:
        return f"CAST({column.name} AS {_stored(column)})"
    return column.name


def stored_type(events: Events, field: str) -> str:
    """Return the type of an event's outermost field: a text, or an object of texts."""
    within = events.within(field)
    if not within:
        return "string"
    return f"struct<{', '.join(f'{one.path[1].lower()}: string' for one in within)}>"


def _read(member: Member) -> str:
    path = ".".join(name.lower() for name in member.path)
    text = path if len(member.path) == 1 else f"stored.{path}"
    column = member.column
    if column.kind == "integer":
        return f"TRY_CAST({text} AS BIGINT)"
    if column.kind == "decimal":
        # By way of a double: a number may come with an exponent, which decimals don't take.
        return f"TRY_CAST(TRY_CAST({text} AS DOUBLE) AS DECIMAL({MOST_DIGITS}, {column.scale}))"
    return text


def _time(field: str) -> str:
    """Read `2019-10-01 00:00:00 UTC` and ISO 8601, to the millisecond; without an offset it is UTC.

    What is no time is null: FROM_ISO8601_TIMESTAMP alone would end the query.
    """
    text = f"REPLACE(REPLACE(TRIM({field.lower()}), ' UTC', 'Z'), ' ', 'T')"
    return f"CAST(TRY(FROM_ISO8601_TIMESTAMP({text})) AT TIME ZONE 'UTC' AS TIMESTAMP)"
