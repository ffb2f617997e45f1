"""Reads one shard by being sent it: enhanced fan-out, one SubscribeToShard a step.

A step subscribes after the last position and stays with the subscription until it ends: the service
ends each after 5 minutes, and the next step renews it. A step blocks its thread all that time, as
botocore's streams do; how many threads there may be is `fan_out.py`'s affair. An event larger than
what comes at once (64 KiB) is read off the socket when the process has room for it.

Guarantee: rows are queued once and in order. Each subscription begins after the continuation
sequence number of the last event taken in, whatever ended the one before. Records that are on their
way are never waited for without end: an event must come within `stall_seconds` (the service sends
one every few seconds, an empty one if need be), and an event that says there is more must be
followed by progress; else the subscription is given up for a new one.

Limits (Kinesis Data Streams API, SubscribeToShard): one call a second for a shard and consumer; a
call within 5 seconds of a successful one is refused as in use, a later one takes the shard over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from botocore.parsers import ResponseParserError

import metrics
from sources.kinesis.client import FanOutClient, field
from sources.kinesis.consumer import Consumer
from sources.kinesis.event_stream import Body, Event, Events
from sources.kinesis.lineage import Shard, child_shard
from sources.kinesis.reader import ROOM_SECONDS, Position, ShardReader, Tip
from sources.kinesis.records import Rows, blank
from sources.kinesis.retention import RetentionWatch
from sources.kinesis.share import PAUSED_SECONDS

_logger = logging.getLogger("kinewax.sources.kinesis")

_TAKEOVERS = 3

_Ending = Literal["end", "expired", "closed", "full"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a subscription is put up with.

    Attributes:
        stall_seconds: Without an event, or without progress while there is more to come. As in the
            KCL (`ShardConsumer.MAX_TIME_BETWEEN_REQUEST_RESPONSE`).
        full_seconds: With its reading held up because the slot is slow; after that the records stay
            with the service rather than in the buffers of the network.
        most_seconds: In all; the service ends a subscription after 300.
        call_seconds: Between two calls for a shard, whatever came of the first.
        renew_seconds: From a successful call to the next; an earlier one is refused.
    """

    stall_seconds: float = 35.0
    full_seconds: float = 10.0
    most_seconds: float = 330.0
    call_seconds: float = 1.0
    renew_seconds: float = 5.0


class StalledError(Exception):
    """A subscription looks alive and brings nothing."""


class _NoRoomError(Exception):
    """The process has no room for the event that has begun to come."""


