"""Attacks on a web site, four kinds in turn, each in a stretch of the run of its own.

- `flood`: one client asks for one page, 20 times a second.
- `distributed_flood`: 10,372 clients ask for pages, once each, but every twentieth twice. No
  client does what an honest one wouldn't; only all of them together show.
- `scan`: one client asks for a path after the other that isn't there, 10 a second.
- `slow_errors`: no client's doing. A growing share of the honest requests is answered by 500, from
  none up to half of them.

So what a detector must find is known: these kinds, in these times, by these clients.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from errors import SettingsError
from messages import Int64s
from producers.access_log_pages import FLOODER, PAGES, PROBES, SCANNER

KINDS = ("flood", "distributed_flood", "scan", "slow_errors")
DISTRIBUTED_CLIENTS = 10_372
FLOOD_RATE, SCAN_RATE = 20.0, 10.0
GREATEST_ERROR_SHARE = 0.5
_LONGEST_US = {
    "flood": 60_000_000,
    "distributed_flood": 120_000_000,
    "scan": 60_000_000,
    "slow_errors": 600_000_000,
}
_SHORTEST_US = 5_000_000
_SHARE_OF_STRETCH = 0.8
_TWICE = 20
_SERVED, _MISSING = 0, 1  # rows of producers.access_logs.STATUSES
ANY_BROWSER = -1


@dataclass(frozen=True, slots=True)
class LogAttack:
    """One attack.

    Attributes:
        kind: One of `KINDS`.
        client: Whose it is; empty where it isn't one client's.
        clients: How many clients take part; 0 for `slow_errors`, which are everybody's.
        start_us: When it starts.
        end_us: When it has ended.
        count: How many requests it holds; for `slow_errors` those that failed because of it.
    """

    kind: str
    client: str
    clients: int
    start_us: int
    end_us: int
    count: int

    @property
    def start(self) -> str:
        """The start as ISO text."""
        return _iso(self.start_us)

    @property
    def end(self) -> str:
        """The end as ISO text."""
        return _iso(self.end_us)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of attackers as columns of length n, by time ascending.

    Attributes:
        times_us: When.
        clients: Who, as numbers from 0 over all attackers.
        pages: What: a page of `PAGES`, and behind them of `PROBES`.
        statuses: The answer, a row of `producers.access_logs.STATUSES`.
        agents: With which agent of `AGENTS`, or `ANY_BROWSER`.
        attacks: The attack's number.
    """

    times_us: Int64s
    clients: Int64s
    pages: Int64s
    statuses: Int64s
    agents: Int64s
    attacks: Int64s


class LogAttackPlan:
    """All attacks of a run, drawn in advance.

    Args:
        count: How many.
        start_us: The run's start.
        end_us: The run's end; attacks lie wholly within the run.
        rng: Where chance comes from.

    Attributes:
        attacks: The attacks, by number; clients are numbers as text until the site names them.
        requests: Their requests, by time.
        clients: How many clients take part in all.

    Raises:
        SettingsError: The run is too short to attack in.
    """

    def __init__(self, count: int, start_us: int, end_us: int, rng: np.random.Generator) -> None:
        stretch_us = (end_us - start_us) // max(count, 1)
        if count and stretch_us * _SHARE_OF_STRETCH < _SHORTEST_US:
            msg = f"{(end_us - start_us) / 1e6:g} s of event time are too short for {count} attacks"
            raise SettingsError(msg, hint="ask for more events, more seconds, or fewer attackers")
        self.attacks: list[LogAttack] = []
        self.first_clients: list[int] = []
        self.clients = 0
        columns: list[list[Int64s]] = []
        for number in range(count):
            kind = KINDS[number % len(KINDS)]
            length_us = min(_LONGEST_US[kind], int(stretch_us * _SHARE_OF_STRETCH))
            begin_us = start_us + number * stretch_us
            begin_us += int(rng.integers(0, stretch_us - length_us + 1))
            clients, pages, status, agent = _asked(kind, length_us, rng)
            size = len(clients)
            times = np.sort(rng.integers(begin_us, begin_us + length_us, size=size))
            filled = [np.full(size, value, np.int64) for value in (status, agent, number)]
            columns.append([times, clients + self.clients, pages, *filled])
            distinct = len(np.unique(clients))
            self.first_clients.append(self.clients)
            self.clients += distinct
            self.attacks.append(LogAttack(kind, "", distinct, begin_us, begin_us + length_us, size))
        joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        joined = joined or [np.empty(0, np.int64)] * 6
        order = np.argsort(joined[0], kind="stable")
        self.requests = Requests(*(column[order] for column in joined))

    @property
    def events(self) -> int:
        """How many requests attackers make together; failing honest ones are not theirs."""
        return len(self.requests.times_us)

    def between(self, from_us: int, until_us: int) -> Requests:
        """Return the attackers' requests in [from, until)."""
        low, high = np.searchsorted(self.requests.times_us, [from_us, until_us])
        here = slice(int(low), int(high))
        every = self.requests
        return Requests(
            every.times_us[here],
            every.clients[here],
            every.pages[here],
            every.statuses[here],
            every.agents[here],
            every.attacks[here],
        )

    def failing(self, times_us: Int64s, rng: np.random.Generator) -> tuple[Int64s, Int64s]:
        """Return which honest requests fail because of `slow_errors`, and whose they are."""
        rows, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for number, attack in enumerate(self.attacks):
            if attack.kind != "slow_errors":
                continue
            progress = (times_us - attack.start_us) / (attack.end_us - attack.start_us)
            fails = rng.random(len(times_us)) < progress * GREATEST_ERROR_SHARE
            found = np.flatnonzero(fails & (progress < 1))
            rows.append(found)
            numbers.append(np.full(len(found), number, np.int64))
        return np.concatenate(rows), np.concatenate(numbers)


def _asked(kind: str, length_us: int, rng: np.random.Generator) -> tuple[Int64s, Int64s, int, int]:
    """Return clients from 0, pages, and the status and agent of all of an attack's requests."""
    if kind == "flood":
        size = int(FLOOD_RATE * length_us / 1e6)
        page = int(rng.integers(len(PAGES)))
        return np.zeros(size, np.int64), np.full(size, page, np.int64), _SERVED, FLOODER
    if kind == "distributed_flood":
        twice = np.arange(0, DISTRIBUTED_CLIENTS, _TWICE)
        clients = rng.permutation(np.concatenate([np.arange(DISTRIBUTED_CLIENTS), twice]))
        return clients, rng.integers(0, len(PAGES), size=len(clients)), _SERVED, ANY_BROWSER
    if kind == "scan":
        size = int(SCAN_RATE * length_us / 1e6)
        pages = len(PAGES) + np.arange(size) % len(PROBES)
        return np.zeros(size, np.int64), pages, _MISSING, SCANNER
    return np.empty(0, np.int64), np.empty(0, np.int64), _SERVED, FLOODER


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
