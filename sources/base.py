"""What every source offers: a constant set of slots, each a resumable reader.

A slot is polled by the dataflow's one thread, so `poll` never blocks and never calls AWS. Its
position moves only with what `poll` has returned. Slots are constant for the life of a recovery
store; which shards a slot reads may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from messages import Block, Mark, Unreadable

# Plain, versioned, picklable: {"version": 1, "ledger": {...}, ...}. `Any` because each source
# has its own keys; the source that wrote a state is the only one that reads it.
SlotState = dict[str, Any]


class Slot(Protocol):
    """One resumable reader."""

    finished: bool
    """True once `EndOfInput` has been returned: nothing more will ever come."""

    def poll(self) -> Sequence[Block | Mark | Unreadable]:
        """Return what is there now, in order; an empty list when nothing is."""

    def next_awake(self) -> datetime | None:
        """Return when to poll again (UTC, aware); None for at once."""

    def snapshot(self) -> SlotState:
        """Return the position after the last `poll`, and the slot's part of the ledger."""

    def close(self) -> None:
        """Stop threads and close files; called once, also after a failure."""


class Source(Protocol):
    """A stream, an archive or a file."""

    name: str
    """For people and labels: the stream's name or the file's path."""

    finite: bool
    """True when it ends by itself with `EndOfInput` from every slot."""

    slots: tuple[str, ...]
    """Names of the slots, constant; they are state keys of the recovery store."""

    def open(self, slot: str, state: SlotState | None) -> Slot:
        """Open a slot at its start position, or where `state` left off."""
