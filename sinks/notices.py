"""Notices to SNS: published at least once, never holding a row up, never raising.

The outbox is the row itself (see `incident_rows.py`). For each due row the notifier reads it,
publishes what lies there, and takes it out; a row whose outbox is empty was published before, and a
row that somebody deleted is taken for one. All of it happens in one thread a part, the only one
that owns the row, so a notice goes out twice only when a process dies between publishing and taking
out, or when SNS took it and its answer was lost.

A fresh notice is tried for `notify_seconds`; then it stays pending and the sweeper has it: at start
and every `sweep_seconds` it tries all due rows, and all rows that the index of pending notices
lists for this part, whoever left them there.

The account: `notifications` that were asked for are published or pending; those due are part of the
part's state, so that a later process counts what it publishes of them.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import metrics
from messages import Ledger
from sinks.failures import classify, reply_field
from sinks.incident_rows import PENDING, RowKey
from sinks.incident_table import IncidentTable
from sinks.lines import iso

log = logging.getLogger("kinewax.sinks")

_ACCOUNTS = ("notifications", "digests")
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_WARN_EVERY_SECONDS = 10.0


class SnsClient(Protocol):
    """The one call that is made; boto3's client is one."""

    def publish(self, **request: Any) -> Mapping[str, Any]:
        """Publish a notice; `Any` because boto3 builds its methods at run time, untyped."""


@dataclass(frozen=True, slots=True)
class NoticeOptions:
    """Where notices go and how long a fresh one is tried.

    Attributes:
        topic_arn: The SNS topic; without one nothing pending is looked for.
        domain: Whose notices go there; a table may hold those of others.
        notify_seconds: How long a notice is tried before it is left to the sweeper.
        sweep_seconds: How often pending notices are tried again.
    """

    topic_arn: str
    domain: str
    notify_seconds: float = 2.0
    sweep_seconds: float = 30.0


