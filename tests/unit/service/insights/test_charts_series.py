"""A line says nothing that its rows don't: no activity where there was none, no detail lost."""

from __future__ import annotations

import pytest

from service.insights.series import POINTS, series

NINE = 1_743_584_400  # 2025-04-02 09:00 UTC
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def test_eight_hours_without_events_are_drawn_at_zero():
    at = [NINE, NINE + MINUTE, NINE + 8 * HOUR]

    found = series(at, [[40, 40, 40]], "minute")

    between = [
        value
        for time, value in zip(found.at, found.lines[0], strict=True)
        if NINE + 10 * MINUTE < time < NINE + 7 * HOUR
    ]
    assert len(between) > 50
    assert set(between) == {0}
    assert found.filled


def test_a_minute_without_events_is_zero_where_each_minute_is_drawn():
    found = series([NINE, NINE + MINUTE, NINE + 4 * MINUTE], [[3, 2, 1]], "minute")

    assert found.lines == [(3, 2, 0, 0, 1)]
    assert found.filled
    assert found.whole
    assert found.mean_of == 0


def test_a_line_of_days_breaks_where_the_archive_lacks_some():
    at = [0, DAY, 2 * DAY, 6 * DAY, 7 * DAY]

    found = series(at, [[1, 2, 3, 4, 5]], "day")

    assert found.lines == [[1, 2, 3, None, 4, 5]]
    assert found.broken
    assert not found.filled


def test_months_are_no_gaps_though_one_is_longer_than_another():
    found = series([0, 31 * DAY, 59 * DAY, 90 * DAY], [[1, 2, 3, 4]], "month")

    assert found.lines == [[1, 2, 3, 4]]
    assert not found.broken


def test_what_is_no_count_isnt_zero_without_a_row():
    at = [NINE, NINE + MINUTE, NINE + 2 * MINUTE, NINE + 30 * MINUTE]

    found = series(at, [[9.5, 9.25, 9.5, 9.75]], "minute")

    assert found.lines == [[9.5, 9.25, 9.5, None, 9.75]]
    assert found.broken


def test_a_day_of_minutes_is_drawn_in_steps_whose_means_add_up():
    at = [NINE + place * MINUTE for place in range(1_440)]
    views = [place % 7 for place in range(1_440)]

    found = series(at, [views], "minute")

    assert found.mean_of == 10 * MINUTE
    assert len(found.at) == 144 <= POINTS
    assert found.at[0] == NINE + 4.5 * MINUTE  # the middle of the ten
    assert sum(value or 0 for value in found.lines[0]) * 10 == pytest.approx(sum(views))


def test_the_outer_steps_are_means_of_the_minutes_that_they_hold():
    start = NINE + 7 * MINUTE
    at = [start + place * MINUTE for place in range(333)]

    found = series(at, [[5] * 333], "minute")

    assert found.mean_of == 5 * MINUTE
    assert set(found.lines[0]) == {5}
    assert at[0] <= found.at[0] < found.at[-1] <= at[-1]


def test_minutes_without_events_count_in_the_mean():
    at = [NINE + place * 2 * MINUTE for place in range(600)]

    found = series(at, [[4] * 600], "minute")

    assert found.mean_of == 10 * MINUTE
    assert found.lines[0][1] == 2
    assert found.filled


def test_what_is_no_count_is_the_mean_of_its_rows():
    at = [NINE + place * 2 * MINUTE for place in range(300)]

    found = series(at, [[9.5] * 300], "minute")

    assert set(found.lines[0]) == {9.5}
    assert found.mean_of == 5 * MINUTE


def test_what_isnt_known_breaks_the_line_and_is_not_zero():
    found = series([0, DAY, 2 * DAY], [[1, None, 3]], "day")

    assert found.lines == [[1, None, 3]]
    assert found.broken
