"""Rounds: when the pods of a service may start their workers, decided by the first of them.

The engine runs on all pods or on none: no process can join it later, and the epoch to resume at is
in recovery files that lie on all of them. So a pod whose workers have ended says so, with what its
files say (`Joining`), and a round begins when every pod has. While it goes on each pod gives signs
of life (`Beat`) and hears what to do.

Guarantee: a round begins only when each pod has itself said that none of its workers lives, all
have the same version and settings, and every recovery file is where it belongs. A round ends at
once when a pod is silent or comes back with another ticket; one that drains is left to end.

The first pod keeps the book because nothing could run without it either. Nothing here is saved: a
first pod that comes back knows nothing, tells all to end, and hears them join again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.snapshots import Marks, resume_of

SILENT_SECONDS = 5.0
"""How long a pod may be silent before its round is over, and how long one waits for the first."""

_FORGOTTEN_SECONDS = 3.0  # who waits asks several times a second


@dataclass(frozen=True)
class Joining:
    """What a pod says while it waits for a round.

    Attributes:
        pod: Its place among the pods.
        ticket: A new one for each wait: so a pod that started its workers is told from one that
            waits again.
        fields: All that must be the same on all pods: version, processes, layout.
        addresses: Where its workers will listen for each other.
        parts: Which recovery files it has.
        files: Of how many; 0 where it has none.
        marks: What its files know of executions and how far they got.
        started_at_us: When the first start on its store began; 0 before there was one.
    """

    pod: int
    ticket: str
    fields: Mapping[str, str | int]
    addresses: tuple[str, ...]
    parts: tuple[int, ...]
    files: int
    marks: Marks
    started_at_us: int


@dataclass(frozen=True)
class Round:
    """What all pods start with.

    Attributes:
        addresses: Of all workers, by index; each pod's own lie together.
        epoch: Where the engine resumes; what files hold from there on was never committed.
        started_at_us: When the first start on this store began.
        fresh: Whether the store is to be made: no pod's files have ever been used.
    """

    addresses: tuple[str, ...]
    epoch: int
    started_at_us: int
    fresh: bool


@dataclass(frozen=True)
class Answer:
    """A round, or what is being waited for."""

    round: Round | None = None
    waiting: str = ""


@dataclass(frozen=True)
class Beat:
    """A sign of life.

    Attributes:
        ticket: The one that the pod joined the round with.
        drain: Whether the pod was told to stop.
    """

    ticket: str
    drain: bool


@dataclass(frozen=True)
class Share:
    """What one pod's recovery files say of the ledger when a drain is done.

    Attributes:
        pod: Whose.
        epoch: The last one that is committed.
        counts: Sums by count name.
    """

    pod: int
    epoch: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Order:
    """What a pod is to do.

    Attributes:
        kind: Go on, drain, or end the workers at once.
        why: In the last case.
    """

    kind: Literal["go on", "drain", "end"]
    why: str = ""


class _Running:
    """A round that goes on."""

    def __init__(self, decided: Round, tickets: Sequence[str], now_seconds: float) -> None:
        self.decided = decided
        self.tickets = {ticket: pod for pod, ticket in enumerate(tickets)}
        self.heard = dict.fromkeys(tickets, now_seconds)
        self.draining = False
        self.over = ""


class Rounds:
    """The first pod's book; every method may be called in any thread.

    Args:
        pods: How many there are.
        clock_us: Now, in microseconds since the epoch: the first start's moment.
        monotonic_seconds: For signs of life.
    """

    def __init__(
        self,
        pods: int,
        clock_us: Callable[[], int],
        monotonic_seconds: Callable[[], float],
    ) -> None:
        self._pods = pods
        self._clock_us = clock_us
        self._monotonic_seconds = monotonic_seconds
        self._lock = threading.Condition()
        self._shares: dict[int, Share] = {}
        self._waiting: dict[int, tuple[Joining, float]] = {}
        self._running: _Running | None = None

    def join(self, joining: Joining) -> Answer:
        """Take note that a pod waits; asked again and again until the answer is a round."""
        with self._lock:
            now = self._monotonic_seconds()
            running = self._running
            if running is not None and not running.over:
                if joining.ticket in running.tickets:
                    return Answer(running.decided)
                if not running.draining:
                    running.over = f"pod {joining.pod} has to start again"
            if not 0 <= joining.pod < self._pods:
                return Answer(waiting=f"there is no pod {joining.pod} among {self._pods}")
            self._waiting[joining.pod] = (joining, now)
            self._waiting = {
                pod: (one, asked)
                for pod, (one, asked) in self._waiting.items()
                if now - asked < _FORGOTTEN_SECONDS
            }
            if absent := self._pods - len(self._waiting):
                pods = [str(pod) for pod in range(self._pods) if pod not in self._waiting]
                return Answer(waiting=f"waiting for pod{'s' * (absent > 1)} {', '.join(pods)}")
            members = [self._waiting[pod][0] for pod in range(self._pods)]
            if why := _hindrance(members):
                return Answer(waiting=why)
            decided = _decide(members, self._clock_us())
            self._running = _Running(decided, [one.ticket for one in members], now)
            self._waiting.clear()
            self._shares.clear()
            return Answer(decided)

    def beat(self, beat: Beat) -> Order:
        """Take note of a sign of life, and of who has been silent."""
        with self._lock:
            now = self._monotonic_seconds()
            running = self._running
            if running is None or beat.ticket not in running.tickets:
                return Order("end", "the first pod knows nothing of this round")
            running.heard[beat.ticket] = now
            if running.over:
                return Order("end", running.over)
            running.draining = running.draining or beat.drain
            if running.draining:
                return Order("drain")
            for ticket, heard in running.heard.items():
                if now - heard > SILENT_SECONDS:
                    running.over = (
                        f"pod {running.tickets[ticket]} has been silent for {now - heard:.0f} s"
                    )
                    return Order("end", running.over)
            return Order("go on")

    def share(self, share: Share) -> None:
        """Take note of a pod's share of the ledger."""
        with self._lock:
            self._shares[share.pod] = share
            self._lock.notify_all()

    def shares(self, timeout_seconds: float) -> list[Share]:
        """Return the shares of a drain, as soon as all are there, or those there are in time."""
        with self._lock:
            self._lock.wait_for(lambda: len(self._shares) == self._pods, timeout_seconds)
            return [self._shares[pod] for pod in sorted(self._shares)]


