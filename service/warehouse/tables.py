"""The tables that a domain's rows and events fit into, derived from its declaration. Pure.

Three relations a domain:

    <domain>_rows           as delivered: rows of all its aggregates, superseded ones among them
    <domain>_<aggregate>    a view: of rows with one row_id the one emitted last
    <domain>_raw            events as they were on the stream, where they are archived

and a view `<domain>_events` of the last: typed, with day, hour and weekday. What differs between
warehouses is how these are declared (redshift.py, athena.py, and service/insights/ for DuckDB);
queries read the views and are the same everywhere (sql/insights/).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dataflows.domain import Domain
from operators.decode import ARRIVAL
from operators.feature_spec import DetectorSpec, KeyForest, RecordForest, StreamForest
from operators.record_points import SEQUENCE_NUMBER, SHARD
from operators.session_spec import AnyWindow, FirstText, LastText, SessionValue, SessionWindow
from operators.spec import Field
from operators.value_spec import ApproxDistinct, Count, Distinct, First, Last, Mean, Value, Without

Kind = Literal["integer", "decimal", "real", "text", "time", "boolean"]

MOST_DIGITS = 19
"""Of a 64-bit integer, in whose units decimals are summed."""

ROW_ID = "row_id"
"""The column by which repeats of a row are known."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: As the key in the JSON object.
        kind: What it holds; `decimal` has `scale` places, `time` is in UTC.
        scale: Of a decimal.
        required: Whether every row has it.
    """

    name: str
    kind: Kind
    scale: int = 0
    required: bool = False


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The rows of one aggregate, as a view over its domain's rows.

    Attributes:
        name: As in the rows' `aggregate`.
        view: What queries call it.
        columns: All columns of its rows, in the rows' own order.
        keys: Those of them that, with the window's start, tell one row from another.
    """

    name: str
    view: str
    columns: tuple[Column, ...]
    keys: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """All rows of a domain's aggregates, in one table: one delivery stream brings them.

    Attributes:
        domain: Whose.
        name: The table's.
        columns: Those of all aggregates; a row has nothing in those that aren't its aggregate's.
        aggregates: What they are rows of.
    """

    domain: str
    name: str
    columns: tuple[Column, ...]
    aggregates: tuple[Aggregate, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One field of an event as a column.

    Attributes:
        column: The column in the view of events.
        path: Where it is in the event's JSON object, from the outside in.
    """

    column: Column
    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Events:
    """Events as they were archived.

    Attributes:
        domain: Whose.
        raw: The table's name.
        view: What queries call the typed view of it.
        times: Which fields can be the event time; the first that an event has is.
        members: All other fields.
    """

    domain: str
    raw: str
    view: str
    times: tuple[str, ...]
    members: tuple[Member, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the outermost fields of an event's JSON object, each once."""
        return tuple(dict.fromkeys((*self.times, *(one.path[0] for one in self.members))))

    def within(self, field: str) -> tuple[Member, ...]:
        """Return the members of a field that is an object itself; none for other fields."""
        return tuple(one for one in self.members if one.path[0] == field and len(one.path) > 1)

    @property
    def required(self) -> tuple[Column, ...]:
        """What an event can't be without, apart from its time."""
        return tuple(one.column for one in self.members if one.column.required)


_HEAD = (
    Column(ROW_ID, "text", required=True),
    Column("domain", "text", required=True),
    Column("aggregate", "text", required=True),
    Column("window_start", "time", required=True),
    Column("window_end", "time", required=True),
)
_PHASE = Column("phase", "text")
_TAIL = (Column("emitted_at", "time", required=True), Column("partial", "boolean"))


def rows_of(domain: Domain) -> Rows:
    """Return the table of a domain's rows, and a view for each aggregate that is written.

    Raises:
        ValueError: Two aggregates have values of one name that no column can hold both of.
    """
    aggregates = (
        *(
            _aggregate(domain, one.name, _window_keys(domain, one), _window_values(domain, one))
            for one in _emitted(domain)
        ),
        *(
            _aggregate(domain, one.name, _detector_keys(domain, one), _detector_values(one))
            for one in domain.detectors
            if isinstance(one, StreamForest) or one.emit
        ),
    )
    own = [
        column for aggregate in aggregates for column in aggregate.columns[len(_HEAD) : -len(_TAIL)]
    ]
    return Rows(
        domain.name,
        f"{domain.name}_rows",
        (*_HEAD, *_merged(domain.name, own), *_TAIL),
        aggregates,
    )


def events_of(domain: Domain) -> Events:
    """Return the table of a domain's events: its times and its fields."""
    return Events(
        domain.name,
        raw=f"{domain.name}_raw",
        view=f"{domain.name}_events",
        # Where an event's time is its arrival, by default, it needn't have one of its own.
        times=() if ARRIVAL in domain.times else domain.times,
        members=tuple(
            Member(_column(one.name, one, required=one.required), one.steps)
            for one in domain.fields
        ),
    )


# ---- columns ------------------------------------------------------------------------------------

_SCORES = (Column("score", "real"), Column("grade", "real"))


def _detector_keys(domain: Domain, detector: DetectorSpec) -> list[Column]:
    match detector:
        case KeyForest():
            (window,) = (one for one in domain.windows if one.name == detector.window)
            return _window_keys(domain, window)
        case RecordForest():
            keys = [_column(name, domain.field_by_name[name]) for name in detector.key]
            return [*keys, Column(SHARD, "text"), Column(SEQUENCE_NUMBER, "text")]
        case _:
            return []


def _detector_values(detector: DetectorSpec) -> list[Column]:
    return [*(Column(name, "real") for name in detector.columns), *_SCORES]


def _emitted(domain: Domain) -> list[AnyWindow]:
    return [one for one in domain.all_windows if isinstance(one, SessionWindow) or one.emit]


def _aggregate(
    domain: Domain, name: str, keys: Sequence[Column], values: Sequence[Column]
) -> Aggregate:
    # A field may be both a key and what a detector sees: a row then has it once.
    own = {column.name: column for column in (*keys, *values)}
    return Aggregate(
        name, f"{domain.name}_{name}", (*_HEAD, *own.values(), *_TAIL), keys=tuple(keys)
    )


def _window_keys(domain: Domain, window: AnyWindow) -> list[Column]:
    return [_column(name, domain.field_by_name[name]) for name in window.key]


def _window_values(domain: Domain, window: AnyWindow) -> list[Column]:
    values = [_value_column(value, domain.field_by_name) for value in window.values]
    has_phase = isinstance(window, SessionWindow) or window.interim_seconds > 0
    return [*values, *([_PHASE] if has_phase else [])]


def _value_column(value: Value | SessionValue, fields: dict[str, Field]) -> Column:
    if isinstance(value, Without):
        return Column(value.name, "boolean")
    if isinstance(value, FirstText | LastText):
        return Column(value.name, "text")
    if isinstance(value, Count | Distinct | ApproxDistinct):
        return Column(value.name, "integer")
    if isinstance(value, First | Last):
        return Column(value.name, "time")
    if isinstance(value, Mean):
        return Column(value.name, "real")
    return _column(value.name, fields[value.of])


def _column(name: str, field: Field, *, required: bool = False) -> Column:
    kind: Kind = "text" if field.is_text else "integer"
    if field.kind == "decimal" and field.scale:
        kind = "decimal"
    return Column(name, kind, field.scale, required)


def _merged(domain: str, columns: Iterable[Column]) -> tuple[Column, ...]:
    """Give each name one column, wide enough for all that have it."""
    merged: dict[str, Column] = {}
    for column in columns:
        known = merged.setdefault(column.name, column)
        if known != column:
            merged[column.name] = _wider(domain, known, column)
    return tuple(merged.values())


def _wider(domain: str, one: Column, other: Column) -> Column:
    numbers = ("integer", "decimal", "real")
    if one.kind not in numbers or other.kind not in numbers:
        msg = f"{domain}: a column {one.name} can't hold both {one.kind} and {other.kind}"
        raise ValueError(msg)
    if "real" in (one.kind, other.kind):
        return Column(one.name, "real")
    return Column(one.name, "decimal", max(one.scale, other.scale))
