"""The compiled loops of the random cut forest: one tree at a time, over a batch of points.

A forest's trees lie in flat arrays, one row a tree; everything here takes one tree's rows:

    boxes   float64 [leaves - 1, 2 + 2 * dimensions]   inner nodes: CUT, RANGES, then the lower and
                                                       the upper edges of the bounding box
    links   int16   [leaves - 1, 4]                    inner nodes: LEFT, RIGHT, PARENT, DIMENSION
    points  float64 [leaves, dimensions]               the leaves' points
    counts  int16   [leaves, 2]                        leaves: MASS (sampled copies), PARENT
    ranks   float64 [leaves]                           the sample's ranks, greatest first
    places  int16   [leaves]                           the leaf of each rank
    tree    int64   [8]                                ROOT, SIZE ... (below)

A node is named by one number: an inner node by its row, a leaf by `~row`. Free rows are chained
through their PARENT. Each function leaves the invariants that tests/property/test_forest_tree.py
checks after every insert and delete.

**The sample** (Efraimidis & Spirakis 2006, algorithm A-ExpJ). Point i has the weight
exp(i / time_decay) and an exponential clock of that rate; the sample is the points with the
smallest clocks. Ranks are logarithms of clocks, minus i / time_decay: they keep their resolution
however long the stream is. While the sample is full, the next point that enters it is drawn ahead,
so that a point which doesn't enter costs one comparison. Ranks are multiples of 2^-20, so that a
snapshot keeps them in 32 bits.

**The cuts** (Guha et al. 2016). Given which points are left and right of a cut, its position is
uniform in the gap between them, and independent of everything else. So it isn't state: `_refit`
draws it from a hash of the gap's edges whenever the gap changes, and a snapshot holds none.

Arithmetic is in a fixed order (no `fastmath`), so that a result depends neither on the batch nor
on the width of a processor's vectors. All that is called stands in this file, because numba's cache
looks only at the file of the function that is called from outside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from compiled import compiled, inlined

Array = Any  # numba infers types from the arguments of the first call
Rows = tuple[Array, Array, Array, Array, Array]  # boxes, links, points, counts, tree
Sample = tuple[Array, Array]  # ranks, places

CUT, RANGES, LOWER = 0, 1, 2
LEFT, RIGHT, PARENT, DIMENSION = 0, 1, 2, 3
MASS, LEAF_PARENT = 0, 1
ROOT, SIZE, FREE_LEAF, FREE_NODE, NEXT, RANDOM, SALT, FLAT = 0, 1, 2, 3, 4, 5, 6, 7
"""Columns of `tree`: the root, how many points the sample has, the first free rows, the number of
the next point that enters a full sample, the generator's state, what cuts are hashed with, and
whether some column is constant but for what counts as near."""

NONE = -32768
"""No node: of an empty tree's root, of the root's parent, at the end of a chain of free rows."""
NEVER = 2**62
RANKS_PER_UNIT = 1048576.0

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1, _MULTIPLY_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_11, _27, _30, _31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_LINE_BYTES = 64  # of the processor's caches; where lines are longer some are asked for twice
_FETCH_FROM = 4  # points; for fewer it would be more than they need
_FETCHES = 16  # how many points' work the fetching of a tree is spread over
_UNIT = 1.0 / 9007199254740992.0  # 2^-53


def _bits_of(_context: Any, value: Any) -> Any:  # numba's own types, which it doesn't publish
    """Return the 64 bits of a float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return (types.uint64(types.float64), generate) if value == types.float64 else None


_bits: Any = intrinsic(_bits_of)


