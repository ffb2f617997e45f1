"""Reads one shard ahead of its slot: an iterator, one call a step, a bounded queue.

The reader's thread puts `Rows`, `Tip`, `End` or `Gone` on the queue in the order of the shard; the
slot takes them off. Each side alone writes its own counters, so that neither ever waits.

Guarantee: rows are queued once and in order, whatever fails between: a call that failed is made
again from the same iterator, and an iterator that expired (they live 5 minutes) is replaced by one
after the last record queued. A start position that the stream no longer holds is a loss, told to
`on_loss`, which raises or lets the reader go on at the oldest record there is.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import metrics
from errors import KinewaxError
from sources.kinesis.client import KinesisClient, field, stream_argument
from sources.kinesis.failures import classify
from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import Shard, child_shard
from sources.kinesis.pacing import Backoff, Pacing
from sources.kinesis.records import MAX_ROWS, Rows, to_rows

_logger = logging.getLogger("kinewax.sources.kinesis")

_RENEW_AFTER_SECONDS = 240.0
_ROOM_SECONDS = 0.05
_REPLY_BYTES = 10 << 20
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
    """Reads one shard into a queue.

    Args:
        shard: The shard.
        position: Where to go on.
        client: A Kinesis client.
        stream: Name or ARN.
        pacing: How often to call.
        share: Of the process.
        clock: Microseconds since the epoch.
        rng: For jitter.
        learn: Told of the children that the shard's last reply names.
        on_loss: Told why records of the shard may be lost; returns to go on.
    """

    def __init__(
        self,
        shard: Shard,
        position: Position,
        *,
        client: KinesisClient,
        stream: str,
        pacing: Pacing,
        share: Share,
        clock: Callable[[], int],
        rng: random.Random,
        learn: Callable[[list[Shard]], None],
        on_loss: Callable[[str, str], None],
    ) -> None:
        self.shard = shard
        self._queue: deque[Rows | Tip | End | Gone] = deque()
        self.closed = False
        """Set by the slot: make no further call."""
        self._position = position
        self._client = client
        self._stream = stream
        self._pacing = pacing
        self._share = share
        self._clock = clock
        self._learn = learn
        self._on_loss = on_loss
        self._backoff = Backoff(rng)
        self._deaggregator = Deaggregator(shard.first_hash, shard.last_hash)
        self._iterator: str | None = None
        self._iterator_made = 0.0
        self._queued = [0, 0]  # rows, bytes: ever put on the queue; written by the reader's thread
        self._taken = [0, 0]  # and ever taken off it; written by the slot's thread
        self._record_bytes = 1024.0  # a guess, until records are seen

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

    # ---- the reader's side ----

    def step(self) -> float | None:
        """Make one call; return the seconds until the next, None when the shard is read.

        Raises:
            DataLossError: Records expired unread, and the policy is to stop.
            KinewaxError: Access is denied.
        """
        if self.closed:
            return None
        waiting_bytes = self._queued[1] - self._taken[1]
        half_bytes = self._share.bytes_each() // 2
        if waiting_bytes > half_bytes:
            return _ROOM_SECONDS
        limit = int(min(max(min(half_bytes, _REPLY_BYTES) / self._record_bytes, 1), MAX_ROWS))
        try:
            iterator = self._live_iterator()
            asked = time.monotonic()
            asked_us = self._clock()
            reply = self._get_records(iterator, limit)
        except Exception as error:
            return self._failed(error)
        self._backoff.reset()
        if self.closed:
            return None
        return self._take_in(reply, asked, asked_us, limit)

    def _get_records(self, iterator: str, limit: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {"ShardIterator": iterator, "Limit": limit}
        if self._stream.startswith("arn:"):
            arguments["StreamARN"] = self._stream
        reply = self._client.get_records(**arguments)
        field(reply, "Records")
        return reply

    def _take_in(
        self, reply: dict[str, Any], asked: float, asked_us: int, limit: int
    ) -> float | None:
        position = self._position
        resume = None
        if position.sequence is not None and position.sub_sequence is not None:
            resume = (position.sequence, position.sub_sequence)
        records, reply_bytes, memory_bytes = len(reply["Records"]), 0, 0
        for rows in to_rows(reply, self._deaggregator, resume):
            self._queue.append(rows)
            self._queued[0] += len(rows.payloads)
            self._queued[1] += rows.memory_bytes
            reply_bytes += rows.payload_bytes
            memory_bytes += rows.memory_bytes
            self._position = Position(rows.sequence)
        behind_ms: int | None = reply.get("MillisBehindLatest")
        labels = (self._stream, self.shard.id)
        if behind_ms is not None:
            metrics.behind_latest_seconds.labels(*labels).set(behind_ms / 1000)
        if records:
            metrics.source_records.labels(*labels).inc(records)
            metrics.source_bytes.labels(*labels).inc(reply_bytes)
            self._record_bytes += (memory_bytes / records - self._record_bytes) / 4
        self._iterator = reply.get("NextShardIterator")
        self._iterator_made = asked
        if self._iterator is None:
            self._learn([child_shard(entry) for entry in reply.get("ChildShards") or ()])
            self._queue.append(End())
            return None
        if behind_ms == 0 and records < limit:
            if not records:
                self._put_tip(asked_us)
            pause = self._pacing.at_tip_seconds(self._share.readers)
        else:
            pause = self._pacing.behind_seconds(reply_bytes)
        return max(0.0, asked + pause - time.monotonic())

    def _put_tip(self, asked_us: int) -> None:
        # A later word on the same state replaces the earlier one, unless the slot was faster.
        try:
            if isinstance(self._queue[-1], Tip):
                self._queue.pop()
        except IndexError:
            pass
        self._queue.append(Tip(asked_us))

    def _live_iterator(self) -> str:
        if self._iterator is None or (
            time.monotonic() - self._iterator_made > _RENEW_AFTER_SECONDS
        ):
            arguments = _iterator_arguments(self._position)
            reply = self._client.get_shard_iterator(
                **stream_argument(self._stream), ShardId=self.shard.id, **arguments
            )
            self._iterator = field(reply, "ShardIterator")
            self._iterator_made = time.monotonic()
        iterator: str = self._iterator
        return iterator

    def _failed(self, error: Exception) -> float | None:
        kind = classify(error)
        if kind == "bug" or isinstance(error, KinewaxError):
            raise error
        if kind == "denied":
            message = (
                f"Reading shard {self.shard.id} of stream {self._stream!r} is refused: {error}"
            )
            hint = "allow kinesis:GetShardIterator and kinesis:GetRecords on it, and its KMS key"
            raise KinewaxError(message, hint=hint) from error
        if kind == "missing":
            self._queue.append(Gone())
            return None
        had_iterator = self._iterator is not None
        if kind in ("expired_iterator", "invalid"):
            self._iterator = None
        metric = kind if kind != "invalid" else "other"
        metrics.source_errors.labels(self._stream, metric).inc()
        if kind == "invalid" and not had_iterator:
            self._position_refused(error)
        return self._retry_after(kind, error)

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


def _iterator_arguments(position: Position) -> dict[str, Any]:
    if position.sequence is not None:
        # AT only inside a record of which a part was emitted: `to_rows` leaves that part out.
        whole = position.sub_sequence is None
        kind = "AFTER_SEQUENCE_NUMBER" if whole else "AT_SEQUENCE_NUMBER"
        return {"ShardIteratorType": kind, "StartingSequenceNumber": position.sequence}
    if position.start_us is not None:
        seconds = position.start_us // 1000 / 1000  # the service keeps milliseconds
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds}
    return {"ShardIteratorType": "TRIM_HORIZON"}
