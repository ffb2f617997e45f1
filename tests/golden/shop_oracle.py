"""What the shop's aggregates of days, hours and visits must be, computed one record at a time.

As in oracle.py, nothing of kinewax is used. An event is late for a window when the window's end is
at or before the file's running maximum of event time minus the allowed disorder; for a journey when
its own time is before that.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.golden.oracle import Expected, events_of

GAP_US = 30 * 60 * 1_000_000
Event = dict[str, Any]


@dataclass(frozen=True)
class Aggregate:
    """One aggregate: its window's length, its key, and the events that it counts."""

    seconds: int
    key: tuple[str, ...]
    counts: Callable[[Event], bool] = lambda _event: True
    columns: tuple[str, ...] = ("views", "carts", "purchases", "revenue")


AGGREGATES = {
    "visitors_daily": Aggregate(86_400, (), columns=("events", "visitors")),
    "carts_daily": Aggregate(
        86_400,
        ("user_id", "product_id"),
        lambda event: event["event_type"] in ("cart", "purchase"),
        ("carts", "purchases", "revenue", "abandoned"),
    ),
    "categories_hourly": Aggregate(
        3_600,
        ("category_code",),
        lambda event: event["category_code"] != "",
        ("events", "views", "carts", "purchases", "revenue"),
    ),
    "brands_daily": Aggregate(86_400, ("brand",), lambda event: event["brand"] != ""),
    "products_daily": Aggregate(86_400, ("product_id",)),
}
JOURNEY = (
    "user_id",
    "events",
    "views",
    "carts",
    "removes",
    "purchases",
    "revenue",
    "first_category",
    "last_category",
    "last_seen",
    "abandoned",
)


@dataclass
class Shop:
    """What must be found.

    Attributes:
        rows: For each aggregate, by key and window start, the values.
        late: (aggregate, line number, event time in microseconds) of each late event.
    """

    rows: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    late: set[tuple[str, int, int]] = field(default_factory=set)


def shop_of(path: Path, disorder_seconds: int) -> Shop:
    """Read a file of events and compute what a run over it must give."""
    found = Shop()
    windows: dict[str, dict[tuple[Any, ...], list[Event]]] = {
        name: defaultdict(list) for name in AGGREGATES
    }
    visits: dict[str, list[Event]] = defaultdict(list)
    maximum_us: int | None = None
    for number, event, time_us in events_of(path, Expected()):
        if maximum_us is not None and time_us > maximum_us + 3_600_000_000:
            continue
        floor_us = None if maximum_us is None else maximum_us - disorder_seconds * 1_000_000
        maximum_us = time_us if maximum_us is None else max(maximum_us, time_us)
        event["time_us"] = time_us
        for name, aggregate in AGGREGATES.items():
            if not aggregate.counts(event):
                continue
            length_us = aggregate.seconds * 1_000_000
            start_us = time_us // length_us * length_us
            if floor_us is not None and start_us + length_us <= floor_us:
                found.late.add((name, number, time_us))
            else:
                key = (*(event[one] for one in aggregate.key), start_us)
                windows[name][key].append(event)
        if floor_us is not None and time_us < floor_us:
            found.late.add(("journeys", number, time_us))
        else:
            visits[event["user_session"]].append(event)
    for name, aggregate in AGGREGATES.items():
        found.rows[name] = {
            key: _values(aggregate.columns, events) for key, events in windows[name].items()
        }
    found.rows["journeys"] = {}
    for session, events in visits.items():
        for journey in _cut(sorted(events, key=lambda event: event["time_us"])):
            key = (session, journey[0]["time_us"])
            found.rows["journeys"][key] = _values(JOURNEY, journey)
    return found


def _cut(events: list[Event]) -> list[list[Event]]:
    journeys = [[events[0]]]
    for event in events[1:]:
        if event["time_us"] - journeys[-1][-1]["time_us"] >= GAP_US:
            journeys.append([])
        journeys[-1].append(event)
    return journeys


def _values(columns: tuple[str, ...], events: list[Event]) -> dict[str, Any]:
    kinds = Counter(event["event_type"] for event in events)
    made: dict[str, Callable[[], Any]] = {
        "user_id": lambda: max(int(event["user_id"]) for event in events),
        "events": lambda: len(events),
        "visitors": lambda: len({event["user_id"] for event in events}),
        "views": lambda: kinds["view"],
        "carts": lambda: kinds["cart"],
        "removes": lambda: kinds["remove_from_cart"],
        "purchases": lambda: kinds["purchase"],
        "revenue": lambda: float(
            sum(Decimal(event["price"]) for event in events if event["event_type"] == "purchase")
        ),
        "first_category": lambda: _categories(events, min),
        "last_category": lambda: _categories(events, max),
        "last_seen": lambda: iso(events[-1]["time_us"]),
        "abandoned": lambda: kinds["cart"] > 0 and kinds["purchase"] == 0,
    }
    return {column: made[column]() for column in columns}


def _categories(events: list[Event], chosen: Callable[..., int | None]) -> set[str | None]:
    """Return what may stand as the first or last category: of equal times any may come first."""
    known = [event for event in events if event["category_code"]]
    at = chosen((event["time_us"] for event in known), default=None)
    return {event["category_code"] for event in known if event["time_us"] == at} or {None}


def iso(time_us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    return moment.isoformat().replace("+00:00", "Z")
