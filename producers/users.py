"""Who visits the shop: many people, few of them often, and none like a machine.

**No user makes more than 4 events in any 10 s of event time**, whichever 10 s one looks at. It
holds by construction: time is cut into cells of 10 s and a user gets at most 2 events a cell; 10 s
touch at most two cells. The cells begin at 5 s past every multiple of 10 s, so that the tumbling
windows which begin at the multiples see up to 4, not 2, events of one user.
"""

from __future__ import annotations

import numpy as np

from errors import SettingsError
from messages import Int64s

CELL_US = 10_000_000
CELL_OFFSET_US = 5_000_000
EVENTS_PER_CELL = 2
_ROUNDS = 8


def cell_of(time_us: int) -> int:
    """Return the number of the cell that a time lies in."""
    return (time_us - CELL_OFFSET_US) // CELL_US


def cell_end_us(cell: int) -> int:
    """Return the time at which a cell ends."""
    return (cell + 1) * CELL_US + CELL_OFFSET_US


class CappedUsers:
    """Draws users by Zipf's law, each at most twice a cell.

    Args:
        users: How many there are; they are numbered from 0, the most active first.
        exponent: Zipf's: the n-th user is 1 / n ** exponent as active as the first.
        most_per_cell: How many events a cell may need.
        rng: Where chance comes from.

    Raises:
        SettingsError: There are too few users for so many events.
    """

    def __init__(
        self, users: int, exponent: float, most_per_cell: int, rng: np.random.Generator
    ) -> None:
        if most_per_cell > users * EVENTS_PER_CELL:
            msg = (
                f"{users:,} users are too few for this rate: honest users make at most 4 events "
                "in any 10 s"
            )
            need = -(-most_per_cell // EVENTS_PER_CELL)
            raise SettingsError(msg, hint=f"ask for a lower rate, or for {need:,} users or more")
        activity = np.cumsum(np.arange(1, users + 1, dtype=np.float64) ** -exponent)
        self._share = activity / activity[-1]
        self._rng = rng
        self._used = np.zeros(users, dtype=np.int8)
        self._cell: int | None = None

    def draw(self, count: int, cell: int) -> Int64s:
        """Draw users for `count` events of a cell; cells come in ascending order."""
        if cell != self._cell:
            self._cell = cell
            self._used[:] = 0
        chosen: list[Int64s] = []
        missing = count
        for _ in range(_ROUNDS):
            if not missing:
                break
            drawn = np.searchsorted(self._share, self._rng.random(missing), side="right")
            kept = self._within_cap(drawn.astype(np.int64))
            chosen.append(kept)
            missing -= len(kept)
        if missing:
            chosen.append(self._anybody(missing))
        return self._rng.permutation(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)

    def _within_cap(self, drawn: Int64s) -> Int64s:
        """Keep the draws that the cap allows, and count them."""
        ordered = np.sort(drawn)
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        users = ordered[first]
        counts = np.diff(first, append=len(ordered))
        allowed = np.minimum(counts, EVENTS_PER_CELL - self._used[users])
        self._used[users] += allowed.astype(np.int8)
        return np.repeat(users, allowed)

    def _anybody(self, count: int) -> Int64s:
        """Take users who still have events left, whoever they are."""
        left = np.repeat(np.arange(len(self._used), dtype=np.int64), EVENTS_PER_CELL - self._used)
        taken = self._rng.permutation(left)[:count]
        np.add.at(self._used, taken, 1)
        return taken
