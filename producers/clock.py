"""The real clock of a live producer, with a stop that cuts its waits short."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """The machine's time; `stop` may be called from a signal handler or another thread."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def now_us(self) -> int:
        """Return the microseconds since the epoch."""
        return time.time_ns() // 1_000

    def sleep(self, seconds: float) -> None:
        """Wait, or return at once when stopped."""
        self._stop.wait(seconds)

    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the producer to end."""
        self._stop.set()
