"""The account that every sink part keeps, for the ledger and for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Literal

import metrics
from messages import Ledger

Outcome = Literal["acknowledged", "already_there", "dead_lettered", "dropped"]


class Tally:
    """The account of a sink part: `taken = written + already there + dead-lettered + dropped`.

    Keys are `<sink>.<outcome>`, so that the parts of all sinks can be summed into one ledger.
    """

    _NAMES: Mapping[Outcome, str] = {
        "acknowledged": "written",
        "already_there": "already_there",
        "dead_lettered": "dead_lettered",
        "dropped": "dropped",
    }

    def __init__(
        self, sink: str, ledger: Ledger | None = None, *, label: str = "", taken: str = "taken"
    ) -> None:
        self._sink = sink
        self._label = label or sink
        self._taken = taken
        self._lock = threading.Lock()
        self._counts: Ledger = dict(ledger or {})

    def take(self, count: int) -> None:
        """Count items taken over."""
        self.add(self._taken, count)

    def settle(self, outcome: Outcome, count: int) -> None:
        """Count items whose fate is known."""
        self.add(self._NAMES[outcome], count)
        metrics.sink_records.labels(self._label, outcome).inc(count)

    def add(self, name: str, count: int) -> None:
        """Count under any name of this sink."""
        key = f"{self._sink}.{name}"
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + count

    def ledger(self) -> Ledger:
        """Return a copy of the account."""
        with self._lock:
            return dict(self._counts)
