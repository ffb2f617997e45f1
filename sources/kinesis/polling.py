"""Reads one shard by asking: an iterator, one GetRecords a step.

Guarantee: rows are queued once and in order, whatever fails between: a call that failed is made
again from the same iterator, and an iterator that expired (they live 5 minutes) is replaced by one
after the last record queued. A reader that falls behind the stream's retention while it runs tells
so: the service goes on at its oldest record without a word.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import metrics
from sources.kinesis.client import KinesisClient, field, stream_argument
from sources.kinesis.lineage import Shard, child_shard
from sources.kinesis.pacing import Pacing
from sources.kinesis.reader import Position, ShardReader
from sources.kinesis.records import MAX_ROWS
from sources.kinesis.retention import RetentionWatch
from sources.kinesis.share import PAUSED_SECONDS

_RENEW_AFTER_SECONDS = 240.0
_REPLY_BYTES = 10 << 20
_WRITE_BYTES_PER_SECOND = 1 << 20  # the quota of those who put records on a shard
_USUAL_SECONDS = 1.0
_WAITS_FOR_ROOM = True  # on its thread: who asks again every now and then leaves room unused


class PollingReader(ShardReader):
    """Reads one shard with GetRecords.

    Args:
        shard: The shard.
        position: Where to go on.
        client: A Kinesis client.
        pacing: How often to call.
        retention_us: How long the stream keeps records; None to leave losses unnoticed.
        options: What every reader takes (`Any`: typed by `ShardReader`).
    """

    permissions = "kinesis:GetShardIterator and kinesis:GetRecords"

    def __init__(
        self,
        shard: Shard,
        position: Position,
        *,
        client: KinesisClient,
        pacing: Pacing,
        retention_us: Callable[[], int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(shard, position, **options)
        self._client = client
        self._pacing = pacing
        self._retention = None if retention_us is None else RetentionWatch(retention_us)
        self._reply_bytes: float | None = None  # of the largest of the last replies' rows
        self._called = time.monotonic()
        self._iterator: str | None = None
        self._iterator_made = 0.0
        self._at_tip = True  # as of the last reply
        self._has_seen_records = False
        self._record_bytes = 1024.0  # in memory; a guess, until records are seen
        self._payload_bytes = 1024.0  # of a record, as is

    def step(self) -> float | None:
        """Make one call; return the seconds until the next, None when the shard is read.

        Raises:
            DataLossError: Records expired unread, and the policy is to stop.
            KinewaxError: Access is denied.
        """
        if self.closed:
            return None
        if self._share.is_ahead(self._standing):
            return PAUSED_SECONDS
        if not self._has_room():
            return self._share.room_seconds()
        try:
            # Before there is room for records: it brings none, and while a service leaves it
            # unanswered it keeps no room from other shards.
            iterator = self._live_iterator()
        except Exception as error:
            return self._failed(error)
        limit = self._limit()
        expected_bytes = self._expected_bytes(limit)
        reserved_bytes = self._share.reserve(self._standing, expected_bytes, waits=_WAITS_FOR_ROOM)
        if reserved_bytes is None:
            return 0.0
        rows_bytes = None
        try:
            pause, rows_bytes = self._call(iterator, limit)
        except Exception as error:
            pause = self._failed(error)
        finally:
            self._share.release(reserved_bytes, rows_bytes)
        return pause

    def _limit(self) -> int:
        """Return how many records to ask for: a fair share, or all that the shard's pace allows.

        With hundreds of shards the share is less than one of them can be written in a fifth of a
        second, and a busy one would fall behind for ever.
        """
        share = min(self._share.bytes_each() // 2, _REPLY_BYTES) / self._record_bytes
        pace = self._pacing.shard_bytes_per_second / self._pacing.shard_calls_per_second
        return int(min(max(share, pace / max(self._payload_bytes, 1.0), 1), MAX_ROWS))

    def _expected_bytes(self, limit: int) -> float | None:
        """Return what the rows of the next reply may take; None before the first."""
        if self._reply_bytes is None:
            return None
        whole_bytes = max(self._reply_bytes, limit * self._record_bytes)
        if not self._at_tip:
            return whole_bytes
        # More than usual may lie there after a pause, but no more than can have been written, nor
        # than was asked for, if it is known how large the records are.
        idle_seconds = time.monotonic() - self._called - _USUAL_SECONDS
        written_bytes = max(self._reply_bytes, idle_seconds * _WRITE_BYTES_PER_SECOND)
        return min(written_bytes, whole_bytes) if self._has_seen_records else written_bytes

    def _call(self, iterator: str, limit: int) -> tuple[float | None, int | None]:
        asked = self._called = time.monotonic()
        asked_us = self._clock()
        reply = self._get_records(iterator, limit)
        self._backoff.reset()
        if self.closed:
            return None, None
        self._check_retention(asked_us, reply.get("MillisBehindLatest"))
        return self._take_in(reply, asked, asked_us, limit)

    def _check_retention(self, asked_us: int, behind_ms: int | None) -> None:
        if self._retention is not None:
            why = self._retention.loss(asked_us, behind_ms)
            if why is not None:
                self._on_loss(self.shard.id, why)

    def _get_records(self, iterator: str, limit: int) -> dict[str, Any]:
        arguments: dict[str, Any] = {"ShardIterator": iterator, "Limit": limit}
        if self._stream.startswith("arn:"):
            arguments["StreamARN"] = self._stream
        reply = self._client.get_records(**arguments)
        field(reply, "Records")
        return reply

    def _take_in(
        self, reply: dict[str, Any], asked: float, asked_us: int, limit: int
    ) -> tuple[float | None, int]:
        behind_ms: int | None = reply.get("MillisBehindLatest")
        records = len(reply["Records"])
        reply_bytes, memory_bytes = self._put_rows(reply, behind_ms)
        if records:
            self._has_seen_records = True
            self._record_bytes += (memory_bytes / records - self._record_bytes) / 4
            self._payload_bytes += (reply_bytes / records - self._payload_bytes) / 4
        self._reply_bytes = max((self._reply_bytes or 0) / 2, memory_bytes)
        self._iterator = reply.get("NextShardIterator")
        self._iterator_made = asked
        if self._iterator is None:
            self._put_end([child_shard(entry) for entry in reply.get("ChildShards") or ()])
            return None, memory_bytes
        self._at_tip = behind_ms == 0 and records < limit
        if self._at_tip:
            if not records:
                self._put_tip(asked_us)
            pause = self._pacing.at_tip_seconds(self._share.readers)
        else:
            pause = self._pacing.behind_seconds(reply_bytes)
        return max(0.0, asked + pause - time.monotonic()), memory_bytes

    def _live_iterator(self) -> str:
        if self._iterator is None or (
            time.monotonic() - self._iterator_made > _RENEW_AFTER_SECONDS
        ):
            if self._iterator_made:
                metrics.kinesis_iterator_renewals.labels(*self._labels).inc()
            arguments = _iterator_arguments(self._position)
            reply = self._client.get_shard_iterator(
                **stream_argument(self._stream), ShardId=self.shard.id, **arguments
            )
            self._iterator = field(reply, "ShardIterator")
            self._iterator_made = time.monotonic()
        iterator: str = self._iterator
        return iterator

    def _failed(self, error: Exception) -> float | None:
        kind = self._judge(error)
        if kind == "missing":
            return None
        had_iterator = self._iterator is not None
        if kind in ("expired_iterator", "invalid"):
            self._iterator = None
        if kind == "invalid" and not had_iterator:
            self._position_refused(error)
        return self._retry_after(kind, error)


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
