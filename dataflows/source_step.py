"""The engine's view of a source: slots as partitions, decoded where they are read.

A partition's snapshot is the slot's position and its intake's state together, so that what is late
and what is not is decided exactly once for each record, in sequence order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from dataflows.pace import Pace
from dataflows.vitals import Vitals
from messages import Block, Mark, Unreadable
from operators.intake import Intake, Taken
from sources.base import Slot, Source

STATE_VERSION = 1
ROWS_A_TICK = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WAIT = timedelta(milliseconds=100)  # a far awakening would hold up epochs and drains
State = dict[str, Any]  # {"version", "slot": the source's own, "intake": Intake.snapshot()}


class SourceStep(FixedPartitionedSource[Taken, State]):
    """Reads all slots of a source.

    Args:
        source: Where records come from.
        intake: Makes the intake of a slot from its state.
        draining: Tells whether to stop reading; sources end, windows stay open.
        vitals: The process's.
        pace: When events are due; None for at once.
    """

    def __init__(
        self,
        source: Source,
        intake: Callable[[State | None], Intake],
        draining: Callable[[], bool],
        vitals: Vitals,
        pace: Pace | None = None,
    ) -> None:
        self._pace = pace
        self._source = source
        self._intake = intake
        self._draining = draining
        self._vitals = vitals

    def list_parts(self) -> list[str]:
        """Return the slots: constant, as the engine asks only once."""
        return list(self._source.slots)

    def build_part(
        self,
        step_id: str,  # noqa: ARG002  # the engine's signature
        for_part: str,
        resume_state: State | None,
    ) -> StatefulSourcePartition[Taken, State]:
        """Open a slot where its snapshot left off."""
        slot = self._source.open(for_part, resume_state["slot"] if resume_state else None)
        intake = self._intake(resume_state["intake"] if resume_state else None)
        return _SlotPartition(slot, intake, self._draining, self._vitals, self._pace)


class _SlotPartition(StatefulSourcePartition[Taken, State]):
    def __init__(
        self,
        slot: Slot,
        intake: Intake,
        draining: Callable[[], bool],
        vitals: Vitals,
        pace: Pace | None,
    ) -> None:
        self._pace = pace
        self._due: datetime | None = None
        self._slot = slot
        self._intake = intake
        self._draining = draining
        self._vitals = vitals

    def next_batch(self) -> list[Taken]:
        if self._draining() or self._slot.finished:
            raise StopIteration
        taken: list[Taken] = []
        if self._due is not None and datetime.now(UTC) < self._due:
            return taken
        rows = 0
        while rows < ROWS_A_TICK:  # small blocks stay in the cache, large ticks aggregate better
            items = self._poll()
            if items:
                taken.append(self._intake.take(items))
                rows += sum(len(part.times_us) for part in taken[-1].rows)
                if self._pace is not None and taken[-1].rows:
                    latest_us = max(int(part.times_us.max()) for part in taken[-1].rows)
                    self._due = _EPOCH + timedelta(microseconds=self._pace.due_us(latest_us))
                    break
            if not items or self._slot.finished or self._slot.next_awake() is not None:
                break
        self._vitals.events += sum(part.events for one in taken for part in one.rows)
        return taken

    def _poll(self) -> Sequence[Block | Mark | Unreadable]:
        vitals = self._vitals
        vitals.last_poll_monotonic_seconds = time.monotonic()
        cpu_before_seconds = time.process_time()
        items = self._slot.poll()
        if vitals.cpu_at_first_block_seconds is None and any(
            isinstance(item, Block) for item in items
        ):
            vitals.cpu_at_first_block_seconds = cpu_before_seconds
            vitals.wall_at_first_block_monotonic_seconds = vitals.last_poll_monotonic_seconds
        return items

    def next_awake(self) -> datetime | None:
        if self._draining():
            return None
        if self._due is not None and datetime.now(UTC) < self._due:
            return min(self._due, datetime.now(UTC) + _LONGEST_WAIT)
        return self._slot.next_awake()

    def snapshot(self) -> State:
        return {
            "version": STATE_VERSION,
            "slot": self._slot.snapshot(),
            "intake": self._intake.snapshot(),
        }

    def close(self) -> None:
        self._slot.close()