def _prefetch_at(_context: Any, array: Any, offset_bytes: Any) -> Any:
    """Ask for the line of the caches that lies so many bytes behind an array's first number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        offset = context.cast(builder, arguments[1], offset_bytes, types.int64)
        address = builder.add(builder.ptrtoint(first, _INT64), offset)
        place = builder.inttoptr(address, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, _INT32, _INT32, _INT32])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", (place.type,), kind)
        builder.call(prefetch, [place, _INT32(0), _INT32(3), _INT32(1)])  # reads; stays; data
        return context.get_dummy_value()

    return types.void(array, offset_bytes), generate


_prefetch: Any = intrinsic(_prefetch_at)


@inlined
def _mix(x: Any) -> Any:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> _30)) * _MULTIPLY_1
    x = (x ^ (x >> _27)) * _MULTIPLY_2
    return x ^ (x >> _31)


@compiled
def _uniform(tree: Array) -> float:
    """Draw from the open interval (0, 1)."""
    state = np.uint64(tree[RANDOM]) + _GOLDEN
    tree[RANDOM] = np.int64(state)
    return (np.float64(_mix(state) >> _11) + 0.5) * _UNIT


# ---- boxes and cuts -----------------------------------------------------------------------------


@inlined
def _refit(node: int, rows: Rows) -> bool:
    """Fit a node's box and cut to its children; tell whether the box changed."""
    boxes, links, points, _, tree = rows
    dimensions = points.shape[1]
    upper = LOWER + dimensions
    left, right = links[node, LEFT], links[node, RIGHT]
    cut_in = links[node, DIMENSION]
    below = above = 0.0
    changed = False
    ranges = 0.0
    for j in range(dimensions):
        if left >= 0:
            low, high = boxes[left, LOWER + j], boxes[left, upper + j]
        else:
            low = high = points[~left, j]
        if right >= 0:
            low_right, high_right = boxes[right, LOWER + j], boxes[right, upper + j]
        else:
            low_right = high_right = points[~right, j]
        if j == cut_in:
            below, above = high, low_right
        low, high = min(low, low_right), max(high, high_right)
        if low != boxes[node, LOWER + j] or high != boxes[node, upper + j]:
            boxes[node, LOWER + j] = low
            boxes[node, upper + j] = high
            changed = True
        ranges += high - low
    boxes[node, RANGES] = ranges
    j = cut_in
    edges = _bits(below) * _GOLDEN + _bits(above) * _MULTIPLY_1
    hashed = _mix(edges + np.uint64(tree[SALT]) + np.uint64(j) * _MULTIPLY_2)
    cut = below + (above - below) * ((np.float64(hashed >> _11) + 0.5) * _UNIT)
    # Between neighbouring numbers the product may be rounded up to the edge itself.
    boxes[node, CUT] = cut if cut < above else below
    return changed


@compiled
def _climb(node: int, rows: Rows) -> None:
    """Refit a node and those above it, as far as boxes change."""
    links = rows[1]
    while node != NONE and _refit(node, rows):
        node = links[node, PARENT]


@compiled
def _replace(parent: int, old: int, new: int, rows: Rows) -> None:
    """Hang a node where another hung."""
    _, links, _, counts, tree = rows
    if new >= 0:
        links[new, PARENT] = parent
    else:
        counts[~new, LEAF_PARENT] = parent
    if parent == NONE:
        tree[ROOT] = new
    elif links[parent, LEFT] == old:
        links[parent, LEFT] = new
    else:
        links[parent, RIGHT] = new


@compiled
def clear(trees: Rows) -> None:
    """Make all trees empty, as of `run`: all rows are free."""
    _, links, _, counts, tree = trees
    for t in range(len(tree)):
        for row in range(links.shape[1]):
            links[t, row, PARENT] = row + 1
        links[t, -1, PARENT] = NONE
        for row in range(counts.shape[1]):
            counts[t, row, MASS] = 0
            counts[t, row, LEAF_PARENT] = row + 1
        counts[t, -1, LEAF_PARENT] = NONE
        tree[t, ROOT] = NONE
        tree[t, SIZE] = tree[t, FREE_NODE] = tree[t, FREE_LEAF] = tree[t, FLAT] = 0
        tree[t, NEXT] = NEVER


