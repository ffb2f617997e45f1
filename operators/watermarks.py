"""The watermark of a key group: the minimum over shards, with lineage and idle shards.

Marks travel with the data, so the watermark never overtakes it. A group knows the constant set of
slots and holds back until each has spoken. A shard without data holds what its parents hold: minus
infinity for a root. When a shard ends, its children hold in its place until they speak; the child
of a merge holds the minimum of both parents. The watermark never goes back.

Two watermarks are kept: the one that closes windows, and the one that would be if no shard had
ever been idle. They tell why an event found its window closed.
"""

from __future__ import annotations

from collections.abc import Sequence
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
        self._idle = idle
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
        for mark in marks:
            match mark:
                case Seen(name, maximum_us):
                    shard = self._shards.setdefault(name, _Shard())
                    if shard.maximum_us is None or maximum_us > shard.maximum_us:
                        shard.maximum_us = maximum_us
                    shard.idle_us = None
                case Idle(name, as_of_us):
                    shard = self._shards.setdefault(name, _Shard())
                    if shard.idle_us is None or as_of_us > shard.idle_us:
                        shard.idle_us = as_of_us
                case Adopted(name, parents):
                    self._adopt(name, parents)
                case Ended(name, children):
                    self._end(name, children)
                case Hello(slot, names):
                    self._silent.discard(slot)
                    for name in names:
                        self._shards.setdefault(name, _Shard())
                case EndOfInput(slot):
                    self._silent.discard(slot)
                    self._unfinished.discard(slot)
        self._advance()

    def _adopt(self, name: str, parents: tuple[str, ...]) -> None:
        shard = self._shards.setdefault(name, _Shard())
        if not shard.adopted:  # once: a slot says it again after each restart
            shard.adopted = True
            others = (parent for parent in shard.parents if parent not in parents)
            shard.parents = (*parents, *others)

    def _end(self, name: str, children: tuple[str, ...]) -> None:
        shard = self._shards.setdefault(name, _Shard())
        shard.ended, shard.children = True, children
        for child in children:
            known = self._shards.setdefault(child, _Shard())
            if name not in known.parents:
                known.parents = (*known.parents, name)

    def _advance(self) -> None:
        if not self._unfinished:
            self.now_us = self.without_idle_us = END
            return
        if self._silent:
            return
        self._forget()
        held_us = self._least_hold(self._idle)
        if held_us is not None:
            self.now_us = max(self.now_us, held_us - self._disorder_us)
        held_us = self._least_hold("hold")
        if held_us is not None:
            self.without_idle_us = max(self.without_idle_us, held_us - self._disorder_us)

    def _least_hold(self, idle: IdlePolicy) -> int | None:
        """Return the minimum over the shards that haven't ended; None when all are left out."""
        known: dict[str, int | None] = {}
        holds = [
            self._hold(name, idle, known) for name, shard in self._shards.items() if not shard.ended
        ]
        return min((hold for hold in holds if hold is not None), default=None)

    def _hold(self, name: str, idle: IdlePolicy, known: dict[str, int | None]) -> int | None:
        """Return what one shard holds the watermark at; None when it is left out.

        `known` is what others hold, as far as it is worked out: lineages meet at each merge.
        """
        if name not in known:
            shard = self._shards[name]
            if shard.idle_us is not None and idle == "exclude":
                known[name] = None
            elif shard.idle_us is not None and idle == "wallclock":
                shown_us = shard.idle_us if shard.maximum_us is None else shard.maximum_us
                known[name] = max(shard.idle_us, shown_us)
            elif shard.maximum_us is not None:
                known[name] = shard.maximum_us
            else:
                parents = [parent for parent in shard.parents if parent in self._shards]
                inherited = [self._hold(parent, idle, known) for parent in parents]
                holding = [hold for hold in inherited if hold is not None]
                all_left_out = bool(inherited) and not holding
                known[name] = None if all_left_out else min(holding, default=BEGINNING)
        return known[name]

    def _forget(self) -> None:
        """Drop ended shards that nothing can refer to any more.

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

    def _has_ended(self, name: str) -> bool:
        return name in self._shards and self._shards[name].ended

    def _has_spoken(self, name: str) -> bool:
        shard = self._shards.get(name)
        return shard is None or shard.maximum_us is not None
