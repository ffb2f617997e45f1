"""Slow, plain references for the operators: one record at a time, no arrays, no batches.

Written from what the operators promise, not from how they keep it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from messages import Adopted, Ended, EndOfInput, Hello, Idle, Mark, Seen

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


# ---- which times to believe, and which are late --------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Whether a record's clock is believed; if so its shard's running maximum before it."""

    believed: bool
    before_us: int | None = None


def judge_by_arrival(times_us: Sequence[int], arrival_us: Sequence[int]) -> list[Verdict]:
    """More than 5 minutes ahead of its arrival is wrong."""
    maximum: int | None = None
    verdicts = []
    for time, arrival in zip(times_us, arrival_us, strict=True):
        if time - arrival > 5 * MINUTE:
            verdicts.append(Verdict(believed=False))
            continue
        verdicts.append(Verdict(True, maximum))
        maximum = time if maximum is None else max(maximum, time)
    return verdicts


def judge_by_jump(times_us: Sequence[int]) -> list[Verdict]:
    """A jump of more than an hour, and any first time, needs two more that are as far ahead.

    Of the three the first must not be more than an hour ahead of the earliest. A shard that ends
    too early to have three is believed if it has shown nothing else.
    """
    maximum: int | None = None
    verdicts = []
    for place, time in enumerate(times_us):
        if maximum is None or time - maximum > HOUR:
            three = times_us[place : place + 3]
            ahead = maximum is None or all(other - maximum > HOUR for other in three)
            enough = len(three) == 3 or maximum is None
            if not (enough and ahead and time - min(three) <= HOUR):
                verdicts.append(Verdict(believed=False))
                continue
        verdicts.append(Verdict(True, maximum))
        maximum = time if maximum is None else max(maximum, time)
    return verdicts


def is_late(time_us: int, before_us: int | None, length_us: int, disorder_us: int) -> bool:
    """Late: the window's end <= the shard's running maximum before - the allowed disorder."""
    if before_us is None:
        return False
    window_end_us = (time_us // length_us + 1) * length_us
    return window_end_us <= before_us - disorder_us


# ---- watermarks ---------------------------------------------------------------------------------


@dataclass
class _Shard:
    parents: set[str] = field(default_factory=set)
    maximum: int | None = None
    idle: int | None = None
    ended: bool = False


class PlainWatermark:
    """The minimum over shards, by recursion; forgets nothing and nobody."""

    def __init__(self, slots: Iterable[str], disorder_us: int, idle: str) -> None:
        self.silent = set(slots)
        self.unfinished = set(slots)
        self.disorder_us = disorder_us
        self.idle = idle
        self.shards: dict[str, _Shard] = defaultdict(_Shard)
        self.now_us: float = float("-inf")

    def apply(self, marks: Iterable[Mark]) -> None:
        for mark in marks:
            self._take(mark)
        if not self.unfinished:
            self.now_us = float("inf")
        elif not self.silent:
            holds = [self._hold(name) for name, shard in self.shards.items() if not shard.ended]
            holding = [hold for hold in holds if hold is not None]
            if holding:
                self.now_us = max(self.now_us, min(holding) - self.disorder_us)

    def _take(self, mark: Mark) -> None:
        if isinstance(mark, Seen):
            shard = self.shards[mark.shard]
            known = mark.maximum_us if shard.maximum is None else shard.maximum
            shard.maximum = max(known, mark.maximum_us)
            shard.idle = None
        elif isinstance(mark, Idle):
            shard = self.shards[mark.shard]
            shard.idle = mark.as_of_us if shard.idle is None else max(shard.idle, mark.as_of_us)
        elif isinstance(mark, Adopted):
            self.shards[mark.shard].parents.update(mark.parents)
        elif isinstance(mark, Ended):
            self.shards[mark.shard].ended = True
            for child in mark.children:
                self.shards[child].parents.add(mark.shard)
        elif isinstance(mark, Hello):
            self.silent.discard(mark.slot)
            for name in mark.shards:
                self.shards[name]  # makes it
        elif isinstance(mark, EndOfInput):
            self.silent.discard(mark.slot)
            self.unfinished.discard(mark.slot)

    def _hold(self, name: str) -> float | None:
        shard = self.shards[name]
        if shard.idle is not None and self.idle == "exclude":
            return None
        if shard.idle is not None and self.idle == "wallclock":
            return shard.idle if shard.maximum is None else max(shard.idle, shard.maximum)
        if shard.maximum is not None:
            return shard.maximum
        inherited = [self._hold(parent) for parent in shard.parents if parent in self.shards]
        if not inherited:
            return float("-inf")
        holding = [hold for hold in inherited if hold is not None]
        return min(holding) if holding else None
