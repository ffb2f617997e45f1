"""A forest as bytes: all that its further scores depend on, and nothing that follows from it.

Boxes, cuts and free rows follow from the points and the trees' shapes, so they aren't kept. Per
sampled point there remain its coordinates, its rank (32 bits), its leaf (8 or 16 bits) and, of the
tree's shape in preorder, two bits and the dimension of one cut. Points that 32-bit floats hold
exactly, as counts do, are kept as such. 100 trees of 256 points of one column: 343 kB, or 240 kB.

Little-endian. After the header: columns' scales, the shingle's last points, then either the early
points or the trees. Loading checks that the parts fit together; it does not authenticate them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiled import compiled
from operators.forest_kernels import (
    DIMENSION,
    FREE_LEAF,
    FREE_NODE,
    LEAF_PARENT,
    LEFT,
    MASS,
    NEXT,
    NONE,
    PARENT,
    RANDOM,
    RANKS_PER_UNIT,
    RIGHT,
    ROOT,
    SIZE,
)
from operators.state_header import StateHeader

if TYPE_CHECKING:
    from operators.forest import Forest, ForestConfig
    from operators.forest_trees import Trees

_HEADER = StateHeader("a forest", b"kwrf", 1, "HHHQHHQQQIII")
_PLANTED, _SCALED, _SINGLE, _MASSES = 1, 2, 4, 8
Array = Any  # numba infers types from the arguments of the first call


def dump(forest: Forest) -> bytes:
    """Return a forest's state."""
    trees, config = forest._trees, forest.config
    flags = (_PLANTED if trees else 0) | (_SCALED if forest._scales is not None else 0)
    parts = [forest._early, forest._shingle.tail]
    if forest._scales is not None:
        parts.insert(0, forest._scales)
    counts = (len(forest._early), len(forest._shingle.tail), 0)
    learnt = 0
    if trees:
        more, leaves, packed = _of_trees(trees)
        parts += packed
        flags |= more
        counts = (0, counts[1], leaves)
        learnt = trees.learnt
    header = _HEADER.pack(
        config.columns,
        config.number_of_trees,
        config.sub_sample_size,
        config.time_decay,
        config.shingle_size,
        flags,
        forest.seed,
        forest.seen,
        learnt,
        *counts,
    )
    return b"".join([header, *(np.ascontiguousarray(part).tobytes() for part in parts)])


def load(config: ForestConfig, state: bytes) -> Forest:
    """Return the forest that a state was dumped of."""
    from operators.forest import Forest

    reader = _Reader(state)
    *found, flags, seed, seen, learnt, early, tail, leaves = reader.header()
    names = ("columns", "number_of_trees", "sub_sample_size", "time_decay", "shingle_size")
    for name, value in zip(names, found, strict=True):
        if value != getattr(config, name):
            _HEADER.refuse(f"{name} was {value} and is {getattr(config, name)} now")
    forest = Forest(config, seed)
    forest.seen = seen
    if flags & _SCALED:
        forest._scales = reader.take(np.float64, config.columns).copy()
    forest._early = reader.take(np.float64, early, config.columns).copy()
    forest._shingle.tail = reader.take(np.float64, tail, config.columns).copy()
    if flags & _PLANTED:
        forest._trees = forest._plant()
        forest._trees.learnt = learnt
        _fill(forest._trees, reader, flags, leaves)
    reader.finish()
    return forest


