"""What a slot's blocks become on the spot: decoded, judged, ready to be aggregated.

One `Intake` a slot. Its state holds each shard's running maximum (so lateness is exact in sequence
order, whatever the batches, and after a crash), the one or two events whose clocks are still in
question, and where events have ids those that came lately. It lives in the snapshot of the slot,
beside the position it belongs to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

import metrics
from messages import (
    Block,
    Ended,
    EndOfInput,
    Events,
    Int64s,
    Late,
    Mark,
    Points,
    Reject,
    Seen,
    UInt64s,
    Unreadable,
)
from operators.allow import AllowList
from operators.codes import integer_codes
from operators.decode import Column, Decoded, Decodes, Rejected
from operators.derived import Difference, derive
from operators.event_ids import DELIVERED_AGAIN_US, RecentIds, State
from operators.filters import Drops, Filters
from operators.lateness import NO_TIME, judge_by_arrival, judge_by_jump, late_rows
from operators.record_points import RecordPoints
from operators.reference import Joins
from operators.session_spec import AnyWindow, SessionWindow

STATE_VERSION = 1
DUPLICATE = "duplicate"
"""Why an event is dropped whose id its shard has shown lately."""

Writes = Callable[[Block, Decoded, Int64s], Events]
"""Writes rows of a decoded block out, for those who want single events."""


@dataclass(slots=True)
class Rows:
    """Events of one shard, columns of length n.

    Attributes:
        columns: As decoded.
        times_us: int64[n].
        counted: For each window in order the rows that it counts (events that aren't late),
            ascending; None where it counts them all.
        events: How many of the rows are events.
    """

    columns: dict[str, Column]
    times_us: Int64s
    counted: tuple[Int64s | None, ...]
    events: int


@dataclass(slots=True)
class Taken:
    """What one poll of one slot brought."""

    rows: list[Rows] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    aside: list[Events | Late | Reject] = field(default_factory=list)
    points: list[Points] = field(default_factory=list)


@dataclass(slots=True)
class _Shard:
    maximum_us: int = NO_TIME
    waiting: list[tuple[bytes, str]] = field(default_factory=list)  # (payload, sequence number)
    ids: RecentIds | None = None  # where events have ids


class Intake:
    """Decodes and judges the blocks of one slot.

    Args:
        domain: The domain's name, for rejects and late events.
        decoder: Makes columns of payloads; all intakes of a process may share it.
        windows: The windows that will count the events.
        disorder_us: The allowed disorder.
        allowed: Whose events some windows don't count.
        points: What detectors of events see.
        filters: Which events windows count; by default all of them.
        joins: Tables that say more of events.
        event_id: The field that tells duplicates, which are dropped; "" where none does.
        writes: Writes out single events, late ones included; None if nobody wants them.
        derived: Fields that are made of decoded ones.
        drops: Which events are dropped on purpose.
        between_us: Only windows that lie wholly inside are counted, and only events inside are told
            of one by one; what other windows would count is counted as `outside`. None for no
            bounds.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        domain: str,
        decoder: Decodes,
        windows: Sequence[AnyWindow],
        disorder_us: int,
        state: dict[str, Any] | None = None,
        *,
        allowed: AllowList | None = None,
        points: RecordPoints | None = None,
        filters: Filters | None = None,
        joins: Joins | None = None,
        event_id: str = "",
        writes: Writes | None = None,
        derived: Sequence[Difference] = (),
        drops: Drops | None = None,
        between_us: tuple[int, int] | None = None,
    ) -> None:
        self._domain = domain
        self._windows = tuple(windows)
        self._disorder_us = disorder_us
        self._decoder = decoder
        self._allowed = allowed
        self._points = points
        self._filters = filters
        self._joins = joins
        self._event_id = event_id
        self._writes = writes
        self._derived = derived
        self._drops = drops
        self._between_us = between_us
        self._shards: dict[str, _Shard] = {}
        self.ledger: Counter[str] = Counter()
        if state is not None:
            self.ledger.update(state["ledger"])
            ids = state.get("ids", {})
            for shard, (maximum_us, waiting) in state["shards"].items():
                self._shards[shard] = _Shard(maximum_us, list(waiting), self._ids(ids.get(shard)))

    def take(self, items: Sequence[Block | Mark | Unreadable]) -> Taken:
        """Turn what a slot's poll returned into rows and marks, in order."""
        taken = Taken()
        for item in items:
            if isinstance(item, Block):
                self._take_block(item, taken, at_end=False)
                continue
            if isinstance(item, Unreadable):
                named = Block(item.shard, (), (item.sequence_number,))
                bad = Rejected(0, item.reason, item.detail, b"")
                self._set_rejects_aside(named, [bad], taken)
                continue
            if isinstance(item, EndOfInput):
                for name in self._shards:
                    self._settle(name, taken)
            elif isinstance(item, Ended):
                self._settle(item.shard, taken)
                self._shards.pop(item.shard, None)
            taken.marks.append(item)
        return taken

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; the slot's snapshot carries it."""
        state = {
            "version": STATE_VERSION,
            "shards": {
                name: (shard.maximum_us, tuple(shard.waiting))
                for name, shard in self._shards.items()
            },
            "ledger": dict(self.ledger),
        }
        ids = {name: shard.ids.snapshot() for name, shard in self._shards.items() if shard.ids}
        return {**state, "ids": ids} if ids else state

    def _ids(self, state: State | None = None) -> RecentIds | None:
        """Return the memory of a shard's ids, if events have any."""
        keep_us = self._disorder_us + DELIVERED_AGAIN_US
        return RecentIds(keep_us, state) if self._event_id else None

    def _settle(self, name: str, taken: Taken) -> None:
        """Decide on the events that still wait, as nothing will come behind them."""
        if name in self._shards and self._shards[name].waiting:
            self._take_block(Block(name, (), ()), taken, at_end=True)

    def _take_block(self, block: Block, taken: Taken, *, at_end: bool) -> None:
        shard = self._shards.get(block.shard)
        if shard is None:
            shard = self._shards[block.shard] = _Shard(ids=self._ids())
        waited = len(shard.waiting)
        if waited:
            block = Block(
                block.shard,
                [*(payload for payload, _ in shard.waiting), *block.payloads],
                [*(number for _, number in shard.waiting), *block.sequence_numbers],
            )
            shard.waiting = []
        decoded = self._decoder.decode(block.payloads, block.arrival_us)
        derive(self._derived, decoded.columns)
        rows = np.arange(len(decoded.times_us))
        if len(decoded.bad_rows):
            rows = np.delete(rows, decoded.bad_rows)
        times_us = decoded.times_us[rows]
        if block.arrival_us is None:
            judged = judge_by_jump(times_us, shard.maximum_us, at_end=at_end)
            reason = ("time_jump", "no other clock of the shard agrees")
        else:
            sources = rows if decoded.source is None else decoded.source[rows]
            judged = judge_by_arrival(times_us, block.arrival_us[sources], shard.maximum_us)
            reason = ("time_ahead", "the event time is ahead of the record's arrival")
        shard.maximum_us = judged.maximum_us
        for row in rows[judged.rejected].tolist():
            payload = decoded.payload_of(row, block.payloads)
            decoded.rejected.append(Rejected(decoded.source_of(row), *reason, payload))
        for row in rows[judged.waiting].tolist():
            number = str(block.sequence_numbers[decoded.source_of(row)])
            shard.waiting.append((decoded.payload_of(row, block.payloads), number))
        events, before_us = rows[judged.accepted], judged.before_us
        for why, is_dropped in self._drops.found(decoded.columns) if self._drops else ():
            kept = ~is_dropped[events]
            self._count_dropped(why, len(events) - int(kept.sum()))
            events, before_us = events[kept], before_us[kept]
        if shard.ids is not None:
            reached_us = np.maximum(before_us, decoded.times_us[events])
            is_new = shard.ids.are_new(self._id_codes(decoded, events), reached_us)
            events, before_us = events[is_new], before_us[is_new]
            self._count_dropped(DUPLICATE, int((~is_new).sum()))
        for joined in self._joins.join(decoded.columns) if self._joins else ():
            is_there = joined.found[events]
            if joined.drops:
                events, before_us = events[is_there], before_us[is_there]
                self._count_dropped(f"not_in_{joined.reference.name}", int((~is_there).sum()))
            else:
                self.ledger[f"missing.{joined.reference.name}"] += int((~is_there).sum())
        self._account(
            len(events), decoded.objects - len(block.payloads), len(shard.waiting) - waited
        )
        self._set_rejects_aside(block, decoded.rejected, taken)
        if len(judged.accepted):  # what is dropped moves time on, too
            taken.marks.append(Seen(block.shard, judged.maximum_us))
        if len(events):
            taken.rows.append(self._rows(block, decoded, events, before_us, taken))
            told = self._told(decoded, events)
            if self._points and len(told):
                taken.points.extend(self._points.of(block, decoded, told))
            if self._writes:
                events_written = self._writes(block, decoded, told)
                self.ledger["events_passed_on"] += len(events_written.rows)
                taken.aside.append(events_written)

    def _rows(
        self, block: Block, decoded: Decoded, events: Int64s, before_us: Int64s, taken: Taken
    ) -> Rows:
        size = len(decoded.times_us)
        times_us = decoded.times_us if len(events) == size else decoded.times_us[events]
        counted: list[Int64s | None] = []
        allowed = self._allowed.rows(decoded.columns) if self._allowed else None
        for index, window in enumerate(self._windows):
            late = late_rows(times_us, before_us, window.grain_us, self._disorder_us)
            passes = self._filters.passes(index, decoded.columns) if self._filters else None
            if passes is not None:
                passes = passes[events]
                late &= passes  # what a window doesn't count isn't late for it
            if allowed is not None and not window.counts_allowed:
                passes = ~allowed[events] if passes is None else passes & ~allowed[events]
            inside = self._inside(times_us, window)
            if inside is not None:
                self.ledger[f"outside.{window.name}"] += int((~inside).sum())
                late &= inside
            late_events = events[late]
            if len(late_events):
                self._set_late_aside(block, decoded, late_events, window, taken)
            if passes is not None:
                filtered = ~late & ~passes if inside is None else ~late & ~passes & inside
                self.ledger[f"filtered.{window.name}"] += int(filtered.sum())
            if inside is not None:
                passes = inside if passes is None else passes & inside
            if passes is not None:
                counted.append(events[~late & passes])
            elif len(late_events):
                counted.append(events[~late])
            else:
                counted.append(None if len(events) == size else events)
        return Rows(decoded.columns, decoded.times_us, tuple(counted), len(events))

    def _told(self, decoded: Decoded, events: Int64s) -> Int64s:
        """Return the events that are told of one by one: those inside the bounds."""
        if self._between_us is None:
            return events
        from_us, to_us = self._between_us
        times_us = decoded.times_us[events]
        return events[(times_us >= from_us) & (times_us < to_us)]

    def _inside(self, times_us: Int64s, window: AnyWindow) -> npt.NDArray[np.bool_] | None:
        """Tell which events belong to windows wholly inside the bounds; None for all.

        Of sessions only their group can tell, if it gets what a session that begins before the
        bounds has in the gap before them.
        """
        if self._between_us is None:
            return None
        from_us, to_us = self._between_us
        if isinstance(window, SessionWindow):
            from_us -= window.gap_us
        starts_us = times_us - times_us % window.grain_us
        inside: npt.NDArray[np.bool_] = starts_us >= from_us
        inside &= starts_us + window.grain_us <= to_us
        return inside

    def _set_late_aside(
        self, block: Block, decoded: Decoded, rows: Int64s, window: AnyWindow, taken: Taken
    ) -> None:
        self.ledger[f"late.{window.name}"] += len(rows)
        metrics.late_events.labels(self._domain, window.name).inc(len(rows))
        for row in rows.tolist():
            time_us = int(decoded.times_us[row])
            taken.aside.append(
                Late(
                    domain=self._domain,
                    aggregate=window.name,
                    window_start_us=time_us - time_us % window.grain_us,
                    event_time_us=time_us,
                    shard=block.shard,
                    sequence_number=str(block.sequence_numbers[decoded.source_of(row)]),
                    payload=decoded.payload_of(row, block.payloads),
                )
            )

    def _set_rejects_aside(self, block: Block, rejected: Sequence[Rejected], taken: Taken) -> None:
        for bad in rejected:
            self.ledger[f"rejected.{bad.reason}"] += 1
            metrics.rejected_records.labels(self._domain, bad.reason).inc()
            taken.aside.append(
                Reject(
                    domain=self._domain,
                    reason=bad.reason,
                    detail=bad.detail,
                    shard=block.shard,
                    sequence_number=str(block.sequence_numbers[bad.index]),
                    payload=bad.payload,
                )
            )

    def _id_codes(self, decoded: Decoded, events: Int64s) -> UInt64s:
        column = decoded.columns[self._event_id][events]
        is_text = column.dtype == np.uint64
        return column.view(np.uint64) if is_text else integer_codes(column.view(np.int64))

    def _count_dropped(self, reason: str, events: int) -> None:
        if events:
            self.ledger[f"dropped.{reason}"] += events
            metrics.dropped_events.labels("decode", "true", reason).inc(events)

    def _account(self, events: int, additional: int, waiting: int) -> None:
        """Keep `user records + additional objects = events + rejected + dropped + waiting`."""
        self.ledger["events"] += events
        self.ledger["additional_objects"] += additional
        self.ledger["waiting"] += waiting
        metrics.events.labels(self._domain).inc(events)
