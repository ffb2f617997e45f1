"""A detector at work: one vector of features a window of the whole stream, scored by one forest.

Every key group sends a summary of each window that it closes, and how far it has closed windows. A
window is scored when all groups have closed it, in the order of starts, so what the forest learns
doesn't depend on processes. A window in which nothing happened is a vector, too: silence is news.
But a silence of more than `MAXIMUM_GAP_WINDOWS` is passed over: it is told of only when it is over,
and a stream that is busy for a minute an hour would be unlike itself whenever it is busy. A window
that a start at LATEST has cut is not scored.

Guarantee: forest, grade and all that waits are in the snapshot; after a crash the same windows get
the same scores, bit for bit.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from messages import AggregateRows, Alert, Closed, Json, Summary
from operators.detector import Detector
from operators.feature_spec import StreamForest, config_of
from operators.features import Merged, as_seen
from operators.forest import seed_of
from operators.scored import Point, Scored
from operators.spec import Window
from operators.watermarks import BEGINNING

STATE_VERSION = 2
MAXIMUM_GAP_WINDOWS = 30
_US_PER_SECOND = 1_000_000

DetectorOutput = Alert | AggregateRows | Closed


class Detection:
    """One detector's forest and what waits for it.

    Args:
        spec: The detector.
        domain: The domain's name.
        windows: The declared windows that it needs, by name.
        groups: The names of all key groups of these windows.
        clock: Now, in microseconds since the epoch.
        started_at_us: Windows that begin before are cut off by the start; None when none is.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        spec: StreamForest,
        domain: str,
        windows: Mapping[str, Window],
        groups: Sequence[str],
        *,
        clock: Callable[[], int],
        started_at_us: int | None,
        state: bytes | None = None,
    ) -> None:
        restored: dict[str, Any] = pickle.loads(state) if state is not None else {}
        self._spec = spec
        self._windows = windows
        self._length_seconds = windows[spec.features[0].window].length_seconds
        self._length_us = self._length_seconds * _US_PER_SECOND
        self._started_at_us = started_at_us
        self._scored = Scored(domain, spec, clock)
        self._watermarks = dict.fromkeys(groups, BEGINNING)
        self._watermarks.update(restored.get("watermarks", {}))
        waiting: dict[int, list[Summary]] = restored.get("waiting", {})
        self._waiting = {start_us: Merged(found) for start_us, found in waiting.items()}
        self._next_us: int | None = restored.get("next_us")
        config = config_of(spec)
        self._detector = (
            Detector.load(config, restored["detector_state"])
            if restored
            else Detector(config, seed_of(domain, spec.name, "stream"))
        )
        self.ledger: Counter[str] = Counter(restored.get("ledger", {}))

    def take(self, items: Sequence[Summary | Closed]) -> list[DetectorOutput]:
        """Take in what groups say; return what the windows that all have closed lead to."""
        moved = False
        for item in items:
            if isinstance(item, Summary):
                self._waiting.setdefault(item.start_us, Merged()).add(item)
                continue
            known_us = self._watermarks[item.group]
            self._watermarks[item.group] = max(known_us, item.watermark_us)
            moved = True
        found: list[DetectorOutput] = []
        if moved:
            watermark_us = min(self._watermarks.values())
            for start_us in self._ripe(watermark_us):
                found.extend(self._score(start_us, self._waiting.pop(start_us, Merged())))
            found.append(Closed(self._spec.name, self._spec.name, watermark_us))
        return found

    def snapshot(self) -> bytes:
        """Return the whole state, serialised at once."""
        state = {
            "version": STATE_VERSION,
            "detector": self._spec.name,
            "watermarks": self._watermarks,
            "waiting": {start_us: one.snapshot() for start_us, one in self._waiting.items()},
            "next_us": self._next_us,
            "detector_state": self._detector.dump(),
            "ledger": dict(self.ledger),
        }
        return pickle.dumps(state, protocol=5)

    def _ripe(self, watermark_us: int) -> Iterator[int]:
        """Yield the starts of the windows that all groups have closed, silent ones included."""
        last_us = watermark_us - self._length_us
        for start_us in sorted(start for start in self._waiting if start <= last_us):
            yield from self._silent(start_us)
            self._next_us = start_us + self._length_us
            yield start_us

    def _silent(self, until_us: int) -> Iterator[int]:
        begin_us = until_us if self._next_us is None else self._next_us
        if until_us - begin_us <= MAXIMUM_GAP_WINDOWS * self._length_us:
            yield from range(begin_us, until_us, self._length_us)

    def _score(self, start_us: int, merged: Merged) -> Iterator[DetectorOutput]:
        if self._started_at_us is not None and start_us < self._started_at_us:
            self.ledger["windows_cut"] += 1
            return
        features = merged.features(self._spec.features, self._length_seconds)
        points = [as_seen(self._spec.features, features)]
        found = self._detector.take(points, np.array([start_us]), explain=True)
        self._scored.observe(found)
        self.ledger["windows_scored"] += 1
        point = Point({}, start_us, start_us + self._length_us, features)
        yield AggregateRows(self._spec.name, (self._scored.row(point, found, 0),))
        if found.alarms[0]:
            evidence = {
                one.name: self._greatest(merged, one.window, one.top) for one in self._spec.evidence
            }
            yield self._scored.alert(point, found, 0, evidence)

    def _greatest(self, merged: Merged, window: str, most: int) -> list[Json]:
        spec = self._windows[window]
        return [
            {**dict(zip(spec.key, key, strict=True)), spec.values[0].name: count}
            for count, key in merged.top(window, most)
        ]
