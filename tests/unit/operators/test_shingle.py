"""Shingles hold the last points in order, whatever batches they came in."""

from __future__ import annotations

import numpy as np
import pytest

from operators.shingle import Shingle


def test_a_shingle_is_the_last_points_the_oldest_first():
    points = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])

    found = Shingle(2, 3).take(points)

    assert found.tolist() == [[1, 10, 2, 20, 3, 30], [2, 20, 3, 30, 4, 40]]


def test_a_size_of_1_leaves_points_as_they_are():
    points = np.arange(4.0).reshape(2, 2)

    assert Shingle(2, 1).take(points) is points


@pytest.mark.parametrize("size", [2, 5, 30])
@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_batches_give_the_same_shingles(size, step):
    points = np.arange(120.0).reshape(-1, 2)
    shingle = Shingle(2, size)

    found = [shingle.take(points[at : at + step]) for at in range(0, len(points), step)]

    assert (np.concatenate(found) == Shingle(2, size).take(points)).all()
    assert (shingle.tail == points[len(points) - size + 1 :]).all()


def test_points_that_arent_kept_are_forgotten():
    shingle = Shingle(1, 2)
    shingle.take(np.array([[1.0]]))

    assert shingle.take(np.array([[9.0], [10.0]]), keep=False).tolist() == [[1, 9], [9, 10]]
    assert shingle.take(np.array([[2.0]])).tolist() == [[1, 2]]
