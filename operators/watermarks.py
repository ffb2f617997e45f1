"""The watermark of a key group: the minimum over shards, with lineage and idle shards.

Marks travel with the data, so the watermark never overtakes it. A group knows the constant set of
slots and holds back until each has spoken. A shard without data holds what its parents hold: minus
infinity for a root. When a shard ends, its children hold in its place until they speak; the child
of a merge holds the minimum of both parents. The watermark never goes back.

Two watermarks are kept: the one that closes windows, and the one that would be if no shard had
ever been idle. They tell why an event found its window closed.

Every group takes every mark, so a process with many shards does little else when its stream is
quiet: what a shard holds is kept from mark to mark, and the minimum is found without Python code
for each shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from messages import Adopted, Ended, EndOfInput, Hello, Idle, Mark, Seen

IdlePolicy = Literal["wallclock", "exclude", "hold"]
"""What an idle shard does: moves with the clock, is left out, or holds the watermark back."""

BEGINNING = -(2**62)
END = 2**62
"""The watermark before any event, and after all input."""


@dataclass(slots=True)
class _Shard:
    maximum_us: int | None = None
    idle_us: int | None = None
    parents: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    ended: bool = False
    adopted: bool = False

    def speaks(self, idle: IdlePolicy) -> bool:
        """Whether it holds the watermark, or is left out, by its own word."""
        return self.maximum_us is not None or (self.idle_us is not None and idle != "hold")

    def own_hold(self, idle: IdlePolicy) -> int | None:
        """Return what it holds the watermark at by its own word; None when it is left out."""
        if self.idle_us is None or idle == "hold":
            return self.maximum_us
        if idle == "exclude":
            return None
        return self.idle_us if self.maximum_us is None else max(self.idle_us, self.maximum_us)


class _Holds:
    """What each living shard holds the watermark at, under one policy.

    Args:
        idle: The policy.
        hold: Works out what a shard that has not spoken inherits; None when it is left out.
    """

    def __init__(
        self,
        idle: IdlePolicy,
        hold: Callable[[str, IdlePolicy, dict[str, int | None]], int | None],
    ) -> None:
        self._idle = idle
        self._hold = hold
        self._own: dict[str, int] = {}  # of shards that have spoken
        self._unspoken: dict[str, None] = {}

    def take(self, name: str, shard: _Shard) -> None:
        """A shard is new, has changed or ended."""
        speaks = shard.speaks(self._idle)
        own = shard.own_hold(self._idle) if speaks and not shard.ended else None
        if own is None:
            self._own.pop(name, None)
        else:
            self._own[name] = own
        if speaks or shard.ended:
            self._unspoken.pop(name, None)
        else:
            self._unspoken[name] = None

    def least(self) -> int | None:
        """Return the minimum over the shards that haven't ended; None when all are left out."""
        least = min(self._own.values(), default=None)
        known: dict[str, int | None] = {}
        for name in self._unspoken:
            hold = self._hold(name, self._idle, known)
            if hold == BEGINNING:
                return hold
            if hold is not None and (least is None or hold < least):
                least = hold
        return least


