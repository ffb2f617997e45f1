"""A key group of sessions: when rows are written, and what becomes of what can't be counted."""

from __future__ import annotations

import numpy as np
import pytest

from messages import (
    Adopted,
    AggregateRows,
    Ended,
    Hello,
    Idle,
    Mark,
    Packet,
    Scalar,
    Seen,
    SessionPieces,
)
from operators.codes import integer_codes
from operators.session_group import SessionGroup
from operators.session_spec import SessionWindow
from operators.spec import Field
from operators.value_spec import Count
from operators.watermarks import IdlePolicy

SECOND = 1_000_000
NOON_US = 1_767_355_200 * SECOND
VISITS = SessionWindow("visits", 30, ("user",), (Count("events"),), interim_seconds=60)
GREETING: tuple[Mark, ...] = (Adopted("a"), Hello("s", ("a",)))
Row = tuple[Scalar | None, ...]


def group(
    state: bytes | None = None,
    *,
    window: SessionWindow = VISITS,
    early: bool = True,
    idle: IdlePolicy = "wallclock",
    started_at_us: int | None = None,
    between_us: tuple[int, int] | None = None,
    behind_seconds: int = 0,
) -> SessionGroup:
    return SessionGroup(
        "visits/00",
        "shop",
        window,
        {"user": Field("user", "integer")},
        slots=("s",),
        disorder_us=2 * SECOND,
        idle=idle,
        early=early,
        started_at_us=started_at_us,
        between_us=between_us,
        clock=lambda: NOON_US + behind_seconds * SECOND,
        state=state,
    )


def piece(user: int, start: int, end: int | None = None, events: int = 1) -> SessionPieces:
    """A piece by seconds past noon."""
    last = start if end is None else end
    return SessionPieces(
        codes=integer_codes(np.array([user])),
        keys=None,
        starts_us=np.array([NOON_US + start * SECOND]),
        ends_us=np.array([NOON_US + last * SECOND]),
        values=np.array([[events]]),
        events=np.array([events]),
        texts={},
    )


def packet(*parts: Mark | SessionPieces) -> Packet:
    return Packet(
        "visits/00",
        tuple(part for part in parts if not isinstance(part, SessionPieces)),
        tuple(part for part in parts if isinstance(part, SessionPieces)),
    )


def seen(second: int, shard: str = "a") -> Seen:
    """What moves the watermark to 2 s before that."""
    return Seen(shard, NOON_US + second * SECOND)


def rows(found: list[AggregateRows]) -> list[Row]:
    return [
        (row["phase"], row["user"], str(row["window_start"])[14:19], row["events"])
        for item in found
        for row in item.rows
    ]


def test_a_session_is_told_each_minute_in_which_it_changed_and_once_more_at_its_end() -> None:
    under_test = group()
    assert rows(under_test.take([packet(*GREETING, seen(10))])) == []
    assert rows(under_test.take([packet(piece(1, 50), seen(52))])) == []
    assert rows(under_test.take([packet(piece(1, 58), seen(62))])) == [("interim", 1, "00:50", 2)]
    assert rows(under_test.take([packet(piece(1, 70), seen(73))])) == []  # the same minute
    assert rows(under_test.take([packet(seen(90))])) == []
    found = under_test.take([packet(seen(102))])
    assert rows(found) == [("final", 1, "00:50", 3)]
    assert found[0].rows[0]["window_end"] == "2026-01-02T12:01:40Z"
    assert under_test.ledger == {"counted.visits": 3}


def test_all_rows_of_a_session_have_one_id() -> None:
    under_test = group()
    found = under_test.take([packet(*GREETING, piece(1, 50, 59), seen(63))])
    found += under_test.take([packet(piece(1, 62), seen(200))])
    ids = [row["row_id"] for item in found for row in item.rows]
    assert ids == ["shop/visits/user=1/2026-01-02T12:00:50Z"] * 2


def test_a_session_that_the_watermark_hasnt_reached_isnt_told_since_its_start_may_move() -> None:
    under_test = group()
    assert rows(under_test.take([packet(*GREETING, piece(1, 65), seen(62))])) == []
    found = under_test.take([packet(piece(1, 60), seen(130))])
    assert rows(found) == [("final", 1, "01:00", 2)]


@pytest.mark.parametrize(("early", "behind_seconds"), [(False, 0), (True, 3_700)])
def test_no_interim_rows_when_none_are_wanted_or_when_catching_up(
    early: bool, behind_seconds: int
) -> None:
    under_test = group(early=early, behind_seconds=behind_seconds)
    found = under_test.take([packet(*GREETING, piece(1, 50), seen(62))])
    found += under_test.take([packet(seen(90))])
    assert rows(found) == [("final", 1, "00:50", 1)]


def test_a_restart_in_the_middle_changes_nothing() -> None:
    under_test = group()
    under_test.take([packet(*GREETING, seen(10)), packet(piece(1, 50), piece(2, 55), seen(58))])
    under_test = group(under_test.snapshot())
    found = under_test.take([packet(piece(1, 70), seen(72))])
    assert rows(found) == [("interim", 1, "00:50", 2), ("interim", 2, "00:55", 1)]
    assert under_test.ledger == {"counted.visits": 3}


def test_a_session_that_may_have_begun_before_the_start_is_partial() -> None:
    under_test = group(started_at_us=NOON_US)
    found = under_test.take([packet(*GREETING, piece(1, 29), piece(2, 30), seen(200))])
    assert [(row["user"], row.get("partial")) for row in found[0].rows] == [(1, True), (2, None)]


def test_what_an_idle_shard_brings_too_late_is_counted_apart() -> None:
    under_test = group()
    under_test.take([packet(*GREETING, piece(1, 0), seen(0))])
    under_test.take([packet(Idle("a", NOON_US + 100 * SECOND))])
    found = under_test.take([packet(piece(2, 50, 60, events=3), seen(60))])
    assert found == []
    assert under_test.ledger == {"counted.visits": 1, "late_after_idle.visits": 3}


def test_what_a_child_shard_brings_behind_its_parents_is_counted_apart() -> None:
    under_test = group()
    under_test.take([packet(*GREETING, piece(1, 100), seen(100))])
    under_test.take([packet(Ended("a", ("b",)), Adopted("b", ("a",)))])
    under_test.take([packet(piece(1, 10), seen(10, "b"))])
    assert under_test.ledger == {"counted.visits": 1, "late_after_reshard.visits": 1}


def test_only_sessions_wholly_inside_are_written_and_the_events_of_others_are_outside() -> None:
    between_us = (NOON_US, NOON_US + 100 * SECOND)
    first = group(early=False, between_us=between_us)
    first.take([packet(*GREETING, piece(1, -20, -5, events=3), piece(2, 0, 20, events=5))])
    under_test = group(first.snapshot(), early=False, between_us=between_us)
    under_test.take([packet(piece(1, 5), piece(2, 40, 70, events=7), piece(3, 60, 71, events=11))])
    assert rows(under_test.take([packet(seen(300))])) == [("final", 2, "00:00", 12)]
    assert under_test.ledger == {"counted.visits": 12, "outside.visits": 3 + 1 + 11}
