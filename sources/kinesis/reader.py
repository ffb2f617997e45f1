"""What reads one shard ahead of its slot, whichever way: a bounded queue between two threads.

The reader's thread puts `Rows`, `Tip`, `End` or `Gone` on the queue in the order of the shard; the
slot takes them off. Each side alone writes its own counters, so that neither ever waits. How the
records come is the subclass's: `polling.py` asks for them, `subscription.py` has them pushed.

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


class Share:
    """What all readers of a process divide among them: bytes in queues, and calls.

    Args:
        max_prefetch_bytes: What may wait in all queues together, about.
    """

    def __init__(self, max_prefetch_bytes: int) -> None:
        self.readers = 0
        self._max_prefetch_bytes = max_prefetch_bytes

    def bytes_each(self) -> int:
        """Return the part of one reader."""
        return self._max_prefetch_bytes // max(self.readers, 1)


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
        self._queued = [0, 0]  # rows, bytes: ever put on the queue; written by the reader's thread
        self._taken = [0, 0]  # and ever taken off it; written by the slot's thread

    # ---- the slot's side ----

    def rows_waiting(self) -> int:
        """Return how many rows are queued."""
        return self._queued[0] - self._taken[0]

    def take(self) -> Rows | Tip | End | Gone | None:
        """Take the first item off the queue; None when it is empty."""
        try:
            item = self._queue.popleft()
        except IndexError:
            return None
        if isinstance(item, Rows):
            self._taken[0] += len(item.payloads)
            self._taken[1] += item.memory_bytes
        return item

    def close(self) -> None:
        """Make no further call."""
        self.closed = True

    # ---- the reader's side ----

    def step(self) -> float | None:
        """Make one call; return the seconds until the next, None when the shard is read.

        Raises:
            DataLossError: Records expired unread, and the policy is to stop.
            KinewaxError: Access is denied.
        """
        raise NotImplementedError

    def _has_room(self) -> bool:
        return self._queued[1] - self._taken[1] <= self._share.bytes_each() // 2

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
            self._queue.append(rows)
            self._queued[0] += len(rows.payloads)
            self._queued[1] += rows.memory_bytes
            payload_bytes += rows.payload_bytes
            memory_bytes += rows.memory_bytes
            self._position = Position(rows.sequence)
        labels = (self._stream, self.shard.id)
        if behind_ms is not None:
            metrics.behind_latest_seconds.labels(*labels).set(behind_ms / 1000)
        if records := len(reply["Records"]):
            metrics.source_records.labels(*labels).inc(records)
            metrics.source_bytes.labels(*labels).inc(payload_bytes)
        return payload_bytes, memory_bytes

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
