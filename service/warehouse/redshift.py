"""Tables, views, users and loads for Amazon Redshift, as SQL text. Pure.

- Each script but that of the users can be run again, on what it has made or on what an earlier
  version has: tables stay, views are made anew, and grants, which a dropped view loses, granted.
- Rows are distributed by `row_id`, so that finding the latest of an id moves nothing between
  nodes, and sorted by aggregate and window, so that a query of a period reads only its blocks.
- Texts are as long as lengths.py says. A longer one is cut (TRUNCATECOLUMNS), which is not an
  error; rows whose `row_id` may have been cut are all seen, and none is compacted.
- Events' times are loaded as the texts that they are and read in the view: COPY's TIMEFORMAT 'auto'
  isn't documented for `2019-10-01 00:00:00 UTC`, and a TIMESTAMP would lose an offset. A time
  without one is taken to be in the session's zone, by default UTC; what is none is null, and its
  event isn't in the view.
- Firehose loads with COPY, one table a delivery stream. What COPY can't load it skips and lists in
  SYS_LOAD_ERROR_DETAIL, up to MAXERROR a load: one bad event must not hold the others up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.warehouse.lengths import TIME_BYTES, length_bytes, longest_whole_bytes, row_id_bytes
from service.warehouse.tables import MOST_DIGITS, ROW_ID, Column, Events, Member, Rows
from service.warehouse.views import latest, typed

SCHEMA = "kinewax"
LOADER, READER = "firehose_loader", "insights_reader"

_COPY_OPTIONS = (
    "FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' "
    "TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000"
)


def tables(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that create the schema and its tables; those that there are stay."""
    yield f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
    for rows in every_rows:
        columns = [f"{one.name} {_stored(rows, one)}{_not_null(one)}" for one in rows.columns]
        yield (
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{rows.name} (\n    "
            + ",\n    ".join(columns)
            + "\n)\nDISTSTYLE KEY DISTKEY (row_id)\nCOMPOUND SORTKEY (aggregate, window_start)"
        )
    for events in every_events:
        yield (
            f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{events.raw} (\n    "
            + ",\n    ".join(_raw_columns(events))
            + f"\n)\n{_placed(events)}"
        )


def views(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that make the views anew; who may read them is granted after that.

    A view is dropped first: CREATE OR REPLACE takes only the columns that it has already.
    """
    for rows in every_rows:
        for aggregate in rows.aggregates:
            cut = f"OCTET_LENGTH(row_id) > {longest_whole_bytes(rows)}"
            select = latest(rows, aggregate, schema=f"{SCHEMA}.", read=_own, apart=cut)
            yield from _view(aggregate.view, select)
    for events in every_events:
        yield from _view(events.view, typed(events, schema=f"{SCHEMA}.", read=_read, time=_time))


def users() -> Iterator[str]:
    """Yield the statements that create the two users, which can be run once only."""
    for user in (LOADER, READER):
        # Without a password nobody logs in: set one, or let IAM give temporary credentials.
        yield f"CREATE USER {user} PASSWORD DISABLE"
    yield f"ALTER USER {READER} SET search_path TO {SCHEMA}"


def grants(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield the statements that say what the two users may: one only loads, the other only reads.

    The loader may insert and not even select; the reader sees views, and no table.
    """
    loaded = [one.name for one in every_rows] + [one.raw for one in every_events]
    seen = [aggregate.view for one in every_rows for aggregate in one.aggregates]
    seen += [one.view for one in every_events]
    for user, right, relations in (LOADER, "INSERT", loaded), (READER, "SELECT", seen):
        yield f"GRANT USAGE ON SCHEMA {SCHEMA} TO {user}"
        yield from (f"GRANT {right} ON {SCHEMA}.{name} TO {user}" for name in relations)


def copies(every_rows: Sequence[Rows], every_events: Sequence[Events]) -> Iterator[str]:
    """Yield a COPY for each table: what Firehose runs, or who loads an archive by hand.

    Firehose adds FROM (a manifest of its own) and the credentials; what it is given as
    CopyOptions is all from FORMAT on, and GZIP where the stream compresses.
    """
    for name in (*(one.name for one in every_rows), *(one.raw for one in every_events)):
        yield (
            f"COPY {SCHEMA}.{name}\nFROM 's3://BUCKET/PREFIX/'\nIAM_ROLE 'ROLE'\n"
            f"{_COPY_OPTIONS} GZIP"
        )


def compaction(every_rows: Sequence[Rows]) -> Iterator[str]:
    """Yield a DELETE for each table of rows that a later row of the same id has superseded.

    The views are right without it: it saves space. Run it when nobody minds, at any time.
    """
    for rows in every_rows:
        table = f"{SCHEMA}.{rows.name}"
        yield (
            f"WITH newest AS (\n"
            f"    SELECT row_id, MAX(emitted_at) AS emitted_at\n    FROM {table}\n"
            f"    WHERE OCTET_LENGTH(row_id) <= {longest_whole_bytes(rows)}\n"
            f"    GROUP BY row_id\n    HAVING COUNT(*) > 1\n)\n"
            f"DELETE FROM {table}\nUSING newest\n"
            f"WHERE {rows.name}.row_id = newest.row_id\n"
            f"    AND {rows.name}.emitted_at < newest.emitted_at"
        )


def _view(name: str, select: str) -> Iterator[str]:
    yield f"DROP VIEW IF EXISTS {SCHEMA}.{name}"
    yield f"CREATE VIEW {SCHEMA}.{name} AS\n{select}"


# ---- columns ------------------------------------------------------------------------------------


def _stored(rows: Rows, column: Column) -> str:
    return f"VARCHAR({row_id_bytes(rows)})" if column.name == ROW_ID else _type(column)


def _type(column: Column) -> str:
    return {
        "integer": "BIGINT",
        "decimal": f"DECIMAL({MOST_DIGITS}, {column.scale})",
        "real": "DOUBLE PRECISION",
        "text": f"VARCHAR({length_bytes(column.name)})",
        "time": "TIMESTAMP",
        "boolean": "BOOLEAN",
    }[column.kind]


def _not_null(column: Column) -> str:
    return " NOT NULL" if column.required else ""


def _raw_columns(events: Events) -> Iterator[str]:
    """Yield the columns of raw events: a field that is an object itself is a SUPER.

    COPY knows names in lower case only.
    """
    members = {one.path: one for one in events.members}
    for field in events.fields:
        if field in events.times:
            yield f"{field.lower()} VARCHAR({TIME_BYTES})"
        elif events.within(field):
            yield f"{field.lower()} SUPER"
        else:
            column = members[(field,)].column
            yield f"{field.lower()} {_type(column)}{_not_null(column)}"


def _placed(events: Events) -> str:
    """Place events by the first of their fields; by what they are sorted is left to Redshift."""
    whole = [one.path[0].lower() for one in events.members if len(one.path) == 1]
    return f"DISTSTYLE KEY DISTKEY ({whole[0]})"


def _own(column: Column, stored: Column) -> str:
    return column.name if column.kind == stored.kind else f"CAST({column.name} AS {_type(column)})"


def _read(member: Member) -> str:
    path = ".".join(member.path).lower()
    if len(member.path) == 1:
        return path
    return f"CAST(stored.{path} AS {_type(member.column)})"


def _time(field: str) -> str:
    """Read `2019-10-01 00:00:00 UTC` and ISO 8601 in UTC, as YYYY-MM-DD HH:MI:SS+/-TZ."""
    # TRY_CAST doesn't take blanks; the zone's name goes before its letters are looked at.
    text = f"NULLIF(TRIM({field.lower()}), '')"
    for written, meant in (" UTC", "Z"), ("Z", "+00"), ("T", " "):
        text = f"REPLACE({text}, '{written}', '{meant}')"
    return f"TRY_CAST({text} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'"
