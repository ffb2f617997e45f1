"""Many keys: each is found what it is found alone, and what is forgotten is determined."""

from __future__ import annotations

import numpy as np
import pytest

from errors import LayoutError
from operators.detector import Detector, DetectorConfig
from operators.forest import ForestConfig, seed_of
from operators.forest_pool import ForestPool
from operators.grade import GradeConfig

CONFIG = DetectorConfig(
    ForestConfig(2, number_of_trees=5, sub_sample_size=16), GradeConfig(decay=1_000, warm_up=200)
)
Rows = tuple[list[str], np.ndarray, np.ndarray]


def rows(count: int, keys: int, seed: int = 0) -> Rows:
    """Return keys, of which some are frequent, their times, nearly in order, and points."""
    rng = np.random.default_rng(seed)
    names = [f"key {int(key)}" for key in (keys * rng.random(count) ** 2)]
    times = np.arange(count) * 10 + rng.integers(-30, 30, count)
    return names, times, rng.normal(size=(count, 2))


def pool(max_keys: int = 100) -> ForestPool:
    return ForestPool(CONFIG, "shop", "sales", max_keys)


def take(one: ForestPool, given: Rows, step: int) -> list[np.ndarray]:
    keys, times, points = given
    found = [
        one.take(keys[at : at + step], times[at : at + step], points[at : at + step], explain=True)
        for at in range(0, len(keys), step)
    ]
    return [
        np.concatenate([each.scores for each in found]),
        np.concatenate([each.grades for each in found]),
        np.concatenate([each.alarms for each in found]),
        np.concatenate([each.explanations.attributions for each in found]),
    ]


def test_each_key_is_found_what_a_detector_of_its_own_finds():
    keys, times, points = rows(2_000, 9)
    found = pool().take(keys, times, points)

    for key in set(keys):
        own = np.flatnonzero([each == key for each in keys])
        alone = Detector(CONFIG, seed_of("shop", "sales", key)).take(points[own], times[own])
        assert (found.scores[own] == alone.scores).all()
        assert (found.grades[own] == alone.grades).all()
        assert (found.alarms[own] == alone.alarms).all()


@pytest.mark.parametrize("max_keys", [1, 5, 100])
@pytest.mark.parametrize("step", [1, 7, 500])
def test_batches_dont_matter_however_few_keys_there_is_room_for(max_keys, step):
    given = rows(1_000, 12)
    whole, one = pool(max_keys), pool(max_keys)

    for found, wanted in zip(take(one, given, step), take(whole, given, 1_000), strict=True):
        assert (found == wanted).all()
    assert one.forgotten == whole.forgotten
    assert sorted(one._entries) == sorted(whole._entries)


def test_the_key_whose_newest_event_is_oldest_makes_room():
    one = pool(max_keys=2)
    point = np.zeros((1, 2))
    for key, time_us in (("a", 10), ("b", 20), ("a", 30), ("a", 5), ("c", 1), ("d", 2)):
        one.take([key], np.array([time_us]), point)

    # b makes room for c; then c, whose event is oldest, for d.
    assert sorted(one._entries) == ["a", "d"]
    assert one.forgotten == 2


def test_of_keys_of_the_same_time_the_least_makes_room():
    one = pool(max_keys=3)
    one.take(["b", "a", "c", "d"], np.zeros(4, np.int64), np.zeros((4, 2)))

    assert sorted(one._entries) == ["b", "c", "d"]


@pytest.mark.parametrize("max_keys", [4, 100])
def test_after_loading_all_is_found_as_before(max_keys):
    given = rows(1_500, 12)
    one, half = pool(max_keys), slice(0, 700)
    take(one, (given[0][half], given[1][half], given[2][half]), 700)
    state = one.dump()
    loaded = pool(max_keys)
    loaded.load(state)
    rest = (given[0][700:], given[1][700:], given[2][700:])

    assert loaded.dump() == state
    for found, wanted in zip(take(loaded, rest, 100), take(one, rest, 300), strict=True):
        assert (found == wanted).all()
    assert loaded.forgotten == one.forgotten


def test_a_dump_holds_what_came_after_the_last_one():
    keys, times, points = rows(300, 3)
    one, other = pool(), pool()
    for at in range(0, 300, 50):
        one.take(keys[at : at + 50], times[at : at + 50], points[at : at + 50])
        one.dump()
    other.take(keys, times, points)

    assert one.dump() == other.dump()


def test_a_smaller_pool_forgets_as_it_loads():
    one = pool()
    one.take(["a", "b", "c"], np.array([3, 1, 2]), np.zeros((3, 2)))
    smaller = pool(max_keys=2)
    smaller.load(one.dump())

    assert sorted(smaller._entries) == ["a", "c"]
    assert smaller.forgotten == 1


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 keys"):
        pool().take(["a", "b"], np.zeros(1, np.int64), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="n keys"):
        pool().take(["a"], np.zeros(1, np.int64), np.zeros((1, 3)))


def test_no_rows_are_nothing():
    found = pool().take([], np.empty(0, np.int64), np.empty((0, 2)), explain=True)

    assert found.scores.shape == (0,)
    assert found.explanations.above.shape == (0, 2)


def test_a_pool_has_room_for_a_key():
    with pytest.raises(ValueError, match="max_keys"):
        pool(max_keys=0)


def test_a_snapshot_that_isnt_whole_is_refused():
    one = pool()
    one.take(*rows(100, 3))
    state = one.dump()

    for spoilt in (b"", b"kwfp", state[: len(state) // 2], state[:-1], state + b"\0", state[:22]):
        with pytest.raises(LayoutError, match="can't be used"):
            pool().load(spoilt)
