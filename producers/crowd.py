"""A crowd's events: who makes them, when, and when they arrive; what they say is for others.

Guarantees, whatever the seed: an honest user makes at most 4 events in any 10 s of event time
(`producers.users`); an attacker makes at least 12 within one window (`producers.attacks`); an event
arrives less than `disorder` after its time, so with that disorder allowed none is late, but for
`late_share` of the honest ones, which arrive at least `disorder` and a window of 10 s too late.
The same seed, start and steps give the same bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from errors import SettingsError
from messages import Int64s
from producers.attacks import WINDOW_US, Attack, AttackPlan
from producers.malformed import KINDS, Spoiler
from producers.records import NO_ATTACK, Record
from producers.users import CELL_US, CappedUsers, cell_end_us, cell_of

_FIRST_USER_ID = 500_000_000
_LATEST_EXTRA_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """How the shop is visited.

    Attributes:
        start_us: Event time of the run's start.
        duration_us: How long it lasts in event time; None for ever.
        events: How many events in that time, attacks included; None for `rate` a second.
        rate: Events a second where `events` is None; honest ones only in an endless run.
        users: How many honest users there are.
        attackers: How many users attack, once each; none in an endless run after its first minute.
        zipf: Zipf's exponent of the users' activity.
        disorder_us: Events arrive up to this much after their time.
        late_share: Share of the honest events that arrive beyond the disorder and a window.
        malformed_share: How many malformed records for each good one.
    """

    start_us: int
    duration_us: int | None
    rate: float
    events: int | None = None
    users: int = 10_000
    attackers: int = 0
    zipf: float = 1.1
    disorder_us: int = 0
    late_share: float = 0.0
    malformed_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Rows:
    """Events as columns, before they become text.

    Attributes:
        arrival_us: When each arrives.
        time_us: When it happened.
        user: Whose it is, a number from 0; attackers come behind the honest.
        attack: The attack that it belongs to, or `NO_ATTACK`.
    """

    arrival_us: Int64s
    time_us: Int64s
    user: Int64s
    attack: Int64s

    def take(self, rows: Int64s | slice) -> Rows:
        """Return some of the rows."""
        return Rows(self.arrival_us[rows], self.time_us[rows], self.user[rows], self.attack[rows])


def _joined(parts: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.arrival_us for part in parts]),
        np.concatenate([part.time_us for part in parts]),
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.attack for part in parts]),
    )


class Crowd(ABC):
    """A feed of a crowd's events: generated up to a time, given out as they arrive.

    Args:
        traffic: How it comes.
        rng: Where all chance comes from.
        malformed: Which malformed records are strewn among the others, in turn.
    """

    def __init__(
        self, traffic: Traffic, rng: np.random.Generator, malformed: Sequence[str] = KINDS
    ) -> None:
        self._rng = rng
        self._traffic = traffic
        self._end_us = (
            None if traffic.duration_us is None else traffic.start_us + traffic.duration_us
        )
        people = traffic.users + traffic.attackers
        self._ids = rng.permutation(people) + _FIRST_USER_ID
        self._meet(people)
        self._plan = AttackPlan(
            self._ids[traffic.users :],
            traffic.start_us,
            self._end_us or traffic.start_us + 6 * WINDOW_US,
            rng,
        )
        self._total, self._per_us = self._honest_events()
        most_per_cell = int(self._per_us * CELL_US) + 1
        self._honest = CappedUsers(traffic.users, traffic.zipf, most_per_cell, rng)
        self._beyond_us = traffic.disorder_us + WINDOW_US
        self._spoiler = Spoiler(traffic.malformed_share, malformed)
        self._generated_us = traffic.start_us
        self._pending = _joined([self._rows(np.empty(0, np.int64), np.empty(0, np.int64))])
        self._emitted: Counter[int] = Counter()
        self._events = 0
        self._late = 0

    # ---- what it tells ------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """True when all events of a run that ends were given out."""
        ended = self._end_us is not None and self._generated_us >= self._end_us
        return ended and not len(self._pending.time_us)

    @property
    def events(self) -> int:
        """How many well-formed events were given out."""
        return self._events

    @property
    def late(self) -> int:
        """How many events were sent beyond the disorder and a window."""
        return self._late

    @property
    def malformed(self) -> dict[str, int]:
        """How many malformed records of each kind were given out."""
        return dict(self._spoiler.counts)

    @property
    def attacks(self) -> dict[int, Attack]:
        """The attacks so far, by number, with the events that were given out."""
        plan = self._plan.attacks
        return {
            number: Attack(plan[number].user_id, plan[number].window_start_us, count)
            for number, count in sorted(self._emitted.items())
        }

    # ---- what it does -------------------------------------------------------------------------

    def advance(self, until_us: int) -> list[Record]:
        """Return what arrives before `until_us` and hasn't been returned yet."""
        until_us = max(until_us, self._generated_us)
        fresh = self._generate(min(until_us, self._end_us or until_us))
        waiting = _joined([self._pending, *fresh])
        waiting = waiting.take(np.argsort(waiting.arrival_us, kind="stable"))
        here = int(np.searchsorted(waiting.arrival_us, until_us))
        self._pending = waiting.take(slice(here, None))
        arrived = waiting.take(slice(here))
        self._emitted.update(arrived.attack[arrived.attack != NO_ATTACK].tolist())
        self._events += here
        self._late += int(np.count_nonzero(arrived.arrival_us - arrived.time_us >= self._beyond_us))
        return self._spoiler.spoil(self._records(arrived))

    def _honest_events(self) -> tuple[int | None, float]:
        """Return how many events the attackers leave to the honest, in all and a microsecond."""
        traffic, attacking = self._traffic, self._plan.events
        if traffic.duration_us is None:
            return None, traffic.rate / 1e6
        events = traffic.events
        if events is None:
            events = max(round(traffic.rate * traffic.duration_us / 1e6), attacking)
        if events < attacking:
            msg = f"{traffic.attackers} attackers make {attacking:,} events, more than {events:,}"
            raise SettingsError(msg, hint="ask for more events or fewer attackers")
        return events - attacking, (events - attacking) / traffic.duration_us

    def _honest_until(self, time_us: int) -> int:
        """Return how many honest events lie before a time."""
        if self._total is not None and time_us == self._end_us:
            return self._total
        return int((time_us - self._traffic.start_us) * self._per_us)

    def _generate(self, until_us: int) -> list[Rows]:
        """Draw all events with a time in [what was generated, until), cell by cell."""
        made: list[Rows] = []
        while self._generated_us < until_us:
            low = self._generated_us
            cell = cell_of(low)
            high = min(until_us, cell_end_us(cell))
            count = self._honest_until(high) - self._honest_until(low)
            times = self._rng.integers(low, high, size=count)
            made.append(self._rows(times, self._honest.draw(count, cell)))
            times, numbers = self._plan.between(low, high)
            if len(times):
                made.append(self._rows(times, numbers + self._traffic.users, numbers))
            self._generated_us = high
        return made

    def _rows(self, times_us: Int64s, users: Int64s, attacks: Int64s | None = None) -> Rows:
        """Let events arrive after their time."""
        traffic, count = self._traffic, len(times_us)
        arrival = times_us.copy()
        if traffic.disorder_us:
            arrival += self._rng.integers(0, traffic.disorder_us, size=count)
        if attacks is None:
            attacks = np.full(count, NO_ATTACK, dtype=np.int64)
            if traffic.late_share:
                late = np.flatnonzero(self._rng.random(count) < traffic.late_share)
                arrival[late] = times_us[late] + self._rng.integers(
                    self._beyond_us, self._beyond_us + _LATEST_EXTRA_US, size=len(late)
                )
        return Rows(arrival, times_us, users, attacks)

    def _meet(self, people: int) -> None:  # noqa: B027  # a crowd may have nothing to say of people
        """Draw what is known of people, attackers behind the honest."""

    @abstractmethod
    def _records(self, rows: Rows) -> list[Record]:
        """Turn rows into records."""
