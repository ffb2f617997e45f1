"""Discovery: one thread a process that keeps the list of the stream's shards up to date.

Shards are found in two ways: ListShards every 10 to 30 seconds (jittered, so that processes don't
ask together), sooner when somebody waits for children; and the ChildShards that the last reply of
a closed shard names, which `learn` takes in at once. A listing with holes in the key space is
asked for again after a second, and is not taken for the first one before the third time.

Who the stream is (its time of creation) and how long it keeps records is asked first, then with
every tenth listing, and with the next one when somebody doubts it.

Guarantee: a `Listing` is a value; who holds one sees it whole. `round_number` grows with each
ListShards, and `refresh` tells which round will have begun after the call. A hole that persists is
a metric and a warning every ten minutes; so is a listing that keeps failing, a warning.

Limits (Kinesis Data Streams API): ListShards 1000 a second and stream, without a filter all shards
within the retention, a token of a next page lives 300 seconds; DescribeStreamSummary 20 a second
and account.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import metrics
from errors import KinewaxError
from sources.kinesis.client import (
    KinesisClient,
    StreamIdentity,
    field,
    missing_stream,
    resolve_stream,
    stream_argument,
)
from sources.kinesis.failures import classify
from sources.kinesis.lineage import Shard, holes, listed_shard
from sources.kinesis.pacing import Backoff

_logger = logging.getLogger("kinewax.sources.kinesis")

_LIST_EVERY_SECONDS = (10.0, 30.0)
_LIST_AGAIN_SECONDS = 1.0
_HOLE_ROUNDS = 3
_TELL_HOLE_ROUNDS = 600
_IDENTITY_ROUNDS = 10
_STREAK = 5


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of the stream's shards.

    Attributes:
        shards: By id: all that ListShards returned, and children learned of since.
        round_number: Which ListShards this comes from, counted from 1.
        retention_us: How long the stream keeps records.
        created_us: When the stream was created: another one of its name has another time.
    """

    shards: Mapping[str, Shard]
    round_number: int
    retention_us: int
    created_us: int


class Lister:
    """Lists the shards of a stream, over and over.

    Args:
        client: A Kinesis client.
        stream: The stream's name or ARN.
        rng: For jitter.
        on_failure: Told of an error that no retry will mend; the lister has stopped then.
    """

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        rng: random.Random,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.listing: Listing | None = None
        """The newest; None before the first."""
        self._client = client
        self._stream = stream
        self._rng = rng
        self._on_failure = on_failure
        self._backoff = Backoff(rng)
        self._lock = threading.Lock()
        self._learned: dict[str, Shard] = {}
        self._rounds_begun = 0
        self._rounds_with_holes = 0
        self._identity: StreamIdentity | None = None
        self._in_doubt = True
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"list-{stream}", daemon=True)

    def start(self) -> None:
        """Begin to list."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a call under way is left to its timeout."""
        self._closed.set()
        self._wake.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end."""
        self._thread.join(timeout_seconds)

    def refresh(self) -> int:
        """List soon; return the number of the first round that begins after this call."""
        with self._lock:
            number = self._rounds_begun + 1
        self._wake.set()
        return number

    def doubt(self) -> None:
        """Ask with the next listing, soon, who the stream is: it denied what it had said before."""
        self._in_doubt = True
        self._wake.set()

    def learn(self, children: Iterable[Shard]) -> None:
        """Take in the children that a closed shard named."""
        with self._lock:
            if self.listing is None:
                return  # no shard is read before the first listing
            new = {c.id: c for c in children if c.id not in self.listing.shards}
            if new:
                self._learned.update(new)
                self.listing = replace(self.listing, shards={**self.listing.shards, **new})

    def step(self) -> float:
        """List once; return the seconds until the next time.

        Raises:
            MissingResourceError: The stream doesn't exist.
            KinewaxError: Access is denied.
        """
        with self._lock:
            self._rounds_begun += 1
            number = self._rounds_begun
        try:
            identity = self._identify(number)
            entries = self._list()
        except Exception as error:
            self._in_doubt = True
            return self._failed(error)
        self._backoff.reset()
        shards = {shard.id: shard for shard in map(listed_shard, entries)}
        with self._lock:
            for name in shards:
                self._learned.pop(name, None)
            listing = Listing(
                {**shards, **self._learned}, number, identity.retention_us, identity.created_us
            )
            delay = self._check_holes(listing)
            # The first listing decides which shards were there at the start: better a whole one.
            if self.listing is not None or self._rounds_with_holes in (0, _HOLE_ROUNDS):
                self.listing = listing
        return delay

    def _identify(self, number: int) -> StreamIdentity:
        # A person who sees the job fall behind makes the stream keep its records for longer.
        if self._identity is None or self._in_doubt or number % _IDENTITY_ROUNDS == 0:
            self._in_doubt = False  # before the call: who doubts meanwhile may know more
            self._identity = resolve_stream(self._client, self._stream)
        return self._identity

    def _list(self) -> list[dict[str, Any]]:
        reply = self._client.list_shards(**stream_argument(self._stream))
        entries: list[dict[str, Any]] = field(reply, "Shards")
        while token := reply.get("NextToken"):
            reply = self._client.list_shards(NextToken=token)
            entries += field(reply, "Shards")
        return entries

    def _check_holes(self, listing: Listing) -> float:
        missing = holes(listing.shards)
        metrics.kinesis_coverage_holes.labels(self._stream).set(len(missing))
        if not missing:
            if self._rounds_with_holes >= _HOLE_ROUNDS:
                _logger.info(
                    "stream %s: all hash keys have a shard again",
                    self._stream,
                    extra={"event": "coverage_whole", "stage": "receiving"},
                )
            self._rounds_with_holes = 0
            return self._rng.uniform(*_LIST_EVERY_SECONDS)
        self._rounds_with_holes += 1
        if self._rounds_with_holes % _TELL_HOLE_ROUNDS == _HOLE_ROUNDS:
            _logger.warning(
                "stream %s: no shard is known for %d ranges of hash keys, the first from %d to %d",
                self._stream,
                len(missing),
                *missing[0],
                extra={"event": "coverage_hole", "stage": "receiving"},
            )
        return _LIST_AGAIN_SECONDS

    def _failed(self, error: Exception) -> float:
        kind = classify(error)
        if kind == "bug" or isinstance(error, KinewaxError):
            raise error
        if kind == "missing":
            raise missing_stream(self._stream) from error
        if kind == "denied":
            message = f"Listing the shards of stream {self._stream!r} is refused: {error}"
            hint = "allow kinesis:ListShards and kinesis:DescribeStreamSummary on it"
            raise KinewaxError(message, hint=hint) from error
        metrics.source_errors.labels(self._stream, kind).inc()
        pause = self._backoff.next_seconds()
        if self._backoff.failures == _STREAK:
            _logger.warning(
                "stream %s: %d listings of its shards failed in a row, the last one as %s: %s",
                self._stream,
                _STREAK,
                kind,
                error,
                extra={"event": "calls_failing", "error_type": kind, "stage": "receiving"},
            )
        return pause

    def _run(self) -> None:
        try:
            while not self._closed.is_set():
                begun = time.monotonic()
                self._wake.wait(self.step())
                # However many ask, no more than one listing a second.
                self._closed.wait(max(0.0, begun + _LIST_AGAIN_SECONDS - time.monotonic()))
                self._wake.clear()
        except BaseException as error:
            self._on_failure(error)
