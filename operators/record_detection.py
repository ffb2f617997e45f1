"""A detector of events at work: one forest sees all events, in the order in which they are read.

That order depends on how shards are read beside each other: with one shard a run's scores can be
had again, with several they can't. After a crash the forest goes on from the snapshot, with the
events that come behind it.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from messages import AggregateRows, Alert, Closed, Points, Scalar
from operators.detector import Detector
from operators.feature_spec import RecordForest, config_of
from operators.forest import seed_of
from operators.scored import Point, Scored
from operators.watermarks import BEGINNING

STATE_VERSION = 1


class RecordDetection:
    """One detector's forest, over all events.

    Args:
        spec: The detector.
        domain: The domain's name.
        clock: Now, in microseconds since the epoch.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        spec: RecordForest,
        domain: str,
        *,
        clock: Callable[[], int],
        state: bytes | None = None,
    ) -> None:
        restored: dict[str, Any] = pickle.loads(state) if state is not None else {}
        self._spec = spec
        self._scored = Scored(domain, spec, clock)
        self._greatest_us: int = restored.get("greatest_us", BEGINNING)
        config = config_of(spec)
        self._detector = (
            Detector.load(config, restored["detector_state"])
            if restored
            else Detector(config, seed_of(domain, spec.name, "records"))
        )
        self.ledger: Counter[str] = Counter(restored.get("ledger", {}))

    def take(self, items: Sequence[Points]) -> list[Alert | AggregateRows | Closed]:
        """Score events in turn; return their rows, and incidents where alarms begin."""
        found: list[Alert | AggregateRows | Closed] = []
        for points in items:
            found.extend(self._score(points))
            self._greatest_us = max(self._greatest_us, int(points.times_us.max()))
        found.append(Closed(self._spec.name, self._spec.name, self._greatest_us))
        return found

    def snapshot(self) -> bytes:
        """Return the whole state, serialised at once."""
        state = {
            "version": STATE_VERSION,
            "detector": self._spec.name,
            "greatest_us": self._greatest_us,
            "detector_state": self._detector.dump(),
            "ledger": dict(self.ledger),
        }
        return pickle.dumps(state, protocol=5)

    def _score(self, points: Points) -> Iterator[Alert | AggregateRows]:
        found = self._detector.take(points.numbers, points.times_us, explain=True)
        self._scored.observe(found)
        is_scored = ~np.isnan(found.scores)
        self.ledger["events_scored"] += int(is_scored.sum())
        self.ledger["events_refused"] += int((~is_scored).sum())
        wanted = is_scored if self._spec.emit else found.alarms > 0
        rows: list[dict[str, Scalar | bool | None]] = []
        for index in np.flatnonzero(wanted).tolist():
            time_us = int(points.times_us[index])
            point = Point(points.keys[index], time_us, time_us, points.numbers[index].tolist())
            if self._spec.emit:
                rows.append(self._scored.row(point, found, index))
            if found.alarms[index]:
                yield self._scored.alert(point, found, index)
        if rows:
            yield AggregateRows(self._spec.name, tuple(rows))
