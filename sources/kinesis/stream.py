"""What the slots of one process share: client, lister, prefetch threads, and the first failure.

Guarantee: what fails in a background thread for good is raised by the next `poll` of every slot;
losses are told to a person (`warn`) or stop the job (`fail`), and are counted either way.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import metrics
from errors import DataLossError
from sources.kinesis.bodies import use_whole_bodies
from sources.kinesis.client import KinesisClient
from sources.kinesis.fan_out import EnhancedFanOut, FanOut
from sources.kinesis.lineage import Shard
from sources.kinesis.lister import Lister
from sources.kinesis.pacing import Pacing
from sources.kinesis.polling import PollingReader
from sources.kinesis.prefetch import Prefetch
from sources.kinesis.reader import Position, ShardReader
from sources.kinesis.replies import use_typed_parse
from sources.kinesis.share import Share
from sources.kinesis.subscription import Subscription

_logger = logging.getLogger("kinewax.sources.kinesis")

_CLOSE_SECONDS = 2.0

OnDataLoss = Literal["fail", "warn"]


class Stream:
    """A stream being read by this process.

    Args:
        name: Name or ARN.
        client: A Kinesis client, closed at the end.
        start_us: Where shards of a first start begin; None for the oldest record.
        slots: How many slots the source has.
        on_data_loss: What to do when records expired unread.
        pacing: How often to call.
        max_prefetch_bytes: What may wait in queues.
        clock: Microseconds since the epoch.
        rng: For jitter.
        fan_out: How to subscribe; None to poll.
    """

    def __init__(
        self,
        name: str,
        client: KinesisClient,
        *,
        start_us: int | None,
        slots: int,
        on_data_loss: OnDataLoss,
        pacing: Pacing,
        max_prefetch_bytes: int,
        clock: Callable[[], int],
        rng: random.Random,
        fan_out: EnhancedFanOut | None = None,
    ) -> None:
        self.name = name
        self.start_us = start_us
        self.slots = slots
        self.clock = clock
        self.closed = False
        self._client = client
        self._on_data_loss = on_data_loss
        self._pacing = pacing
        self._share = Share(max_prefetch_bytes, pacing.max_drift_seconds, name, self._retention_us)
        self._rng = rng
        self._lock = threading.Lock()
        self._users = 0
        self._failure: BaseException | None = None
        self._counts: dict[str, Mapping[str, int]] = {}
        use_whole_bodies(client)
        use_typed_parse(client)
        self.lister = Lister(client, name, rng, self._fail)
        self._prefetch = Prefetch(f"read-{name}", self._fail)
        self._fan_out = FanOut(fan_out, name, rng, self._fail) if fan_out is not None else None

    def acquire(self) -> None:
        """A slot begins to use this; the first one starts the threads."""
        with self._lock:
            self._users += 1
            first = self._users == 1
        if first:
            self.lister.start()
            if self._fan_out is not None:
                self._fan_out.start()

    def release(self, slot: str) -> None:
        """A slot has ended; the last one closes everything."""
        self.count_shards(slot, {})
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self.close()

    def close(self) -> None:
        """Stop the threads; calls under way get two seconds, then they are left to end alone."""
        self.closed = True
        self.lister.close()
        self._prefetch.close()
        if self._fan_out is not None:
            self._fan_out.close()
            self._fan_out.join(_CLOSE_SECONDS)
        self.lister.join(_CLOSE_SECONDS)
        self._prefetch.join(_CLOSE_SECONDS)
        self._client.close()

    def check(self) -> None:
        """Raise what a background thread failed with, if one has."""
        if self._failure is not None:
            raise self._failure

    def read(self, shard: Shard, position: Position) -> ShardReader:
        """Begin to read a shard ahead."""
        options: dict[str, Any] = {
            "stream": self.name,
            "share": self._share,
            "clock": self.clock,
            "rng": self._rng,
            "learn": self.lister.learn,
            "on_loss": self.on_loss,
            "retention_us": self._retention_us,
        }
        metrics.kinesis_prefetch_bytes.labels(self.name, shard.id).set(0)
        with self._lock:
            self._share.readers += 1
            spread = self._share.readers / self._pacing.max_calls_per_second
        # Many shards begin at different moments, and go on so.
        delay_seconds = self._rng.uniform(0.0, spread)
        if self._fan_out is not None:
            subscription = self._fan_out.subscribe(shard, position, options, delay_seconds)
            if subscription is not None:
                return subscription
        reader = PollingReader(
            shard,
            position,
            client=self._client,
            pacing=self._pacing,
            **options,
        )
        self._prefetch.add(reader.step, delay_seconds)
        return reader

    def stop(self, reader: ShardReader) -> None:
        """Read a shard no more, and forget its labels."""
        reader.close()
        if self._fan_out is not None and isinstance(reader, Subscription):
            self._fan_out.forget(reader)
        with self._lock:
            self._share.readers -= 1
        labels = (self.name, reader.shard.id)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            # What is in the files of several processes can't be removed from them: who merges
            # them leaves the shard's labels out.
            metrics.kinesis_prefetch_bytes.labels(*labels).set(metrics.CLOSED)
            return
        for metric in metrics.OF_SHARDS:
            with contextlib.suppress(KeyError):  # it never had a value
                metric.remove(*labels)

    def _retention_us(self) -> int:
        listing = self.lister.listing
        assert listing is not None, "no shard is read before the first listing"
        return listing.retention_us

    def on_loss(self, shard: str, why: str) -> None:
        """Tell that records of a shard may be lost.

        Raises:
            DataLossError: The policy is to stop.
        """
        metrics.source_errors.labels(self.name, "data_loss").inc()
        self.lister.doubt()  # a position that is refused may be another stream's
        message = f"Records of shard {shard} of stream {self.name!r} may be lost: {why}"
        if self._on_data_loss == "fail":
            hint = "accept the loss with on_data_loss = warn, or reset the positions"
            raise DataLossError(message, hint=hint)
        _logger.warning(
            message,
            extra={
                "event": "data_loss",
                "shard": shard,
                "error_type": "data_loss",
                "stage": "receiving",
            },
        )

    def count_shards(self, slot: str, counts: Mapping[str, int]) -> None:
        """Tell how many shards of a slot are in which state."""
        with self._lock:
            self._counts[slot] = counts
            total: Counter[str] = Counter()
            for of_slot in self._counts.values():
                total.update(of_slot)
        for state in ("reading", "waiting", "ended"):
            metrics.source_shards.labels(self.name, state).set(total[state])

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = error
