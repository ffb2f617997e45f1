"""The views that queries read, the same in every warehouse but for how a column is read. Pure.

Nothing here or in sql/insights/ is a dialect: it is what Redshift, Athena's Trino, PostgreSQL and
DuckDB understand alike. Weekdays are an example: Trino counts Sunday as 7 where the others say 0,
and MOD(..., 7) makes both 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from service.warehouse.tables import Aggregate, Column, Events, Member, Rows

NEWEST = "emitted_at"
PHASE = "phase"
_IDENTITY = ("row_id", "domain", "aggregate", "window_start", "window_end", NEWEST)


def latest(
    rows: Rows,
    aggregate: Aggregate,
    *,
    schema: str = "",
    read: Callable[[Column, Column], str],
    newest: str = NEWEST,
    among: str = "",
    apart: str = "",
) -> str:
    """Select an aggregate's rows: of those with one `row_id` the one emitted last.

    The window's start stands in PARTITION BY, though the id holds it: so a condition on it is
    applied before rows are ranked, and a short period doesn't read the whole table.

    Of rows that were emitted at one time a final one wins, else the values decide: which of them is
    seen never depends on the order in which they are read.

    Args:
        rows: The table.
        aggregate: Of which.
        schema: What stands before the table's name.
        read: How a column is read, as an expression, from the table's column of the same name,
            which may be wider.
        newest: By what rows are ranked.
        among: A condition on the table's rows; the latest is that of those which meet it.
        apart: A condition on rows that stand by themselves, whatever others have their `row_id`.
    """
    columns = ",\n    ".join(column.name for column in aggregate.columns)
    stored = {column.name: column for column in rows.columns}
    values = [column.name for column in aggregate.columns if column.name not in _IDENTITY]
    # Of `final` and `interim` the former comes first, by their letters.
    ties = [PHASE, *(f"{one} DESC" for one in values if one != PHASE)]
    order = ", ".join([f"{newest} DESC", *ties[PHASE not in values :]])
    inner = ",\n        ".join(
        _named(read(column, stored[column.name]), column.name) for column in aggregate.columns
    )
    own = [f"domain = '{rows.domain}'", f"aggregate = '{aggregate.name}'"]
    where = " AND ".join([*own, among] if among else own)
    shown = f"nth = 1 OR {apart}" if apart else "nth = 1"
    return f"""SELECT
    {columns}
FROM (
    SELECT
        {inner},
        ROW_NUMBER() OVER (
            PARTITION BY row_id, window_start
            ORDER BY {order}
        ) AS nth
    FROM {schema}{rows.name}
    WHERE {where}
) AS told
WHERE {shown}"""


def typed(
    events: Events,
    *,
    schema: str = "",
    read: Callable[[Member], str],
    time: Callable[[str], str] = str,
    also: Iterable[str] = (),
) -> str:
    """Select events: typed, their event time taken apart, without what can't be an event.

    Args:
        events: Which.
        schema: What stands before the table's name.
        read: How a member is read of the table `stored`, as an expression of its type.
        time: How one of the time fields is read, as an expression.
        also: Further columns of the table to pass on.
    """
    inner = [_named(read(one), one.column.name) for one in events.members]
    columns = [_filled(one.column) for one in events.members]
    needed = [f"{column.name} IS NOT NULL" for column in events.required]
    if events.times:
        inner.insert(0, _named(_first([time(name) for name in events.times]), "event_at"))
        needed.insert(0, "event_at IS NOT NULL")
        columns = [
            "event_at",
            "CAST(event_at AS DATE) AS day",
            "CAST(EXTRACT(HOUR FROM event_at) AS INTEGER) AS hour_of_day",
            "MOD(CAST(EXTRACT(DOW FROM event_at) AS INTEGER), 7) AS weekday",
            *columns,
        ]
    also = list(also)
    select, inside = ",\n    ".join([*columns, *also]), ",\n        ".join([*inner, *also])
    return f"""SELECT
    {select}
FROM (
    SELECT
        {inside}
    FROM {schema}{events.raw} AS stored
) AS told
WHERE {" AND ".join(needed)}"""


def _first(expressions: Sequence[str]) -> str:
    """The first that isn't null; Trino takes no COALESCE of one."""
    return expressions[0] if len(expressions) == 1 else f"COALESCE({', '.join(expressions)})"


def _filled(column: Column) -> str:
    """A text that an event lacks is empty, as for the windows."""
    if column.kind == "text" and not column.required:
        return f"COALESCE({column.name}, '') AS {column.name}"
    return column.name


def _named(expression: str, name: str) -> str:
    return name if expression == name else f"{expression} AS {name}"
