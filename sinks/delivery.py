"""Hand-over to a thread that delivers: retries, dead letters, deadlines and their account.

A `Courier` is one thread with a queue. `hand_over` returns at once (and blocks while too many bytes
wait); `flush` returns when everything handed over is settled. An entry is settled when its
destination acknowledged it, when it is a dead letter, or, for destinations that never raise, when
it was given up and counted. Otherwise the courier stops and everything it is asked from then on
raises, so that no epoch commits what was not delivered.

Guarantees, by the table in `failures.py`:
- Only the failed entries of a call are sent again, after a full-jitter pause (a uniform draw from
  0 to min(longest, first * 2^attempt), as in the AWS Architecture Blog's "Exponential backoff and
  jitter"), until `deadline_seconds` after their first attempt.
- A call that is rejected as a whole is halved until the bad entry stands alone: one bad entry never
  costs its neighbours.
- `flush` and a blocked `hand_over` raise too when nothing was settled for the deadline and a second
  more, so that a call that hangs can't hold the pipeline.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import metrics
from errors import DeliveryError, KinewaxError
from sinks.failures import Failure, classify, error_of
from sinks.tally import Outcome, Tally

log = logging.getLogger("kinewax.sinks")

Body = TypeVar("Body")

_GRACE_SECONDS = 1.0
_CLOSE_SECONDS = 0.5
_WARN_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How patient a sink part is.

    Attributes:
        deadline_seconds: How long an entry is tried.
        first_pause_seconds: The longest pause before the second attempt; it doubles from there.
        longest_pause_seconds: Where the doubling ends.
        max_pending_bytes: What may wait before `write` blocks.
        linger_seconds: How long a batch that isn't full waits for more; a flush ends it.
    """

    deadline_seconds: float = 20.0
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0
    max_pending_bytes: int = 16 * 1024 * 1024
    linger_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one call of a destination may hold."""

    entries: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Entry(Generic[Body]):
    """What is delivered or fails as one.

    Attributes:
        body: What the call sends.
        size_bytes: What it counts against limits.
        count: How many items (alerts, rows) it stands for in the ledger.
    """

    body: Body
    size_bytes: int
    count: int = 1


def join_all(threads: Sequence[threading.Thread]) -> None:
    """Wait a moment for stopped threads; one in a call that hangs is left to die with the process.

    A drain has 25 s for all parts, and a call that hangs can't be interrupted.
    """
    end = time.monotonic() + _CLOSE_SECONDS
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


class _ClosedError(Exception):
    """The courier was closed in the middle of a pause; never leaves this file."""


class Courier(Generic[Body]):
    """One thread that delivers entries in order.

    Args:
        sink: The metric label.
        destination: For messages: `table incidents`.
        send: One call. It returns, for each body, an outcome or a `Failure`; it may raise what the
            client raises.
        tally: Where outcomes are counted.
        limits: What one call may hold.
        options: How patient to be.
        rng: For the jitter; used by this courier's thread alone.
        refuse: Keeps a rejected entry as a dead letter, or raises.
        gives_up: Whether undelivered entries are counted as dropped instead of raised.
    """

    def __init__(
        self,
        *,
        sink: str,
        destination: str,
        send: Callable[[Sequence[Body]], Sequence[Outcome | Failure]],
        tally: Tally,
        limits: BatchLimits,
        options: DeliveryOptions,
        rng: random.Random,
        refuse: Callable[[Entry[Body], Failure], None] | None = None,
        gives_up: bool = False,
    ) -> None:
        self._sink = sink
        self._destination = destination
        self._send = send
        self._tally = tally
        self._limits = limits
        self._options = options
        self._rng = rng
        self._refuse = refuse
        self._gives_up = gives_up
        self._changed = threading.Condition()
        self._queue: deque[Entry[Body]] = deque()
        self._queued_bytes = 0
        self._queued_at = 0.0
        self._unsettled: dict[int, Entry[Body]] = {}
        self._pending_bytes = 0
        self._flushing = False
        self._settled_at = time.monotonic()
        self._warned_at = -_WARN_EVERY_SECONDS
        self._error: KinewaxError | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"sink-{sink}", daemon=True)
        self._thread.start()

    # ---- the caller's side ----

    def hand_over(self, entries: Iterable[Entry[Body]]) -> None:
        """Take entries over; block while more than `max_pending_bytes` wait.

        Raises:
            KinewaxError: The courier stopped, or nothing was settled for the deadline.
        """
        for entry in entries:
            with self._changed:
                self._wait_until(partial(self._has_room, entry.size_bytes))
                if not self._queue:
                    self._queued_at = time.monotonic()
                self._queue.append(entry)
                self._queued_bytes += entry.size_bytes
                self._unsettled[id(entry)] = entry
                self._pending_bytes += entry.size_bytes
                self._changed.notify_all()
            self._tally.take(entry.count)
            metrics.sink_pending_bytes.labels(self._sink).inc(entry.size_bytes)

    def flush(self) -> None:
        """Return once everything handed over is settled.

        Raises:
            KinewaxError: The courier stopped, or nothing was settled for the deadline; never where
                undelivered entries are given up.
        """
        with self._changed:
            self._flushing = True
            self._changed.notify_all()
            try:
                self._wait_until(lambda: not self._unsettled)
            finally:
                self._flushing = False

    def stop(self) -> threading.Thread:
        """Let the thread end after its present call; what was not flushed is not delivered."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            metrics.sink_pending_bytes.labels(self._sink).dec(self._pending_bytes)
            self._unsettled.clear()
            self._pending_bytes = 0
        return self._thread

    def _has_room(self, size_bytes: int) -> bool:
        # An entry that is larger than the bound alone goes through alone.
        return (
            self._pending_bytes == 0
            or self._pending_bytes + size_bytes <= self._options.max_pending_bytes
        )

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        since = time.monotonic()
        patience = self._options.deadline_seconds + _GRACE_SECONDS
        while True:
            if self._error is not None:
                raise self._error
            if ready():
                return
            left = patience - (time.monotonic() - max(since, self._settled_at))
            if left > 0:
                self._changed.wait(left)
            elif self._gives_up:
                self._queue.clear()
                self._queued_bytes = 0
                self._settle(list(self._unsettled.values()), "dropped")
            else:
                msg = (
                    f"{self._sink}: {self._destination} took nothing for {patience:g} s "
                    f"({len(self._unsettled)} entries wait)"
                )
                raise DeliveryError(msg, hint="see whether it can be reached from here")

    # ---- the thread's side ----

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                self._deliver(batch)
        except _ClosedError:
            return
        except KinewaxError as error:
            self._stop(error)
        except Exception as error:
            log.exception("sink thread failed", extra={"sink": self._sink, "stage": "sending"})
            msg = f"{self._sink}: a mistake in the sink: {error!r}"
            failed = DeliveryError(msg, hint="please report it, with the log lines before it")
            failed.__cause__ = error
            self._stop(failed)

    def _stop(self, error: KinewaxError) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _next_batch(self) -> list[Entry[Body]]:
        """Wait for entries and take as many as a call may hold; empty when closing."""
        with self._changed:
            while not self._closing.is_set():
                left = self._queued_at + self._options.linger_seconds - time.monotonic()
                if self._queue and (self._flushing or left <= 0 or self._is_full()):
                    return self._take()
                self._changed.wait(left if self._queue else None)
        return []

    def _is_full(self) -> bool:
        return (
            len(self._queue) >= self._limits.entries
            or self._queued_bytes >= self._limits.total_bytes
        )

    def _take(self) -> list[Entry[Body]]:
        batch = [self._queue.popleft()]
        total_bytes = batch[0].size_bytes
        while self._queue and len(batch) < self._limits.entries:
            total_bytes += self._queue[0].size_bytes
            if total_bytes > self._limits.total_bytes:
                break
            batch.append(self._queue.popleft())
        self._queued_bytes -= sum(entry.size_bytes for entry in batch)
        return batch

    def _deliver(self, batch: list[Entry[Body]]) -> None:
        """Settle every entry of a batch, or raise."""
        started = time.monotonic()
        waiting = batch
        attempt = 0
        while True:
            failures = self._attempt(waiting)
            if not failures:
                return
            waiting = [entry for entry, _ in failures]
            last = failures[-1][1]
            left = self._options.deadline_seconds - (time.monotonic() - started)
            if left <= 0:
                self._out_of_time(waiting, last)
                return
            self._warn(last, len(waiting))
            for _, failure in failures:
                metrics.sink_retries.labels(self._sink, failure.kind).inc()
            ceiling = min(
                self._options.longest_pause_seconds,
                self._options.first_pause_seconds * 2.0 ** min(attempt, 30),
            )
            attempt += 1
            if self._closing.wait(min(left, self._rng.uniform(0.0, ceiling))):
                raise _ClosedError

    def _attempt(self, batch: list[Entry[Body]]) -> list[tuple[Entry[Body], Failure]]:
        """Make one call and settle what it settled; return what may be sent again."""
        try:
            with metrics.sink_write_duration_seconds.labels(self._sink).time():
                results = self._send([entry.body for entry in batch])
        except Exception as error:
            failure = classify(error)
            if failure is None:
                raise
            if failure.kind == "rejected" and len(batch) > 1:
                middle = len(batch) // 2
                return self._attempt(batch[:middle]) + self._attempt(batch[middle:])
            results = [failure] * len(batch)
        again = []
        settled: dict[Outcome, list[Entry[Body]]] = {}
        for entry, result in zip(batch, results, strict=True):
            if not isinstance(result, Failure):
                settled.setdefault(result, []).append(entry)
            elif result.retried:
                again.append((entry, result))
            else:
                settled.setdefault(self._end(entry, result), []).append(entry)
        for outcome, entries in settled.items():
            with self._changed:
                self._settle(entries, outcome)
        return again

    def _end(self, entry: Entry[Body], failure: Failure) -> Outcome:
        """Decide what becomes of an entry that no further attempt mends."""
        if self._gives_up:
            self._warn(failure, 1)
            return "dropped"
        if failure.kind == "rejected" and self._refuse is not None:
            self._warn(failure, 1)
            self._refuse(entry, failure)
            return "dead_lettered"
        raise error_of(self._sink, self._destination, failure)

    def _out_of_time(self, entries: list[Entry[Body]], failure: Failure) -> None:
        if self._gives_up:
            self._warn(failure, len(entries))
            with self._changed:
                self._settle(entries, "dropped")
            return
        msg = (
            f"{self._sink}: {self._destination} didn't take {len(entries)} entries within "
            f"{self._options.deadline_seconds:g} s ({failure.kind}: {failure.code})"
        )
        raise DeliveryError(msg, hint="the run goes on from its last snapshot once it answers")

    def _settle(self, entries: list[Entry[Body]], outcome: Outcome) -> None:
        """Count entries, once each; called with the lock held."""
        # An entry that a flush gave up on may be acknowledged afterwards: it is counted already.
        ours = [entry for entry in entries if self._unsettled.pop(id(entry), None) is not None]
        if not ours:
            return
        settled_bytes = sum(entry.size_bytes for entry in ours)
        self._pending_bytes -= settled_bytes
        self._settled_at = time.monotonic()
        self._tally.settle(outcome, sum(entry.count for entry in ours))
        metrics.sink_pending_bytes.labels(self._sink).dec(settled_bytes)
        self._changed.notify_all()

    def _warn(self, failure: Failure, entries: int) -> None:
        """Log a failure, at most every ten seconds; codes only, for details may quote payloads."""
        now = time.monotonic()
        if now - self._warned_at < _WARN_EVERY_SECONDS:
            return
        self._warned_at = now
        log.warning(
            "%s: %s answered %s for %d entries",
            self._sink,
            self._destination,
            failure.code,
            entries,
            extra={"sink": self._sink, "error_type": failure.kind, "stage": "sending"},
        )