def _hindrance(members: Sequence[Joining]) -> str:
    """Say what keeps these pods from starting together; empty where nothing does."""
    first = members[0]
    for one in members[1:]:
        for name in sorted(first.fields.keys() | one.fields.keys()):
            ours, theirs = first.fields.get(name, "absent"), one.fields.get(name, "absent")
            if ours != theirs:
                return (
                    f"pod {one.pod} has {name} = {theirs}, pod 0 has {ours}: roll out one of them"
                )
    files = max(one.files for one in members)
    workers = sum(len(one.addresses) for one in members)
    if not any(one.marks.used for one in members):
        return ""
    if files < workers:
        return f"the recovery store was made for at most {files} workers, these are {workers}"
    if len({one.started_at_us for one in members if one.started_at_us}) > 1:
        return "the pods' volumes hold recovery stores of different runs"
    lost = [
        f"{part} on pod {part % len(members)}"
        for part in range(files)
        if part not in members[part % len(members)].parts
    ]
    return f"recovery files are missing: {', '.join(lost)}" if lost else ""


def _decide(members: Sequence[Joining], now_us: int) -> Round:
    fresh = not any(one.marks.used for one in members)
    known = [one.started_at_us for one in members if one.started_at_us]
    return Round(
        addresses=tuple(address for one in members for address in one.addresses),
        epoch=resume_of([one.marks for one in members]),
        started_at_us=min(known) if known else now_us,
        fresh=fresh,
    )
