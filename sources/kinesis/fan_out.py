"""Enhanced fan-out in one process: who subscribes, on which threads, and who watches them.

A subscription blocks a thread for as long as it lasts, so there is a thread a subscription and a
bound on both. A process that owns more shards than that polls the rest and says so once: a stream
that is resharded beyond the bound goes on being read.

Guarantee: a subscription that brings nothing is hung up by the watchdog, which runs on none of the
subscriptions' threads (Flink's consumer waited for ever in such a state, FLINK-38814).
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sources.kinesis.client import FanOutClient
from sources.kinesis.consumer import Consumer
from sources.kinesis.event_stream import keep_body
from sources.kinesis.lineage import Shard
from sources.kinesis.prefetch import Prefetch
from sources.kinesis.reader import Position
from sources.kinesis.subscription import Patience, Subscription

_logger = logging.getLogger("kinewax.sources.kinesis")

MAX_SUBSCRIPTIONS = 256
"""The most subscriptions, and so connections and threads, of a process."""

_WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class EnhancedFanOut:
    """That a source subscribes, and how.

    Attributes:
        consumer: Name of the consumer, registered where there is none; or the ARN of one.
        client_factory: Makes a Kinesis client; called once a process. Its read timeout should be
            `patience.stall_seconds`, its connection pool have `max_subscriptions` places, and it
            should not retry on its own.
        patience: With subscriptions.
        max_subscriptions: Of a process; further shards are polled.
    """

    consumer: str
    client_factory: Callable[[], FanOutClient]
    patience: Patience = field(default_factory=Patience)
    max_subscriptions: int = MAX_SUBSCRIPTIONS


class FanOut:
    """The subscriptions of a process.

    Args:
        options: How to subscribe.
        stream: The stream's name or ARN.
        rng: For jitter.
        on_failure: Told of an error that no retry will mend.
    """

    def __init__(
        self,
        options: EnhancedFanOut,
        stream: str,
        rng: random.Random,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._options = options
        self._stream = stream
        self._client = options.client_factory()
        keep = "before-parse.kinesis.SubscribeToShard"
        self._client.meta.events.register(keep, keep_body)
        self._consumer = Consumer(self._client, stream, options.consumer, rng)
        self._lock = threading.Lock()
        self._live: set[Subscription] = set()
        self._told_of_bound = False
        # Two threads more, for the consumer and the watchdog, so that neither ever waits for one.
        most = options.max_subscriptions + 2
        self._prefetch = Prefetch(f"subscribe-{stream}", on_failure, most)

    def start(self) -> None:
        """Look for the consumer, and begin to watch."""
        self._prefetch.add(self._consumer.step)
        self._prefetch.add(self._watch)

    def subscribe(
        self, shard: Shard, position: Position, options: dict[str, Any], delay_seconds: float
    ) -> Subscription | None:
        """Begin to read a shard; None where there are as many subscriptions as may be.

        Args:
            shard: The shard.
            position: Where to go on.
            options: What every reader takes (`Any`: typed by `ShardReader`).
            delay_seconds: Until the first call.
        """
        with self._lock:
            if len(self._live) >= self._options.max_subscriptions:
                self._tell_of_bound()
                return None
            reader = Subscription(
                shard,
                position,
                client=self._client,
                consumer=self._consumer,
                patience=self._options.patience,
                **options,
            )
            self._live.add(reader)
        self._prefetch.add(reader.step, delay_seconds)
        return reader

    def forget(self, reader: Subscription) -> None:
        """A subscription has been closed."""
        with self._lock:
            self._live.discard(reader)

    def close(self) -> None:
        """Begin no further subscription; those there are end when they are closed."""
        self._prefetch.close()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the threads to end, but not for ever."""
        self._prefetch.join(timeout_seconds)
        self._client.close()

    def _watch(self) -> float:
        with self._lock:
            live = list(self._live)
        for reader in live:
            reader.watch()
        return _WATCH_SECONDS

    def _tell_of_bound(self) -> None:
        if not self._told_of_bound:
            self._told_of_bound = True
            _logger.warning(
                "stream %s: this process has %d subscriptions and polls its other shards; "
                "more processes would subscribe to more",
                self._stream,
                self._options.max_subscriptions,
                extra={"event": "subscriptions_bounded", "stage": "receiving"},
            )
