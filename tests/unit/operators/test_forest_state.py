"""A forest's snapshot: exact, small, and refused where it doesn't fit."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from errors import LayoutError
from operators import forest_kernels, forest_state
from operators.forest import Forest, ForestConfig


def normal(points: int, columns: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(points, columns))


def small(columns: int = 1, **other) -> ForestConfig:
    return ForestConfig(columns, **{"number_of_trees": 20, "sub_sample_size": 64, **other})


def test_after_loading_10_000_further_scores_are_equal_bit_for_bit():
    config = ForestConfig(2, number_of_trees=50)
    points = np.concatenate([normal(6_000, 2), normal(6_000, 2, seed=1).round(1)])
    forest = Forest(config, 1)
    forest.score(points[:2_000])
    loaded = Forest.load(config, forest.dump())

    assert (loaded.score(points[2_000:]) == forest.score(points[2_000:])).all()
    assert loaded.dump() == forest.dump()


@pytest.mark.parametrize(
    "config",
    [
        small(),
        small(3, scales="spread"),
        small(3, scales=(1.0, 2.0, 3.0)),
        small(2, shingle_size=30),
        small(sub_sample_size=1_000, number_of_trees=2),
        small(number_of_trees=1, sub_sample_size=10),
        small(300, number_of_trees=2),
    ],
)
@pytest.mark.parametrize("before", [0, 1, 9, 63, 64, 65, 92, 94, 1_200])
def test_a_forest_loads_at_any_age(config, before):
    points = normal(before + 300, config.columns)
    forest = Forest(config, 2**64 - 1)
    forest.score(points[:before])
    loaded = Forest.load(config, forest.dump())

    assert loaded.dump() == forest.dump()
    assert loaded.seen == forest.seen == before
    assert loaded.seed == forest.seed
    further = forest.explain(points[before:])
    again = loaded.explain(points[before:])
    assert (again.scores == further.scores).all()
    assert (again.above == further.above).all()
    assert loaded.dump() == forest.dump()


def test_points_that_come_again_and_again_are_kept_with_their_number():
    config = small()
    points = np.random.default_rng(0).integers(0, 5, size=(400, 1)).astype(float)
    forest = Forest(config, 1)
    forest.score(points[:200])
    loaded = Forest.load(config, forest.dump())

    assert (loaded.score(points[200:]) == forest.score(points[200:])).all()


def test_a_snapshot_is_small():
    config = ForestConfig(1)
    forest = Forest(config, 1)
    forest.score(normal(3_000, 1))
    counts = Forest(config, 1)
    counts.score((normal(3_000, 1) * 1e5).round())

    assert len(forest.dump()) <= 400_000
    assert len(counts.dump()) <= 300_000


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("columns", {"columns": 3}),
        ("number_of_trees", {"number_of_trees": 21}),
        ("sub_sample_size", {"sub_sample_size": 65}),
        ("time_decay", {"time_decay": 99}),
        ("shingle_size", {"shingle_size": 2}),
    ],
)
@pytest.mark.parametrize("points", [5, 100])
def test_a_forest_of_other_parameters_is_refused_by_name(name, other, points):
    forest = Forest(small(2), 1)
    forest.score(normal(points, 2))
    config = small(**{"columns": 2, **other})

    with pytest.raises(LayoutError, match=name):
        Forest.load(config, forest.dump())


def test_another_version_is_refused_by_its_number():
    state = bytearray(Forest(small(), 1).dump())
    state[4:6] = struct.pack("<H", 7)

    with pytest.raises(LayoutError, match="version 7"):
        Forest.load(small(), bytes(state))


@pytest.mark.parametrize("points", [0, 30, 300])
def test_a_snapshot_that_is_cut_short_or_too_long_is_refused_wherever_it_is_cut(points):
    config = small(2)
    forest = Forest(config, 1)
    forest.score(normal(points, 2))
    state = forest.dump()

    for length in {0, 3, 5, *range(6, len(state), 97), len(state) - 1}:
        with pytest.raises(LayoutError, match="can't be used"):
            Forest.load(config, state[:length])
    with pytest.raises(LayoutError, match="can't be used"):
        Forest.load(config, state + b"\0")


def test_a_damaged_snapshot_is_refused_or_harmless_but_never_breaks_a_process():
    config = small(3, number_of_trees=3)
    forest = Forest(config, 1)
    forest.score(normal(300, 3).round(1))
    state = forest.dump()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        spoilt = bytearray(state)
        spoilt[rng.integers(6, len(state))] ^= 1 << int(rng.integers(8))
        try:
            loaded = Forest.load(config, bytes(spoilt))
        except LayoutError:
            refused += 1
            continue
        loaded.score(normal(100, 3))

    assert refused > 5


def test_nothing_is_compiled_twice_whatever_the_points_and_snapshots_are_like():
    for config in (small(), small(2, shingle_size=3), small(300, number_of_trees=2)):
        points = normal(300, config.columns)
        forest = Forest(config, 1)
        forest.score(np.asfortranarray(points[:90]))
        for row in range(90, 100):
            forest.score(points[row : row + 1])
        points.flags.writeable = False
        forest.explain(points[100::2])
        forest = Forest.load(config, b"".join([forest.dump()]))
        forest.score(points[:200].astype(np.float32), learn=False)
        Forest.load(config, forest.dump()).score(points)

    modules = (vars(forest_kernels), vars(forest_state))
    compiled = {
        name: len(value.signatures)
        for names in modules
        for name, value in names.items()
        if name in {"run", "fit", "clear", "_pack", "_unpack"}
    }
    assert compiled == dict.fromkeys(("run", "fit", "clear", "_pack", "_unpack"), 1)
