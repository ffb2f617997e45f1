"""Whether a sequence came out right: every count against a plain group-by of what was written."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.oracles import SECOND, is_late
from tests.reshard.events import CLOSER
from tests.reshard.stream import Written

LENGTHS_US = {"user_actions": 10 * SECOND, "trade": 60 * SECOND}
"""The windows of the domain."""

User = tuple[int, int]  # user, window start
Sold = tuple[str, str, str, int]  # event type, category, brand, window start
LateEvent = tuple[str, str, int]  # aggregate, shard, sequence number


@dataclass
class Trade:
    """A row of the aggregate `trade`."""

    events: int = 0
    revenue: Decimal = Decimal(0)
    users: set[int] = field(default_factory=set)

    def plain(self) -> tuple[int, Decimal, int]:
        """Return what the row says."""
        return self.events, self.revenue, len(self.users)


@dataclass
class Truth:
    """What should be found."""

    users: Counter[User] = field(default_factory=Counter)
    trade: dict[Sold, Trade] = field(default_factory=lambda: defaultdict(Trade))
    late: set[LateEvent] = field(default_factory=set)
    records: int = 0


def truth_of(written: Mapping[str, Sequence[Written]], disorder_us: int) -> Truth:
    """Count what was written, each shard in its own order, record by record."""
    truth = Truth()
    for shard, records in written.items():
        maximum_us: int | None = None
        for record in records:
            truth.records += 1
            for aggregate, length_us in LENGTHS_US.items():
                if is_late(record.time_us, maximum_us, length_us, disorder_us):
                    truth.late.add((aggregate, shard, record.sequence))
                elif record.event["event_type"] != CLOSER:
                    _count(truth, aggregate, record, record.time_us // length_us * length_us)
            maximum_us = record.time_us if maximum_us is None else max(maximum_us, record.time_us)
    return truth


def _count(truth: Truth, aggregate: str, record: Written, start_us: int) -> None:
    event, user = record.event, int(record.event["user_id"])
    if aggregate == "user_actions":
        truth.users[user, start_us] += 1
        return
    row = truth.trade[event["event_type"], event["category_code"], event["brand"], start_us]
    row.events += 1
    row.users.add(user)
    if event["event_type"] == "purchase":
        row.revenue += Decimal(event["price"])


@dataclass
class Found:
    """What the service wrote, but for what its closing events were counted in."""

    users: list[tuple[User, int]]
    trade: list[tuple[Sold, tuple[int, Decimal, int]]]
    late: list[LateEvent]

    @classmethod
    def of(
        cls,
        alerts: Iterable[Mapping[str, Any]],
        trade: Iterable[Mapping[str, Any]],
        late: Iterable[Mapping[str, Any]],
    ) -> Found:
        """Read its lines."""
        return cls(
            [
                ((row["key"]["user_id"], _us(row["window_start"])), row["value"])
                for row in alerts
                if row["phase"] == "final" and row["key"]["user_id"]
            ],
            [
                (
                    (
                        row["event_type"],
                        row["category_code"],
                        row["brand"],
                        _us(row["window_start"]),
                    ),
                    (row["events"], Decimal(str(row["revenue"])), row["users"]),
                )
                for row in trade
                if row["event_type"] != CLOSER
            ],
            [(row["aggregate"], row["shard"], int(row["sequence_number"])) for row in late],
        )

    def has_all_of(self, truth: Truth) -> bool:
        """Tell whether each window has been closed for each key."""
        return {key for key, _ in self.users} >= set(truth.users) and {
            key for key, _ in self.trade
        } >= set(truth.trade)


def judge(truth: Truth, found: Found, summary: Mapping[str, Any]) -> list[str]:
    """Return all that is wrong, a line each."""
    trade = {key: row.plain() for key, row in truth.trade.items()}
    wrong = [
        *_differences("user_actions", truth.users, found.users),
        *_differences("trade", trade, found.trade),
        *_differences("late", dict.fromkeys(truth.late), [(key, None) for key in found.late]),
    ]
    ledger: Mapping[str, int] = summary["ledger"]
    late = Counter(aggregate for aggregate, _, _ in truth.late)
    expected = {"records": truth.records, "user_records": truth.records, "events": truth.records}
    for name in LENGTHS_US:
        expected[f"late.{name}"] = late[name]
        expected[f"late_after_reshard.{name}"] = expected[f"late_after_idle.{name}"] = 0
        expected[f"counted.{name}"] = truth.records - late[name]
    wrong += [
        f"ledger: {name} is {ledger.get(name, 0)}, not {count}"
        for name, count in expected.items()
        if ledger.get(name, 0) != count
    ]
    wrong += [f"ledger: {one['name']}" for one in summary["identities"] if not one["balanced"]]
    return wrong


def _differences(
    name: str, expected: Mapping[Any, Any], found: Sequence[tuple[Any, Any]]
) -> list[str]:
    keys = Counter(key for key, _ in found)
    values = dict(found)
    return [
        *(f"{name}: {key} is there {times} times" for key, times in keys.items() if times > 1),
        *(f"{name}: {key} is missing" for key in expected if key not in values),
        *(f"{name}: {key} is too many" for key in values if key not in expected),
        *(
            f"{name}: {key} is {values[key]}, not {value}"
            for key, value in expected.items()
            if key in values and values[key] != value
        ),
    ]


def _us(iso: str) -> int:
    return round(datetime.fromisoformat(iso).timestamp()) * SECOND
