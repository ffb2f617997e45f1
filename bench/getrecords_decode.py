"""How many records a CPU-second from the body of a GetRecords reply to a `Block`.

Input: one body of 10,000 records with JSON payloads of 309 bytes, as AWS writes it. Ours: the hook
`parse_body` and `to_rows`, which is all that happens between the socket and a slot's queue. Beside
it the same work with botocore's own parser. Sockets, signing and HTTP are outside of both.

The work is repeated for a while and the median taken; other load on the machine makes it slower,
never faster.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import botocore.loaders
import botocore.model
import botocore.parsers

from messages import Block
from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import HASH_KEYS
from sources.kinesis.records import prepare, to_rows
from sources.kinesis.replies import parse_body

RECORDS = 10_000
PAYLOAD_BYTES = 309
_SECONDS = 3.0
_MIN_REPEATS = 3


def make_body(records: int = RECORDS, seed: int = 1) -> bytes:
    """Return the body of a reply, as the service writes it."""
    rng = random.Random(seed)
    entries = []
    for number in range(records):
        event = {
            "event_time": "2019-11-01 00:00:00 UTC",
            "event_type": rng.choice(("view", "cart", "purchase")),
            "product_id": str(rng.randrange(10**7)),
            "category_id": "2103807459595387724",
            "category_code": "electronics.smartphone",
            "brand": rng.choice(("samsung", "apple", "xiaomi")),
            "price": f"{rng.random() * 1000:.2f}",
            "user_id": str(500_000_000 + rng.randrange(400_000)),
            "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        }
        text = json.dumps(event)
        data = base64.b64encode(text.ljust(PAYLOAD_BYTES).encode()).decode()
        arrival = f"{1.76 + number / 1e12:.12f}E9"
        sequence_number = 49_600_000_000_000 * 10**42 + number
        entries.append(
            f'{{"Data":"{data}","PartitionKey":"{event["category_id"]}",'
            f'"ApproximateArrivalTimestamp":{arrival},"SequenceNumber":"{sequence_number}"}}'
        )
    head = f'{{"MillisBehindLatest":0,"NextShardIterator":"{"A" * 232}","Records":['
    return (head + ",".join(entries) + "]}").encode()


def run() -> dict[str, Any]:
    """Measure both ways."""
    prepare()  # as a worker does
    gc.freeze()
    body = make_body()
    deaggregator = Deaggregator(0, HASH_KEYS - 1)
    model = botocore.model.ServiceModel(
        botocore.loaders.Loader().load_service_model("kinesis", "service-2")
    )
    shape = model.operation_model("GetRecords").output_shape
    botocore_parser = botocore.parsers.create_parser("json")

    def ours() -> int:
        return _decode(body, deaggregator)

    def peer() -> int:
        reply = botocore_parser.parse({"status_code": 200, "headers": {}, "body": body}, shape)
        return _to_blocks(reply, deaggregator)

    runs = [
        {"parser": name, "records_per_cpu_second": rate}
        for name, work in (("kinewax", ours), ("botocore", peer))
        for rate in _rates(work)
    ]
    ours_rate = _median(runs, "kinewax")
    peer_rate = _median(runs, "botocore")
    return {
        "metrics": {
            "records_per_cpu_second": ours_rate,
            "events_per_cpu_second": ours_rate,
            "botocore_records_per_cpu_second": peer_rate,
            "times_botocore": round(ours_rate / peer_rate, 1),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        },
        "runs": runs,
    }


def records_per_second() -> float:
    """Return how many records a second of wall time ours decodes."""
    body = make_body()
    deaggregator = Deaggregator(0, HASH_KEYS - 1)
    records, begun = 0, time.monotonic()
    while time.monotonic() < begun + _SECONDS:
        records += _decode(body, deaggregator)
    return records / (time.monotonic() - begun)


def _decode(body: bytes, deaggregator: Deaggregator) -> int:
    reply: dict[str, Any] = {}
    parse_body(response_dict={"status_code": 200, "body": body}, customized_response_dict=reply)
    return _to_blocks(reply, deaggregator)


def _to_blocks(reply: dict[str, Any], deaggregator: Deaggregator) -> int:
    blocks = [
        Block("shard", rows.payloads, rows.sequence_numbers, rows.arrival_us)
        for rows in to_rows(reply, deaggregator)
    ]
    return sum(len(block.payloads) for block in blocks)


def _rates(work: Callable[[], int]) -> list[int]:
    work()
    rates: list[int] = []
    deadline = time.monotonic() + _SECONDS
    while len(rates) < _MIN_REPEATS or time.monotonic() < deadline:
        gc.collect()
        begun = time.process_time()
        records = work()
        rates.append(round(records / (time.process_time() - begun)))
    return rates


def _median(runs: list[dict[str, Any]], parser: str) -> int:
    rates: list[int] = [run["records_per_cpu_second"] for run in runs if run["parser"] == parser]
    return round(statistics.median(rates))


if __name__ == "__main__":
    print(json.dumps(run()["metrics"], indent=2))
