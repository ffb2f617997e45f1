"""Figures and movers show what the rows say, in as many series as are declared."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

import metrics
from messages import AggregateRows
from operators.event_time import iso_time
from operators.figure_spec import Figure, Movers
from operators.figures import Figures
from operators.filter_spec import Where
from operators.spec import Window
from operators.value_spec import ApproxDistinct, Count, Sum
from operators.watermarks import BEGINNING, END

MINUTE_US = 60_000_000
START_US = 1_795_000_000 // 60 * MINUTE_US  # a whole minute
TRADE = Window(
    "trade",
    60,
    ("kind", "brand"),
    (Count("events"), Sum("revenue", of="price")),
    groups=4,
)
VISITORS = Window(
    "visitors", 60, (), (ApproxDistinct("visitors", of="user"),), interim_seconds=10, groups=1
)
BRANDS = Window("brands", 60, ("brand",), (Count("views"),), groups=1)


@pytest.fixture(autouse=True)
def _no_series_of_other_tests() -> None:
    metrics.aggregate_value.clear()
    metrics.mover_change.clear()


def rows(window: Window, minute: int, *rows: dict[str, Any]) -> AggregateRows:
    start_us = START_US + minute * MINUTE_US
    bounds = {
        "window_start": iso_time(start_us),
        "window_end": iso_time(start_us + MINUTE_US),
    }
    return AggregateRows(window.name, tuple(bounds | row for row in rows))


def sold(kind: str, brand: str, events: int, revenue: float = 0.0) -> dict[str, Any]:
    return {"kind": kind, "brand": brand, "events": events, "revenue": revenue}


def viewed(**views: int) -> list[dict[str, Any]]:
    return [{"brand": brand, "views": count} for brand, count in views.items()]


def ticking() -> Callable[[], int]:
    """Return a clock that is a second later each time."""
    return count(1_000_000, 1_000_000).__next__


def at(minutes: float) -> int:
    return START_US + int(minutes * MINUTE_US)


def shown() -> dict[tuple[str, ...], float]:
    (family,) = metrics.aggregate_value.collect()
    return {tuple(one.labels.values()): one.value for one in family.samples}


def moved() -> dict[str, float]:
    (family,) = metrics.mover_change.collect()
    return {one.labels["key"]: one.value for one in family.samples if not math.isnan(one.value)}


def of_trade(*figures: Figure) -> Figures:
    return Figures("shop", [TRADE, VISITORS, BRANDS], figures, [], clock=ticking())


def test_rows_of_all_groups_are_added_up_once_all_have_closed_the_window():
    figures = of_trade(Figure("trade", ("events", "revenue")))
    figures.take("trade/00", at(0.5), [])
    figures.take("trade/01", at(0.5), [])
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3, 1.5), sold("b", "x", 4))])
    assert shown()["shop", "trade", "events", ""] == 0
    figures.take("trade/01", at(1), [rows(TRADE, 0, sold("a", "y", 10, 2.25))])
    assert shown() == {
        ("shop", "trade", "events", ""): 17,
        ("shop", "trade", "revenue", ""): 3.75,
    }


def test_a_window_in_which_nothing_came_shows_nothing_and_not_the_one_before():
    figures = of_trade(Figure("trade", ("events",)))
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3))])
    assert shown()["shop", "trade", "events", ""] == 3
    figures.take("trade/00", at(2), [])
    assert shown()["shop", "trade", "events", ""] == 0


def test_a_sender_whose_clock_is_of_another_age_is_no_reason_to_fail():
    figures = of_trade(Figure("trade", ("events",)))
    long_ago_us = -62_135_596_800_000_000  # the first day of the first year
    figures.take("trade/00", long_ago_us, [])
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3))])
    assert shown()["shop", "trade", "events", ""] == 3


def test_when_several_windows_close_at_once_the_last_is_shown():
    figures = of_trade(Figure("trade", ("events",)))
    closed = [rows(TRADE, minute, sold("a", "x", minute + 1)) for minute in range(3)]
    figures.take("trade/00", at(3.5), closed)
    assert shown()["shop", "trade", "events", ""] == 3


def test_windows_that_close_within_a_second_are_added_up_once():
    now_us = 1_000_000
    trade = Figure("trade", ("events",))
    figures = Figures("shop", [TRADE], [trade], [], clock=lambda: now_us)
    for minute in range(50):
        sale = sold("a", "x", minute + 1)
        figures.take("trade/00", at(minute + 1), [rows(TRADE, minute, sale)])
    assert shown()["shop", "trade", "events", ""] == 1
    now_us += 1_000_000
    figures.take("trade/00", at(50.5), [])
    assert shown()["shop", "trade", "events", ""] == 50


def test_only_the_declared_parts_of_a_key_have_series():
    figures = of_trade(Figure("trade", ("events",), by=Where("kind", ("view", "buy"))))
    sales = [sold("view", "x", 5), sold("view", "y", 2), sold("buy", "x", 1), sold("z", "x", 9)]
    figures.take("trade/00", at(1), [rows(TRADE, 0, *sales)])
    assert shown() == {
        ("shop", "trade", "events", "view"): 7,
        ("shop", "trade", "events", "buy"): 1,
    }


def test_of_a_window_without_a_key_the_row_of_the_open_one_counts():
    figures = of_trade(Figure("visitors", ("visitors",)))
    final = {"phase": "final", "visitors": 90}
    interim = {"phase": "interim", "visitors": 4}
    found = [rows(VISITORS, 0, final), rows(VISITORS, 1, interim)]
    figures.take("visitors/00", at(1.2), found)
    assert shown() == {("shop", "visitors", "visitors", ""): 4}


def test_rows_of_an_open_window_are_in_no_sum_and_move_nobody():
    figures = Figures(
        "shop", [BRANDS], [Figure("brands", ("views",))], [Movers("brands", "views")], ticking()
    )
    for minute in range(2):
        for phase, views in (("interim", 3), ("interim", 4), ("final", 5 + minute)):
            row = {"phase": phase, "brand": "a", "views": views}
            figures.take("brands/00", at(minute + 1), [rows(BRANDS, minute, row)])
    assert shown() == {("shop", "brands", "views", ""): 6}
    assert moved() == {"a": 1}


def test_windows_that_do_not_run_are_not_shown():
    trade, brands = Figure("trade", ("events",)), Movers("brands", "views")
    figures = Figures("shop", [VISITORS], [trade], [brands], clock=ticking())
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3))])
    assert not shown()


def test_until_every_group_has_a_watermark_nothing_is_shown():
    figures = of_trade(Figure("trade", ("events",)))
    figures.take("trade/01", BEGINNING, [])
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3))])
    assert shown()["shop", "trade", "events", ""] == 0
    figures.take("trade/01", at(1), [])
    assert shown()["shop", "trade", "events", ""] == 3


def test_when_a_finite_input_has_ended_what_was_shown_last_stays():
    figures = of_trade(Figure("trade", ("events",)))
    figures.take("trade/00", at(1), [rows(TRADE, 0, sold("a", "x", 3))])
    figures.take("trade/00", END, [rows(TRADE, 1, sold("a", "x", 4))])
    assert shown()["shop", "trade", "events", ""] == 3


def movers(most: int = 5) -> Figures:
    return Figures("shop", [BRANDS], [], [Movers("brands", "views", most)], clock=ticking())


def test_keys_that_gained_and_lost_most_are_named_with_what_changed():
    figures = movers(most=2)
    figures.take("brands/00", at(1), [rows(BRANDS, 0, *viewed(a=10, b=10, c=10, d=10, e=1))])
    assert not moved()
    after = viewed(a=15, b=4, c=10, d=3, e=2, f=8)
    figures.take("brands/00", at(2), [rows(BRANDS, 1, *after)])
    assert moved() == {"f": 8, "a": 5, "d": -7, "b": -6}


def test_who_moves_no_more_has_no_series_any_more():
    figures = movers()
    for minute, views in enumerate((viewed(a=1), viewed(a=2, b=5), viewed(a=9, b=5))):
        figures.take("brands/00", at(minute + 1), [rows(BRANDS, minute, *views)])
    assert moved() == {"a": 7}


def test_after_a_window_without_rows_all_that_comes_is_gained():
    figures = movers()
    figures.take("brands/00", at(1), [rows(BRANDS, 0, *viewed(a=10))])
    figures.take("brands/00", at(6), [rows(BRANDS, 5, *viewed(a=11))])
    assert moved() == {"a": 11}


def test_however_many_keys_there_are_series_are_as_many_as_declared():
    figures = movers(most=3)
    for minute in range(2):
        views = {f"key{key}": (key * 7919 + minute * key * 31) % 100 for key in range(500)}
        figures.take("brands/00", at(minute + 1), [rows(BRANDS, minute, *viewed(**views))])
    assert len(moved()) == 6
