"""One line a minute from a healthy run, and the age of its last snapshot.

A thread of the supervisor reads what the workers counted and what the store has committed. It only
reads: a run is the same without it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.multiprocess import MultiProcessCollector

import metrics

logger = logging.getLogger("kinewax.service")

_LOOK_SECONDS = 5.0
_EVENTS = "kinewax_events"
_LAG = "kinewax_watermark_lag_seconds"
_BEHIND = "kinewax_kinesis_max_behind_latest_seconds"
_INCIDENTS = "kinewax_incidents"


def sample(directory: Path) -> dict[str, float]:
    """Return sums of counters, and the greatest value of each lag, by metric name."""
    found: dict[str, float] = {}
    for name, values in _values(directory):
        if name in (_LAG, _BEHIND):
            found[name] = max(values, default=0.0)
        elif name in (_EVENTS, _INCIDENTS):
            found[name] = sum(values)
    return found


def counted(directory: Path, names: Iterable[str]) -> dict[str, float]:
    """Return the sums of counters, by metric name."""
    return {name: sum(values) for name, values in _values(directory) if name in names}


def _values(directory: Path) -> Iterator[tuple[str, list[float]]]:
    """Yield each metric's name and values, of all processes together."""
    collector = MultiProcessCollector(None, path=str(directory))  # type: ignore[no-untyped-call]
    for metric in collector.collect():  # type: ignore[no-untyped-call]
        samples = (one for one in metric.samples if not one.name.endswith("_created"))
        yield metric.name, [one.value for one in samples]


class Progress:
    """The thread; leave the `with` block and it has stopped.

    Args:
        directory: Where the workers keep their metrics.
        committed: Tells the last epoch that the recovery store calls committed.
        interval_seconds: Between two lines.
    """

    def __init__(
        self, directory: Path, committed: Callable[[], int], interval_seconds: float
    ) -> None:
        self._directory = directory
        self._ask = committed
        self._interval_seconds = interval_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        told_at = committed_at = time.monotonic()
        committed = self._committed()
        events = 0.0
        while not self._ended.wait(min(_LOOK_SECONDS, self._interval_seconds)):
            now = time.monotonic()
            reached = self._committed()
            if reached != committed:
                committed, committed_at = reached, now
            metrics.snapshot_age_seconds.set(now - committed_at)
            if now - told_at < self._interval_seconds:
                continue
            seen = sample(self._directory)
            total = seen.get(_EVENTS, 0.0)
            rate = (total - events) / (now - told_at)
            events, told_at = total, now
            logger.info("%s", _line(rate, seen, now - committed_at), extra={"event": "summary"})

    def _committed(self) -> int | None:
        try:
            return self._ask()
        except sqlite3.Error:  # the engine is just opening the store: look again in a moment
            return None


def _line(rate: float, seen: dict[str, float], snapshot_age_seconds: float) -> str:
    parts: Iterable[str] = (
        f"{rate:,.0f} events/s",
        f"{seen.get(_INCIDENTS, 0.0):,.0f} incident phases",
        f"watermark {seen.get(_LAG, 0.0):,.1f} s behind now",
        f"stream {seen.get(_BEHIND, 0.0):,.1f} s behind its tip",
        f"last snapshot {snapshot_age_seconds:,.0f} s ago",
    )
    return ", ".join(parts)
