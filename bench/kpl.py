"""How many user records a CPU-second out of aggregated records (KPL), with the hash filter on.

Input: stream records of 100 user records of 309 bytes each, as the KPL packs them, in replies of
10,000 user records. Two kinds, the ends of what producers write:

- `distinct`: 100 keys a record, new ones in each, and a shard that owns half of the key space:
  every key is hashed, and half of the user records are foreign.
- `few`: 8 keys in all, and a shard that owns them: nothing is dropped.

Ours is `to_rows`, from decoded stream records to `Rows`. Beside it the package `aws_kinesis_agg`
over the same records, without any filter, since it has none. MD5 over each aggregate, which makes
sure that it is one, is a good part of our time: `md5_share`.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from aws_kinesis_agg.messages_pb2 import AggregatedRecord

from bench.getrecords_decode import PAYLOAD_BYTES
from sources.kinesis.kpl import MAGIC, Deaggregator
from sources.kinesis.lineage import HASH_KEYS
from sources.kinesis.records import prepare, to_rows
from sources.kinesis.replies import Records, columns

USER_RECORDS = 100
STREAM_RECORDS = 100
_SECONDS = 3.0
_FEW = 8


def make_records(keys: int | None, seed: int = 1) -> Records:
    """Return the records of one reply.

    Args:
        keys: How many partition keys there are in all; None for new ones all the time.
        seed: Of the keys and payloads.
    """
    rng = random.Random(seed)
    same = [f"{rng.getrandbits(64):016x}" for _ in range(keys or 0)]
    payloads = []
    for _ in range(STREAM_RECORDS):
        names = same or [f"{rng.getrandbits(64):016x}" for _ in range(USER_RECORDS)]
        aggregated = AggregatedRecord(partition_key_table=names)
        for place in range(USER_RECORDS):
            data = json.dumps({"user_id": rng.randrange(10**9)}).ljust(PAYLOAD_BYTES).encode()
            aggregated.records.add(partition_key_index=place % len(names), data=data)
        message = aggregated.SerializeToString()
        payloads.append(MAGIC + message + hashlib.md5(message, usedforsecurity=False).digest())
    numbers = [str(49_600_000_000_000 * 10**42 + number) for number in range(STREAM_RECORDS)]
    arrival_us = [1_760_000_000_000_000 + number * 1_000 for number in range(STREAM_RECORDS)]
    return columns(payloads, numbers, arrival_us)


def run() -> dict[str, Any]:
    """Measure both kinds, and the package."""
    prepare()  # as a worker does
    gc.freeze()
    few = make_records(_FEW)
    whole = Deaggregator(0, HASH_KEYS - 1)
    # As many replies as the remembered keys don't outlive: each key is met for the first time.
    replies = [make_records(None, seed) for seed in range(8)]
    turn = 0

    def of_few() -> int:
        return _user_records(few, whole)

    def of_distinct() -> int:
        nonlocal turn
        turn += 1
        half = Deaggregator(0, HASH_KEYS // 2 - 1)
        return _user_records(replies[turn % len(replies)], half)

    def of_package() -> int:
        return sum(1 for _ in iter_deaggregate_records(encoded))

    def of_md5() -> int:
        for payload in few.payloads:
            hashlib.md5(payload, usedforsecurity=False).digest()
        return len(few) * USER_RECORDS

    encoded = [
        {
            "kinesis": {
                "data": base64.b64encode(payload).decode(),
                "partitionKey": "a",
                "sequenceNumber": number.decode(),
                "kinesisSchemaVersion": "1.0",
                "approximateArrivalTimestamp": 1.76e9,
            },
            "eventID": number.decode(),
        }
        for payload, number in zip(few.payloads, few.numbers, strict=True)
    ]
    works = {"few": of_few, "distinct": of_distinct, "package": of_package, "md5": of_md5}
    measured = {kind: _rates(work) for kind, work in works.items()}
    rates = {kind: round(statistics.median(found)) for kind, found in measured.items()}
    runs = [
        {"kind": kind, "user_records_per_cpu_second": rate}
        for kind, found in measured.items()
        for rate in found
    ]
    return {
        "metrics": {
            "user_records_per_cpu_second_few_keys": rates["few"],
            "user_records_per_cpu_second_distinct_keys": rates["distinct"],
            "events_per_cpu_second": rates["distinct"],
            "package_user_records_per_cpu_second": rates["package"],
            "md5_share": round(rates["few"] / rates["md5"], 2),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        },
        "runs": runs,
    }


def _user_records(records: Records, deaggregator: Deaggregator) -> int:
    return sum(
        len(rows.payloads) + rows.foreign for rows in to_rows({"Records": records}, deaggregator)
    )


def _rates(work: Callable[[], int]) -> list[int]:
    work()
    rates: list[int] = []
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        begun = time.process_time()
        done = work()
        rates.append(round(done / (time.process_time() - begun)))
    return rates


if __name__ == "__main__":
    print(json.dumps(run()["metrics"], indent=2))