@compiled
def insert(point: Array, rows: Rows) -> Any:
    """Insert a point and return its leaf's row.

    At each node from the root on, a random cut of the box that would hold the point too either
    separates the point from the node's, or is passed over.
    """
    boxes, links, points, counts, tree = rows
    dimensions = points.shape[1]
    upper = LOWER + dimensions
    node = tree[ROOT]
    random = 0.0
    while node != NONE:
        outside = 0.0
        if node >= 0:
            box = boxes[node]
            for j in range(dimensions):
                outside += max(box[LOWER + j] - point[j], point[j] - box[upper + j], 0.0)
            random = _uniform(tree) * (outside + box[RANGES]) if outside > 0.0 else 0.0
            if outside > 0.0 and random < outside:
                break
            right = point[links[node, DIMENSION]] > box[CUT]
            node = links[node, RIGHT if right else LEFT]
        else:
            for j in range(dimensions):
                outside += abs(points[~node, j] - point[j])
            if outside == 0.0:
                counts[~node, MASS] += 1
                return ~node
            random = _uniform(tree) * outside
            break
    leaf = tree[FREE_LEAF]
    tree[FREE_LEAF] = counts[leaf, LEAF_PARENT]
    points[leaf] = point
    counts[leaf, MASS] = 1
    if node == NONE:
        tree[ROOT] = ~leaf
        counts[leaf, LEAF_PARENT] = NONE
        return leaf
    # The cut's dimension: the one in which the random length falls.
    dimension, below = 0, False
    for j in range(dimensions):
        low = boxes[node, LOWER + j] if node >= 0 else points[~node, j]
        high = boxes[node, upper + j] if node >= 0 else points[~node, j]
        gap = max(low - point[j], point[j] - high, 0.0)
        if gap > 0.0:
            dimension, below = j, point[j] < low
            random -= gap
            if random < 0.0:
                break
    cutter = tree[FREE_NODE]
    tree[FREE_NODE] = links[cutter, PARENT]
    parent = links[node, PARENT] if node >= 0 else counts[~node, LEAF_PARENT]
    _replace(parent, node, cutter, rows)
    links[cutter, DIMENSION] = dimension
    links[cutter, LEFT] = ~leaf if below else node
    links[cutter, RIGHT] = node if below else ~leaf
    counts[leaf, LEAF_PARENT] = cutter
    if node >= 0:
        links[node, PARENT] = cutter
    else:
        counts[~node, LEAF_PARENT] = cutter
    _refit(cutter, rows)
    _climb(parent, rows)
    return leaf


@compiled
def remove(leaf: int, rows: Rows) -> None:
    """Take one sampled copy away from a leaf; with the last one the leaf goes."""
    _, links, _, counts, tree = rows
    counts[leaf, MASS] -= 1
    if counts[leaf, MASS] > 0:
        return
    parent = counts[leaf, LEAF_PARENT]
    counts[leaf, LEAF_PARENT] = tree[FREE_LEAF]
    tree[FREE_LEAF] = leaf
    if parent == NONE:
        tree[ROOT] = NONE
        return
    left, right = links[parent, LEFT], links[parent, RIGHT]
    grandparent = links[parent, PARENT]
    _replace(grandparent, parent, right if left == ~leaf else left, rows)
    links[parent, PARENT] = tree[FREE_NODE]
    tree[FREE_NODE] = parent
    _climb(grandparent, rows)


# ---- the sample ---------------------------------------------------------------------------------


@compiled
def update(
    number: int, point: Array, decay: float, near: Array, rows: Rows, sample: Sample
) -> None:
    """Take a point into the sample, in place of the one with the greatest rank if it is full."""
    tree = rows[4]
    ranks, places = sample
    size = tree[SIZE]
    now = number * decay
    if size < len(ranks):
        clock = -math.log(_uniform(tree))
    else:
        # It enters, so its clock is below the greatest: an exponential cut off there.
        bound = math.exp(ranks[0] + now)
        clock = -math.log1p(_uniform(tree) * math.expm1(-bound))
        remove(places[0], rows)
        size -= 1
        ranks[:size] = ranks[1:]
        places[:size] = places[1:]
    rank = np.rint((math.log(clock) - now) * RANKS_PER_UNIT) / RANKS_PER_UNIT
    leaf = insert(point, rows)
    place = size
    while place > 0 and ranks[place - 1] < rank:
        ranks[place] = ranks[place - 1]
        places[place] = places[place - 1]
        place -= 1
    ranks[place] = rank
    places[place] = leaf
    tree[SIZE] = size + 1
    if size + 1 == len(ranks):
        # How much weight may pass until the next one enters is exponential, too.
        weight = -math.log(_uniform(tree)) / math.exp(ranks[0] + now)
        skipped = np.ceil(math.log1p(weight * -math.expm1(-decay)) / decay)
        tree[NEXT] = number + np.int64(max(min(skipped, 1e15), 1.0))
    find_flat(near, rows)


