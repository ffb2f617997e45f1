"""Lines of an imaginary web site's access log, in the exact form of the original's generator.

`IP - - [17/May/2015:10:05:03 +0000] "METHOD URI HTTP/1.0" STATUS BYTES "-" "AGENT"`, a line a
record, without a line's end unless asked for. The site has a day: half as much again as the mean
at 15:00 UTC, half of it at 3:00. People come for a visit of some pages, with one address and one
browser each, and some come often.

Guarantees, whatever the seed: an honest client asks for at most 3 pages in any 10 s of event time;
attackers do what `producers.access_log_attacks` says; an event arrives less than `disorder` after
its time (the log cuts times to seconds: allow one second more), but for `late_share` of the honest
ones, which arrive at least `disorder` and a window of 10 s too late. The same seed, start and steps
give the same bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from errors import SettingsError
from messages import Int64s
from producers.access_log_attacks import ANY_BROWSER, LogAttack, LogAttackPlan, Requests
from producers.access_log_pages import (
    AGENTS,
    BROWSERS,
    METHOD_SHARES,
    METHODS,
    PAGE_SHARES,
    PAGES,
    PROBES,
)
from producers.crowd import Traffic
from producers.malformed import LINES, Spoiler
from producers.records import NO_ATTACK, Record

STATUSES = (200, 404, 500, 301)
_STATUS_SHARES = (0.9, 0.04, 0.02, 0.04)
_FAILED = 2
_MEAN_BYTES, _BYTES_DEVIATION = 5_000, 50
_DAY_US = 86_400_000_000
_BUSIEST_US = 15 * 3_600_000_000
_SWING = 0.5
_CELL_US = 10_000_000
_PAGES_A_VISIT = 6.0
_REGULARS = 2.0  # the exponent: of 1,000 people a tenth makes a third of the visits
_ENDLESS_STRETCH_US = 120_000_000
_LATEST_EXTRA_US = 30_000_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ARRIVAL, _TIME, _CLIENT, _PAGE, _STATUS, _AGENT, _ATTACK = range(7)
_COLUMNS = 7


class Website:
    """A feed of a site's log: generated up to a time, given out as its lines arrive.

    Args:
        traffic: How it is visited; `attackers` is the number of attacks.
        seed: Where all chance comes from.
        newline: Whether each record ends with a line's end.

    Raises:
        SettingsError: There are too few people, or too few events, for what is asked for.
    """

    def __init__(self, traffic: Traffic, seed: int, *, newline: bool = False) -> None:
        self._rng = rng = np.random.default_rng(seed)
        self._traffic = traffic
        self._newline = newline
        self._end_us = (
            None if traffic.duration_us is None else traffic.start_us + traffic.duration_us
        )
        end_us = self._end_us or traffic.start_us + traffic.attackers * _ENDLESS_STRETCH_US
        self._plan = LogAttackPlan(traffic.attackers, traffic.start_us, end_us, rng)
        self._addresses = _addresses(rng, traffic.users + self._plan.clients)
        self._agents = rng.integers(0, len(BROWSERS), size=traffic.users)
        self._total, self._per_us = self._honest_events()
        self._visits = _Visits(traffic.users, self._per_us * (1 + _SWING) * _CELL_US, rng)
        self._beyond_us = traffic.disorder_us + _CELL_US
        self._spoiler = Spoiler(traffic.malformed_share, LINES)
        self._generated_us = traffic.start_us
        self._pending = np.empty((_COLUMNS, 0), np.int64)
        self._emitted: Counter[int] = Counter()
        self._events = 0
        self._late = 0
        targets = [f"{method} {page} HTTP/1.0" for page in PAGES + PROBES for method in METHODS]
        self._requests = tuple(targets)

    # ---- what it tells ------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """True when all events of a run that ends were given out."""
        ended = self._end_us is not None and self._generated_us >= self._end_us
        return ended and not self._pending.shape[1]

    @property
    def events(self) -> int:
        """How many well-formed lines were given out."""
        return self._events

    @property
    def late(self) -> int:
        """How many lines were sent beyond the disorder and a window."""
        return self._late

    @property
    def malformed(self) -> dict[str, int]:
        """How many malformed records of each kind were given out."""
        return dict(self._spoiler.counts)

    @property
    def attacks(self) -> dict[int, LogAttack]:
        """The attacks so far, by number, with the requests that were given out."""
        found: dict[int, LogAttack] = {}
        for number, count in sorted(self._emitted.items()):
            attack, first = self._plan.attacks[number], self._plan.first_clients[number]
            one = self._addresses[self._traffic.users + first] if attack.clients == 1 else ""
            found[number] = replace(attack, client=one, count=count)
        return found

    # ---- what it does -------------------------------------------------------------------------

    def advance(self, until_us: int) -> list[Record]:
        """Return what arrives before `until_us` and hasn't been returned yet."""
        until_us = max(until_us, self._generated_us)
        fresh = self._generate(min(until_us, self._end_us or until_us))
        waiting = np.concatenate([self._pending, *fresh], axis=1)
        waiting = waiting[:, np.argsort(waiting[_ARRIVAL], kind="stable")]
        here = int(np.searchsorted(waiting[_ARRIVAL], until_us))
        self._pending, arrived = waiting[:, here:], waiting[:, :here]
        attacks = arrived[_ATTACK]
        self._emitted.update(attacks[attacks != NO_ATTACK].tolist())
        self._events += here
        self._late += int(np.count_nonzero(arrived[_ARRIVAL] - arrived[_TIME] >= self._beyond_us))
        return self._spoiler.spoil(self._records(arrived))

    def _honest_events(self) -> tuple[int | None, float]:
        """Return how many requests the honest make, in all and in a microsecond of mean traffic."""
        traffic, attacking = self._traffic, self._plan.events
        if traffic.duration_us is None or self._end_us is None:
            return None, traffic.rate / 1e6
        events = traffic.events
        if events is None:
            events = max(round(traffic.rate * traffic.duration_us / 1e6), attacking)
        if events < attacking:
            msg = f"{traffic.attackers} attacks make {attacking:,} requests, more than {events:,}"
            raise SettingsError(msg, hint="ask for more events or fewer attackers")
        honest = events - attacking
        return honest, honest / (_busy_us(self._end_us) - _busy_us(traffic.start_us))

    def _honest_until(self, time_us: int) -> int:
        """Return how many honest requests lie before a time."""
        if self._total is not None and time_us == self._end_us:
            return self._total
        return int((_busy_us(time_us) - _busy_us(self._traffic.start_us)) * self._per_us)

    def _generate(self, until_us: int) -> list[Int64s]:
        """Draw all requests with a time in [what was generated, until), cell by cell."""
        made: list[Int64s] = []
        while self._generated_us < until_us:
            low = self._generated_us
            high = min(until_us, (low // _CELL_US + 1) * _CELL_US)
            made.append(self._honest(low, high))
            asked = self._plan.between(low, high)
            if len(asked.times_us):
                made.append(self._attacking(asked))
            self._generated_us = high
        return made

    def _honest(self, low: int, high: int) -> Int64s:
        rng, count = self._rng, self._honest_until(high) - self._honest_until(low)
        rows = np.empty((_COLUMNS, count), np.int64)
        rows[_TIME] = np.sort(rng.integers(low, high, size=count))
        rows[_CLIENT] = self._visits.draw(count)
        rows[_PAGE] = _draw(rng, PAGE_SHARES, count)
        rows[_STATUS] = _draw(rng, _STATUS_SHARES, count)
        rows[_AGENT] = self._agents[rows[_CLIENT]]
        rows[_ATTACK] = NO_ATTACK
        failing, numbers = self._plan.failing(rows[_TIME], rng)
        rows[_STATUS, failing], rows[_ATTACK, failing] = _FAILED, numbers
        return self._sent(rows)

    def _attacking(self, asked: Requests) -> Int64s:
        rows = np.empty((_COLUMNS, len(asked.times_us)), np.int64)
        rows[_TIME] = asked.times_us
        rows[_CLIENT] = asked.clients + self._traffic.users
        rows[_PAGE], rows[_STATUS], rows[_ATTACK] = asked.pages, asked.statuses, asked.attacks
        browsers = self._rng.integers(0, len(BROWSERS), size=len(asked.times_us))
        rows[_AGENT] = np.where(asked.agents == ANY_BROWSER, browsers, asked.agents)
        return self._sent(rows)

    def _sent(self, rows: Int64s) -> Int64s:
        """Let requests arrive after their time."""
        traffic, count = self._traffic, rows.shape[1]
        rows[_ARRIVAL] = rows[_TIME]
        if traffic.disorder_us:
            rows[_ARRIVAL] += self._rng.integers(0, traffic.disorder_us, size=count)
        if traffic.late_share:
            is_late = (self._rng.random(count) < traffic.late_share) & (rows[_ATTACK] == NO_ATTACK)
            late = np.flatnonzero(is_late)
            rows[_ARRIVAL, late] = rows[_TIME, late] + self._rng.integers(
                self._beyond_us, self._beyond_us + _LATEST_EXTRA_US, size=len(late)
            )
        return rows

    def _records(self, rows: Int64s) -> list[Record]:
        """Turn rows into text. One pass of plain Python a row: all else is columns."""
        count = rows.shape[1]
        seconds = rows[_TIME] // 1_000_000
        moments = {second: _clf(second) for second in np.unique(seconds).tolist()}
        methods = np.where(rows[_ATTACK] == NO_ATTACK, _draw(self._rng, METHOD_SHARES, count), 0)
        sizes = np.rint(self._rng.normal(_MEAN_BYTES, _BYTES_DEVIATION, size=count))
        end = "\n" if self._newline else ""
        addresses, requests = self._addresses, self._requests
        clients = [addresses[client] for client in rows[_CLIENT].tolist()]
        payloads = [
            f'{client} - - [{moments[second]} +0000] "{requests[target]}" '
            f'{STATUSES[status]} {size} "-" "{AGENTS[agent]}"{end}'.encode()
            for client, second, target, status, size, agent in zip(
                clients,
                seconds.tolist(),
                (rows[_PAGE] * len(METHODS) + methods).tolist(),
                rows[_STATUS].tolist(),
                sizes.astype(np.int64).tolist(),
                rows[_AGENT].tolist(),
                strict=True,
            )
        ]
        return list(map(Record, payloads, clients, rows[_ATTACK].tolist()))


class _Visits:
    """Says who asks next: as many visits go on at a time as a cell of 10 s has requests.

    Visits ask in rounds, each once a round, in another order every time. 10 s touch at most two
    cells, whose requests touch at most three rounds, so no visit asks more than 3 times in 10 s.
    Each visit's place has visitors of its own, so nobody is on two visits.
    """

    def __init__(self, users: int, most_per_cell: float, rng: np.random.Generator) -> None:
        self._places = math.ceil(most_per_cell) + 1
        if users < self._places:
            msg = (
                f"{users:,} users are too few for this rate: honest users ask for at most 3 pages "
                "in any 10 s"
            )
            hint = f"ask for a lower rate, or for {self._places:,} users or more"
            raise SettingsError(msg, hint=hint)
        self._rng = rng
        self._users = users
        self._left = rng.geometric(1 / _PAGES_A_VISIT, size=self._places)
        self._visitors = self._visitors_of(np.arange(self._places))
        self._round = np.empty(0, np.int64)

    def draw(self, count: int) -> Int64s:
        """Return who makes the next requests."""
        drawn = [np.empty(0, np.int64)]
        while count:
            if not len(self._round):
                self._round = self._rng.permutation(self._places)
            places, self._round = self._round[:count], self._round[count:]
            count -= len(places)
            drawn.append(self._visitors[places])
            self._left[places] -= 1
            free = places[self._left[places] == 0]
            self._left[free] = self._rng.geometric(1 / _PAGES_A_VISIT, size=len(free))
            self._visitors[free] = self._visitors_of(free)
        return np.concatenate(drawn)

    def _visitors_of(self, places: Int64s) -> Int64s:
        """Draw a visitor for each of these places, some much more often than others."""
        choice = (self._users - 1 - places) // self._places + 1
        rank = (choice * self._rng.random(len(places)) ** _REGULARS).astype(np.int64)
        visitors: Int64s = places + rank * self._places
        return visitors


def _busy_us(time_us: int) -> float:
    """Return the integral of the day's course since the epoch, in microseconds of a mean day."""
    since = (time_us - _BUSIEST_US) % _DAY_US
    return time_us + _SWING * _DAY_US / math.tau * math.sin(math.tau * since / _DAY_US)


def _draw(rng: np.random.Generator, shares: tuple[float, ...], count: int) -> Int64s:
    bounds = np.cumsum(shares)
    drawn = np.searchsorted(bounds / bounds[-1], rng.random(count), side="right")
    return drawn.astype(np.int64, copy=False)


def _addresses(rng: np.random.Generator, count: int) -> list[str]:
    """Draw so many different public IPv4 addresses: none of a private or special network."""
    found = np.empty(0, np.int64)
    while len(found) < count:
        fresh = rng.integers(11 << 24, 126 << 24, size=count + 1024)
        fresh = fresh[fresh >> 24 != 100]  # 100.64.0.0/10 is carriers' own
        _, firsts = np.unique(np.concatenate([found, fresh]), return_index=True)
        found = np.concatenate([found, fresh])[np.sort(firsts)]
    return [f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in found[:count].tolist()]


def _clf(second: int) -> str:
    """Write a second as the log does, in English whatever the locale."""
    moment = datetime.fromtimestamp(second, UTC)
    return f"{moment:%d}/{_MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S}"
