"""Forests of keys: which windows are scored, what is written of them, and what a crash leaves."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np

from messages import AggregateRows, Alert
from operators.codes import integer_codes
from operators.feature_spec import KeyForest
from operators.key_detection import KeyDetection
from operators.spec import Field, Level, Window
from operators.value_spec import Count, Minimum
from operators.windows import OpenWindow

SECOND = 1_000_000
LENGTH_US = 10 * SECOND
FIELDS = {"user": Field("user", "integer"), "price": Field("price", "decimal", scale=2)}
WINDOW = Window(
    "users", 10, ("user",), (Count("events"), Minimum("cheapest", of="price")), groups=2
)
SPEC = KeyForest(
    name="unusual",
    levels=(Level("high", above=0.99, notify=True),),
    window="users",
    values=("events", "cheapest"),
    number_of_trees=20,
    sub_sample_size=16,
    warm_up=200,
)
NOTHING = np.iinfo(np.int64).max
"""What a minimum of no price is, as the window keeps it."""


def detection(
    state: dict[str, Any] | None = None,
    spec: KeyForest = SPEC,
    started_at_us: int | None = None,
) -> KeyDetection:
    return KeyDetection("shop", spec, WINDOW, FIELDS, lambda: 0, started_at_us, state)


def window(users: dict[int, tuple[int, int]]) -> OpenWindow:
    """Return a closed window: events and least price in cents by user."""
    codes = integer_codes(np.array(list(users)))
    order = np.argsort(codes)
    columns = np.array(list(users.values())).reshape(-1, 2)[order]
    return OpenWindow(codes[order], [columns[:, 0].copy(), columns[:, 1].copy()], [])


def usual(windows: int, users: int = 3, seed: int = 1) -> list[OpenWindow]:
    rng = random.Random(seed)
    return [
        window({user: (rng.randint(5, 9), rng.randint(100, 900)) for user in range(users)})
        for _ in range(windows)
    ]


def run(one: KeyDetection, windows: list[OpenWindow], first: int = 0) -> list[Any]:
    found: list[Any] = []
    for number, each in enumerate(windows, first):
        found += one.score(number * LENGTH_US, each)
    return found


def rows_of(found: list[Any]) -> list[dict[str, Any]]:
    return [row for item in found if isinstance(item, AggregateRows) for row in item.rows]


def test_an_unusual_window_of_a_key_is_an_incident_that_names_the_key_and_why() -> None:
    windows = usual(300)
    windows[290] = window({0: (6, 500), 1: (400, 510), 2: (7, 700)})
    alerts = [
        item
        for item in run(detection(), windows)
        if isinstance(item, Alert) and item.window_start_us == 290 * LENGTH_US
    ]
    (alert,) = alerts
    assert alert.id == "shop/unusual/user=1/1970-01-01T00:48:20Z"
    assert (alert.key, alert.window_end_us) == ({"user": 1}, 291 * LENGTH_US)
    assert alert.evidence["features"] == {"events": 400, "cheapest": 5.1}
    attribution = alert.evidence["attribution"]
    assert isinstance(attribution, dict)
    events, cheapest = attribution["events"], attribution["cheapest"]
    assert isinstance(events, dict)
    assert isinstance(cheapest, dict)
    assert float(str(events["ATTRIBUTION_SCORE"])) > float(str(cheapest["ATTRIBUTION_SCORE"]))


def test_a_window_with_a_null_is_not_scored_and_not_learnt() -> None:
    windows = usual(40, users=1)
    with_nulls = [*windows[:30], window({0: (5, NOTHING)}), *windows[30:]]
    one, other = detection(), detection()
    plain, holed = rows_of(run(one, windows)), rows_of(run(other, with_nulls))
    assert [row["score"] for row in plain] == [row["score"] for row in holed]
    assert (other.ledger["windows_scored"], other.ledger["windows_refused"]) == (40, 1)


def test_a_window_that_the_start_has_cut_is_not_scored() -> None:
    one = detection(started_at_us=LENGTH_US + 1)
    rows = rows_of(run(one, usual(3)))
    assert {row["window_start"] for row in rows} == {"1970-01-01T00:00:20Z"}
    assert (one.ledger["windows_cut"], one.ledger["windows_scored"]) == (6, 3)


def test_no_scores_are_written_where_only_incidents_are_wanted() -> None:
    windows = usual(300)
    windows[290] = window({0: (900, 1)})
    quiet, loud = detection(spec=replace(SPEC, emit=False)), detection()
    found = run(quiet, windows)
    assert found
    assert all(isinstance(item, Alert) for item in found)
    assert found == [item for item in run(loud, windows) if isinstance(item, Alert)]


def test_what_a_crash_leaves_goes_on_with_the_same_scores_bit_for_bit() -> None:
    windows = usual(260, users=5)
    whole = detection()
    expected = run(whole, windows)
    one = detection()
    found = run(one, windows[:130])
    restored = detection(one.snapshot())
    found += run(restored, windows[130:], first=130)
    assert found == expected
    assert restored.ledger == whole.ledger


def test_each_group_keeps_its_share_of_the_keys() -> None:
    one = detection(spec=replace(SPEC, max_keys=4))  # two groups, so two keys here
    rows = rows_of(run(one, usual(40, users=2)))
    assert rows[-1]["score"] > 0
    crowded = detection(spec=replace(SPEC, max_keys=4))
    rows = rows_of(run(crowded, usual(40, users=3)))
    assert all(row["score"] == 0 for row in rows), "each came back to a forest that begins anew"