@compiled
def find_flat(near: Array, rows: Rows) -> None:
    """Note whether the sample is constant in some column, but for what counts as near."""
    boxes, _, points, _, tree = rows
    dimensions = points.shape[1]
    root = tree[ROOT]
    tree[FLAT] = 0
    if root == NONE:
        return
    for j in range(dimensions):
        low = boxes[root, LOWER + j] if root >= 0 else points[~root, j]
        high = boxes[root, LOWER + dimensions + j] if root >= 0 else points[~root, j]
        if high - low <= max(near[0, j], near[1, j] * max(abs(low), abs(high))):
            tree[FLAT] = 1
            return


@compiled
def _hold_near(point: Array, near: Array, rows: Rows, held: Array) -> None:
    """Move a point's values into the sample's range where range and way are next to nothing."""
    boxes, _, points, _, tree = rows
    dimensions = points.shape[1]
    root = tree[ROOT]
    for j in range(dimensions):
        low = boxes[root, LOWER + j] if root >= 0 else points[~root, j]
        high = boxes[root, LOWER + dimensions + j] if root >= 0 else points[~root, j]
        held[j] = point[j]
        tolerance = max(near[0, j], near[1, j] * max(abs(low), abs(high)))
        outside = max(low - point[j], point[j] - high, 0.0)
        if high - low <= tolerance and outside <= tolerance:
            held[j] = min(max(point[j], low), high)


# ---- scores -------------------------------------------------------------------------------------


@inlined
def _score(point: Array, rows: Rows) -> Any:
    """Score a point against a tree.

    The expectation, over the cuts that would separate it on its way down, of 1 / (depth + 1); less
    at a leaf that equals it.
    """
    boxes, links, points, counts, tree = rows
    dimensions = points.shape[1]
    upper = LOWER + dimensions
    node = tree[ROOT]
    stays, score, depth = 1.0, 0.0, 0.0
    while node >= 0:
        box = boxes[node]
        even = odd = 0.0
        for j in range(0, dimensions - 1, 2):
            even += max(box[LOWER + j] - point[j], point[j] - box[upper + j], 0.0)
            odd += max(box[LOWER + j + 1] - point[j + 1], point[j + 1] - box[upper + j + 1], 0.0)
        if dimensions & 1:
            j = dimensions - 1
            even += max(box[LOWER + j] - point[j], point[j] - box[upper + j], 0.0)
        outside = even + odd
        depth += 1.0
        if outside > 0.0:
            cut = outside / (outside + box[RANGES])
            score += stays * cut / depth
            stays *= 1.0 - cut
        node = links[node, int(point[links[node, DIMENSION]] > box[CUT])]
    for j in range(dimensions):
        if points[~node, j] != point[j]:
            return score + stays / (depth + 1.0)
    mass = np.float64(counts[~node, MASS])
    damping = 1.0 - mass / (2.0 * tree[SIZE])
    return score + stays * damping / (depth + math.log2(1.0 + mass))


@compiled
def _explain(point: Array, scale: float, rows: Rows, above: Array, below: Array) -> None:
    """Add to each dimension its part of a point's score, times `scale`.

    To `above` where the point lies above what it is compared with, to `below` where it lies below.
    """
    boxes, links, points, counts, tree = rows
    dimensions = points.shape[1]
    upper = LOWER + dimensions
    node = tree[ROOT]
    stays, depth = 1.0, 0.0
    while node >= 0:
        box = boxes[node]
        outside = 0.0
        for j in range(dimensions):
            outside += max(box[LOWER + j] - point[j], point[j] - box[upper + j], 0.0)
        depth += 1.0
        if outside > 0.0:
            total = outside + box[RANGES]
            part = scale * stays / depth
            for j in range(dimensions):
                above[j] += part * (max(point[j] - box[upper + j], 0.0) / total)
                below[j] += part * (max(box[LOWER + j] - point[j], 0.0) / total)
            stays *= 1.0 - outside / total
        node = links[node, int(point[links[node, DIMENSION]] > box[CUT])]
    outside = 0.0
    for j in range(dimensions):
        outside += abs(points[~node, j] - point[j])
    if outside > 0.0:
        part = scale * stays / (depth + 1.0)
        for j in range(dimensions):
            above[j] += part * (max(point[j] - points[~node, j], 0.0) / outside)
            below[j] += part * (max(points[~node, j] - point[j], 0.0) / outside)
        return
    # A point that was met before lies nowhere: an equal part to each.
    mass = np.float64(counts[~node, MASS])
    damping = 1.0 - mass / (2.0 * tree[SIZE])
    part = scale * stays * damping / (depth + math.log2(1.0 + mass)) / (2.0 * dimensions)
    for j in range(dimensions):
        above[j] += part
        below[j] += part


