"""How many records a CPU-second from the bytes of HTTP replies to alerts, on the seed's job.

A server with ready replies (bench/canned_kinesis.py) in a process of its own holds a stream of 16
shards; the reader in a fresh process is the service's dataflow, its source, boto3's client with
signing and HTTP, the window `user_actions`, its rule, and files as sinks. Its CPU seconds are those
of all its threads from the first call to AWS to the end; importing is outside, and so is the
server. A run that lost a record is an error and no measurement. Beside it the same with boto3's own
parser of replies in place of ours.

Kinesis gives a shard's reader 2 MiB a second; the server gives all it can, so that the process is
busy and its figures are of work, not of waiting.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import canned_kinesis
from bench.pipeline import kinewax
from service.run import WORKER_ENVIRONMENT

SHARDS = 16
RECORDS = 1_600_000
ROUNDS = 5
_SEED = 1
_PAYLOAD_BYTES = 309


def run() -> dict[str, Any]:
    """Measure both parsers, and ours with a server that obeys Limit."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder:
        shards = Path(folder) / "shards"
        alerts = prepare(shards, RECORDS, _PAYLOAD_BYTES)
        # In turn: what else the machine does changes within minutes.
        ways = [("kinewax", False), ("kinewax", True), ("boto3", False)] * ROUNDS
        for parser, obey_limit in ways:
            with serving(shards, obey_limit=obey_limit) as endpoint:
                one = measure(endpoint, RECORDS, parser)
            if one["records"] != RECORDS or one["alerted_users"] < alerts:
                message = f"the run is wrong, its speed means nothing: {one}"
                raise ValueError(message)
            runs.append({"parser": parser, "obeys_limit": obey_limit, **one})
            print(json.dumps(runs[-1]), flush=True)

    def median(parser: str, *, obey_limit: bool) -> int:
        rates: list[int] = [
            one["records_per_cpu_second"]
            for one in runs
            if (one["parser"], one["obeys_limit"]) == (parser, obey_limit)
        ]
        return round(statistics.median(rates))

    ours, peer = median("kinewax", obey_limit=False), median("boto3", obey_limit=False)
    grown = [one["peak_rss_mb"] - one["idle_rss_mb"] for one in runs if one["parser"] == "kinewax"]
    return {
        "metrics": {
            "records_per_cpu_second": ours,
            "events_per_cpu_second": ours,
            "records_per_cpu_second_with_limit": median("kinewax", obey_limit=True),
            "boto3_records_per_cpu_second": peer,
            "times_boto3": round(ours / peer, 1),
            "peak_rss_mb": max(one["peak_rss_mb"] for one in runs if one["parser"] == "kinewax"),
            "rss_above_idle_mb": round(max(grown), 1),
        },
        "runs": runs,
    }


def prepare(shards: Path, records: int, payload_bytes: int) -> int:
    """Write the stream; return how many users attack in it."""
    attackers = records // 10_000
    shards.mkdir()
    events = shards / "events.jsonl"
    kinewax(
        *("produce", "ecommerce", "--to", events.as_uri(), "--events", str(records)),
        *("--users", "1050000", "--rate", "8000", "--seed", str(_SEED), "--disorder", "5s"),
        *("--attackers", str(attackers), "--start", "2025-11-01T00:00:00Z"),
    )
    with events.open("rb") as lines:
        payloads = (_padded(line.rstrip(), payload_bytes) for line in lines)
        canned_kinesis.write_shards(shards, payloads, SHARDS, round(time.time(), 3))
    events.unlink()
    return attackers


def _padded(event: bytes, size: int) -> bytes:
    """Return a JSON object with a field more, so that it has a size."""
    padding = size - len(event) - len(b',"padding":""')
    return b'%s,"padding":"%s"}' % (event[:-1], b"x" * padding)


@contextmanager
def serving(shards: Path, *, obey_limit: bool = False) -> Iterator[str]:
    """Run the server; yields its address."""
    limit = ["--obey-limit"] if obey_limit else []
    command = [sys.executable, "-m", "bench.canned_kinesis", str(shards), *limit]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()


