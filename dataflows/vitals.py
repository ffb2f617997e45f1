"""What one worker process knows of its own life: written by the steps, read by the worker.

Plain numbers written by the dataflow's one thread; a reader in another thread may see them a
little late, never torn.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import metrics
from operators.watermarks import BEGINNING, END


@dataclass(slots=True)
class Vitals:
    """Signs of life and the figures of a run.

    Attributes:
        last_poll_monotonic_seconds: When the worker loop last polled a slot.
        flushing_since_monotonic_seconds: Since when a sink is being flushed; None when none is.
        cpu_at_first_block_seconds: The process's CPU time just before its first block was read;
            None before there was one.
        events: Events decoded by this process since its start.
        watermarks_us: The watermark of each key group of this process.
        windows_open: How many windows each key group of this process holds open.
    """

    last_poll_monotonic_seconds: float = field(default_factory=time.monotonic)
    flushing_since_monotonic_seconds: float | None = None
    cpu_at_first_block_seconds: float | None = None
    wall_at_first_block_monotonic_seconds: float | None = None
    events: int = 0
    watermarks_us: dict[str, int] = field(default_factory=dict)
    windows_open: dict[str, int] = field(default_factory=dict)

    def publish(self, domain: str, now_us: int) -> None:
        """Set the gauges that are the sum or the minimum over this process's key groups."""
        windows: Counter[str] = Counter()
        for group, count in list(self.windows_open.items()):
            windows[group.partition("/")[0]] += count
        for window, count in windows.items():
            metrics.windows_open.labels(domain, window).set(count)
        known = [at for at in list(self.watermarks_us.values()) if BEGINNING < at < END]
        if known:
            metrics.watermark_lag_seconds.labels(domain).set((now_us - min(known)) / 1_000_000)
