"""Axes and numbers are what people count in."""

from __future__ import annotations

import pytest

from service.insights.scales import alike, brief, cut, moment, percent, span_text, ticks, width_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (1_639, "1,639"),
        (999_999, "999,999"),
        (999_999.7, "1 M"),
        (1_200_000, "1.2 M"),
        (164_957_968, "165 M"),
        (999_600_000, "1 bn"),
        (2_500_000_000, "2.5 bn"),
        (1.9, "1.90"),
        (26.4, "26.4"),
        (711.9, "712"),
        (35_488.26, "35,488"),
        (0.012, "0.012"),
        (-11_111_264.94, "\N{MINUS SIGN}11.1 M"),
    ],
)
def test_a_number_of_a_chart_is_short(value: float, text: str):
    assert brief(value) == text


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ([0, 0.5, 1, 1.5], ["0", "0.5", "1.0", "1.5"]),
        ([0, 20, 40], ["0", "20", "40"]),
        ([0, 0.001, 0.002], ["0", "0.001", "0.002"]),
        ([-0.00002, 0], ["\N{MINUS SIGN}0.00002", "0"]),
        ([-2, 0, 2], ["\N{MINUS SIGN}2", "0", "2"]),
        ([0, 500, 1_000], ["0", "500", "1,000"]),
        ([0, 1_000_000, 2_000_000], ["0", "1 M", "2 M"]),
    ],
)
def test_the_numbers_of_an_axis_are_written_alike(marks: list[float], told: list[str]):
    assert alike(marks) == told


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0%"), (1, "100%"), (0.0083, "0.83%"), (0.0076, "0.76%"), (0.897, "89.7%")],
)
def test_a_small_share_has_the_places_that_tell_it_from_its_neighbour(share: float, text: str):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "expected"),
    [
        (0, 5_600, 4, True, [0, 2_000, 4_000]),
        (0, 50, 4, True, [0, 20, 40]),
        (0, 37, 4, True, [0, 10, 20, 30]),
        (0, 1, 4, True, [0, 1]),
        (0, 1.9, 3, False, [0, 0.5, 1, 1.5]),
        (-3, 5, 4, True, [-2, 0, 2, 4]),
        (0, 0.004, 4, False, [0, 0.001, 0.002, 0.003, 0.004]),
    ],
)
def test_ticks_are_round_and_within_the_axis(
    low: float, high: float, most: int, whole: bool, expected: list[float]
):
    assert ticks(low, high, most, whole) == pytest.approx(expected)


def test_what_is_cut_fits_and_keeps_both_ends():
    path = "/apps/cart.jsp/of/a/very/long/path/index.html"

    shorter = cut(path, 120)

    assert width_of(shorter) <= 120
    assert shorter.startswith("/apps")
    assert shorter.endswith(".html")
    assert len(cut("i" * 1_000_000, 120)) > 20  # in no time
    assert cut("short", 120) == "short"
    assert cut("short", width_of("short")) == "short"


def test_a_character_of_asia_takes_more_room_than_a_latin_one():
    assert width_of("日本語") > 1.4 * width_of("abc")


def test_times_are_written_as_in_tables():
    assert moment(1_743_552_000) == "2025-04-02"
    assert moment(1_743_552_060) == "2025-04-02 00:01"
    assert moment(1_743_552_061) == "2025-04-02 00:01:01"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(600, "10 minutes"), (3_600, "hour"), (7_200, "2 hours"), (86_400, "day"), (5, "5 seconds")],
)
def test_how_long_something_takes_is_said_in_words(seconds: float, text: str):
    assert span_text(seconds) == text
