"""What a file of shop events must give, computed one record at a time with the standard library.

Nothing of kinewax is used here. An event is late for a window when the window's end is at or
before the file's running maximum of event time minus the allowed disorder.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

_OBJECTS = re.compile(rb"(?<=\})(?=\{)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000
Key = tuple[Any, ...]


@dataclass
class Expected:
    """What the run must find.

    Attributes:
        actions: Count by (user, window start in seconds) of the 10 s window.
        trade: (events, revenue, users) by (window start, event type, category, brand).
        late: (aggregate, line number, event time in microseconds) of each late event.
    """

    actions: Counter[tuple[int, int]] = field(default_factory=Counter)
    events: Counter[Key] = field(default_factory=Counter)
    revenue: dict[Key, Decimal] = field(default_factory=dict)
    users: dict[Key, set[str]] = field(default_factory=dict)
    late: set[tuple[str, int, int]] = field(default_factory=set)
    rejected: int = 0

    @property
    def incidents(self) -> dict[tuple[int, int], int]:
        return {key: count for key, count in self.actions.items() if count > 5}

    @property
    def trade(self) -> dict[Key, tuple[int, float, int]]:
        return {
            key: (count, float(self.revenue.get(key, Decimal(0))), len(self.users[key]))
            for key, count in self.events.items()
        }


def expected_of(path: Path, disorder_seconds: int) -> Expected:
    """Read a file of events and compute what a run over it must give."""
    found = Expected()
    maximum_us: int | None = None
    for number, event, time_us in events_of(path, found):
        if maximum_us is not None and time_us > maximum_us + _HOUR_US:
            found.rejected += 1
            continue
        floor_us = None if maximum_us is None else maximum_us - disorder_seconds * 1_000_000
        maximum_us = time_us if maximum_us is None else max(maximum_us, time_us)
        start, minute = (time_us // 1_000_000 // length * length for length in (10, 60))
        if floor_us is not None and (start + 10) * 1_000_000 <= floor_us:
            found.late.add(("user_actions", number, time_us))
        else:
            found.actions[(int(event["user_id"]), start)] += 1
        if floor_us is not None and (minute + 60) * 1_000_000 <= floor_us:
            found.late.add(("trade", number, time_us))
            continue
        key = (minute, event["event_type"], event["category_code"], event["brand"])
        found.events[key] += 1
        found.users.setdefault(key, set()).add(event["user_id"])
        if event["event_type"] == "purchase":
            found.revenue[key] = found.revenue.get(key, Decimal(0)) + Decimal(event["price"])
    return found


def events_of(path: Path, found: Expected) -> Iterator[tuple[int, dict[str, str], int]]:
    """Yield (line number, event, event time in microseconds), and count what is no event."""
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):
        for text in _OBJECTS.split(line):
            try:
                event = json.loads(text.decode())
                int(event["user_id"])
                moment = datetime.fromisoformat(event["txn_timestamp"]).replace(tzinfo=UTC)
            except (ValueError, KeyError, TypeError):
                found.rejected += 1
                continue
            delta = moment - _EPOCH
            time_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
            yield number, event, time_us
