"""What a sequence will do: drawn from its seed alone, before anything runs."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.reshard.states import State
from tests.reshard.stream import Change

Victim = Literal["worker", "supervisor", "all"]

FEWEST_STEPS = 12
_MOST_STEPS = 15
_MOST_PROCESSES = 3


@dataclass(frozen=True)
class Put:
    """Write events; to every open shard, or wherever their hash keys fall."""

    events: int
    to_all: bool


@dataclass(frozen=True)
class Reshard:
    """Split, merge, or change the number of shards, where the stream allows it."""

    change: Change


@dataclass(frozen=True)
class Pause:
    """Write nothing for a while: shards become idle, listings grow old."""

    seconds: float


@dataclass(frozen=True)
class Kill:
    """kill -9 in the midst of a reshard.

    Attributes:
        amid: The state of a reshard that is aimed at.
        change: The reshard.
        victim: Who is killed.
        processes: With how many it is started again, where nobody does it by itself.
    """

    amid: State
    change: Change
    victim: Victim
    processes: int


@dataclass(frozen=True)
class Restart:
    """Drain and start again.

    Attributes:
        meanwhile: What becomes of the stream while nobody reads it, with writes between.
        processes: With how many it is started again.
    """

    meanwhile: tuple[Change, ...]
    processes: int


Step = Put | Reshard | Pause | Kill | Restart


@dataclass(frozen=True)
class Plan:
    """A sequence.

    Attributes:
        seed: That it was drawn from.
        package: The server.
        shards: How many the stream begins with.
        before: What was done to the stream before the first start, with writes between.
        is_live: Whether events have the clock's time.
        slots: Of the source.
        is_slow: Whether shards are read at a slow pace, so that more happens between two reads.
        steps: One after the other.
        lists_at_end: Whether it is started once more before all is compared: who starts lists the
            shards at once, while another process than its parents' finds a child within half a
            minute.
    """

    seed: int
    package: str
    shards: int
    before: tuple[Change, ...]
    is_live: bool
    slots: int
    is_slow: bool
    steps: tuple[Step, ...]
    lists_at_end: bool


_AIMS = {
    "kinesis-local": (State.OPEN, State.CLOSED, State.ADOPTED, State.SILENT, State.READING),
    # Only a server that doesn't name a shard's children leaves it drained for longer.
    "kinesalite": tuple(state for state in State if state is not State.AT_END),
}


def plan_of(seed: int) -> Plan:
    """Draw a sequence."""
    rng = random.Random(seed)
    package = ("kinesis-local", "kinesalite")[seed % 2]
    aims = _AIMS[package]
    running = [1]  # how many processes, as the steps go on

    def kill(amid: State) -> Kill:
        victim: Victim = rng.choice(("worker", "worker", "supervisor", "all"))
        processes = running[-1] if victim == "worker" else _processes(rng, running[-1])
        running.append(processes)
        return Kill(amid, _change(rng, package), victim, processes)

    def restart() -> Restart:
        running.append(_processes(rng, running[-1]))
        generations = rng.choice((0, 0, 1, 1, 2, 3))
        return Restart(tuple(_change(rng, package) for _ in range(generations)), running[-1])

    draws: tuple[Callable[[], Step], ...] = (
        lambda: Put(rng.randrange(5, 40), to_all=rng.random() < 0.6),
        lambda: Reshard(_change(rng, package)),
        lambda: Pause(round(rng.uniform(0.2, 1.2), 2)),
        lambda: kill(rng.choice(aims)),
        restart,
    )
    size = rng.randrange(FEWEST_STEPS, _MOST_STEPS + 1)
    # Each sequence has a kill in its later half at least, its aim by turns.
    place = rng.randrange(size // 2, size - 1)
    steps: list[Step] = []
    for number in range(size):
        if number == place:
            steps.append(kill(aims[seed // 2 % len(aims)]))
        else:
            (draw,) = rng.choices(draws, weights=(36, 40, 14, 4, 6))
            steps.append(draw())
    return Plan(
        seed,
        package,
        shards=rng.randrange(1, 4),
        before=tuple(_change(rng, package) for _ in range(rng.choice((0, 0, 1, 2)))),
        is_live=rng.random() < 0.3,
        slots=rng.choice((3, 8, 13)),
        is_slow=rng.random() < 0.5,
        steps=tuple(steps),
        lists_at_end=running[-1] > 1 and rng.random() < 0.75,
    )


def _change(rng: random.Random, package: str) -> Change:
    change: Change = rng.choice(("split", "split", "split", "merge", "merge", "scale"))
    return "merge" if change == "scale" and package == "kinesalite" else change


def _processes(rng: random.Random, now: int) -> int:
    """Return the same number in one case of three, else mostly a smaller one."""
    if rng.random() < 1 / 3:
        return now
    others = [number for number in range(1, _MOST_PROCESSES + 1) if number != now]
    (chosen,) = rng.choices(others, weights=[1 / number for number in others])
    return chosen
