"""Which texts are most frequent among each key's events: what an incident of a key names.

Counts are exact. Memory follows the distinct (key, text) pairs of a window, as that of a `Distinct`
does: 24 bytes each, and each different text once. What comes is only put aside, and merged when it
has grown to as much as is merged, or when somebody asks; so a pair is sorted a few times in all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from messages import PairCounts, UInt64s
from operators.codes import first_of_runs

_FEWEST = 1_024  # pairs put aside; fewer aren't worth a merge


class TopCounts:
    """The counts of one `Top` of one open window.

    Args:
        merged: What `merged` returned, if there was something before.
    """

    def __init__(self, merged: PairCounts | None = None) -> None:
        self._merged = merged or merge([])
        self._aside: list[PairCounts] = []
        self._aside_size = 0

    def add(self, more: PairCounts) -> None:
        """Add counts."""
        self._aside.append(more)
        self._aside_size += len(more.counts)
        if self._aside_size > max(_FEWEST, len(self._merged.counts)):
            self.merged()

    def merged(self) -> PairCounts:
        """Return all counts so far."""
        if self._aside:
            self._merged = merge([self._merged, *self._aside])
            self._aside, self._aside_size = [], 0
        return self._merged

    def of(self, key: int, most: int) -> list[tuple[str, int]]:
        """Return a key's most frequent texts and their counts, the most frequent first.

        Args:
            key: The key's code.
            most: How many; of equally frequent ones the least texts come first.
        """
        merged = self.merged()
        code = np.uint64(key)
        begin = int(np.searchsorted(merged.keys, code, "left"))
        end = int(np.searchsorted(merged.keys, code, "right"))
        counts = merged.counts[begin:end]
        if len(counts) > most:
            least = np.partition(counts, -most)[-most]
            rows = begin + np.flatnonzero(counts >= least)
        else:
            rows = np.arange(begin, end)
        found = [
            (merged.texts[member], count)
            for member, count in zip(
                merged.members[rows].tolist(), merged.counts[rows].tolist(), strict=True
            )
        ]
        return sorted(found, key=lambda one: (-one[1], one[0]))[:most]


def merge(parts: Sequence[PairCounts]) -> PairCounts:
    """Return one set of counts for several."""
    if not parts:
        return PairCounts(np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.int64), {})
    keys: UInt64s = np.concatenate([part.keys for part in parts])
    members: UInt64s = np.concatenate([part.members for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    order = np.lexsort((members, keys))
    keys, members = keys[order], members[order]
    begins = first_of_runs(keys, members)
    added = np.add.reduceat(counts[order], begins) if len(begins) else counts
    texts = {code: text for part in parts for code, text in part.texts.items()}
    return PairCounts(keys[begins], members[begins], added, texts)
