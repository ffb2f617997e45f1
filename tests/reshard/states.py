"""The states of a reshard, as a recovery store and a listing show them.

What counts is what was committed: the next start goes on from there, whatever was in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from tests.reshard.stream import ListedShard

Committed = Mapping[str, Mapping[str, Any]]
"""By shard what its slot keeps (`Any`: its own plain values): `state`, `sequence`, and so on."""


class State(StrEnum):
    """How far a reshard had come for its reader. A parent with its children can be in several."""

    OPEN = "parent open, rows behind it unread"
    CLOSED = "parent closed, rows of it unread"
    AT_END = "parent closed, all rows read, its end not seen"
    DRAINED = "parent drained, children not listed"
    ADOPTED = "children adopted, parent not ended"
    SILENT = "parent ended, nothing read of its children"
    READING = "parent ended, children being read"


def states_of(
    shards: Mapping[str, ListedShard], committed: Committed, is_unread: Callable[[str], bool]
) -> dict[State, set[str]]:
    """Return which shards are in which state, each as a parent.

    Any open shard with unread rows is given as OPEN: whether it is resharded will be seen.

    Args:
        shards: What the stream lists.
        committed: What the slots have committed.
        is_unread: Whether a shard holds rows behind its committed position.
    """
    found: dict[State, set[str]] = {state: set() for state in State}
    for name, shard in shards.items():
        phase = committed[name]["state"] if name in committed else None
        if shard.is_open:
            if is_unread(name):
                found[State.OPEN].add(name)
            continue
        children = [child for child in shards.values() if name in child.parents]
        known = [child.id for child in children if child.id in committed]
        if phase == "ended":
            if any(child.is_open for child in children):  # else a later reshard is under way
                reads = any(committed[child]["sequence"] is not None for child in known)
                found[State.READING if reads else State.SILENT].add(name)
            continue
        if phase == "drained":
            found[State.DRAINED].add(name)
        else:
            found[State.CLOSED if is_unread(name) else State.AT_END].add(name)
        if known:
            found[State.ADOPTED].add(name)
    return found
