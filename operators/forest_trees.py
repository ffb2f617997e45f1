"""The trees of one forest: their arrays, and the calls of the compiled loops over them.

This file and what it imports need numba, which takes a quarter of a second and 100 MB to load:
`operators.forest` imports it when a forest first has trees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from messages import Floats, Int64s, UInt64s
from operators import forest_kernels as kernels
from operators.codes import mix

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Trees:
    """Empty trees.

    The generators of the trees start at hashes of (seed, tree): streams that start a constant
    apart would be shifted copies of each other, and so would the trees.

    Args:
        count: How many trees.
        leaves: How many points a tree samples.
        dimensions: Columns of a shingle.
        decay: 1 / time_decay.
        near: What counts as near, float64 [2, dimensions]: amounts, and parts of a value.
        seed: Of all random choices: 64 bits.

    Attributes:
        all: The arrays that `operators.forest_kernels` describes, one row a tree.
        samples: The sampled ranks and the leaves that they are of, one row a tree.
        learnt: How many points the trees have been offered.
    """

    __slots__ = ("_decay", "_near", "all", "learnt", "samples")

    def __init__(
        self, count: int, leaves: int, dimensions: int, decay: float, near: Floats, seed: int
    ) -> None:
        boxes, points, ranks, tree, links, counts, places = _carved(
            (np.float64, (count, leaves - 1, 2 + 2 * dimensions)),
            (np.float64, (count, leaves, dimensions)),
            (np.float64, (count, leaves)),
            (np.int64, (count, 8)),
            (np.int16, (count, leaves - 1, 4)),
            (np.int16, (count, leaves, 2)),
            (np.int16, (count, leaves)),
        )
        hashes = _hashes(seed, count).view(np.int64)
        tree[:, kernels.RANDOM], tree[:, kernels.SALT] = hashes
        self.all = boxes, links, points, counts, tree
        self.samples = ranks, places
        self.learnt = 0
        self._decay = decay
        self._near = near
        kernels.clear(self.all)

    @property
    def nbytes(self) -> int:
        """Return the size of the arrays in memory."""
        return sum(array.nbytes for array in (*self.all, *self.samples))

    def run(
        self,
        batch: Floats,
        *,
        learn: bool,
        above: Floats | None = None,
        below: Floats | None = None,
    ) -> Floats:
        """Score points in turn, and offer each to the trees before the next one is scored.

        Args:
            batch: float64 [n, dimensions], finite.
            learn: Whether to offer them.
            above: Takes each dimension's part of the score from above, float64 [n, dimensions],
                zeros before; None if that isn't asked for.
            below: The same from below.

        Returns:
            The scores, float64 [n], 0 while the trees are empty.
        """
        scores = np.empty(len(batch))
        if above is None or below is None:
            above = below = np.empty((0, batch.shape[1]))
        kernels.run(
            # Other layouts, and arrays that can't be written to, would be compiled for anew.
            np.require(batch, np.float64, ["C", "W"]),
            self.learnt,
            learn,
            self._decay,
            self._near,
            self.all,
            self.samples,
            scores,
            above,
            below,
        )
        if learn:
            self.learnt += len(batch)
        return scores

    def fit(self, inner: Int64s) -> None:
        """Compute the boxes and cuts of trees that were put together from a snapshot."""
        kernels.fit(self._near, self.all, inner)


def _carved(*parts: tuple[type[np.generic], tuple[int, ...]]) -> list[npt.NDArray[Any]]:
    """Return arrays that lie one behind the other in one piece of memory.

    One large piece is given back and had again sooner than many: fresh pages cost more than all
    else that loading a snapshot does.
    """
    sizes = [int(np.prod(shape)) * np.dtype(kind).itemsize for kind, shape in parts]
    memory = np.empty(sum(sizes), np.uint8)
    ends = np.cumsum(sizes)
    return [
        memory[end - size : end].view(kind).reshape(shape)
        for (kind, shape), size, end in zip(parts, sizes, ends, strict=True)
    ]


def _hashes(seed: int, count: int) -> UInt64s:
    start = mix(np.array([seed], np.uint64) + _GOLDEN)
    return mix(start + _GOLDEN * np.arange(1, 2 * count + 1, dtype=np.uint64)).reshape(2, count)
