"""From payloads to sessions: any cut into blocks, ticks, workers and groups, any restarts.

The oracle sorts a key's events by time and cuts where the gap is reached, in Python's own types.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messages import AggregateRows, Alert, Closed
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.filter_spec import Where
from operators.filters import Filters
from operators.intake import Intake
from operators.session_group import SessionGroup
from operators.session_spec import FirstText, LastText, SessionWindow
from operators.value_spec import Count, First, Last, Maximum, Mean, Sum, Without
from tests.oracles import SECOND
from tests.property.test_windows import (
    BUYS,
    DISORDER,
    FIELDS,
    START,
    Event,
    Run,
    Worker,
    random_events,
    written,
)

NOW_US = round(START.timestamp()) * SECOND + 600 * SECOND
VIEWS = Where("kind", "view")
VALUES = (
    Count("events"),
    Count("views", VIEWS),
    Count("buys", BUYS),
    Without("abandoned", some="views", none="buys"),
    Sum("revenue", "price", BUYS),
    Maximum("rank", "rank"),
    Mean("mean", "price"),
    First("first_seen"),
    Last("last_seen"),
    FirstText("first_shop", "shop"),
    LastText("last_shop", "shop"),
)


def windows_of(groups: int) -> tuple[SessionWindow, ...]:
    return (
        SessionWindow("users", 12, ("user",), VALUES, interim_seconds=1, groups=groups),
        SessionWindow("kinds", 3, ("kind", "rank"), VALUES, interim_seconds=10, groups=2),
        SessionWindow("buyers", 70, ("shop",), VALUES, where=BUYS, interim_seconds=5, groups=1),
        SessionWindow("moments", 1, ("kind",), (Count("events"),), groups=3),
    )


class SessionWorker(Worker):
    """A worker whose intakes know the windows' filters."""

    def intake(self, state: Any) -> Intake:
        return Intake(
            "shop",
            Decoder(list(FIELDS.values()), "at", self.texts),
            self.windows,
            DISORDER,
            state,
            filters=Filters(self.windows, self.texts),
        )


class SessionRun(Run):
    """A run whose groups are groups of sessions."""

    worker = SessionWorker

    def group(self, name: str, state: bytes | None) -> Any:
        return SessionGroup(
            name,
            "shop",
            next(w for w in self.windows if w.name == name.partition("/")[0]),
            FIELDS,
            slots=tuple(self.slots),
            disorder_us=DISORDER,
            idle="hold",
            early=self.early,
            started_at_us=None,
            clock=lambda: NOW_US,
            state=state,
        )


# ---- the oracle ---------------------------------------------------------------------------------


@dataclass
class Expected:
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    late: set[tuple[str, int]] = field(default_factory=set)
    counted: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)


def expected_of(shards: dict[str, list[Event]], windows: tuple[SessionWindow, ...]) -> Expected:
    expected = Expected()
    for window in windows:
        by_key: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
        for events in shards.values():
            newest_us: int | None = None
            for event in events:
                if window.where and event[window.where.field] != window.where.equals:
                    expected.filtered[window.name] += 1
                elif newest_us is not None and event.time_us < newest_us - DISORDER:
                    expected.late.add((window.name, event.number))
                else:
                    by_key[tuple(event[name] for name in window.key)].append(event)
                    expected.counted[window.name] += 1
                newest_us = max(event.time_us, newest_us or 0)
        for key, events in by_key.items():
            for session in sessions_of(events, window.gap_seconds * SECOND):
                row = row_of(window, key, session)
                assert row["row_id"] not in expected.rows
                expected.rows[row["row_id"]] = row
    return expected


def sessions_of(events: list[Event], gap_us: int) -> list[list[Event]]:
    ordered = sorted(events, key=lambda event: event.time_us)
    cuts = [i for i, (a, b) in enumerate(pairwise(ordered), 1) if b.time_us - a.time_us >= gap_us]
    return [ordered[begin:end] for begin, end in pairwise([0, *cuts, len(ordered)])]


def row_of(window: SessionWindow, key: tuple[Any, ...], events: list[Event]) -> dict[str, Any]:
    codes = TextCodes()
    named = dict(zip(window.key, key, strict=True))
    text = ",".join(f"{name}={value}" for name, value in named.items())
    start, end = events[0].time_us, events[-1].time_us
    kinds = Counter(event.kind for event in events)
    shops = sorted(
        (event.time_us, (codes[event.shop] + 2**63) % 2**64, event.shop)
        for event in events
        if event.shop
    )
    known = {
        "events": len(events),
        "views": kinds["view"],
        "buys": kinds["buy"],
        "abandoned": kinds["view"] > 0 and kinds["buy"] == 0,
        "revenue": sum(event.cents for event in events if event.kind == "buy") / 100,
        "rank": max(event.rank for event in events),
        "mean": sum(event.cents for event in events) / len(events) / 100,
        "first_seen": written(start),
        "last_seen": written(end),
        "first_shop": shops[0][2] if shops else None,
        "last_shop": shops[-1][2] if shops else None,
    }
    return {
        "row_id": f"shop/{window.name}/{text}/{written(start)}",
        "domain": "shop",
        "aggregate": window.name,
        "phase": "final",
        "window_start": written(start),
        "window_end": written(end + window.gap_seconds * SECOND),
        **{name: value for name, value in known.items() if name in names_of(window)},
        **named,
        "emitted_at": written(NOW_US),
    }


def names_of(window: SessionWindow) -> set[str]:
    return {value.name for value in window.values}


# ---- the property -------------------------------------------------------------------------------


@given(random=st.randoms(use_true_random=False), groups=st.integers(1, 5), early=st.booleans())
def test_any_run_gives_the_sessions_that_sorting_and_cutting_gives(
    random: Random, groups: int, early: bool
) -> None:
    windows = windows_of(groups)
    shards = random_events(random)
    run = SessionRun(shards, windows, random, early)
    run.go()
    expected = expected_of(shards, windows)

    rows = all_rows(run.found)
    finals = [row for row in rows if row["phase"] == "final"]
    assert len(finals) == len(expected.rows), "a session was closed twice, or never"
    assert {row["row_id"]: row for row in finals} == expected.rows
    last = {row["row_id"]: row for row in rows}
    assert last == expected.rows, "an interim row was left behind, or came after its final one"
    assert early or len(rows) == len(finals)
    check_growth(rows)

    assert {(item.aggregate, number_of(item)) for item in run.late} == expected.late
    counted = sum((group.ledger for group in run.groups.values()), Counter())
    assert counted == Counter({f"counted.{name}": n for name, n in expected.counted.items() if n})
    filtered: Counter[str] = Counter()
    for worker in run.workers:
        for intake in worker.intakes.values():
            ledger = intake.ledger
            filtered.update({k: n for k, n in ledger.items() if k.startswith("filtered.")})
    assert +filtered == Counter({f"filtered.{k}": n for k, n in expected.filtered.items()})


def check_growth(rows: list[dict[str, Any]]) -> None:
    """Of one session, what was written once never shrinks."""
    seen: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = seen.get(row["row_id"])
        if before is not None:
            assert row["window_start"] == before["window_start"]
            assert row["window_end"] >= before["window_end"]
            assert row["events"] >= before["events"]
        seen[row["row_id"]] = row


def all_rows(found: list[Alert | AggregateRows | Closed]) -> list[dict[str, Any]]:
    return [dict(row) for item in found if isinstance(item, AggregateRows) for row in item.rows]


def number_of(late: Any) -> int:
    return int(late.sequence_number)
