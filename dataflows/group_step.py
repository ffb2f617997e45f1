"""The engine's view of key groups, detectors and notification decisions: one state a key.

The engine gives a state's builder no key, so each logic learns its own from its first packet, or
from its state.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable

from bytewax.operators import StatefulBatchLogic

import metrics
from dataflows.vitals import Vitals
from messages import AggregateRows, Alert, Closed, Digest, Packet, Points, Summary
from operators.detection import Detection
from operators.figures import Figures
from operators.key_group import GroupOutput, KeyGroup
from operators.notices import Notices
from operators.record_detection import RecordDetection
from operators.session_group import SessionGroup

Seen = Summary | Closed | Points
Detected = Alert | AggregateRows | Closed


class GroupLogic(StatefulBatchLogic[Packet, GroupOutput, bytes]):
    """One key group. End of input emits nothing: windows close by watermark only.

    Args:
        build: Makes the group of a name from its state.
        state: What `snapshot` returned, or None.
        vitals: The process's.
        figures: The process's.
    """

    def __init__(
        self,
        build: Callable[[str, bytes | None], KeyGroup | SessionGroup],
        state: bytes | None,
        vitals: Vitals,
        figures: Figures,
    ) -> None:
        self._build = build
        self._vitals = vitals
        self._figures = figures
        self._name = ""
        self._group: KeyGroup | SessionGroup | None = None
        if state is not None:
            self._name = pickle.loads(state)["group"]
            self._group = build(self._name, state)

    def on_batch(self, values: list[Packet]) -> tuple[Iterable[GroupOutput], bool]:
        """Take packets in; the group is never discarded."""
        if self._group is None:
            self._name = values[0].group
            self._group = self._build(self._name, None)
        found = self._group.take(values)
        self._vitals.watermarks_us[self._name] = self._group.watermark.now_us
        self._vitals.windows_open[self._name] = len(self._group.windows)
        self._figures.take(self._name, self._group.watermark.now_us, found)
        return found, False

    def snapshot(self) -> bytes:
        """Return the group's state."""
        assert self._group is not None, "a group is only built by a packet or a state"
        with metrics.snapshot_duration_seconds.time():
            return self._group.snapshot()


class DetectorLogic(StatefulBatchLogic[Seen, Detected, bytes]):
    """One detector of the whole stream or of events.

    Args:
        build: Makes the detection of a detector from its state.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        build: Callable[[str, bytes | None], Detection | RecordDetection],
        state: bytes | None,
    ) -> None:
        self._build = build
        self._detection: Detection | RecordDetection | None = None
        if state is not None:
            self._detection = build(pickle.loads(state)["detector"], state)

    def on_batch(self, values: list[Seen]) -> tuple[Iterable[Detected], bool]:
        """Take in what the detector sees; a detection is never discarded."""
        if self._detection is None:
            self._detection = self._build(values[0].rule, None)
        if isinstance(self._detection, Detection):
            return self._detection.take(
                [value for value in values if not isinstance(value, Points)]
            ), False
        return self._detection.take([v for v in values if isinstance(v, Points)]), False

    def snapshot(self) -> bytes:
        """Return the detection's state."""
        assert self._detection is not None, "built by what it sees, or a state"
        return self._detection.snapshot()


class NoticesLogic(StatefulBatchLogic[Alert | Closed, Alert | Digest, bytes]):
    """The notification decisions of one rule.

    Args:
        build: Makes the decisions of a rule from their state.
        state: What `snapshot` returned, or None.
    """

    def __init__(self, build: Callable[[str, bytes | None], Notices], state: bytes | None) -> None:
        self._build = build
        self._notices: Notices | None = None
        if state is not None:
            self._notices = build(pickle.loads(state)["rule"], state)

    def on_batch(self, values: list[Alert | Closed]) -> tuple[Iterable[Alert | Digest], bool]:
        """Decide on alerts; the decisions are never discarded."""
        if self._notices is None:
            self._notices = self._build(values[0].rule, None)
        return self._notices.take(values), False

    def snapshot(self) -> bytes:
        """Return the decisions' state."""
        assert self._notices is not None, "built by an alert or a state"
        return self._notices.snapshot()