class Notifier:
    """One thread that publishes the notices of a part's rows.

    Args:
        sns: The client.
        table: Where the outbox is.
        options: Where notices go.
        owns: Whether a row belongs to this part.
        due: Notices asked for and not published when the state was taken: (row, account) -> how
            many. The account is `notifications`, or `digests` for digests.
        clock: Microseconds since the epoch, for `published_at`.
        rng: For the jitter; used by this thread alone.
    """

    def __init__(
        self,
        *,
        sns: SnsClient,
        table: IncidentTable,
        options: NoticeOptions,
        owns: Callable[[RowKey], bool],
        due: Mapping[tuple[RowKey, str], int],
        clock: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._sns = sns
        self._table = table
        self._options = options
        self._owns = owns
        self._clock = clock
        self._rng = rng
        self._changed = threading.Condition()
        self._due: Counter[tuple[RowKey, str]] = Counter(due)
        self._pending = metrics.notifications_pending.labels(options.domain)
        self._pending.inc(self._due.total())
        self._published: Counter[str] = Counter()
        self._fresh: deque[tuple[float, RowKey]] = deque()
        self._busy = False
        self._ailing = False
        self._swept: deque[RowKey] = deque()
        self._sweep_at = time.monotonic() if options.topic_arn else None
        self._sent_phase: dict[RowKey, str] = {}
        self._warned_at = -_WARN_EVERY_SECONDS
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._thread.start()

    # ---- the part's side ----

    def hand_over(self, key: RowKey, account: str) -> None:
        """Publish the notice that lies on a row."""
        with self._changed:
            self._due[(key, account)] += 1
            self._pending.inc()
            self._fresh.append((time.monotonic() + self._options.notify_seconds, key))
            self._changed.notify_all()

    def settle(self) -> None:
        """Return once no fresh notice is left, or they can't be published now; never raises."""
        deadline = time.monotonic() + self._options.notify_seconds
        with self._changed:
            while (self._fresh or self._busy) and not self._ailing:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def account(self) -> tuple[dict[tuple[RowKey, str], int], Ledger]:
        """Return what is due and what was published, as of one moment."""
        with self._changed:
            return dict(self._due), dict(self._published)

    def stop(self) -> threading.Thread:
        """Let the thread end after its present call; what is pending stays on its rows."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        return self._thread

    # ---- the thread's side ----

    def _run(self) -> None:
        while not self._closing.is_set():
            if fresh := self._next_fresh():
                self._try_until(*fresh)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
            elif self._swept:
                self._try(self._swept.popleft())
                if self._ailing:
                    # The rest would fare no better.
                    self._swept.clear()
            elif self._sweep_at is not None and time.monotonic() >= self._sweep_at:
                self._sweep_at = time.monotonic() + self._options.sweep_seconds
                self._swept.extend(self._to_sweep())
            else:
                with self._changed:
                    if not self._fresh and not self._closing.is_set():
                        at = self._sweep_at
                        self._changed.wait(at and max(0.0, at - time.monotonic()))
        self._pending.dec(self._due.total())  # who has them next counts them

    def _next_fresh(self) -> tuple[float, RowKey] | None:
        with self._changed:
            if not self._fresh:
                return None
            self._busy = True
            return self._fresh.popleft()

    def _try_until(self, deadline: float, key: RowKey) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while time.monotonic() < deadline and not self._try(key):
            left = max(0.0, deadline - time.monotonic())
            if self._closing.wait(min(left, self._rng.uniform(0.0, pause))):
                return
            pause = min(_LONGEST_PAUSE_SECONDS, 2 * pause)
        if any((key, account) in self._due for account in _ACCOUNTS):
            metrics.notifications.labels(self._options.domain, "pending").inc()

    def _to_sweep(self) -> Iterable[RowKey]:
        with self._changed:
            keys = {key: None for key, _ in self._due}
        keys.update(dict.fromkeys(self._sent_phase))
        try:
            keys.update({key: None for key in self._table.pending() if self._owns(key)})
        except Exception as error:
            self._failed("listing pending notices", error)
        return keys

    def _try(self, key: RowKey) -> bool:
        """Publish what lies on a row; False when it has to be tried again."""
        try:
            row = self._table.read(key) or {}
            is_due = row.get("notified", {}).get("S") == PENDING
            if is_due and row["domain"]["S"] == self._options.domain:
                phase = row["notice_phase"]["S"]
                if self._sent_phase.get(key) != phase:
                    answer = self._sns.publish(
                        TopicArn=self._options.topic_arn,
                        Subject=row["notice_subject"]["S"],
                        Message=row["notice_body"]["S"],
                    )
                    reply_field(answer, "MessageId")
                    self._sent_phase[key] = phase
                self._settle(key)
                self._table.clear(key, phase, iso(self._clock()))
            else:
                self._settle(key)
            self._sent_phase.pop(key, None)
        except Exception as error:
            self._failed("publishing a notice", error)
            return False
        self._ailing = False
        return True

    def _settle(self, key: RowKey) -> None:
        """Count the notices of a row as published."""
        with self._changed:
            for account in _ACCOUNTS:
                count = self._due.pop((key, account), 0)
                if count:
                    self._published[account] += count
                    self._pending.dec(count)
                    metrics.notifications.labels(self._options.domain, "published").inc(count)

    def _failed(self, doing: str, error: Exception) -> None:
        """Log a failure, at most every ten seconds; what failed stays pending."""
        failure = classify(error)
        with self._changed:
            # What is refused is this notice's own trouble; all else is everybody's.
            self._ailing = failure is not None and failure.kind != "rejected"
            self._changed.notify_all()
        now = time.monotonic()
        if failure is not None and now - self._warned_at < _WARN_EVERY_SECONDS:
            return
        self._warned_at = now
        log.warning(
            "incidents: %s failed: %s; it stays pending",
            doing,
            failure.code if failure else repr(error),
            exc_info=failure is None,
            extra={
                "sink": "incidents",
                "error_type": failure.kind if failure else "other",
                "stage": "sending",
            },
        )