def _of_trees(trees: Trees) -> tuple[int, int, list[npt.NDArray[Any]]]:
    """Return flags, the number of leaves, and the parts that keep the trees."""
    _, links, points, counts, tree = trees.all
    ranks, places = trees.samples
    sizes = tree[:, SIZE]
    most = int(sizes.sum())
    is_inner = np.empty(2 * most, np.uint8)
    cuts = np.empty(most, np.int16)
    order = np.empty((most, points.shape[2]))
    masses = np.empty(most, np.int16)
    leaves_of = np.empty(len(tree), np.int16)
    clocks = np.empty(most, np.int32)
    places_of = np.empty(most, np.int16)
    nodes, leaves = _pack(
        links, points, counts, ranks, places, tree,
        is_inner, cuts, order, masses, leaves_of, clocks, places_of,
    )  # fmt: skip
    bases = np.where(sizes > 0, ranks[:, 0], 0.0)
    flags = 0
    order = order[:leaves]
    with np.errstate(over="ignore"):
        single = order.astype(np.float32)
    if (single == order).all():
        flags |= _SINGLE
    parts: list[npt.NDArray[Any]] = [
        sizes.astype(np.int16),
        leaves_of,
        tree[:, NEXT],
        tree[:, RANDOM],
        bases,
        np.packbits(is_inner[:nodes]),
        single if flags & _SINGLE else order,
        clocks,
        places_of.astype(_small(ranks.shape[1])),
    ]
    if points.shape[2] > 1:
        parts.append(cuts[: nodes - leaves].astype(_small(points.shape[2])))
    if leaves < most:
        flags |= _MASSES
        parts.append((masses[:leaves] - 1).astype(_small(ranks.shape[1])))
    return flags, leaves, parts


