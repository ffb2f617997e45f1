"""Threshold rules: what crosses, how it is named, and what is said when a window closes."""

from __future__ import annotations

import numpy as np
import pytest

from messages import Alert, Partial
from operators.codes import integer_codes
from operators.event_time import iso_time
from operators.rules import Rule, incident_id, key_text
from operators.spec import Field, Level, Threshold, Window
from operators.value_spec import Count, Distinct, Mean, Sum
from operators.windows import Change, OpenWindows

SECOND = 1_000_000
NOON_US = 1_767_355_200 * SECOND
NOW_US = NOON_US + 123
FIELDS = {
    "user": Field("user", "integer"),
    "price": Field("price", "decimal", scale=2),
}
WINDOW = Window(
    "users",
    10,
    ("user",),
    (Mean("mean", "price"), Count("events"), Sum("spent", "price"), Distinct("prices", "price")),
)
COUNTED = Threshold(
    "busy", "users", "events", (Level("warning", 5), Level("high", 10), Level("worst", 20))
)


def rule(spec: Threshold = COUNTED, started_at_us: int | None = None) -> Rule:
    return Rule("shop", spec, WINDOW, FIELDS, lambda: NOW_US, started_at_us)


def add(windows: OpenWindows, **changes: dict[int, int]) -> Change:
    """Add to accumulators by user: `events` and `spent`, in cents."""
    users = sorted(
        {user for change in changes.values() for user in change},
        key=lambda user: int(integer_codes(np.array([user]))[0]),
    )
    columns = {
        name: np.array([changes.get(name, {}).get(user, 0) for user in users], np.int64)
        for name in ("events", "spent")
    }
    zeros = np.zeros(len(users), np.int64)
    pairs = (np.zeros(0, np.uint64), np.zeros(0, np.int64))
    return windows.add(
        Partial(
            NOON_US,
            integer_codes(np.array(users)),
            None,
            (zeros, zeros, columns["events"], columns["spent"], zeros),
            (pairs,),
            1,
        )
    )


def crossings(change: Change, under_test: Rule | None = None) -> dict[int, tuple[str, str, object]]:
    found = (under_test or rule()).crossings(NOON_US, change)
    return {int(a.key["user"]): (a.phase, a.severity, a.value) for a in found}


def finals(windows: OpenWindows, under_test: Rule | None = None) -> list[Alert]:
    ((start_us, window),) = windows.close(2**62)
    return list((under_test or rule()).finals(start_us, window))


def test_a_key_crosses_above_its_limit_and_not_at_it() -> None:
    windows = OpenWindows(WINDOW)
    assert crossings(add(windows, events={1: 5, 2: 6})) == {2: ("open", "warning", 6)}


def test_a_key_crosses_each_limit_once() -> None:
    windows = OpenWindows(WINDOW)
    steps = [
        ({1: 5}, {}),
        ({1: 1}, {1: ("open", "warning", 6)}),
        ({1: 4}, {}),
        ({1: 1}, {1: ("raised", "high", 11)}),
        ({1: 9}, {}),
        ({1: 5}, {1: ("raised", "worst", 25)}),
        ({1: 50}, {}),
    ]
    for added, expected in steps:
        assert crossings(add(windows, events=added)) == expected


def test_a_leap_over_several_limits_names_the_highest_and_is_raised_at_once() -> None:
    windows = OpenWindows(WINDOW)
    found = crossings(add(windows, events={1: 11, 2: 21, 3: 10}))
    assert found == {
        1: ("raised", "high", 11),
        2: ("raised", "worst", 21),
        3: ("open", "warning", 10),
    }


def test_keys_that_a_partial_does_not_touch_say_nothing() -> None:
    windows = OpenWindows(WINDOW)
    add(windows, events={1: 6})
    assert crossings(add(windows, events={2: 1})) == {}


def test_a_closed_window_names_the_highest_limit_below_each_value() -> None:
    windows = OpenWindows(WINDOW)
    add(windows, events={0: 1, 1: 5, 2: 6, 3: 10, 4: 11, 5: 20, 6: 21})
    found = {alert.key["user"]: alert for alert in finals(windows)}
    assert {user: (alert.severity, alert.threshold) for user, alert in found.items()} == {
        2: ("warning", 5),
        3: ("warning", 5),
        4: ("high", 10),
        5: ("high", 10),
        6: ("worst", 20),
    }
    assert all(alert.phase == "final" for alert in found.values())


