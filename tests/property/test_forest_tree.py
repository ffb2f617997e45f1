"""A tree of the forest keeps its invariants through every insert and delete, and its snapshot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import forest_kernels as kernels
from operators.forest import Forest, ForestConfig
from operators.forest_kernels import (
    CUT,
    DIMENSION,
    FREE_LEAF,
    FREE_NODE,
    LEAF_PARENT,
    LEFT,
    LOWER,
    MASS,
    NONE,
    PARENT,
    RANGES,
    RIGHT,
    ROOT,
    SIZE,
)
from operators.forest_trees import Trees
from tests.effort import examples


class PlainTree:
    """One tree, operated by hand, beside a plain list of what it must hold."""

    def __init__(self, leaves: int, dimensions: int, seed: int) -> None:
        near = np.zeros((2, dimensions))
        self.trees = Trees(1, leaves, dimensions, 1e-3, near, seed)
        self.rows = tuple(array[0] for array in self.trees.all)
        self.held: list[tuple[int, tuple[float, ...]]] = []

    def insert(self, point: tuple[float, ...]) -> None:
        leaf = kernels.insert(np.array(point), self.rows)
        self.held.append((leaf, point))
        self.rows[4][SIZE] += 1

    def remove(self, index: int) -> None:
        leaf, _ = self.held.pop(index % len(self.held))
        kernels.remove(leaf, self.rows)
        self.rows[4][SIZE] -= 1


def check(rows, held: list[tuple[int, tuple[float, ...]]]) -> None:
    """Assert every invariant of a tree that must hold these (leaf, point)s."""
    boxes, links, points, counts, tree = rows
    dimensions = points.shape[1]
    inner, leaves = set(), {}

    def walk(node: int, parent: int):
        if node < 0:
            assert counts[~node, LEAF_PARENT] == parent
            leaves[~node] = int(counts[~node, MASS])
            return points[~node], points[~node]
        assert links[node, PARENT] == parent
        inner.add(int(node))
        left_low, left_high = walk(int(links[node, LEFT]), node)
        right_low, right_high = walk(int(links[node, RIGHT]), node)
        low, high = np.minimum(left_low, right_low), np.maximum(left_high, right_high)
        assert (boxes[node, LOWER : LOWER + dimensions] == low).all()
        assert (boxes[node, LOWER + dimensions :] == high).all()
        assert boxes[node, RANGES] == pytest.approx((high - low).sum())
        j = links[node, DIMENSION]
        assert left_high[j] <= boxes[node, CUT] < right_low[j]
        return low, high

    if tree[ROOT] == NONE:
        assert not held
    else:
        walk(int(tree[ROOT]), NONE)
    wanted: dict[int, int] = {}
    for leaf, point in held:
        assert tuple(points[leaf]) == point
        wanted[leaf] = wanted.get(leaf, 0) + 1
    assert leaves == wanted, "the leaves are the sample"
    assert len({tuple(points[leaf]) for leaf in leaves}) == len(leaves), "a leaf for each point"
    assert len(inner) == max(len(leaves) - 1, 0)
    assert sorted(inner | chain(tree[FREE_NODE], links, PARENT)) == list(range(len(links)))
    assert sorted(set(leaves) | chain(tree[FREE_LEAF], counts, LEAF_PARENT)) == list(
        range(len(counts))
    )


def chain(first: int, array, column: int) -> set[int]:
    """Return the free rows that a chain holds; it must end."""
    found: list[int] = []
    while first != NONE:
        assert len(found) < len(array)
        found.append(int(first))
        first = array[first, column]
    assert len(set(found)) == len(found)
    return set(found)


VALUES = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e100, 1e100, allow_subnormal=True).map(lambda value: value + 0.0),
    st.integers(0, 5).map(lambda steps: 1e15 + steps * 0.125),
)


@given(
    data=st.data(),
    dimensions=st.integers(1, 4),
    leaves=st.integers(2, 12),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=examples(150), deadline=None)
def test_a_tree_is_sound_after_every_insert_and_delete(data, dimensions, leaves, seed):
    tree = PlainTree(leaves, dimensions, seed)
    for _ in range(data.draw(st.integers(1, 40))):
        full = len(tree.held) == leaves
        if tree.held and (full or data.draw(st.booleans())):
            tree.remove(data.draw(st.integers(0, leaves)))
        else:
            tree.insert(data.draw(st.tuples(*[VALUES] * dimensions)))
        check(tree.rows, tree.held)


@given(
    values=st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=120),
    seed=st.integers(0, 2**64 - 1),
    decay=st.integers(11, 1_000),
    cut=st.integers(0, 120),
)
@settings(max_examples=examples(60), deadline=None)
def test_every_tree_of_a_forest_is_sound_also_when_loaded(values, seed, decay, cut):
    config = ForestConfig(2, number_of_trees=3, sub_sample_size=10, time_decay=decay)
    points = np.array(values)
    forest = Forest(config, seed)
    forest.score(points[:cut])
    forest = Forest.load(config, forest.dump())
    forest.score(points[cut:])

    if len(points) < 10:
        assert forest._trees is None
        return
    ranks, places = forest._trees.samples
    for t in range(3):
        rows = tuple(array[t] for array in forest._trees.all)
        size = int(rows[4][SIZE])
        assert size == 10
        assert (np.diff(ranks[t, :size]) <= 0).all()
        check(rows, [(int(leaf), tuple(rows[2][leaf])) for leaf in places[t, :size]])
        known = {tuple(point) for point in points + 0.0}
        assert {tuple(rows[2][leaf]) for leaf in places[t, :size]} <= known
