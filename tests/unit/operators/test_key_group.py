"""One key group: order within a packet, what is too late, what closing brings, restarts."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from messages import (
    Adopted,
    AggregateRows,
    Alert,
    Closed,
    Ended,
    EndOfInput,
    Hello,
    Idle,
    Mark,
    Packet,
    Partial,
    Seen,
)
from operators.codes import integer_codes
from operators.key_group import GroupOutput, KeyGroup
from operators.spec import Field, Level, Threshold, Window
from operators.value_spec import Count, Sum
from operators.watermarks import BEGINNING, END, IdlePolicy

SECOND = 1_000_000
NOON_US = 1_767_355_200 * SECOND
NOW_US = NOON_US + 77 * SECOND
WINDOW = Window("users", 10, ("user",), (Count("events"), Sum("spent", "price")))
FIELDS = {"user": Field("user", "integer"), "price": Field("price", "decimal", scale=2)}
BUSY = Threshold("busy", "users", "events", (Level("warning", 5), Level("high", 10)))


def group(
    state: bytes | None = None,
    *,
    window: Window = WINDOW,
    early: bool = True,
    idle: IdlePolicy = "wallclock",
    started_at_us: int | None = None,
    slots: tuple[str, ...] = ("s",),
) -> KeyGroup:
    return KeyGroup(
        "users/00",
        "shop",
        window,
        FIELDS,
        (BUSY,),
        slots=slots,
        disorder_us=2 * SECOND,
        idle=idle,
        early=early,
        started_at_us=started_at_us,
        clock=lambda: NOW_US,
        state=state,
    )


def partial(second: int, counts: dict[int, int]) -> Partial:
    """Events of users in the window that starts so many seconds past noon."""
    users = sorted(counts, key=lambda user: int(integer_codes(np.array([user]))[0]))
    numbers = np.array([counts[user] for user in users], np.int64)
    return Partial(
        start_us=NOON_US + second * SECOND,
        codes=integer_codes(np.array(users)),
        keys=None,
        values=(numbers, numbers * 25),
        members=(),
        events=int(numbers.sum()),
    )


def packet(*parts: Mark | Partial) -> Packet:
    return Packet(
        "users/00",
        tuple(part for part in parts if not isinstance(part, Partial)),
        tuple(part for part in parts if isinstance(part, Partial)),
    )


def seen(second: float, shard: str = "a") -> Seen:
    return Seen(shard, NOON_US + round(second * SECOND))


GREETING = packet(Hello("s", ("a",)))


def summary(found: list[GroupOutput]) -> list[object]:
    """Outputs in short: phases with users, rows with counts, watermarks in seconds past noon."""
    short: list[object] = []
    for item in found:
        if isinstance(item, Alert):
            short.append((item.phase, item.key["user"], item.value))
        elif isinstance(item, AggregateRows):
            short.append({row["user"]: row["events"] for row in item.rows})
        else:
            short.append((item.watermark_us - NOON_US) / SECOND)
    return short


def test_data_goes_in_before_its_mark_closes_the_window() -> None:
    under_test = group()
    found = under_test.take([GREETING, packet(seen(12), partial(0, {1: 6, 2: 1}))])
    assert summary(found) == [("open", 1, 6), ("final", 1, 6), {1: 6, 2: 1}, 10.0]


def test_a_window_stays_open_until_the_watermark_reaches_its_end() -> None:
    under_test = group()
    assert summary(under_test.take([GREETING, packet(seen(3), partial(0, {1: 1}))])) == [1.0]
    assert under_test.take([packet(seen(11.999999))]) == []
    assert len(under_test.windows) == 1
    assert summary(under_test.take([packet(seen(12))])) == [{1: 1}, 10.0]
    assert len(under_test.windows) == 0


def test_windows_close_oldest_first_each_with_its_finals_before_its_rows() -> None:
    under_test = group(early=False)
    given = [partial(20, {1: 6}), partial(0, {1: 7}), partial(10, {1: 1})]
    found = under_test.take([GREETING, packet(seen(40), *given)])
    assert summary(found) == [
        ("final", 1, 7), {1: 7}, {1: 1}, ("final", 1, 6), {1: 6}, 38.0,
    ]  # fmt: skip


def test_a_window_that_only_feeds_rules_brings_no_rows() -> None:
    under_test = group(window=replace(WINDOW, emit=False))
    found = under_test.take([GREETING, packet(seen(40), partial(0, {1: 6}))])
    assert summary(found) == [("open", 1, 6), ("final", 1, 6), 38.0]


def test_without_early_alerts_only_finals_come() -> None:
    under_test = group(early=False)
    assert summary(under_test.take([GREETING, packet(seen(0), partial(0, {1: 60}))])) == [-2.0]
    assert summary(under_test.take([packet(seen(30))])) == [("final", 1, 60), {1: 60}, 28.0]


def test_packets_of_one_batch_are_taken_in_order() -> None:
    under_test = group()
    batch = [
        GREETING,
        packet(seen(0), partial(0, {1: 4})),
        packet(partial(0, {1: 2})),
        packet(seen(12)),
    ]
    assert summary(under_test.take(batch)) == [
        -2.0, ("open", 1, 6), ("final", 1, 6), {1: 6}, 10.0,
    ]  # fmt: skip


def test_a_rule_hears_of_every_window_end_that_is_passed_and_only_then() -> None:
    under_test = group()
    assert under_test.take([GREETING]) == []
    found = [under_test.take([packet(seen(second))]) for second in (1, 2, 11, 12, 13, 47)]
    assert [summary(part) for part in found] == [[-1.0], [0.0], [], [10.0], [], [45.0]]
    assert all(
        isinstance(item, Closed) and item.group == "users/00" for part in found for item in part
    )


def test_the_end_of_input_closes_everything() -> None:
    under_test = group()
    found = under_test.take([GREETING, packet(partial(0, {1: 1}), partial(990, {2: 2}))])
    assert found == []
    found = under_test.take([packet(EndOfInput("s"))])
    assert summary(found[:2]) == [{1: 1}, {2: 2}]
    assert found[2:] == [Closed("busy", "users/00", END)]


# ---- too late for the group ---------------------------------------------------------------------


def test_what_comes_after_an_idle_shard_let_its_window_close_is_counted_apart() -> None:
    under_test = group()
    under_test.take(
        [GREETING, packet(seen(1), partial(0, {1: 3})), packet(Idle("a", seen(60).maximum_us))]
    )
    assert under_test.take([packet(seen(5), partial(0, {1: 4}))]) == []
    assert under_test.ledger == {"counted.users": 3, "late_after_idle.users": 4}


def test_what_a_child_brings_of_its_parents_closed_windows_is_counted_apart() -> None:
    under_test = group()
    under_test.take([
        GREETING,
        packet(seen(30), partial(20, {1: 3})),
        packet(Adopted("b", ("a",)), Ended("a", ("b",))),
    ])  # fmt: skip
    assert summary(under_test.take([packet(seen(12, "b"), partial(10, {1: 4}))])) == []
    assert under_test.ledger == {"counted.users": 3, "late_after_reshard.users": 4}


def test_a_window_whose_end_the_watermark_has_not_reached_is_still_open() -> None:
    under_test = group()
    under_test.take([GREETING, packet(seen(11.999999))])
    under_test.take([packet(partial(0, {1: 1}))])
    assert under_test.ledger == {"counted.users": 1}
    under_test.take([packet(seen(12)), packet(partial(0, {1: 1}))])
    assert under_test.ledger == {"counted.users": 1, "late_after_reshard.users": 1}


# ---- rows ---------------------------------------------------------------------------------------


def test_a_row_says_all_there_is_to_say() -> None:
    found = group().take([GREETING, packet(seen(40), partial(10, {-7: 2}))])
    (rows,) = [item for item in found if isinstance(item, AggregateRows)]
    assert rows == AggregateRows(
        "users",
        (
            {
                "row_id": "shop/users/user=-7/2026-01-02T12:00:10Z",
                "domain": "shop",
                "aggregate": "users",
                "window_start": "2026-01-02T12:00:10Z",
                "window_end": "2026-01-02T12:00:20Z",
                "user": -7,
                "events": 2,
                "spent": 0.5,
                "emitted_at": "2026-01-02T12:01:17Z",
            },
        ),
    )


@pytest.mark.parametrize(("started_at_us", "marked"), [(NOON_US, None), (NOON_US + 1, True)])
def test_a_window_that_began_before_the_service_is_marked_as_partial(
    started_at_us: int, marked: bool | None
) -> None:
    under_test = group(started_at_us=started_at_us)
    found = under_test.take([GREETING, packet(seen(40), partial(0, {1: 6}), partial(10, {2: 6}))])
    rows = [row for item in found if isinstance(item, AggregateRows) for row in item.rows]
    assert [row.get("partial") for row in rows] == [marked, None]
    alerts = [item for item in found if isinstance(item, Alert)]
    assert {alert.key["user"] for alert in alerts if alert.partial} == ({1} if marked else set())


def test_of_a_window_with_a_top_only_the_greatest_keys_are_written_the_greatest_first() -> None:
    under_test = group(window=replace(WINDOW, top=3))
    found = under_test.take([GREETING, packet(partial(0, {1: 2, 2: 9, 3: 1, 4: 3, 5: 1}))])
    found += under_test.take([packet(partial(0, {3: 6})), packet(seen(40))])
    (rows,) = [item for item in found if isinstance(item, AggregateRows)]
    assert [(row["user"], row["events"], row["spent"]) for row in rows.rows] == [
        (2, 9, 2.25),
        (3, 7, 1.75),
        (4, 3, 0.75),
    ]


def test_a_top_leaves_out_rows_and_not_incidents() -> None:
    under_test = group(window=replace(WINDOW, top=1), early=False)
    found = under_test.take([GREETING, packet(seen(40), partial(0, {1: 6, 2: 7, 3: 8}))])
    assert {item.key["user"] for item in found if isinstance(item, Alert)} == {1, 2, 3}
    assert summary([item for item in found if isinstance(item, AggregateRows)]) == [{3: 8}]


def test_a_top_of_more_keys_than_there_are_is_all_of_them() -> None:
    under_test = group(window=replace(WINDOW, top=20))
    found = under_test.take([GREETING, packet(seen(40), partial(0, {1: 1, 2: 2}))])
    assert summary(found) == [{2: 2, 1: 1}, 38.0]


@pytest.mark.parametrize("arrivals", [(range(40),), (range(39, -1, -1),), (range(20), range(40))])
def test_which_of_equal_keys_make_the_top_does_not_depend_on_their_arrival(
    arrivals: tuple[range, ...],
) -> None:
    whole, under_test = group(window=WINDOW), group(window=replace(WINDOW, top=5))
    counts = {user: 3 if user < 30 else 4 for user in range(40)}
    for users in arrivals:
        share = packet(partial(0, {user: counts[user] for user in users}))
        found = [one.take([GREETING, share]) for one in (whole, under_test)]
    found = [one.take([packet(seen(40))]) for one in (whole, under_test)]
    all_rows, top = (
        [row for item in part if isinstance(item, AggregateRows) for row in item.rows]
        for part in found
    )
    codes = {user: int(integer_codes(np.array([user]))[0]) for user in counts}
    all_rows.sort(key=lambda row: (-int(row["events"] or 0), codes[int(row["user"] or 0)]))
    assert top == all_rows[:5]


# ---- restarts -----------------------------------------------------------------------------------

STEPS = [
    [GREETING],
    [packet(seen(1), partial(0, {1: 4, 2: 1}))],
    [packet(partial(0, {1: 2}), partial(10, {3: 11}))],
    [packet(Idle("a", NOON_US + 6 * SECOND))],
    [packet(seen(13), partial(10, {3: 1, 1: 1}))],
    [packet(Adopted("b", ("a",)), Ended("a", ("b",)), partial(0, {9: 9}))],
    [packet(seen(33, "b"), partial(20, {1: 6}))],
    [packet(EndOfInput("s"))],
]


@pytest.mark.parametrize("restart_at", range(len(STEPS)))
def test_a_restart_anywhere_changes_nothing(restart_at: int) -> None:
    plain, under_test = group(), group()
    for place, packets in enumerate(STEPS):
        if place == restart_at:
            under_test = group(under_test.snapshot())
        assert under_test.take(packets) == plain.take(packets)
        assert under_test.watermark.now_us == plain.watermark.now_us
    assert under_test.ledger == plain.ledger
    assert under_test.ledger["late_after_reshard.users"] == 9
    assert pickle.loads(under_test.snapshot())["windows"] == {"open": {}, "tops": {}}


def test_a_snapshot_does_not_change_afterwards() -> None:
    under_test = group()
    under_test.take([GREETING, packet(partial(0, {1: 1}))])
    before = under_test.snapshot()
    under_test.take([packet(partial(0, {1: 100}))])
    found = group(before).take([packet(seen(40))])
    assert summary(found) == [{1: 1}, 38.0]


def test_a_state_names_its_group() -> None:
    assert pickle.loads(group().snapshot())["group"] == "users/00"


def test_a_group_holds_back_until_every_slot_has_spoken() -> None:
    under_test = group(slots=("s", "t"))
    assert under_test.take([GREETING, packet(seen(99), partial(0, {1: 1}))]) == []
    assert under_test.watermark.now_us == BEGINNING
    assert summary(under_test.take([packet(Hello("t"))])) == [{1: 1}, 97.0]


# ---- interim rows -------------------------------------------------------------------------------

LONG = Window("users", 100, ("user",), (Count("events"), Sum("spent", "price")), interim_seconds=20)


def phases(found: list[GroupOutput]) -> list[tuple[object, dict[object, object]]]:
    return [
        (item.rows[0]["phase"], {row["user"]: row["events"] for row in item.rows})
        for item in found
        if isinstance(item, AggregateRows)
    ]


def test_while_a_window_is_open_the_rows_that_changed_are_written_every_so_often() -> None:
    under_test = group(window=LONG)
    assert phases(under_test.take([GREETING, packet(seen(3))])) == []
    assert phases(under_test.take([packet(partial(0, {1: 1, 2: 1}), seen(21))])) == []
    found = under_test.take([packet(partial(0, {1: 2, 3: 1}), seen(22))])
    assert phases(found) == [("interim", {2: 1, 1: 3, 3: 1})]
    assert phases(under_test.take([packet(partial(0, {3: 1}), seen(41))])) == []
    found += under_test.take([packet(seen(42))])
    assert phases(found)[1:] == [("interim", {3: 2})]
    found += under_test.take([packet(seen(102))])
    assert phases(found)[2:] == [("final", {2: 1, 1: 3, 3: 2})]
    ids = [row["row_id"] for item in found if isinstance(item, AggregateRows) for row in item.rows]
    assert len(ids) == 7
    assert len(set(ids)) == 3


def test_final_only_and_a_restart_leave_interim_rows_as_they_are() -> None:
    quiet = group(window=LONG, early=False)
    quiet.take([GREETING, packet(partial(0, {1: 1}), seen(21))])
    assert phases(quiet.take([packet(seen(60))])) == []
    under_test = group(window=LONG)
    under_test.take([GREETING, packet(seen(3)), packet(partial(0, {1: 1}), seen(21))])
    restarted = group(under_test.snapshot(), window=LONG)
    assert phases(restarted.take([packet(seen(60))])) == [("interim", {1: 1})]
    restarted = group(restarted.snapshot(), window=LONG)
    assert phases(restarted.take([packet(seen(90))])) == []
