"""What reads one shard ahead of its slot, whichever way: a bounded queue between two threads.

The reader's thread puts `Rows`, `Tip`, `End` or `Gone` on the queue in the order of the shard; the
slot takes them off. Neither waits for the other, but to count what was put or taken.
How the records come is the subclass's: `polling.py` asks for them, `subscription.py` has them
pushed.

Guarantee: a start position that the stream no longer holds is a loss, told to `on_loss`, which
raises or lets the reader go on at the oldest record there is.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import metrics
from errors import KinewaxError
from sources.kinesis.failures import Failure, classify
from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import Shard
from sources.kinesis.pacing import Backoff
from sources.kinesis.records import Rows, to_rows
from sources.kinesis.share import Share

_logger = logging.getLogger("kinewax.sources.kinesis")

ROOM_SECONDS = 0.05
"""How often a reader looks whether its slot has made room."""

_CLOCK_AHEAD_US = 15 * 60 * 1_000_000
_STREAK = 5


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on in a shard.

    Attributes:
        sequence: The sequence number of the last stream record emitted; None before the first.
        sub_sequence: When only a part of that record was emitted, an aggregate: the place of the
            last user record in that part.
        start_us: Where to begin while `sequence` is None: at this time; None for the oldest record.
    """

    sequence: str | None = None
    sub_sequence: int | None = None
    start_us: int | None = None


@dataclass(frozen=True, slots=True)
class Tip:
    """There was nothing more in the shard when it was asked at `as_of_us`."""

    as_of_us: int


@dataclass(frozen=True, slots=True)
class End:
    """The shard is closed, and read to its end."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The service doesn't know the shard, or the stream, any more."""