def test_a_window_without_incidents_closes_silently() -> None:
    windows = OpenWindows(WINDOW)
    add(windows, events={1: 5})
    assert finals(windows) == []


def test_an_alert_says_all_there_is_to_say() -> None:
    windows = OpenWindows(WINDOW)
    (alert,) = rule().crossings(NOON_US, add(windows, events={-7: 6}))
    assert alert == Alert(
        id="shop/busy/user=-7/2026-01-02T12:00:00Z",
        domain="shop",
        rule="busy",
        severity="warning",
        phase="open",
        key={"user": -7},
        window_start_us=NOON_US,
        window_end_us=NOON_US + 10 * SECOND,
        value=6,
        value_name="events",
        threshold=5,
        detected_at_us=NOW_US,
        evidence={"mean": None, "spent": 0, "prices": 0},
    )
    (final,) = finals(windows)
    assert final.id == alert.id
    assert isinstance(final.value, int)


@pytest.mark.parametrize(
    ("started_at_us", "partial"), [(None, False), (NOON_US, False), (NOON_US + 1, True)]
)
def test_windows_that_began_before_the_service_are_partial(
    started_at_us: int | None, partial: bool
) -> None:
    windows = OpenWindows(WINDOW)
    under_test = rule(started_at_us=started_at_us)
    (alert,) = under_test.crossings(NOON_US, add(windows, events={1: 6}))
    assert alert.partial is partial
    assert [alert.partial for alert in finals(windows, under_test)] == [partial]


@pytest.mark.parametrize(
    ("above", "cents", "crosses"),
    [
        (0.29, 29, False),
        (0.29, 30, True),
        (1.15, 115, False),
        (1.15, 116, True),
        (10, 1000, False),
        (10, 1001, True),
        (0.295, 29, False),
        (0.295, 30, True),
        (10_000_000_000.07, 1_000_000_000_007, False),
        (10_000_000_000.07, 1_000_000_000_008, True),
    ],
)
def test_the_limit_of_a_sum_is_the_decimal_it_is_written_as(
    above: float, cents: int, crosses: bool
) -> None:
    spending = rule(Threshold("rich", "users", "spent", (Level("warning", above),)))
    windows = OpenWindows(WINDOW)
    found = crossings(add(windows, spent={1: cents}), spending)
    assert found == ({1: ("open", "warning", cents / 100)} if crosses else {})
    assert [alert.threshold for alert in finals(windows, spending)] == [above] * crosses


def test_a_limit_between_two_counts_is_crossed_by_the_upper() -> None:
    half = rule(Threshold("busy", "users", "events", (Level("warning", 5.5),)))
    windows = OpenWindows(WINDOW)
    assert crossings(add(windows, events={1: 5}), half) == {}
    assert crossings(add(windows, events={1: 1}), half) == {1: ("open", "warning", 6)}


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (NOON_US, "2026-01-02T12:00:00Z"),
        (NOON_US + 1, "2026-01-02T12:00:00.000001Z"),
        (-SECOND, "1969-12-31T23:59:59Z"),
    ],
)
def test_times_are_written_in_utc(time_us: int, text: str) -> None:
    assert iso_time(time_us) == text


def test_an_incident_is_its_domain_rule_key_and_window() -> None:
    key = {"kind": "buy", "user": 7}
    assert incident_id("d", "r", key, 0) == "d/r/kind=buy,user=7/1970-01-01T00:00:00Z"
    others = {
        incident_id("e", "r", key, 0),
        incident_id("d", "s", key, 0),
        incident_id("d", "r", {**key, "user": 8}, 0),
        incident_id("d", "r", key, SECOND),
    }
    assert len(others - {incident_id("d", "r", key, 0)}) == 4


def test_keys_whose_texts_hold_commas_are_not_written_alike() -> None:
    keys = [
        {"category": "a,brand=b", "brand": "c"},
        {"category": "a", "brand": "b,brand=c"},
        {"category": "a\\", "brand": "b,brand=c"},
        {"category": "a\\,brand=b", "brand": "c"},
        {"category": "a", "brand": "b\\,brand=c"},
    ]
    assert len({key_text(key) for key in keys}) == len(keys)
    assert key_text({"user": -7, "brand": "a/b=c"}) == "user=-7,brand=a/b=c"
