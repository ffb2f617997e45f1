"""One key group of sessions: its share of one session window's keys, from packets to rows.

As in a `KeyGroup`, what was read goes in before the marks that came with it move the watermark, so
a session never closes before data that came with the mark that closes it.

The row of a session is written when the watermark has passed its gap (`phase: final`), and before,
once the watermark has reached its start, every `interim_seconds` of event time in which it changed
(`phase: interim`). All rows of a session have one row id, made of key and start; no start that the
watermark has reached ever changes, so no row is left behind under an id that is none any more.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import metrics
from messages import AggregateRows, Packet, SessionPieces
from operators.event_time import iso_time
from operators.interim import Interim
from operators.session_rows import SessionRows
from operators.session_spec import SessionWindow
from operators.session_values import SessionValues
from operators.sessions import OpenSessions, Sessions
from operators.spec import Field
from operators.watermarks import IdlePolicy, Watermark

STATE_VERSION = 1


class SessionGroup:
    """Sessions and watermark of one group.

    Args:
        name: The group's state key.
        domain: The domain's name.
        window: The session window whose keys it shares.
        fields: The domain's fields, by name.
        slots: The names of all slots of the source.
        disorder_us: The allowed disorder.
        idle: What idle shards do to the watermark.
        early: Whether interim rows are written.
        started_at_us: Sessions that may have begun before are cut off by the start.
        between_us: Only sessions wholly inside are written; the events of others are counted as
            `outside`. None for no bounds.
        clock: Now, in microseconds since the epoch.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        name: str,
        domain: str,
        window: SessionWindow,
        fields: dict[str, Field],
        *,
        slots: Sequence[str],
        disorder_us: int,
        idle: IdlePolicy,
        early: bool,
        started_at_us: int | None,
        between_us: tuple[int, int] | None = None,
        clock: Callable[[], int],
        state: bytes | None = None,
    ) -> None:
        restored: dict[str, Any] = pickle.loads(state) if state is not None else {}
        self._name = name
        self._domain = domain
        self._window = window
        self._fields = fields
        self._clock = clock
        self._started_at_us = started_at_us
        self._between_us = between_us
        self._values = SessionValues(window.values)
        self._interim = Interim(window.interim_seconds if early else 0, clock)
        self.windows = OpenSessions(
            window,
            self._values,
            restored.get("sessions"),
            counts_events=between_us is not None,
        )
        self.watermark = Watermark(slots, disorder_us, idle, restored.get("watermark"))
        self.ledger: Counter[str] = Counter(restored.get("ledger", {}))

    def take(self, packets: Sequence[Packet]) -> list[AggregateRows]:
        """Take packets in and return the rows that they caused."""
        found: list[AggregateRows] = []
        for packet in packets:
            for pieces in packet.partials:
                assert isinstance(pieces, SessionPieces), "packets are made for their window"
                self._count(pieces)
            if packet.marks:
                before_us = self.watermark.now_us
                self.watermark.apply(packet.marks)
                if self.watermark.now_us > before_us:
                    found.extend(self._close(before_us))
        return found

    def snapshot(self) -> bytes:
        """Return the whole state, serialised at once: its arrays go on changing."""
        state = {
            "version": STATE_VERSION,
            "group": self._name,
            "sessions": self.windows.snapshot(),
            "watermark": self.watermark.snapshot(),
            "ledger": dict(self.ledger),
        }
        return pickle.dumps(state, protocol=5)

    def _count(self, pieces: SessionPieces) -> None:
        name = self._window.name
        refused = self.windows.add(pieces, self.watermark.now_us)
        counted = int(pieces.events[~refused].sum())
        if counted:
            self.ledger[f"counted.{name}"] += counted
        is_reshard = pieces.starts_us < self.watermark.without_idle_us
        for why, which in (("reshard", is_reshard), ("idle", ~is_reshard)):
            late = int(pieces.events[refused & which].sum())
            if late:
                self.ledger[f"late_after_{why}.{name}"] += late
                metrics.late_events.labels(self._domain, name).inc(late)

    def _close(self, before_us: int) -> list[AggregateRows]:
        found: list[AggregateRows] = []
        now_us = self.watermark.now_us
        closed = self._inside(self.windows.close(now_us))
        metrics.windows_closed.labels(self._domain, self._window.name).inc(len(closed))
        if len(closed):
            found.append(self._rows(closed, "final"))
        if self._interim.is_due(before_us, now_us):
            changed = self.windows.changed(now_us)
            if len(changed):
                found.append(self._rows(changed, "interim"))
        return found

    def _inside(self, closed: Sessions) -> Sessions:
        """Return those that lie wholly inside the bounds, and account for the others."""
        if self._between_us is None:
            return closed
        from_us, to_us = self._between_us
        inside = closed.starts_us >= from_us
        inside &= closed.ends_us + self._window.gap_us <= to_us
        outside = int(closed.values[-1, ~inside].sum())
        self.ledger[f"outside.{self._window.name}"] += outside
        self.ledger[f"counted.{self._window.name}"] -= outside
        return closed.where(inside)

    def _rows(self, sessions: Sessions, phase: str) -> AggregateRows:
        codes = np.unique(self._values.text_codes(sessions.values)).tolist()
        rows = SessionRows(
            domain=self._domain,
            window=self._window,
            fields=self._fields,
            sessions=sessions,
            texts={code: self.windows.texts[code] for code in codes},
            phase=phase,
            emitted_at=iso_time(self._clock()),
            cut_before_us=None
            if self._started_at_us is None
            else self._started_at_us + self._window.gap_us,
        )
        return AggregateRows(self._window.name, rows)