def _fill(trees: Trees, reader: _Reader, flags: int, leaves: int) -> None:
    """Fill empty trees from the parts that `_of_trees` returned."""
    _, links, points, counts, tree = trees.all
    ranks, places = trees.samples
    count, dimensions = len(tree), points.shape[2]
    sizes = reader.take(np.int16, count)
    leaves_of = reader.take(np.int16, count).astype(np.int64)
    most = int(sizes.sum())
    inner_of = np.maximum(leaves_of - 1, 0)
    nodes = int(leaves_of.sum() + inner_of.sum())
    fit = (sizes >= leaves_of) & (sizes <= ranks.shape[1]) & ((sizes > 0) == (leaves_of > 0))
    if not fit.all() or leaves_of.sum() != leaves:
        _HEADER.refuse("its trees don't have the sizes that it says")
    tree[:, SIZE] = sizes
    tree[:, NEXT] = reader.take(np.int64, count)
    tree[:, RANDOM] = reader.take(np.int64, count)
    bases = reader.take(np.float64, count).copy()
    is_inner = np.unpackbits(reader.take(np.uint8, (nodes + 7) // 8), count=nodes)
    number = np.float32 if flags & _SINGLE else np.float64
    order = reader.take(number, leaves, dimensions).astype(np.float64)
    clocks = reader.take(np.int32, most).copy()
    places_of = reader.take(_small(ranks.shape[1]), most).astype(np.int16)
    cuts = np.zeros(nodes - leaves, np.int16)
    if dimensions > 1:
        cuts = reader.take(_small(dimensions), nodes - leaves).astype(np.int16)
    masses = np.ones(leaves, np.int16)
    if flags & _MASSES:
        masses = reader.take(_small(ranks.shape[1]), leaves).astype(np.int16) + np.int16(1)
    whole = _unpack(
        links, points, counts, ranks, places, tree,
        is_inner, cuts, order, masses, leaves_of, clocks, places_of, bases,
    )  # fmt: skip
    if not whole:
        _HEADER.refuse("its trees don't have the shapes that it says")
    trees.fit(inner_of)


def _small(most: int) -> type[np.uint8] | type[np.int16]:
    """Return the smallest type for numbers below `most`."""
    return np.uint8 if most <= 256 else np.int16


class _Reader:
    """Takes arrays off the front of a state."""

    def __init__(self, state: bytes) -> None:
        self._state = state
        self._at = 0

    def header(self) -> tuple[Any, ...]:
        self._at = _HEADER.size
        return _HEADER.unpack(self._state)

    def take(self, kind: type[np.generic], *shape: int) -> Any:
        """Return a view, which can't be written to and may lie at an odd address."""
        count = int(np.prod(shape))
        if self._at + count * np.dtype(kind).itemsize > len(self._state):
            _HEADER.refuse("it is cut short")
        found = np.frombuffer(self._state, kind, count, self._at)
        self._at += found.nbytes
        return found.reshape(shape)

    def finish(self) -> None:
        if self._at != len(self._state):
            _HEADER.refuse("it is longer than it says")


# ---- compiled -----------------------------------------------------------------------------------


@compiled
def _pack(
    links: Array, points: Array, counts: Array, ranks: Array, places: Array, tree: Array,
    is_inner: Array, cuts: Array, order: Array, masses: Array, leaves_of: Array, clocks: Array,
    places_of: Array,
) -> Any:  # fmt: skip
    """Write trees in preorder, their leaves from left to right; return how many nodes and leaves.

    The first line is of the trees, the others take: of each node whether it is an inner one; of
    those the dimension of the cut; of leaves the points and masses; of trees the number of leaves;
    of ranks how far they lie below the tree's greatest in steps of 2^-20, and which leaf they are
    of.
    """
    waiting = np.empty(ranks.shape[1] + 1, np.int64)
    numbers = np.empty(ranks.shape[1], np.int64)
    nodes, leaves, samples = 0, 0, 0
    dimensions = points.shape[2]
    for t in range(len(tree)):
        begun = leaves
        depth = 0
        if tree[t, ROOT] != NONE:
            waiting[0] = tree[t, ROOT]
            depth = 1
        while depth:
            depth -= 1
            node = waiting[depth]
            is_inner[nodes] = node >= 0
            if node >= 0:
                cuts[nodes - leaves] = links[t, node, DIMENSION]
                waiting[depth] = links[t, node, RIGHT]
                waiting[depth + 1] = links[t, node, LEFT]
                depth += 2
            else:
                for j in range(dimensions):
                    order[leaves, j] = points[t, ~node, j]
                masses[leaves] = counts[t, ~node, MASS]
                numbers[~node] = leaves - begun
                leaves += 1
            nodes += 1
        leaves_of[t] = leaves - begun
        for i in range(tree[t, SIZE]):
            clocks[samples] = np.int32((ranks[t, 0] - ranks[t, i]) * RANKS_PER_UNIT)
            places_of[samples] = numbers[places[t, i]]
            samples += 1
    return nodes, leaves


@compiled
def _unpack(
    links: Array, points: Array, counts: Array, ranks: Array, places: Array, tree: Array,
    is_inner: Array, cuts: Array, order: Array, masses: Array, leaves_of: Array, clocks: Array,
    places_of: Array, bases: Array,
) -> Any:  # fmt: skip
    """Put trees together from what `_pack` wrote; false if it doesn't make trees."""
    waiting = np.empty(ranks.shape[1], np.int64)  # inner nodes that lack their right child
    at, leaves, samples = 0, 0, 0
    dimensions = points.shape[2]
    for t in range(len(tree)):
        inner, outer, sampled, depth = 0, 0, 0, 0
        parent, side = NONE, LEFT
        more = leaves_of[t] > 0
        while more:
            if at == len(is_inner):
                return False
            node = inner if is_inner[at] else ~outer
            at += 1
            if parent == NONE:
                tree[t, ROOT] = node
            else:
                links[t, parent, side] = node
            if node >= 0:
                dimension = cuts[at - leaves - 1]
                if inner == leaves_of[t] - 1 or not 0 <= dimension < points.shape[2]:
                    return False
                links[t, node, DIMENSION] = dimension
                links[t, node, PARENT] = parent
                inner += 1
                waiting[depth] = node
                depth += 1
                parent, side = node, LEFT
            else:
                for j in range(dimensions):
                    points[t, outer, j] = order[leaves, j]
                counts[t, outer, MASS] = masses[leaves]
                counts[t, outer, LEAF_PARENT] = parent
                sampled += masses[leaves]
                outer += 1
                leaves += 1
                more = depth > 0
                depth -= 1
                parent, side = waiting[depth], RIGHT
        if outer != leaves_of[t] or sampled != tree[t, SIZE]:
            return False
        tree[t, FREE_NODE] = inner if inner < links.shape[1] else NONE
        tree[t, FREE_LEAF] = outer if outer < counts.shape[1] else NONE
        for i in range(tree[t, SIZE]):
            if not 0 <= places_of[samples] < outer:
                return False
            ranks[t, i] = bases[t] - clocks[samples] / RANKS_PER_UNIT
            places[t, i] = places_of[samples]
            samples += 1
    return at == len(is_inner)