class Subscription(ShardReader):
    """Reads one shard with SubscribeToShard.

    Args:
        shard: The shard.
        position: Where to go on.
        client: A Kinesis client with `event_stream.keep_body` registered.
        consumer: In whose name.
        patience: With subscriptions.
        retention_us: How long the stream keeps records; None to leave losses unnoticed.
        options: What every reader takes (`Any`: typed by `ShardReader`).
    """

    permissions = "kinesis:SubscribeToShard"

    def __init__(
        self,
        shard: Shard,
        position: Position,
        *,
        client: FanOutClient,
        consumer: Consumer,
        patience: Patience,
        retention_us: Callable[[], int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(shard, position, **options)
        self._client = client
        self._consumer = consumer
        self._patience = patience
        self._retention = None if retention_us is None else RetentionWatch(retention_us)
        self._may_call = 0.0  # monotonic seconds, as all below
        self._opened = 0.0
        self._progressed = 0.0
        self._waiting_since: float | None = None  # for the next event
        self._stalled = False
        self._brought = False  # an event, in this subscription
        self._takeovers = 0
        self._reserved_bytes = 0  # for an event that is coming
        self._body: Body | None = None
        self._body_lock = threading.Lock()  # to hang up what its own thread is about to close
        self._closing = threading.Event()

    # ---- for other threads ----

    def close(self) -> None:
        """Make no further call and end the one under way."""
        super().close()
        self._closing.set()
        self._hang_up()

    def watch(self) -> None:
        """Hang up when no event has come for too long: called every second or so."""
        since = self._waiting_since
        if since is not None and time.monotonic() - since > self._patience.stall_seconds:
            self._stalled = True
            self._hang_up()

    def _hang_up(self) -> None:
        with self._body_lock:
            if self._body is not None:
                # The service was faster: the connection is closed, or back in its pool.
                with suppress(OSError, RuntimeError, ValueError):
                    self._body.shutdown()

    # ---- the reader's side ----

    def step(self) -> float | None:
        """Subscribe and stay; return the seconds until the next call, None when the shard is read.

        Raises:
            DataLossError: Records expired unread, and the policy is to stop.
            KinewaxError: Access is denied.
        """
        if self.closed:
            return None
        if self._share.is_ahead(self._standing):
            return PAUSED_SECONDS
        if not self._has_room():
            return ROOM_SECONDS
        if self._consumer.arn is None:
            return self._patience.call_seconds / 2
        if (early := self._early_seconds()) > 0:
            return early
        self._stalled = self._brought = False
        try:
            ending = self._subscribe(self._consumer.arn)
        except Exception as error:
            return self._failed(error)
        finally:
            self._waiting_since = None
            self._release(None)
            with self._body_lock:
                body, self._body = self._body, None
            if body is not None:
                body.close()
        return None if ending in ("end", "closed") else self._early_seconds()

    def _early_seconds(self) -> float:
        return max(0.0, self._may_call - time.monotonic())

    def _subscribe(self, consumer: str) -> _Ending:
        asked_us = self._clock()
        self._may_call = time.monotonic() + self._patience.call_seconds
        reply = self._client.subscribe_to_shard(
            ConsumerARN=consumer, ShardId=self.shard.id, StartingPosition=_start(self._position)
        )
        body: Body = field(reply, "Body")
        self._opened = self._progressed = self._waiting_since = time.monotonic()
        self._may_call = self._opened + self._patience.renew_seconds
        with self._body_lock:
            self._body = body
        if self.closed:
            return "closed"  # before there was anything to hang up
        metrics.source_subscriptions.labels(self._stream).inc()
        try:
            return self._read(Events(body, asked_us, self._clock, self._make_room))
        except _NoRoomError:
            return "closed" if self.closed else "full"

    def _read(self, events: Events) -> _Ending:
        for event in events:
            if self.closed:
                return "closed"
            self._waiting_since = None
            self._brought = True
            self._backoff.reset()
            if self._take_in(event, events.made_after_us):
                return "end"
            if not self._wait_for_room():
                return "closed" if self.closed else "full"
            now = time.monotonic()
            if now - self._opened > self._patience.most_seconds:
                return "expired"
            self._waiting_since = now
        if self.closed:
            return "closed"
        if self._stalled:
            raise StalledError
        if not self._brought:
            message = "A subscription ended before its first event"
            raise ResponseParserError(message)
        return "expired"

    def _take_in(self, event: Event, made_after_us: int | None) -> bool:
        behind_ms, continuation = event.millis_behind_latest, event.continuation_sequence_number
        children = [child_shard(entry) for entry in event.child_shards or ()]
        if continuation is None and not children:
            # Taken at its word it would be the end of the shard, but that names the children.
            message = "An event says neither where to go on nor which shards do"
            raise ResponseParserError(message)
        self._check_retention(behind_ms)
        before = self._position
        _, memory_bytes = self._put_rows({"Records": event.records}, behind_ms)
        self._release(memory_bytes)
        if continuation is None:
            self._put_end(children)
            return True
        self._learn(children)
        if event.records or before.sub_sequence is None:
            # Not while the rest of an aggregate is still to come: to go on after it would lose it.
            self._position = Position(continuation)
        if not event.records:
            self._put_nothing(behind_ms, made_after_us)
        self._check_progress(event, before)
        return False

    def _check_retention(self, behind_ms: int | None) -> None:
        if self._retention is not None:
            # What was pushed left the service earlier, and is judged as of its coming.
            why = self._retention.loss(self._clock(), behind_ms)
            if why is not None:
                self._on_loss(self.shard.id, why)

    def _put_nothing(self, behind_ms: int | None, made_after_us: int | None) -> None:
        if self._position.sequence is not None and self._position.sub_sequence is None:
            self._drop_last(lambda item: isinstance(item, Tip))
            self._drop_last(lambda item: isinstance(item, Rows) and _is_blank(item))
            self._queue.append(blank(self._position.sequence))
        if behind_ms == 0 and made_after_us is not None:
            self._put_tip(made_after_us)

    def _check_progress(self, event: Event, before: Position) -> None:
        now = time.monotonic()
        moved = event.continuation_sequence_number != before.sequence
        if event.records or moved or event.millis_behind_latest == 0:
            self._progressed = now
        elif now - self._progressed > self._patience.stall_seconds:
            raise StalledError

    def _wait_for_room(self) -> bool:
        deadline = time.monotonic() + self._patience.full_seconds
        while not self._has_room():
            if time.monotonic() > deadline or self._closing.wait(ROOM_SECONDS):
                return False
        return True

    def _make_room(self, event_bytes: int) -> None:
        """Reserve what an event and its rows will weigh; the frame says how long it is."""
        self._waiting_since = None  # what follows isn't the service's delay
        deadline = time.monotonic() + self._patience.full_seconds
        while (reserved := self._share.reserve(self._standing, event_bytes)) is None:
            if time.monotonic() > deadline or self._closing.wait(ROOM_SECONDS):
                raise _NoRoomError
        self._reserved_bytes = reserved
        self._waiting_since = time.monotonic()

    def _release(self, rows_bytes: int | None) -> None:
        if self._reserved_bytes:
            self._share.release(self._reserved_bytes, rows_bytes)
            self._reserved_bytes = 0

    def _failed(self, error: Exception) -> float | None:
        if self.closed:
            return None
        if self._stalled or isinstance(error, StalledError):
            metrics.source_errors.labels(self._stream, "stalled").inc()
            return self._early_seconds() + self._retry_after("stalled", error)
        kind = self._judge(error)
        if kind == "missing":
            self._consumer.doubt()  # the shard, or the consumer: the error doesn't say
            return None
        if kind == "invalid":
            self._position_refused(error)
        if kind == "in_use" and self._brought:
            self._warn_of_takeover()
        return self._early_seconds() + self._retry_after(kind, error)

    def _warn_of_takeover(self) -> None:
        # The first one may be our successor's, in a rollout.
        self._takeovers += 1
        if self._takeovers == _TAKEOVERS:
            _logger.warning(
                "shard %s: its subscription was taken over %d times; "
                "does another job use the consumer %s? Give each job its own",
                self.shard.id,
                _TAKEOVERS,
                self._consumer.arn,
                extra={
                    "event": "subscription_taken_over",
                    "shard": self.shard.id,
                    "error_type": "in_use",
                    "stage": "receiving",
                },
            )


def _start(position: Position) -> dict[str, Any]:
    if position.sequence is not None:
        # AT only inside a record of which a part was emitted: `to_rows` leaves that part out.
        whole = position.sub_sequence is None
        kind = "AFTER_SEQUENCE_NUMBER" if whole else "AT_SEQUENCE_NUMBER"
        return {"Type": kind, "SequenceNumber": position.sequence}
    if position.start_us is not None:
        seconds = position.start_us // 1000 / 1000  # the service keeps milliseconds
        return {"Type": "AT_TIMESTAMP", "Timestamp": seconds}
    return {"Type": "TRIM_HORIZON"}


def _is_blank(rows: Rows) -> bool:
    return not (rows.plain or rows.aggregated)
