"""What a shard costs: 1, 50 and 500 of them in one process, quiet, with an alert, and overfull.

The service as users start it, one worker, default settings, the window `user_actions`; its Kinesis
is `bench/many_shards.py`, in a process of its own.

- Quiet: CPU of the worker and calls a second while nothing is written.
- Alert: each of some records is put at a random moment on a random shard and crosses a limit alone.
  Latency is from the moment before the put to the alert's line on the service's standard output.
- Overfull: every shard always has another reply of 10 MB. Memory of supervisor and worker above
  what it was when all were quiet, and how far the shard with the least records is behind the one
  with the most.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.config import Config

from bench.canned_kinesis import HASH_KEYS, REPLY_RECORDS
from bench.live import Live, live, server

SHARDS = (1, 50, 500)
_QUIET_SECONDS = 10.0
_ALERTS = 150
_ALERT_EVERY_SECONDS = 0.1
_BACKLOG_SECONDS = 25.0
_SETTLE_SECONDS = 5.0
_SEED = 1


def run() -> dict[str, Any]:
    """Measure all of it."""
    metrics: dict[str, Any] = {}
    runs: list[dict[str, Any]] = []
    for shards in SHARDS:
        runs.append(quiet(shards))
        print(json.dumps(runs[-1]), flush=True)
        for figure in ("cpu_percent", "calls_per_second", "alert_p50_ms", "alert_p99_ms"):
            metrics[f"{figure}_{shards}"] = runs[-1][figure]
    idle_rss_mb = runs[-1]["rss_mb"]
    for ignore_limit in (False, True):
        runs.append(overfull(SHARDS[-1], idle_rss_mb, ignore_limit=ignore_limit))
        print(json.dumps(runs[-1]), flush=True)
    obeyed, ignored = runs[-2:]
    metrics |= {
        "backlog_rss_above_idle_mb": obeyed["rss_above_idle_mb"],
        "backlog_rss_above_idle_mb_without_limit": ignored["rss_above_idle_mb"],
        "backlog_records_per_second": obeyed["records_per_second"],
        "backlog_least_to_most": obeyed["least_to_most"],
        "backlog_most_replies_without_limit": ignored["most_records"] // REPLY_RECORDS,
    }
    return {"metrics": metrics, "runs": runs}


def quiet(shards: int) -> dict[str, Any]:
    """Measure shards at their tips, then alerts."""
    with _reading("quiet", shards) as (endpoint, service):
        service.wait_for("kinewax_kinesis_empty_polls_total", shards)
        time.sleep(_SETTLE_SECONDS)
        calls, cpu, begun = _calls(service), service.cpu_seconds(), time.monotonic()
        time.sleep(_QUIET_SECONDS)
        cpu, seconds = service.cpu_seconds() - cpu, time.monotonic() - begun
        calls = _calls(service) - calls
        rss_mb = service.rss_mb()
        latencies = _alert_latencies(endpoint, shards, service)
    percentiles = statistics.quantiles(latencies, n=100)
    return {
        "shards": shards,
        "cpu_percent": round(100 * cpu / seconds, 1),
        "calls_per_second": round(calls / seconds, 1),
        "cpu_ms_per_call": round(1000 * cpu / calls, 2),
        "rss_mb": round(rss_mb, 1),
        "alert_p50_ms": round(1000 * percentiles[49]),
        "alert_p99_ms": round(1000 * percentiles[98]),
    }


def overfull(shards: int, idle_rss_mb: float, *, ignore_limit: bool) -> dict[str, Any]:
    """Measure shards that always have more."""
    more = ("--ignore-limit",) if ignore_limit else ()
    with _reading("backlog", shards, *more) as (_, service):
        peak_rss_mb = 0.0
        service.wait_for("kinewax_source_records_total", 1)
        begun, cpu = time.monotonic(), service.cpu_seconds()
        before = _records(service)
        while time.monotonic() - begun < _BACKLOG_SECONDS:
            time.sleep(0.05)
            peak_rss_mb = max(peak_rss_mb, service.rss_mb())
        seconds = time.monotonic() - begun
        read = _records(service)
        cpu = service.cpu_seconds() - cpu
    each = sorted([*read.values(), *[0.0] * (shards - len(read))])
    return {
        "shards": shards,
        "ignore_limit": ignore_limit,
        "rss_above_idle_mb": round(peak_rss_mb - idle_rss_mb, 1),
        "records_per_second": round((sum(each) - sum(before.values())) / seconds),
        "cpu_percent": round(100 * cpu / seconds, 1),
        "least_records": each[0],
        "most_records": each[-1],
        "least_to_most": round(each[0] / each[-1], 3),
    }


@contextmanager
def _reading(kind: str, shards: int, *more: str) -> Iterator[tuple[str, Live]]:
    warning = 0 if kind == "quiet" else 1e9
    with (
        server("bench.many_shards", kind, str(shards), *more) as endpoint,
        live(
            [
                "ecommerce",
                *("--source", "kinesis://canned"),
                *("--sinks", "stdout"),
                *("--windows", "user_actions"),
                *("--limit", f"high_volume.warning={warning:g},high_volume.high=2e9"),
                *("--start", "TRIM_HORIZON"),
                *("--endpoint-url", endpoint),
            ]
        ) as service,
    ):
        yield endpoint, service


def _calls(service: Live) -> float:
    return service.total("kinewax_kinesis_empty_polls_total")


def _records(service: Live) -> dict[str, float]:
    return service.metrics().get("kinewax_source_records_total", {})


def _alert_latencies(endpoint: str, shards: int, service: Live) -> list[float]:
    rng = random.Random(_SEED)
    kinesis = boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )
    sent: dict[int, float] = {}
    for user in range(_ALERTS):
        time.sleep(rng.uniform(0, 2 * _ALERT_EVERY_SECONDS))
        sent[user] = time.time()
        kinesis.put_record(
            StreamName="canned",
            Data=_event(user),
            PartitionKey=str(user),
            ExplicitHashKey=str((2 * rng.randrange(shards) + 1) * HASH_KEYS // (2 * shards)),
        )
    kinesis.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        came = {
            alert["key"]["user_id"]: moment
            for moment, alert in reversed([(m, json.loads(line)) for m, line in service.lines])
            if alert.get("phase") == "open"
        }
        if len(came) == _ALERTS:
            return [came[user] - sent[user] for user in sent]
        time.sleep(0.2)
    message = f"{_ALERTS - len(came)} alerts didn't come: {service.lines[:3]}"
    raise ValueError(message)


def _event(user: int) -> bytes:
    now = datetime.now(UTC)
    fields = {
        "event_time": f"{now:%Y-%m-%d %H:%M:%S} UTC",
        "event_type": "view",
        "product_id": "1",
        "category_id": "2",
        "category_code": "electronics.smartphone",
        "brand": "apple",
        "price": "9.99",
        "user_id": str(user),
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        "txn_timestamp": f"{now:%Y-%m-%dT%H:%M:%S.%f}",
    }
    return json.dumps(fields).encode()
