"""Bots, and the truth about them: each attacks once, within a window, hard enough to be raised.

An attack is at least 12 events of one user in one tumbling window that begins at a multiple of
10 s, so what a detector must find is known exactly, whatever the arrival order: these users in
these windows with these counts, and nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from errors import SettingsError
from messages import Int64s

WINDOW_US = 10_000_000
FEWEST_EVENTS = 12
MOST_EVENTS = 40
_MARGIN_US = 500_000
_SHORTEST_WINDOW_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Attack:
    """One user's attack: its window's start and how many events it holds."""

    user_id: int
    window_start_us: int
    count: int

    @property
    def window_start(self) -> str:
        """The window's start as ISO text, as alerts show it."""
        moment = datetime.fromtimestamp(self.window_start_us // 1_000_000, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class AttackPlan:
    """All attacks of a run, drawn in advance.

    Args:
        user_ids: Who attacks; each once.
        start_us: The run's start.
        end_us: The run's end; attacks lie wholly within the run.
        rng: Where chance comes from.
        fewest: Events of the smallest attack.
        most: Events of the largest.

    Attributes:
        attacks: The attacks, by number.
        times_us: Event times of all their events, ascending.
        numbers: As many: the number of the attack that each belongs to.

    Raises:
        SettingsError: The run is too short to attack in.
    """

    def __init__(
        self,
        user_ids: Int64s,
        start_us: int,
        end_us: int,
        rng: np.random.Generator,
        *,
        fewest: int = FEWEST_EVENTS,
        most: int = MOST_EVENTS,
    ) -> None:
        self.attacks: list[Attack] = []
        times: list[Int64s] = []
        windows = _windows(start_us, end_us) if len(user_ids) else []
        for user_id in user_ids.tolist():
            window_us = windows[int(rng.integers(len(windows)))]
            count = int(rng.integers(fewest, most + 1))
            low, high = _inside(window_us, start_us, end_us)
            times.append(np.sort(rng.integers(low, high, size=count)))
            self.attacks.append(Attack(user_id, window_us, count))
        self.times_us = np.concatenate(times) if times else np.empty(0, np.int64)
        self.numbers = np.repeat(
            np.arange(len(times), dtype=np.int64), [len(moments) for moments in times]
        )
        order = np.argsort(self.times_us, kind="stable")
        self.times_us, self.numbers = self.times_us[order], self.numbers[order]

    @property
    def events(self) -> int:
        """How many events all attacks make together."""
        return len(self.times_us)

    def between(self, from_us: int, until_us: int) -> tuple[Int64s, Int64s]:
        """Return the times and attack numbers of the events in [from, until)."""
        low, high = np.searchsorted(self.times_us, [from_us, until_us])
        return self.times_us[low:high], self.numbers[low:high]


def _windows(start_us: int, end_us: int) -> list[int]:
    """Return the windows to attack in: whole ones, or parts of 1 s and more in a short run."""
    first = start_us // WINDOW_US * WINDOW_US
    touched = range(first, end_us, WINDOW_US)
    whole = [w for w in touched if start_us <= w and w + WINDOW_US <= end_us]
    parts = [
        w for w in touched if min(end_us, w + WINDOW_US) - max(start_us, w) >= _SHORTEST_WINDOW_US
    ]
    if not whole and not parts:
        msg = f"a run of {(end_us - start_us) / 1e6:g} s of event time is too short to attack in"
        raise SettingsError(msg, hint="ask for more events, more seconds, or no attackers")
    return whole or parts


def _inside(window_us: int, start_us: int, end_us: int) -> tuple[int, int]:
    """Return when within its window an attack may happen: never at the very edges."""
    low, high = max(window_us, start_us), min(window_us + WINDOW_US, end_us)
    margin = min(_MARGIN_US, (high - low) // 4)
    return low + margin, high - margin
