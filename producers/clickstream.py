"""Events made from a template, and bursts of single customers among them.

The template is the user's own, or the clickstream's. Where bursts are asked for, or the domain is
clickstream, each event must be a JSON object with a customer in `KEY`.

Guarantees, whatever the seed and the template: in a tumbling window of 10 s an honest customer
makes at most 20 events, a burst's customer 45 to 80 and nobody else does what it does: its number
is beyond those of templates, and it bursts once. An event arrives less than `disorder` after its
time, but for `late_share` of the honest ones. The same seed, start and steps give the same bytes.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from errors import SettingsError
from producers.attacks import WINDOW_US, AttackPlan
from producers.crowd import Traffic
from producers.malformed import CLICKS, Spoiler
from producers.records import NO_ATTACK, Record
from producers.template_helpers import Draw
from producers.templates import Template

KEY = "customerId"
HONEST_MOST = 20
"""Events of an honest customer in a window."""

RAISING_EVENT = HONEST_MOST + 1
FEWEST_EVENTS, MOST_EVENTS = 45, 80
_FIRST_BURSTING = 9_000_000
_TRIES = 100
_LATEST_EXTRA_US = 30_000_000
_KEPT_WINDOWS_US = 6 * WINDOW_US


@dataclass(frozen=True, slots=True)
class Burst:
    """One customer's burst: its window's start and how many events it holds."""

    customer_id: str
    window_start: str
    window_start_us: int
    count: int


class Clicks:
    """A feed of events from a template: made up to a time, given out as they arrive.

    Args:
        template: What an event looks like.
        traffic: How many, when, and how many bursts.
        seed: Where all chance comes from.
        keyed: Whether the events have customers.

    Raises:
        SettingsError: The run is too short for its bursts, or they are more than its events.
    """

    def __init__(self, template: Template, traffic: Traffic, seed: int, *, keyed: bool) -> None:
        self._template = template
        self._traffic = traffic
        self._rng = random.Random(seed)
        self._keyed = keyed
        self._end_us = (
            None if traffic.duration_us is None else traffic.start_us + traffic.duration_us
        )
        self._plan = AttackPlan(
            np.arange(_FIRST_BURSTING, _FIRST_BURSTING + traffic.attackers),
            traffic.start_us,
            self._end_us or traffic.start_us + 6 * WINDOW_US,
            np.random.default_rng(seed),
            fewest=FEWEST_EVENTS,
            most=MOST_EVENTS,
        )
        self._total, self._per_us = self._honest()
        self._spoiler = Spoiler(traffic.malformed_share, CLICKS)
        self._made_us = traffic.start_us
        self._pending: list[tuple[int, bool, Record]] = []  # arrival, whether late
        self._in_window: dict[int, Counter[Any]] = {}  # honest events, by window and customer
        self._emitted: Counter[int] = Counter()
        self._events = 0
        self._late = 0

    # ---- what it tells --------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """True when all events of a run that ends were given out."""
        return self._end_us is not None and self._made_us >= self._end_us and not self._pending

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
    def attacks(self) -> dict[int, Burst]:
        """The bursts so far, by number, with the events that were given out."""
        plan = self._plan.attacks
        return {
            number: Burst(
                str(plan[number].user_id),
                plan[number].window_start,
                plan[number].window_start_us,
                count,
            )
            for number, count in sorted(self._emitted.items())
        }

    # ---- what it does ---------------------------------------------------------------------------

    def advance(self, until_us: int) -> list[Record]:
        """Return what arrives before `until_us` and hasn't been returned yet."""
        until_us = max(until_us, self._made_us)
        self._make(min(until_us, self._end_us or until_us))
        self._pending.sort(key=lambda one: one[0])
        arrived = [one for one in self._pending if one[0] < until_us]
        self._pending = self._pending[len(arrived) :]
        self._emitted.update(
            record.attack for _, _, record in arrived if record.attack != NO_ATTACK
        )
        self._events += len(arrived)
        self._late += sum(late for _, late, _ in arrived)
        return self._spoiler.spoil([record for _, _, record in arrived])

    def _honest(self) -> tuple[int | None, float]:
        """Return how many events the bursts leave to the honest, in all and a microsecond."""
        traffic, bursting = self._traffic, self._plan.events
        if traffic.duration_us is None:
            return None, traffic.rate / 1e6
        events = traffic.events
        if events is None:
            events = max(round(traffic.rate * traffic.duration_us / 1e6), bursting)
        if events < bursting:
            msg = f"{traffic.attackers} bursts make {bursting:,} events, more than {events:,}"
            raise SettingsError(msg, hint="ask for more events or fewer attackers")
        return events - bursting, (events - bursting) / traffic.duration_us

    def _honest_until(self, time_us: int) -> int:
        if self._total is not None and time_us == self._end_us:
            return self._total
        return int((time_us - self._traffic.start_us) * self._per_us)

    def _make(self, until_us: int) -> None:
        """Make all events with a time in [what was made, until)."""
        low, rng = self._made_us, self._rng
        if until_us <= low:
            return
        count = self._honest_until(until_us) - self._honest_until(low)
        honest = ((rng.randrange(low, until_us), NO_ATTACK) for _ in range(count))
        times_us, numbers = self._plan.between(low, until_us)
        bursting = zip(times_us.tolist(), numbers.tolist(), strict=True)
        for time_us, number in sorted([*honest, *bursting]):
            arrival_us, late = time_us, False
            if self._traffic.disorder_us:
                arrival_us += rng.randrange(self._traffic.disorder_us)
            if number == NO_ATTACK and rng.random() < self._traffic.late_share:
                beyond_us = self._traffic.disorder_us + WINDOW_US
                arrival_us = time_us + beyond_us + rng.randrange(_LATEST_EXTRA_US)
                late = True
            self._pending.append((arrival_us, late, self._record(time_us, number)))
        self._made_us = until_us
        for start_us in [one for one in self._in_window if one < until_us - _KEPT_WINDOWS_US]:
            del self._in_window[start_us]

    def _record(self, time_us: int, burst: int) -> Record:
        if not self._keyed:
            payload = self._template.make(Draw(self._rng, time_us)).encode()
            return Record(payload, str(self._rng.getrandbits(64)))
        if burst != NO_ATTACK:
            customer = str(self._plan.attacks[burst].user_id)
            event, _ = self._event(time_us)
            return Record(orjson.dumps(event | {KEY: customer}), customer, burst)
        in_window = self._in_window.setdefault(time_us // WINDOW_US * WINDOW_US, Counter())
        for _ in range(_TRIES):
            event, payload = self._event(time_us)
            if in_window[event[KEY]] < HONEST_MOST:
                in_window[event[KEY]] += 1
                return Record(payload, str(event[KEY]))
        msg = f"the template has too few different {KEY} for this rate"
        hint = f"an honest customer makes at most {HONEST_MOST} events in 10 s: ask for fewer"
        raise SettingsError(msg, hint=hint)

    def _event(self, time_us: int) -> tuple[dict[str, Any], bytes]:
        payload = self._template.make(Draw(self._rng, time_us)).encode()
        try:
            event = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            msg = f"--template: what it makes isn't JSON: {error}"
            raise SettingsError(msg, hint=payload[:200].decode(errors="replace")) from error
        if not isinstance(event, dict) or not isinstance(event.get(KEY), str | int):
            msg = f"--template: what it makes has no {KEY}"
            raise SettingsError(msg, hint=f'add "{KEY}": "{{{{random.number(500)}}}}"')
        return event, payload