@inlined
def _fetch_part(array: Array, part: int, parts: int) -> None:
    """Ask for one of so many parts of an array."""
    lines = (array.size * array.itemsize + _LINE_BYTES - 1) // _LINE_BYTES
    for line in range(lines * part // parts, lines * (part + 1) // parts):
        _prefetch(array, line * _LINE_BYTES)


@inlined
def _fetch(t: int, part: int, parts: int, trees: Rows, samples: Sample, upto: int) -> None:
    """Ask for one of so many parts of a tree, while another one is worked on.

    Where many forests take turns, none is in the processor's caches. To wait for one node after the
    other on the way down takes as long as all else; what is asked for ahead arrives meanwhile.
    """
    boxes, links, points, counts, tree = trees
    ranks, places = samples
    _fetch_part(boxes[t], part, parts)
    _fetch_part(links[t], part, parts)
    _fetch_part(points[t], part, parts)
    if upto > tree[t, NEXT] or tree[t, SIZE] < ranks.shape[1]:  # a point will enter its sample
        _fetch_part(counts[t], part, parts)
        _fetch_part(ranks[t], part, parts)
        _fetch_part(places[t], part, parts)


@compiled
def run(
    batch: Array,
    first: int,
    learns: bool,
    decay: float,
    near: Array,
    trees: Rows,
    samples: Sample,
    scores: Array,
    above: Array,
    below: Array,
) -> None:
    """Score each point of a batch, then let it into the samples, tree by tree.

    Args:
        batch: The points, float64 [n, dimensions].
        first: The number of the first one in its stream.
        learns: Whether points enter the samples.
        decay: 1 / time_decay.
        near: What counts as near, float64 [2, dimensions]: amounts, and parts of the value.
        trees: boxes, links, points, counts, tree, of all trees.
        samples: ranks, places, of all trees.
        scores: Takes the scores, float64 [n].
        above: Takes each dimension's part of a score from above, float64 [n, dimensions], or
            [0, dimensions] if none is asked for.
        below: The same from below.
    """
    boxes, links, points, counts, tree = trees
    ranks, places = samples
    held = np.empty(batch.shape[1])
    scores[:] = 0.0
    for t in range(len(tree)):
        rows = (boxes[t], links[t], points[t], counts[t], tree[t])
        sample = (ranks[t], places[t])
        state = tree[t]
        fetches = min(len(batch), _FETCHES) if t + 1 < len(tree) else 0
        for i in range(len(batch)):
            if i < fetches and len(batch) >= _FETCH_FROM:
                _fetch(t + 1, i, fetches, trees, samples, first + len(batch))
            if state[ROOT] != NONE:
                point = batch[i]
                if state[FLAT]:
                    _hold_near(point, near, rows, held)
                    point = held
                scale = math.log2(1.0 + state[SIZE]) / len(tree)
                scores[i] += _score(point, rows) * scale
                if len(above):
                    _explain(point, scale, rows, above[i], below[i])
            if learns and (state[SIZE] < ranks.shape[1] or first + i == state[NEXT]):
                update(first + i, batch[i], decay, near, rows, sample)


@compiled
def fit(near: Array, trees: Rows, inner: Array) -> None:
    """Fit the boxes and cuts of all trees to their leaves' points.

    Args:
        near: As of `run`.
        trees: As of `run`; the links are right, and children lie in higher rows than parents.
        inner: How many inner nodes each tree has, int64 [trees]: its first rows.
    """
    boxes, links, points, counts, tree = trees
    for t in range(len(tree)):
        rows = (boxes[t], links[t], points[t], counts[t], tree[t])
        for node in range(inner[t] - 1, -1, -1):
            _refit(node, rows)
        find_flat(near, rows)