def measure(endpoint: str, records: int, parser: str) -> dict[str, Any]:
    """Run the job once in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.kinesis_to_alerts", endpoint, str(records), parser],
        capture_output=True,
        text=True,
        check=False,
        env={
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            **WORKER_ENVIRONMENT,
            **os.environ,
        },
    )
    if done.returncode:
        message = f"the reader exited {done.returncode}:\n{done.stderr}"
        raise ChildProcessError(message)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


# ---- the reader's process -----------------------------------------------------------------------


def read(endpoint: str, records: int, parser: str) -> dict[str, Any]:
    """Read the stream until so many events are decoded and all shards are at their tips."""
    # Only here: the process that measures has no need of the engine.
    from bytewax._bytewax import run_main
    from bytewax.recovery import RecoveryConfig

    from dataflows.clock import now_us
    from dataflows.pipeline import build_flow
    from dataflows.vitals import Vitals
    from service import endpoints, recovery
    from service.aws import Aws
    from service.job import Job
    from service.settings import Settings
    from sources.kinesis import KinesisSource, Pacing, StartPosition
    from sources.kinesis.records import prepare

    with tempfile.TemporaryDirectory(prefix="kinewax-bench-") as out:
        settings = Settings.model_validate(
            {
                "aws": {"endpoint_url": endpoint, "region": "eu-west-1"},
                "source": {"start": "TRIM_HORIZON"},
                "windows": {"run": ["user_actions"]},
                "sinks": {"to": [Path(out).as_uri()]},
            }
        )
        job = Job("ecommerce", "kinesis://canned", settings)
        aws = Aws(settings.aws)
        client = aws.fresh("kinesis")
        fast = Pacing(shard_calls_per_second=1e3, shard_bytes_per_second=1e12)
        vitals = Vitals()
        source = KinesisSource(
            "canned",
            lambda: client if parser == "kinewax" else _with_own_parser(client),
            start=StartPosition("TRIM_HORIZON"),
            pacing=fast,
        )
        flow = build_flow(
            job.domain(),
            source,
            endpoints.open_sinks(job.domain(), job.windows(), settings.sinks, aws, now_us),
            job.options(),
            draining=lambda: vitals.events >= records,
            vitals=vitals,
        )
        endpoints.prepare_files(settings.sinks, job.aggregates())
        with recovery.open_store(None) as store:
            recovery.prepare(store, {}, processes=1, files=1, now_us=now_us(), first=lambda: None)
            prepare()  # as a worker does
            gc.freeze()
            idle, peak = resident_mb(), PeakMemory()
            begun, cpu_begun = time.monotonic(), time.process_time()
            run_main(flow, recovery_config=RecoveryConfig(store))  # type: ignore[no-untyped-call]
            cpu_seconds, wall_seconds = time.process_time() - cpu_begun, time.monotonic() - begun
        lines = (Path(out) / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
        return {
            "records": vitals.events,
            "records_per_cpu_second": round(vitals.events / cpu_seconds),
            "cpu_seconds": round(cpu_seconds, 3),
            "wall_seconds": round(wall_seconds, 3),
            "idle_rss_mb": round(idle, 1),
            "peak_rss_mb": round(peak.stop(), 1),
            "alerted_users": len({json.loads(line)["key"]["user_id"] for line in lines}),
        }


def _with_own_parser(client: Any) -> Any:
    """Return a client on which the source's hook is never called (`Any`: boto3's)."""
    events = SimpleNamespace(register=lambda *_: None)
    return SimpleNamespace(
        meta=SimpleNamespace(events=events),
        describe_stream_summary=client.describe_stream_summary,
        list_shards=client.list_shards,
        get_shard_iterator=client.get_shard_iterator,
        get_records=client.get_records,
        close=client.close,
    )


def resident_mb() -> float:
    """Return what the process has in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


class PeakMemory:
    """Looks at the process's memory every 20 ms: the kernel's own peak includes the imports'."""

    def __init__(self) -> None:
        self._peak_mb = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._peak_mb = max(self._peak_mb, resident_mb())

    def stop(self) -> float:
        """Return the highest that was seen, in MB."""
        self._ended.set()
        self._thread.join()
        return self._peak_mb


if __name__ == "__main__":
    argument_parser = argparse.ArgumentParser(description="The reader's process.")
    argument_parser.add_argument("endpoint")
    argument_parser.add_argument("records", type=int)
    argument_parser.add_argument("parser", choices=("kinewax", "boto3"))
    given = argument_parser.parse_args()
    print(json.dumps(read(given.endpoint, given.records, given.parser)))
