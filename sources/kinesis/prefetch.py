"""Runs the readers of a process: steps at their due times, on as many threads as it takes.

A thread a shard would be 500 threads for 500 shards, most of them asleep. Here the step that is
due longest goes first, so shards share the threads fairly. One thread at a time, the leader, waits
for the next step to be due; before it runs that step another takes its place, and a thread is added
only when all others wait for the service.

Guarantee: a step never runs on two threads at a time; an exception ends the step for good and is
handed to `on_failure`.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_logger = logging.getLogger("kinewax.sources.kinesis")

Step = Callable[[], float | None]
"""Does one call; returns the seconds until the next, None when there will be none."""

MAX_THREADS = 64
"""The most calls at a time; a client's connection pool should have as many places."""


class Prefetch:
    """A few threads for many steps.

    Args:
        name: What the threads are called.
        on_failure: Told of what a step raises.
        max_threads: The most threads at a time.
    """

    def __init__(
        self,
        name: str,
        on_failure: Callable[[BaseException], None],
        max_threads: int = MAX_THREADS,
    ) -> None:
        self._name = name
        self._on_failure = on_failure
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._leader = threading.Condition(self._lock)  # waits for the next step to be due
        self._others = threading.Condition(self._lock)  # wait to lead
        self._has_leader = False
        self._idle = 0
        self._due: list[tuple[float, int, Step]] = []
        self._tie = itertools.count()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def add(self, step: Step, delay_seconds: float = 0.0) -> None:
        """Run a step after a while, and again as it asks for."""
        with self._lock:
            self._push(step, delay_seconds)
            self._call_leader()

    def close(self) -> None:
        """Begin no further step."""
        with self._lock:
            self._closed = True
            self._due.clear()
            self._leader.notify_all()
            self._others.notify_all()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the steps under way, but not for ever."""
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _push(self, step: Step, delay_seconds: float) -> None:
        if not self._closed:
            entry = (time.monotonic() + delay_seconds, next(self._tie), step)
            heapq.heappush(self._due, entry)
            if self._due[0] is entry:
                self._leader.notify()

    def _call_leader(self) -> None:
        if self._has_leader or not self._due:
            return
        if self._idle:
            self._others.notify()
        elif len(self._threads) < self._max_threads:
            number = len(self._threads)
            thread = threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not self._threads:
                    raise
                # The machine has no more: whoever is done with its step leads.
                self._max_threads = number
                _logger.warning(
                    "%s: no more than %d threads can be started",
                    self._name,
                    number,
                    extra={"event": "threads_bounded", "stage": "receiving"},
                )
                return
            self._threads.append(thread)

    def _run(self) -> None:
        while (step := self._next()) is not None:
            try:
                delay = step()
            except BaseException as error:
                self._on_failure(error)
                continue
            if delay is not None:
                with self._lock:
                    self._push(step, delay)

    def _next(self) -> Step | None:
        with self._lock:
            while not self._closed:
                if self._has_leader:
                    self._idle += 1
                    self._others.wait()
                    self._idle -= 1
                    continue
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._has_leader = True
                    self._leader.wait(wait)
                    self._has_leader = False
                    continue
                step = heapq.heappop(self._due)[2]
                self._call_leader()
                return step
            return None
