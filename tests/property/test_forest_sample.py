"""The sample of a tree is the one that Efraimidis and Spirakis describe, against plain A-Res."""

from __future__ import annotations

import numpy as np
import pytest

from operators.forest_kernels import SIZE
from operators.forest_trees import Trees

SAMPLE = 20
TREES = 2_000


def sampled(points: int, time_decay: float, seed: int = 7) -> np.ndarray:
    """Return which points (their numbers) each tree's sample holds, sorted: [trees, sample]."""
    trees = Trees(TREES, SAMPLE, 1, 1 / time_decay, np.zeros((2, 1)), seed)
    trees.run(np.arange(float(points)).reshape(-1, 1), learn=True)
    assert (trees.all[4][:, SIZE] == SAMPLE).all()
    found = np.take_along_axis(trees.all[2][:, :, 0], trees.samples[1].astype(np.int64), axis=1)
    return np.sort(found, axis=1)


def plain(points: int, time_decay: float, seed: int = 8) -> np.ndarray:
    """The same by algorithm A-Res: a key u ** (1 / weight) for every point, the greatest stay."""
    rng = np.random.default_rng(seed)
    weights = np.exp((np.arange(points) - points) / time_decay)
    keys = np.log(rng.random((TREES, points))) / weights
    return np.sort(np.argsort(keys, axis=1)[:, -SAMPLE:], axis=1)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Kolmogorov-Smirnov distance of two sets of numbers."""
    every = np.sort(np.concatenate([one, other]))
    below = [
        np.searchsorted(np.sort(each), every, side="right") / len(each) for each in (one, other)
    ]
    return float(np.abs(below[0] - below[1]).max())


@pytest.mark.parametrize("time_decay", [30, 100, 1e9])
@pytest.mark.parametrize("points", [SAMPLE + 1, 60, 400])
def test_samples_are_distributed_as_those_of_the_plain_algorithm(points: int, time_decay: float):
    ours, theirs = sampled(points, time_decay), plain(points, time_decay)

    # Independent draws would be apart by more than this once in 10,000: sqrt(ln(2e4) / n).
    bound = np.sqrt(np.log(2e4) / TREES)
    for place in (0, SAMPLE // 2, SAMPLE - 1):
        assert apart(ours[:, place], theirs[:, place]) < bound


def test_trees_are_independent():
    ours = sampled(400, 1e9)
    shared = [len(np.intersect1d(ours[t], ours[t + 1])) for t in range(0, TREES, 2)]

    # Two samples of 20 of 400 share one on average; shifted copies of one stream would share more.
    assert np.mean(shared) == pytest.approx(SAMPLE * SAMPLE / 400, abs=0.15)


def test_a_sample_keeps_forgetting_after_very_many_points():
    trees = Trees(200, SAMPLE, 1, 1 / 100, np.zeros((2, 1)), 3)
    trees.learnt = 10**11  # a thousand years of 3 points a second
    trees.run(np.arange(2_000.0).reshape(-1, 1), learn=True)
    newest = trees.all[2][:, :, 0].mean()

    fresh = Trees(200, SAMPLE, 1, 1 / 100, np.zeros((2, 1)), 4)
    fresh.run(np.arange(2_000.0).reshape(-1, 1), learn=True)
    assert newest == pytest.approx(fresh.all[2][:, :, 0].mean(), abs=10)
