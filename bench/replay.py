"""How many events a CPU-second `kinewax replay` reads from gzip objects of a local S3.

2 M events lie in 40 objects, as Firehose leaves them. They are counted by user (the seed's job) by
one process and by two, alternately. The workers tell their own CPU time, from their first block on;
the server's is outside. Beside each round stand two things of the same minute, since this machine's
neighbours change all figures alike: what `getrecords_decode` does, and how much more of that is
done by two processes that share nothing, which no two processes of a replay can surpass.
"""

from __future__ import annotations

import gzip
import json
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3

from bench import getrecords_decode
from bench.pipeline import SEED, kinewax
from service.local_aws import REGION, LocalAws

EVENTS = 2_000_000
OBJECTS = 40
ROUNDS = 5
BUCKET = "archive"
_START = "2026-11-22T00:00:00"


def run() -> dict[str, Any]:
    """Measure rounds of one process, two processes, and the peer."""
    runs: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder,
        LocalAws(Path(folder)) as server,
    ):
        _fill(Path(folder), server.endpoint)
        for number in range(1, ROUNDS + 1):
            peer = getrecords_decode.run()["metrics"]["records_per_cpu_second"]
            pair = _times_as_much_by_two()
            for processes in (1, 2):
                one = {
                    "peer_records_per_cpu_second": peer,
                    "peer_times_as_much_by_two": pair,
                    **_measure(server.endpoint, processes),
                }
                print(f"{number}/{ROUNDS}: {one}", flush=True)
                runs.append(one)
    alone = [one for one in runs if one["processes"] == 1]
    pairs = [one for one in runs if one["processes"] == 2]
    return {
        "metrics": {
            "events_per_cpu_second": round(
                statistics.median(one["events_per_cpu_second"] for one in alone)
            ),
            "share_of_getrecords_decode": round(
                statistics.median(
                    one["events_per_cpu_second"] / one["peer_records_per_cpu_second"]
                    for one in alone
                ),
                3,
            ),
            "times_as_fast_with_two_processes": round(
                statistics.median(
                    first["wall_seconds"] / second["wall_seconds"]
                    for first, second in zip(alone, pairs, strict=True)
                ),
                2,
            ),
            # What is left of it when neighbours don't take part: no wait of one for the other.
            "times_less_cpu_for_the_busier_of_two": round(
                statistics.median(
                    first["busiest_cpu_seconds"] / second["busiest_cpu_seconds"]
                    for first, second in zip(alone, pairs, strict=True)
                ),
                2,
            ),
            "peer_times_as_much_by_two": round(
                statistics.median(one["peer_times_as_much_by_two"] for one in pairs), 2
            ),
            "peak_rss_mb": max(one["peak_rss_mb"] for one in alone),
        },
        "runs": runs,
    }


def _times_as_much_by_two() -> float:
    """Return how much more two processes decode in the same time that share nothing."""
    with ProcessPoolExecutor(2) as pool:
        alone = pool.submit(getrecords_decode.records_per_second).result()
        both = [pool.submit(getrecords_decode.records_per_second) for _ in range(2)]
        return round(sum(one.result() for one in both) / alone, 2)


def _fill(folder: Path, endpoint: str) -> None:
    """Put the events into the bucket, about 100 s of them an object."""
    print(f"generating {EVENTS:,} events", flush=True)
    events = folder / "events.jsonl"
    kinewax(
        *("produce", "ecommerce", "--to", events.as_uri(), "--events", str(EVENTS)),
        *("--users", "1050000", "--rate", "500", "--seed", str(SEED), "--start", _START),
        *("--disorder", "5s"),
    )
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    with events.open("rb") as lines:
        for _ in range(OBJECTS):
            own = [next(lines) for _ in range(EVENTS // OBJECTS)]
            moment = datetime.fromisoformat(json.loads(own[0])["txn_timestamp"])
            key = f"raw/{moment:%Y/%m/%d/%H}/s-1-{moment:%Y-%m-%d-%H-%M-%S}-x.gz"
            s3.put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(b"".join(own), 6))
    events.unlink()


def _measure(endpoint: str, processes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="kinewax-bench-") as out:
        command = [
            *("env", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local"),
            *(f"AWS_REGION={REGION}", str(Path(sys.executable).with_name("kinewax"))),
            *("replay", "ecommerce", f"s3://{BUCKET}/raw/", "--sinks", Path(out).as_uri()),
            *("--endpoint-url", endpoint, "--windows", "user_actions"),
            *("--processes", str(processes)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"the replay exited {done.returncode}: {done.stderr}"
            raise ChildProcessError(msg)
        summary = json.loads((Path(out) / "summary.json").read_text(encoding="utf-8"))
    if not summary["balanced"] or summary["ledger"]["counted.user_actions"] != EVENTS:
        msg = f"the run is wrong, its speed means nothing: {summary['ledger']}"
        raise ValueError(msg)
    usage = summary["run"]["usage"]
    cpu_seconds = sum(one["work_cpu_seconds"] for one in usage)
    return {
        "processes": processes,
        "events_per_cpu_second": round(EVENTS / cpu_seconds),
        "cpu_seconds": round(cpu_seconds, 3),
        "busiest_cpu_seconds": max(one["work_cpu_seconds"] for one in usage),
        "wall_seconds": max(one["work_seconds"] for one in usage),
        "peak_rss_mb": max(one["peak_rss_mb"] for one in usage),
    }
