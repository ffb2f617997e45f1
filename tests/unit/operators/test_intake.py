"""Blocks to rows, marks and what is set aside. Random sequences: tests/property/test_lateness."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from messages import Adopted, Block, Ended, EndOfInput, Events, Hello, Late, Mark, Reject, Seen
from operators.codes import TextCodes
from operators.decode import ARRIVAL, Decoder
from operators.intake import STATE_VERSION, Intake
from operators.spec import Field, Window
from operators.value_spec import Count

FIELDS = (Field("user_id", "integer"),)
WINDOW = Window("users", 10, ("user_id",), (Count("events"),))
SECOND = 1_000_000
NOON_US = 1_767_355_200 * SECOND


def intake(state: dict[str, object] | None = None, time_field: str = "at") -> Intake:
    return Intake("shop", Decoder(FIELDS, time_field, TextCodes()), (WINDOW,), 0, state)


def event(user: int, clock: str) -> bytes:
    return f'{{"user_id": {user}, "at": "2026-01-02T{clock}"}}'.encode()


def block(*payloads: bytes, shard: str = "a", first: int = 1) -> Block:
    return Block(shard, payloads, range(first, first + len(payloads)))


def test_marks_keep_their_places_and_a_block_shows_its_maximum() -> None:
    marks: list[Block | Mark] = [
        Hello("slot", ("a",)),
        Adopted("a"),
        block(event(1, "12:00:02"), event(2, "12:00:01")),
        Ended("a"),
        EndOfInput("slot"),
    ]
    taken = intake().take(marks)
    assert taken.marks == [
        Hello("slot", ("a",)),
        Adopted("a"),
        Seen("a", NOON_US + 2 * SECOND),
        Ended("a"),
        EndOfInput("slot"),
    ]
    assert [rows.events for rows in taken.rows] == [2]


def test_a_block_without_one_event_shows_nothing() -> None:
    taken = intake().take([block(b"x", b"")])
    assert (taken.rows, taken.marks) == ([], [])
    assert [item.reason for item in taken.aside if isinstance(item, Reject)] == [
        "not_json",
        "empty",
    ]


def test_what_is_rejected_keeps_its_bytes_place_and_reason() -> None:
    bad = b'{"user_id": "x", "at": "2026-01-02"}'
    taken = intake().take([block(event(1, "12:00:00"), bad, first=41)])
    (reject,) = taken.aside
    assert isinstance(reject, Reject)
    assert (reject.domain, reject.shard, reject.sequence_number) == ("shop", "a", "42")
    assert (reject.reason, reject.payload) == ("wrong_type", bad)


def test_a_late_event_keeps_its_bytes_place_and_window() -> None:
    late = event(9, "12:00:05.5")
    taken = intake().take([block(event(1, "12:00:20"), event(1, "12:00:20"), late)])
    assert taken.aside == [
        Late("shop", "users", NOON_US, NOON_US + 5_500_000, "a", "3", late),
    ]
    (rows,) = taken.rows
    assert rows.events == 3, "a late event is an event"
    (counted,) = rows.counted
    assert counted is not None
    assert counted.tolist() == [0, 1]


def test_shards_know_nothing_of_each_other() -> None:
    under_test = intake()
    under_test.take([block(*[event(1, "12:10:00")] * 3)])
    taken = under_test.take([block(*[event(1, "12:00:00")] * 3, shard="b")])
    assert taken.aside == []
    assert taken.marks == [Seen("b", NOON_US)]


def test_an_ended_shard_leaves_nothing_behind() -> None:
    under_test = intake()
    under_test.take([block(*[event(1, "12:10:00")] * 3), Ended("a")])
    assert under_test.snapshot()["shards"] == {}


@pytest.mark.parametrize("end", [EndOfInput("slot"), Ended("a")])
def test_events_that_wait_for_witnesses_are_decided_on_when_none_can_come(end: Mark) -> None:
    under_test = intake()
    waiting = under_test.take([block(event(1, "12:00:00"), event(2, "12:00:01"))])
    assert (waiting.rows, waiting.marks) == ([], [])
    assert under_test.ledger["waiting"] == 2
    taken = under_test.take([end])
    assert [rows.events for rows in taken.rows] == [2]
    assert taken.marks == [Seen("a", NOON_US + SECOND), end]
    assert under_test.ledger["waiting"] == 0


def test_only_the_shard_that_ended_is_decided_on() -> None:
    under_test = intake()
    under_test.take([block(event(1, "12:00:00")), block(event(2, "12:00:00"), shard="b")])
    assert under_test.take([Ended("a")]).marks == [Seen("a", NOON_US), Ended("a")]
    assert under_test.ledger["waiting"] == 1


def test_two_restarts_in_the_middle_of_a_wait_change_nothing() -> None:
    under_test = intake()
    under_test.take([block(*[event(1, "12:00:00")] * 3)])
    for number, clock in enumerate(["15:00:00", "15:00:01"]):
        assert under_test.take([block(event(2, clock), first=4 + number)]).rows == []
        under_test = intake(pickle.loads(pickle.dumps(under_test.snapshot())))
    taken = under_test.take([block(event(2, "15:00:02"), event(3, "12:00:01"), first=6)])
    (rows,) = taken.rows
    assert rows.events == 4
    assert [item.sequence_number for item in taken.aside if isinstance(item, Late)] == ["7"]
    assert under_test.ledger == {
        "events": 7, "additional_objects": 0, "waiting": 0, "late.users": 1,
    }  # fmt: skip


def test_user_records_and_further_objects_are_events_rejects_or_waiting() -> None:
    under_test = intake()
    records = [
        event(1, "12:00:00") * 3,
        b"x",
        event(1, "12:00:01") + b"{}",
        b"",
        event(1, "never"),
        event(1, "12:00:00") + event(2, "14:00:00"),
    ]
    under_test.take([block(*records)])
    ledger = under_test.ledger
    rejected = sum(count for name, count in ledger.items() if name.startswith("rejected."))
    assert (ledger["events"], rejected, ledger["waiting"]) == (5, 4, 1)
    assert len(records) + ledger["additional_objects"] == 5 + 4 + 1


def test_the_state_is_plain_values() -> None:
    under_test = intake()
    under_test.take([block(*[event(1, "12:00:00")] * 3, event(1, "14:00:00"))])
    assert under_test.snapshot() == {
        "version": STATE_VERSION,
        "shards": {"a": (NOON_US, ((event(1, "14:00:00"), "4"),))},
        "ledger": {"events": 3, "additional_objects": 0, "waiting": 1},
    }


def test_a_snapshot_does_not_change_afterwards() -> None:
    under_test = intake()
    before = under_test.snapshot()
    under_test.take([block(*[event(1, "12:00:00")] * 3)])
    assert before == {"version": STATE_VERSION, "shards": {}, "ledger": {}}


def test_by_arrival_an_event_is_never_ahead_and_is_late_as_any_other() -> None:
    arrivals = np.array([NOON_US + 20 * SECOND, NOON_US])
    given = Block("a", [b'{"user_id": 1}'] * 2, ["1", "2"], arrivals)
    taken = intake(time_field=ARRIVAL).take([given])
    assert [item.event_time_us for item in taken.aside if isinstance(item, Late)] == [NOON_US]
    assert taken.marks == [Seen("a", NOON_US + 20 * SECOND)]


def test_only_events_inside_the_bounds_are_told_of_one_by_one() -> None:
    narrowed = Intake(
        "shop", Decoder(FIELDS, "at", TextCodes()), (WINDOW,), 0,
        writes=lambda block, decoded, rows: Events(
            block.shard, tuple({"at": str(one)} for one in decoded.times_us[rows].tolist())
        ),
        between_us=(NOON_US + 10 * SECOND, NOON_US + 20 * SECOND),
    )  # fmt: skip
    clocks = ("12:00:09", "12:00:10", "12:00:19.9", "12:00:20")
    taken = narrowed.take([block(*(event(1, clock) for clock in clocks))])
    times_us = [NOON_US + 10 * SECOND, NOON_US + 19_900_000]
    assert taken.aside == [Events("a", tuple({"at": str(time_us)} for time_us in times_us))]
    assert narrowed.ledger["events_passed_on"] == 2
    assert narrowed.ledger["events"] == 4