class Watermark:
    """Turns marks into watermarks.

    Args:
        slots: The names of all slots of the source.
        disorder_us: The allowed disorder.
        idle: What idle shards do.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        slots: Sequence[str],
        disorder_us: int,
        idle: IdlePolicy,
        state: dict[str, Any] | None = None,
    ) -> None:
        self._disorder_us = disorder_us
        self._silent = set(slots)
        self._unfinished = set(slots)
        self._shards: dict[str, _Shard] = {}
        self.now_us = BEGINNING
        self.without_idle_us = BEGINNING
        if state is not None:
            self._silent = set(state["silent"])
            self._unfinished = set(state["unfinished"])
            self._shards = {name: _Shard(*view) for name, view in state["shards"].items()}
            self.now_us = state["now_us"]
            self.without_idle_us = state["without_idle_us"]
        self._holds = _Holds(idle, self._hold)
        self._holds_without_idle = _Holds("hold", self._hold)
        self._take(self._shards)
        self._may_forget = True

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "silent": sorted(self._silent),
            "unfinished": sorted(self._unfinished),
            "shards": {
                name: (
                    view.maximum_us,
                    view.idle_us,
                    view.parents,
                    view.children,
                    view.ended,
                    view.adopted,
                )
                for name, view in self._shards.items()
            },
            "now_us": self.now_us,
            "without_idle_us": self.without_idle_us,
        }

    def apply(self, marks: Sequence[Mark]) -> None:
        """Take marks in and move on as far as they allow."""
        touched: dict[str, None] = {}
        for mark in marks:
            match mark:
                case Idle(name, as_of_us):
                    shard = self._shard(name)
                    if shard.idle_us is None or as_of_us > shard.idle_us:
                        shard.idle_us = as_of_us
                    touched[name] = None
                case Seen(name, maximum_us):
                    shard = self._shard(name)
                    if shard.maximum_us is None:
                        self._may_forget = True  # its parents
                    if shard.maximum_us is None or maximum_us > shard.maximum_us:
                        shard.maximum_us = maximum_us
                    shard.idle_us = None
                    touched[name] = None
                case Adopted(name, parents):
                    self._adopt(name, parents)
                    touched[name] = None
                case Ended(name, children):
                    self._end(name, children)
                    touched.update(dict.fromkeys((name, *children)))
                case Hello(slot, names):
                    self._silent.discard(slot)
                    for name in names:
                        self._shard(name)
                    touched.update(dict.fromkeys(names))
                case EndOfInput(slot):
                    self._silent.discard(slot)
                    self._unfinished.discard(slot)
        self._take(touched)
        self._advance()

    def _shard(self, name: str) -> _Shard:
        shard = self._shards.get(name)
        if shard is None:
            shard = self._shards[name] = _Shard()
        return shard

    def _take(self, names: Iterable[str]) -> None:
        for name in names:
            shard = self._shards[name]
            self._holds.take(name, shard)
            self._holds_without_idle.take(name, shard)

    def _adopt(self, name: str, parents: tuple[str, ...]) -> None:
        shard = self._shard(name)
        if not shard.adopted:  # once: a slot says it again after each restart
            shard.adopted = True
            others = (parent for parent in shard.parents if parent not in parents)
            shard.parents = (*parents, *others)
            self._may_forget = True

    def _end(self, name: str, children: tuple[str, ...]) -> None:
        shard = self._shard(name)
        shard.ended, shard.children = True, children
        for child in children:
            known = self._shard(child)
            if name not in known.parents:
                known.parents = (*known.parents, name)
        self._may_forget = True

    def _advance(self) -> None:
        if not self._unfinished:
            self.now_us = self.without_idle_us = END
            return
        if self._silent:
            return
        if self._may_forget:
            self._may_forget = self._forget()
        held_us = self._holds.least()
        if held_us is not None:
            self.now_us = max(self.now_us, held_us - self._disorder_us)
        held_us = self._holds_without_idle.least()
        if held_us is not None:
            self.without_idle_us = max(self.without_idle_us, held_us - self._disorder_us)

    def _hold(self, name: str, idle: IdlePolicy, known: dict[str, int | None]) -> int | None:
        """Return what one shard holds the watermark at; None when it is left out.

        `known` is what others hold, as far as it is worked out: lineages meet at each merge. They
        may be as long as a quiet stream was resharded often, hence no recursion.
        """
        waiting = [name]
        while waiting:
            one = waiting[-1]
            shard = self._shards[one]
            if shard.speaks(idle):
                known[one] = shard.own_hold(idle)
            else:
                parents = [parent for parent in shard.parents if parent in self._shards]
                unknown = [parent for parent in parents if parent not in known]
                if unknown:
                    waiting.extend(unknown)
                    continue
                holding = [hold for parent in parents if (hold := known[parent]) is not None]
                all_left_out = bool(parents) and not holding
                known[one] = None if all_left_out else min(holding, default=BEGINNING)
            waiting.pop()
        return known[name]

    def _forget(self) -> bool:
        """Drop ended shards that nothing can refer to any more; return whether there were any.

        An ended shard is kept while a parent of it hasn't ended, or isn't known yet (the parent's
        end would bring it back to life), and while a child that hasn't spoken holds in its place.
        """
        forgettable = [
            name
            for name, shard in self._shards.items()
            if shard.ended
            and all(self._has_ended(parent) for parent in shard.parents)
            and all(self._has_spoken(child) for child in shard.children)
        ]
        for name in forgettable:
            for child in self._shards.pop(name).children:
                heir = self._shards.get(child)
                if heir is not None:
                    heir.parents = tuple(parent for parent in heir.parents if parent != name)
        return bool(forgettable)  # then others may follow, next time

    def _has_ended(self, name: str) -> bool:
        return name in self._shards and self._shards[name].ended

    def _has_spoken(self, name: str) -> bool:
        shard = self._shards.get(name)
        return shard is None or shard.maximum_us is not None