class ShardReader:
    """Reads one shard into a queue; a subclass says how, in `step`.

    Args:
        shard: The shard.
        position: Where to go on.
        stream: Name or ARN.
        share: Of the process.
        clock: Microseconds since the epoch.
        rng: For jitter.
        learn: Told of the children that the shard names at its end.
        on_loss: Told why records of the shard may be lost; returns to go on.
    """

    permissions = ""
    """What a refusal hints at, for people."""

    def __init__(
        self,
        shard: Shard,
        position: Position,
        *,
        stream: str,
        share: Share,
        clock: Callable[[], int],
        rng: random.Random,
        learn: Callable[[list[Shard]], None],
        on_loss: Callable[[str, str], None],
    ) -> None:
        self.shard = shard
        self.closed = False
        self._queue: deque[Rows | Tip | End | Gone] = deque()
        self._position = position
        self._stream = stream
        self._share = share
        self._clock = clock
        self._learn = learn
        self._on_loss = on_loss
        self._backoff = Backoff(rng)
        self._deaggregator = Deaggregator(shard.first_hash, shard.last_hash)
        self._standing = share.join()
        self._queued = 0  # rows ever put on the queue; written by the reader's thread
        self._taken = 0  # and ever taken off it; written by the slot's thread
        self._labels = (stream, shard.id)

    # ---- the slot's side ----

    def rows_waiting(self) -> int:
        """Return how many rows are queued."""
        return self._queued - self._taken

    def take(self) -> Rows | Tip | End | Gone | None:
        """Take the first item off the queue; None when it is empty."""
        try:
            item = self._queue.popleft()
        except IndexError:
            return None
        if isinstance(item, Rows):
            self._taken += len(item.payloads)
            self._share.took(self._standing, item)
            self._show_waiting()
        return item

    def close(self) -> None:
        """Make no further call."""
        self.closed = True
        self._share.leave(self._standing)

    # ---- the reader's side ----

    def step(self) -> float | None:
        """Make one call; return the seconds until the next, None when the shard is read.

        Raises:
            DataLossError: Records expired unread, and the policy is to stop.
            KinewaxError: Access is denied.
        """
        raise NotImplementedError

    def _has_room(self) -> bool:
        return (
            self._standing.waiting_bytes <= self._share.bytes_each() // 2
            and not self._share.is_ahead(self._standing)
        )

    def _put_rows(self, reply: Mapping[str, Any], behind_ms: int | None) -> tuple[int, int]:
        """Queue a reply's records (`Any`: boto3's) and count them; return their bytes.

        Returns:
            The payloads' bytes, and what the rows take in memory.
        """
        position = self._position
        resume = None
        if position.sequence is not None and position.sub_sequence is not None:
            resume = (position.sequence, position.sub_sequence)
        payload_bytes = memory_bytes = 0
        for rows in to_rows(reply, self._deaggregator, resume):
            self._share.put(self._standing, rows)
            self._queue.append(rows)
            self._queued += len(rows.payloads)
            payload_bytes += rows.payload_bytes
            memory_bytes += rows.memory_bytes
            self._position = Position(rows.sequence)
        behind_seconds = None if behind_ms is None else behind_ms / 1000
        self._share.replied(self._standing, behind_seconds)
        if behind_seconds is not None:
            metrics.behind_latest_seconds.labels(*self._labels).set(behind_seconds)
        if records := len(reply["Records"]):
            metrics.source_records.labels(*self._labels).inc(records)
            metrics.source_bytes.labels(*self._labels).inc(payload_bytes)
            self._show_waiting()
        else:
            metrics.kinesis_empty_polls.labels(*self._labels).inc()
        if records or behind_ms == 0:
            progress = metrics.kinesis_last_progress_timestamp_seconds.labels(*self._labels)
            progress.set(self._clock() / 1e6)
        return payload_bytes, memory_bytes

    def _show_waiting(self) -> None:
        metrics.kinesis_prefetch_bytes.labels(*self._labels).set(self._standing.waiting_bytes)

    def _put_tip(self, as_of_us: int) -> None:
        self._drop_last(lambda item: isinstance(item, Tip))
        self._queue.append(Tip(as_of_us))

    def _drop_last(self, is_outdated: Callable[[Rows | Tip | End | Gone], bool]) -> None:
        # A later word on the same state replaces the earlier one, unless the slot was faster.
        try:
            if is_outdated(self._queue[-1]):
                self._queue.pop()
        except IndexError:
            pass

    def _put_end(self, children: list[Shard]) -> None:
        self._learn(children)
        self._queue.append(End())

    def _judge(self, error: Exception) -> Failure:
        """Count a failed call and return what it means; where the shard is gone, say so.

        Raises:
            KinewaxError: Access is denied.
            Exception: `error` itself, where it is no failed call.
        """
        kind = classify(error)
        if kind == "bug" or isinstance(error, KinewaxError):
            raise error
        if kind == "denied":
            message = (
                f"Reading shard {self.shard.id} of stream {self._stream!r} is refused: {error}"
            )
            hint = f"allow {self.permissions} on it, and its KMS key"
            raise KinewaxError(message, hint=hint) from error
        if kind == "missing":
            self._queue.append(Gone())
        else:
            label = kind if kind != "invalid" else "other"
            metrics.source_errors.labels(self._stream, label).inc()
        return kind

    def _retry_after(self, kind: str, error: Exception) -> float:
        pause = self._backoff.next_seconds()
        if self._backoff.failures == _STREAK:
            _logger.warning(
                "shard %s: %d calls failed in a row, the last one as %s: %s",
                self.shard.id,
                _STREAK,
                kind,
                error,
                extra={
                    "event": "calls_failing",
                    "shard": self.shard.id,
                    "error_type": kind,
                    "stage": "receiving",
                },
            )
        return pause

    def _position_refused(self, error: Exception) -> None:
        position = self._position
        if position.sequence is not None:
            self._on_loss(self.shard.id, f"its position {position.sequence} is refused: {error}")
            self._position = Position()
        elif position.start_us is None or position.start_us < self._clock() - _CLOCK_AHEAD_US:
            message = f"The start position of shard {self.shard.id} is refused: {error}"
            raise KinewaxError(message) from error
        # Else our clock is ahead of the service's, and the start lies in its future: wait for it.
