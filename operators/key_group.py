"""One key group: its share of one aggregate's keys, from packets to alerts and rows.

The order inside a packet is: what was read goes in first, then the marks move the watermark, then
windows close. So a window never closes before data that came with the mark that closes it.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import metrics
from messages import AggregateRows, Alert, Closed, Packet, Partial, Scalar, Summary
from operators.accumulators import accumulators_of, read_values
from operators.event_time import iso_time
from operators.feature_spec import KeyForest, StreamForest
from operators.features import Summariser
from operators.interim import Interim
from operators.key_detection import KeyDetection
from operators.rows import aggregate_rows
from operators.rules import Rule
from operators.spec import Field, Ratio, Threshold, Window
from operators.watermarks import IdlePolicy, Watermark
from operators.windows import OpenWindow, OpenWindows, top_rows

STATE_VERSION = 1
GroupOutput = Alert | AggregateRows | Closed | Summary


class KeyGroup:
    """Windows, watermark and rules of one group.

    Args:
        name: The group's state key.
        domain: The domain's name.
        window: The window whose keys it shares.
        fields: The domain's fields, by name.
        rules: The rules that watch the window.
        detectors: The detectors that see it.
        slots: The names of all slots of the source.
        disorder_us: The allowed disorder.
        idle: What idle shards do to the watermark.
        early: Whether rules fire before a window closes.
        started_at_us: Windows that begin before are cut off by the start.
        clock: Now, in microseconds since the epoch.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        name: str,
        domain: str,
        window: Window,
        fields: dict[str, Field],
        rules: Sequence[Threshold | Ratio],
        detectors: Sequence[StreamForest | KeyForest] = (),
        *,
        slots: Sequence[str],
        disorder_us: int,
        idle: IdlePolicy,
        early: bool,
        started_at_us: int | None,
        clock: Callable[[], int],
        state: bytes | None = None,
    ) -> None:
        restored: dict[str, Any] = pickle.loads(state) if state is not None else {}
        self._name = name
        self._domain = domain
        self._window = window
        self._fields = fields
        self._early = early
        self._clock = clock
        self._started_at_us = started_at_us
        self._accumulators = accumulators_of(window.values)
        self._rules = [Rule(domain, rule, window, fields, clock, started_at_us) for rule in rules]
        self._summarisers = [
            Summariser(one, window, name, restored.get("summaries", {}).get(one.name))
            for one in detectors
            if isinstance(one, StreamForest)
        ]
        forests = restored.get("forests", {})
        self._detections = [
            KeyDetection(domain, one, window, fields, clock, started_at_us, forests.get(one.name))
            for one in detectors
            if isinstance(one, KeyForest)
        ]
        self._told = [*(rule.name for rule in rules), *(one.name for one in detectors)]
        self._interim = Interim(window.interim_seconds if early else 0, clock)
        self.windows = OpenWindows(window, restored.get("windows"))
        self.watermark = Watermark(slots, disorder_us, idle, restored.get("watermark"))
        self.ledger: Counter[str] = Counter(restored.get("ledger", {}))

    def take(self, packets: Sequence[Packet]) -> list[GroupOutput]:
        """Take packets in and return what they caused, in order."""
        found: list[GroupOutput] = []
        for packet in packets:
            for partial in packet.partials:
                assert isinstance(partial, Partial), "packets are made for their window"
                found.extend(self._count(partial))
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
            "windows": self.windows.snapshot(),
            "watermark": self.watermark.snapshot(),
            "ledger": dict(self.ledger),
            "summaries": {one.detector: one.snapshot() for one in self._summarisers},
            "forests": {one.name: one.snapshot() for one in self._detections},
        }
        return pickle.dumps(state, protocol=5)

    def _count(self, partial: Partial) -> list[Alert]:
        window_end_us = partial.start_us + self.windows.length_us
        if window_end_us <= self.watermark.now_us:
            is_reshard = window_end_us <= self.watermark.without_idle_us
            why = "late_after_reshard" if is_reshard else "late_after_idle"
            self.ledger[f"{why}.{self._window.name}"] += partial.events
            metrics.late_events.labels(self._domain, self._window.name).inc(partial.events)
            return []
        self.ledger[f"counted.{self._window.name}"] += partial.events
        change = self.windows.add(partial)
        if not self._early:
            return []
        return [alert for rule in self._rules for alert in rule.crossings(partial.start_us, change)]

    def _close(self, before_us: int) -> list[GroupOutput]:
        found: list[GroupOutput] = []
        closed = self.windows.close(self.watermark.now_us)
        metrics.windows_closed.labels(self._domain, self._window.name).inc(len(closed))
        for start_us, window in closed:
            for rule in self._rules:
                found.extend(rule.finals(start_us, window))
            found.extend(one.summarise(start_us, window) for one in self._summarisers)
            for detection in self._detections:
                found.extend(detection.score(start_us, window))
            if self._window.emit:
                found.append(self._rows(start_us, window, "final"))
        if self._interim.is_due(before_us, self.watermark.now_us):
            changed = self.windows.changed(self.watermark.now_us)
            found.extend(self._rows(start_us, window, "interim") for start_us, window in changed)
        if self._passed_an_end(before_us):
            found.extend(Closed(name, self._name, self.watermark.now_us) for name in self._told)
        return found

    def _passed_an_end(self, before_us: int) -> bool:
        length_us = self.windows.length_us
        return before_us // length_us < self.watermark.now_us // length_us

    def _rows(self, start_us: int, window: OpenWindow, phase: str) -> AggregateRows:
        codes, arrays = window.codes, window.arrays
        if self._window.top:
            rows_kept = top_rows(window, 0, self._window.top)
            codes, arrays = codes[rows_kept], [array[rows_kept] for array in arrays]
        keys = window.keys_of(codes)
        values = read_values(self._window.values, self._accumulators, arrays, self._fields)
        tail: dict[str, Scalar | bool] = {"emitted_at": iso_time(self._clock())}
        if self._window.interim_seconds:
            tail = {"phase": phase, **tail}
        if self._started_at_us is not None and start_us < self._started_at_us:
            tail["partial"] = True
        starts_us = np.full(len(keys), start_us)
        return aggregate_rows(
            self._domain,
            self._window.name,
            starts_us,
            starts_us + self.windows.length_us,
            self._window.key,
            keys,
            dict(zip((value.name for value in self._window.values), values, strict=True)),
            tail,
        )
