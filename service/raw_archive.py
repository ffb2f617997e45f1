"""A raw archive of a stream: does Firehose's part where there is no Firehose that does.

A stand-in, for the demo and for tests: moto's Firehose reads no stream, compresses nothing and
expands no prefix. In an account a delivery stream does this, and nothing of kinewax's runs for it.

As Firehose does: each record gets a newline behind it, KPL aggregates are taken apart, an object is
made when so many bytes or seconds are gathered, whichever comes first, and is packed with gzip. Its
folders and name tell the UTC time at which its oldest record came to the stream:

    raw/2026/11/22/10/shop-1-2026-11-22-10-15-30-<uuid>.gz

Limits: positions are in memory, so a new one begins at the stream's beginning again; one reader
reads all shards by turns; children of a shard are read once it has ended, with no regard for order,
which Firehose doesn't keep either.

Source: "Understand Amazon S3 object name format" and "Understand custom prefixes for Amazon S3
objects" in the Amazon Data Firehose developer guide.
"""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Protocol

from service.outside import Watcher
from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import HASH_KEYS

Put = Callable[[str, bytes], None]
"""Stores an object, whole or not at all: its key and its content."""

_POLL_SECONDS = 0.5
_VERSION = 1  # of a delivery stream's configuration, which counts from 1
_US_PER_SECOND = 1_000_000


class Kinesis(Protocol):
    """The calls that are made; boto3's client is one (`Any`: it builds methods at run time)."""

    def list_shards(self, **request: Any) -> Mapping[str, Any]:
        """List the shards of a stream."""

    def get_shard_iterator(self, **request: Any) -> Mapping[str, Any]:
        """Say where in a shard to begin."""

    def get_records(self, **request: Any) -> Mapping[str, Any]:
        """Read on in a shard."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a delivery stream is configured.

    Attributes:
        name: Of the delivery stream: objects are named after it.
        prefix: What stands before the date in a key.
        most_bytes: So many bytes make an object, before they are packed.
        most_seconds: So old the oldest record gets before an object is made.
    """

    name: str
    prefix: str = "raw/"
    most_bytes: int = 5 * 1024 * 1024
    most_seconds: float = 300.0


class Gathered:
    """What the next object will hold. Pure.

    Args:
        delivery: How objects are made and named.
        random: Where the last part of a name comes from.
    """

    def __init__(self, delivery: Delivery, random: Random) -> None:
        self._delivery = delivery
        self._random = random
        self._whole = Deaggregator(0, HASH_KEYS - 1)  # all shards' records: none is foreign
        self._lines = bytearray()
        self._oldest_us = 0
        self._since_us = 0

    def add(self, data: bytes, arrived_us: int, now_us: int) -> None:
        """Add a record of the stream."""
        packed = self._whole.user_records(data)
        if not self._lines:
            self._oldest_us, self._since_us = arrived_us, now_us
        self._oldest_us = min(self._oldest_us, arrived_us)
        for payload in [data] if packed is None else packed.payloads:
            self._lines += payload
            self._lines += b"\n"

    def is_due(self, now_us: int) -> bool:
        """Tell whether it is time to make an object."""
        if not self._lines:
            return False
        waited_seconds = (now_us - self._since_us) / _US_PER_SECOND
        most = self._delivery
        return len(self._lines) >= most.most_bytes or waited_seconds >= most.most_seconds

    def made(self) -> tuple[str, bytes] | None:
        """Return the object's key and content, and begin another; None if there is nothing."""
        if not self._lines:
            return None
        content = gzip.compress(self._lines, mtime=self._oldest_us // _US_PER_SECOND)
        key = self._key()
        self._lines = bytearray()
        return key, content

    def _key(self) -> str:
        oldest = datetime.fromtimestamp(self._oldest_us / _US_PER_SECOND, UTC)
        unique = uuid.UUID(int=self._random.getrandbits(128), version=4)
        of = self._delivery
        return (
            f"{of.prefix}{oldest:%Y/%m/%d/%H}/"
            f"{of.name}-{_VERSION}-{oldest:%Y-%m-%d-%H-%M-%S}-{unique}.gz"
        )


class RawArchive(Watcher):
    """A thread that archives a stream from its beginning on; what goes wrong `check` raises.

    Args:
        kinesis: boto3's client.
        stream: The stream's name.
        put: Stores an object.
        delivery: How objects are made and named.
        clock: Now, in microseconds since the epoch.
        random: Where the last part of a name comes from.
    """

    def __init__(
        self,
        kinesis: Kinesis,
        stream: str,
        put: Put,
        delivery: Delivery,
        clock: Callable[[], int],
        random: Random,
    ) -> None:
        super().__init__("raw-archive")
        self._kinesis = kinesis
        self._stream = stream
        self._put = put
        self._clock = clock
        self._gathered = Gathered(delivery, random)
        self._iterators: dict[str, str] = {}
        self._known: set[str] = set()
        self._must_list = True

    def finish(self) -> None:
        """Stop the thread, read all that is on the stream by now, and store what is gathered."""
        self.stop()
        self.check()
        while not self._read():
            pass
        self._store()

    def _look(self) -> None:
        self._read()
        self._ended.wait(_POLL_SECONDS)

    def _read(self) -> bool:
        """Read once from each shard; True when nothing more is there."""
        if self._must_list:
            self._list()
        at_tip = True
        for shard, iterator in list(self._iterators.items()):
            found = self._kinesis.get_records(ShardIterator=iterator)
            now_us = self._clock()
            for record in found["Records"]:
                arrived_us = round(record["ApproximateArrivalTimestamp"].timestamp() * 1e6)
                self._gathered.add(record["Data"], arrived_us, now_us)
            if self._gathered.is_due(now_us):
                self._store()
            if following := found.get("NextShardIterator"):
                self._iterators[shard] = following
                at_tip &= not found["Records"] and not found["MillisBehindLatest"]
            else:  # it has ended: its children begin
                del self._iterators[shard]
                self._must_list, at_tip = True, False
        return at_tip

    def _list(self) -> None:
        """Begin the shards that are new, each at its beginning."""
        request = {"StreamName": self._stream}
        while request:
            page = self._kinesis.list_shards(**request)
            for shard in (one["ShardId"] for one in page["Shards"]):
                if shard in self._known:
                    continue
                self._known.add(shard)
                self._iterators[shard] = self._kinesis.get_shard_iterator(
                    StreamName=self._stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
            token = page.get("NextToken")
            request = {"NextToken": token} if token else {}
        self._must_list = False

    def _store(self) -> None:
        if made := self._gathered.made():
            self._put(*made)


def both(s3: Any, bucket: str, directory: Path) -> Put:
    """Return what stores an object in S3 and, for when that is gone, below a directory.

    Args:
        s3: boto3's client (untyped: made at run time).
        bucket: The bucket's name.
        directory: Keys are paths from here on.
    """

    def put(key: str, content: bytes) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=content)
        path = directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return put
