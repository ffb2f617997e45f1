"""A Kinesis of many shards, for measuring what each of them costs a reader: quiet, or overfull.

    python -m bench.many_shards quiet SHARDS
    python -m bench.many_shards backlog SHARDS [--ignore-limit]

writes the port that it took to standard output. Quiet shards have what PutRecord brought them.
A shard with a backlog has the same 10,000 records of 1,000 bytes over and over, the largest reply
there is; it is the same memory for all. Signatures and quotas are as in `canned_kinesis.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from bench.canned_kinesis import (
    HASH_KEYS,
    REPLY_RECORDS,
    Stream,
    described,
    listed,
    replied,
    serve,
    written,
)

PAYLOAD_BYTES = 1_000
USERS = 5_000


class _ManyShards:
    """What both kinds have in common."""

    def __init__(self, shards: int) -> None:
        self.shards = shards

    def answer(self, operation: str, asked: dict[str, Any]) -> bytes:
        """Return the body of a reply (`Any`: JSON)."""
        match operation:
            case "GetRecords":
                shard, place = map(int, asked["ShardIterator"].split())
                return self.records(shard, place, asked["Limit"])
            case "GetShardIterator":
                shard = int(asked["ShardId"][-12:])
                return json.dumps({"ShardIterator": f"{shard} 0"}).encode()
            case "PutRecord":
                return self.put(asked)
            case "ListShards":
                return listed(self.shards)
            case "DescribeStreamSummary":
                return described(self.shards)
        message = f"No such operation here: {operation}"
        raise ValueError(message)

    def records(self, shard: int, place: int, limit: int) -> bytes:
        """Answer GetRecords."""
        raise NotImplementedError

    def put(self, asked: dict[str, Any]) -> bytes:
        """Answer PutRecord."""
        raise NotImplementedError


class Quiet(_ManyShards):
    """Shards that are empty, but for what is put."""

    def __init__(self, shards: int) -> None:
        super().__init__(shards)
        self._records: list[list[bytes]] = [[] for _ in range(shards)]

    def records(self, shard: int, place: int, limit: int) -> bytes:
        """Answer with all there is, within the limit."""
        found = self._records[shard][place : place + limit]
        return replied(f"{shard} {place + len(found)}", 0, b"".join(found))

    def put(self, asked: dict[str, Any]) -> bytes:
        """Take a record with an explicit hash key."""
        shard = int(asked["ExplicitHashKey"]) * self.shards // HASH_KEYS
        mine = self._records[shard]
        payload = base64.b64decode(asked["Data"])
        mine.append(written(payload, len(mine), time.time()))
        number = json.loads(mine[-1][:-1])["SequenceNumber"]
        reply = {"ShardId": f"shardId-{shard:012d}", "SequenceNumber": number}
        return json.dumps(reply).encode()


class Backlog(_ManyShards):
    """Shards that always have more."""

    def __init__(self, shards: int, *, obey_limit: bool) -> None:
        super().__init__(shards)
        now = datetime.now(UTC)
        entries = [
            written(_event(number, now), number, now.timestamp()) for number in range(REPLY_RECORDS)
        ]
        self._data = b"".join(entries)
        self._ends = [0, *accumulate(map(len, entries))]
        self._obey_limit = obey_limit

    def records(self, shard: int, place: int, limit: int) -> bytes:
        """Answer with as much as there may be in a reply."""
        last = min(place + limit, REPLY_RECORDS) if self._obey_limit else REPLY_RECORDS
        first = place if self._obey_limit else 0
        records = self._data[self._ends[first] : self._ends[last]]
        return replied(f"{shard} {last % REPLY_RECORDS}", 3_600_000, records)


def _event(number: int, time: datetime) -> bytes:
    fields = {
        "event_time": f"{time:%Y-%m-%d %H:%M:%S} UTC",
        "event_type": "view",
        "product_id": "1",
        "category_id": "2",
        "category_code": "electronics.smartphone",
        "brand": "apple",
        "price": "9.99",
        "user_id": str(number % USERS),
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        "txn_timestamp": f"{time:%Y-%m-%dT%H:%M:%S.%f}",
    }
    return json.dumps(fields).encode().ljust(PAYLOAD_BYTES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Kinesis of many shards.")
    parser.add_argument("kind", choices=("quiet", "backlog"))
    parser.add_argument("shards", type=int)
    parser.add_argument("--ignore-limit", action="store_true")
    given = parser.parse_args()
    stream: Stream = (
        Quiet(given.shards)
        if given.kind == "quiet"
        else Backlog(given.shards, obey_limit=not given.ignore_limit)
    )
    asyncio.run(serve(stream))
