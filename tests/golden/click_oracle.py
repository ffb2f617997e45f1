"""What a file of clicks must give, computed one record at a time with the standard library.

Nothing of kinewax is used here. An event is late for a window when the window's end is at or before
the file's running maximum of event time minus the allowed disorder.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

LIMIT = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Event = dict[str, Any]
Row = dict[str, Any]
STEPS = {
    "searches": "search",
    "views": "viewDetail",
    "carts": "addToCart",
    "checkouts": "checkout",
}


@dataclass
class Expected:
    """What the run must find.

    Attributes:
        bursts: Count by (customer, window start in seconds) of the 10 s window, above the limit.
        rows: Of each aggregate, by (window start, key), the values.
        late: (aggregate, line number) of each late event.
        rejected: How many lines are no events.
        events: How many are.
    """

    bursts: dict[tuple[str, int], int] = field(default_factory=dict)
    rows: dict[str, dict[tuple[int, str], Row]] = field(default_factory=dict)
    late: set[tuple[str, int]] = field(default_factory=set)
    rejected: int = 0
    events: int = 0


def expected_of(path: Path, disorder_seconds: int) -> Expected:
    """Read a file of clicks and compute what a run over it must give."""
    found = Expected()
    windows: dict[str, dict[tuple[int, str], list[Event]]] = {
        name: defaultdict(list) for name in ("customers_10s", *_AGGREGATES)
    }
    maximum: timedelta | None = None
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            event = json.loads(line.decode())
            customer, kind = event["customerId"], event["event"]["type"]
            time = datetime.fromisoformat(event["timestamp"]) - _EPOCH
        except (ValueError, KeyError, TypeError):
            found.rejected += 1
            continue
        if not isinstance(customer, str) or not isinstance(kind, str):
            found.rejected += 1
            continue
        found.events += 1
        floor = None if maximum is None else maximum - timedelta(seconds=disorder_seconds)
        maximum = time if maximum is None else max(maximum, time)
        for name, by_window in windows.items():
            seconds, key_of, _ = _AGGREGATES.get(name, (10, lambda one: one["customerId"], ()))
            key = key_of(event)
            start = int(time.total_seconds()) // seconds * seconds
            if floor is not None and timedelta(seconds=start + seconds) <= floor:
                found.late.add((name, number))
            else:
                by_window[(start, key)].append(event)
    for (start, customer), events in windows.pop("customers_10s").items():
        if len(events) > LIMIT:
            found.bursts[(customer, start)] = len(events)
    for name, by_window in windows.items():
        columns = _AGGREGATES[name][2]
        found.rows[name] = {key: _row(events, columns) for key, events in by_window.items()}
    return found


_SALES = ("events", "checkouts", "amount")
_AGGREGATES: dict[str, tuple[int, Callable[[Event], str], tuple[str, ...]]] = {
    "funnel_60s": (60, lambda _: "", ("events", *STEPS, "customers")),
    "products_60s": (60, lambda one: one["event"]["product"], (*STEPS, "amount")),
    "countries_60s": (60, lambda one: one["countryCode"], (*_SALES, "mean_amount")),
    "genders_60s": (60, lambda one: one["gender"], _SALES),
    "origins_60s": (60, lambda one: one["trafficOrigin"], _SALES),
}
KEYS = {
    "funnel_60s": None,
    "products_60s": "product",
    "countries_60s": "country_code",
    "genders_60s": "gender",
    "origins_60s": "traffic_origin",
}
"""The column with the key in the rows of each aggregate."""


def _row(events: list[Event], columns: tuple[str, ...]) -> Row:
    kinds = [one["event"]["type"] for one in events]
    sold = [Decimal(one["event"]["amount"]) for one in events if one["event"]["type"] == "checkout"]
    values: Row = {name: kinds.count(kind) for name, kind in STEPS.items()}
    values |= {
        "events": len(events),
        "customers": len({one["customerId"] for one in events}),
        "amount": float(sum(sold)),
        "mean_amount": float(sum(sold) / len(sold)) if sold else None,
    }
    return {name: values[name] for name in columns}
