"""The clock guard and lateness, at their very edges. Random sequences: tests/property."""

from __future__ import annotations

import numpy as np
import pytest

from operators.lateness import NO_TIME, Judged, judge_by_arrival, judge_by_jump, late_rows
from tests.oracles import HOUR, MINUTE, SECOND

NOW = 1_767_355_200 * SECOND


def by_jump(*times_us: int, maximum_us: int = NOW, at_end: bool = True) -> Judged:
    return judge_by_jump(np.array(times_us, np.int64), maximum_us, at_end=at_end)


def parts(judged: Judged) -> tuple[list[int], list[int], list[int]]:
    return judged.accepted.tolist(), judged.rejected.tolist(), judged.waiting.tolist()


# ---- with arrival times -------------------------------------------------------------------------


def test_a_time_five_minutes_ahead_of_its_arrival_is_believed_and_no_more() -> None:
    ahead_us = np.array([5 * MINUTE, 5 * MINUTE + 1, 0, -HOUR])
    judged = judge_by_arrival(NOW + ahead_us, np.full(4, NOW), NO_TIME)
    assert parts(judged) == ([0, 2, 3], [1], [])
    assert judged.before_us.tolist() == [NO_TIME, NOW + 5 * MINUTE, NOW + 5 * MINUTE]
    assert judged.maximum_us == NOW + 5 * MINUTE


def test_a_wrong_clock_moves_no_maximum() -> None:
    judged = judge_by_arrival(np.array([NOW + HOUR]), np.array([NOW]), NOW - SECOND)
    assert judged.maximum_us == NOW - SECOND
    assert len(judged.before_us) == 0


def test_no_times_change_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    for judged in (judge_by_arrival(nothing, nothing, NOW), by_jump(), by_jump(at_end=False)):
        assert parts(judged) == ([], [], [])
        assert judged.maximum_us == NOW


# ---- without ------------------------------------------------------------------------------------


def test_an_hour_ahead_is_believed_and_a_microsecond_more_needs_witnesses() -> None:
    assert parts(by_jump(NOW + HOUR)) == ([0], [], [])
    assert parts(by_jump(NOW + HOUR + 1)) == ([], [0], [])


def test_three_that_agree_are_believed() -> None:
    judged = by_jump(NOW + 2 * HOUR, NOW + 2 * HOUR + 1, NOW + 2 * HOUR - 1)
    assert parts(judged) == ([0, 1, 2], [], [])
    assert judged.before_us.tolist() == [NOW, NOW + 2 * HOUR, NOW + 2 * HOUR + 1]


@pytest.mark.parametrize("other", [NOW, NOW + HOUR, NOW - 30 * HOUR])
@pytest.mark.parametrize("place", [1, 2])
def test_one_of_three_that_is_not_as_far_ahead_is_enough_for_a_reject(
    other: int, place: int
) -> None:
    times = [NOW + 5 * HOUR] * 3
    times[place] = other
    judged = by_jump(*times, NOW)
    assert 0 in judged.rejected.tolist()
    assert place in judged.accepted.tolist()


def test_the_first_of_three_must_be_within_an_hour_of_the_earliest() -> None:
    later = NOW + 2 * HOUR
    assert parts(by_jump(later + HOUR, later, later, later)) == ([0, 1, 2, 3], [], [])
    assert parts(by_jump(later + HOUR + 1, later, later, later)) == ([1, 2, 3], [0], [])


def test_the_first_times_of_a_shard_need_witnesses_too() -> None:
    wrong = NOW + 24 * HOUR
    assert parts(by_jump(wrong, NOW, NOW, NOW, maximum_us=NO_TIME)) == ([1, 2, 3], [0], [])
    assert parts(by_jump(NOW, wrong, NOW, NOW, maximum_us=NO_TIME)) == ([0, 2, 3], [1], [])
    assert parts(by_jump(NOW, NOW, wrong, NOW, maximum_us=NO_TIME)) == ([0, 1, 3], [2], [])


@pytest.mark.parametrize("count", [1, 2])
def test_a_jump_at_the_end_of_a_block_waits_for_the_next(count: int) -> None:
    judged = by_jump(NOW, *[NOW + 2 * HOUR] * count, at_end=False)
    assert parts(judged) == ([0], [], list(range(1, count + 1)))
    assert judged.maximum_us == NOW


def test_a_jump_that_a_neighbour_contradicts_already_does_not_wait() -> None:
    assert parts(by_jump(NOW + 2 * HOUR, NOW, at_end=False)) == ([1], [0], [])


def test_at_the_end_of_input_a_lone_jump_is_not_believed_but_a_lone_beginning_is() -> None:
    assert parts(by_jump(NOW + 2 * HOUR, NOW + 2 * HOUR)) == ([], [0, 1], [])
    assert parts(by_jump(NOW, NOW, maximum_us=NO_TIME)) == ([0, 1], [], [])
    assert parts(by_jump(NOW + 2 * HOUR, NOW, maximum_us=NO_TIME)) == ([1], [0], [])


def test_a_sparse_history_is_believed() -> None:
    times = [NOW + hour * 2 * HOUR for hour in range(1, 3000)]
    assert len(by_jump(*times).rejected) == 2  # but for its last two, which have no witnesses
    assert len(by_jump(*times, at_end=False).waiting) == 2


# ---- late ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_us", "before_us", "late"),
    [
        (NOW, NOW + 10 * SECOND, False),  # its window's end is NOW + 10 s
        (NOW, NOW + 20 * SECOND - 1, False),
        (NOW, NOW + 20 * SECOND, True),
        (NOW + 10 * SECOND - 1, NOW + 20 * SECOND, True),
        (NOW + 10 * SECOND, NOW + 20 * SECOND, False),
        (NOW, NO_TIME, False),
        (-1, 10 * SECOND - 1, False),
        (-1, 10 * SECOND, True),
        (0, 10 * SECOND, False),
    ],
)
def test_late_is_when_the_window_closed_before_in_its_own_shard(
    time_us: int, before_us: int, late: bool
) -> None:
    # A later neighbour sends the column down the slower way, an equal one down the quick way.
    for other in (time_us, 4 * 10**18):
        found = late_rows(
            np.array([other, time_us]),
            np.array([NO_TIME if other == time_us else other, before_us]),
            10 * SECOND,
            10 * SECOND,
        )
        assert found.tolist() == [False, late]
