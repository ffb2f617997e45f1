"""Measure one case and write bench/results/CASE.json: `python -m bench CASE`.

What a case measures, under which conditions and what bounds it stands in bench/README.md; the
figures in other pages come from these files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import (
    access_logs,
    faults,
    forest,
    getrecords_decode,
    kinesis_to_alerts,
    kpl,
    nab,
    pipeline,
    pods,
    reference_join,
    replay,
    shards,
)
from service.run import WORKER_ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
_LIBRARIES = ("bytewax", "boto3", "msgspec", "numpy", "orjson")

CASES: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
    "seed_job": (
        "2 M events of 400,000 users, counted by user, through the command line",
        lambda: pipeline.run(windows=("user_actions",)),
    ),
    "ecommerce_full": (
        "the same events, every window of the domain",
        lambda: pipeline.run(windows=()),
    ),
    "getrecords_decode": (
        "bodies of GetRecords to blocks, beside botocore's own parser",
        getrecords_decode.run,
    ),
    "kinesis_to_alerts": (
        "16 shards of a server with ready replies, to alerts of the seed's job",
        kinesis_to_alerts.run,
    ),
    "reference_join": ("a table joined to 2 M events, beside the same without", reference_join.run),
    "replay": ("40 gzip objects of a local S3, 2 M events counted by user", replay.run),
    "access_logs": ("lines of access logs to columns, beside Python's re", access_logs.run),
    "forest": ("points through the random cut forest, beside krcf", forest.run),
    "nab": ("anomalies found on the Numenta Anomaly Benchmark, by its rules", nab.run),
    "shards": ("1, 50 and 500 shards in a process: quiet, with alerts, overfull", shards.run),
    "faults": ("a bad half minute of AWS: recovery and memory", faults.run),
    "pods": ("three pods killed, stopped and rolled out: how late alerts get", pods.run),
    "kpl": ("aggregated records (KPL) to user records, with the hash filter on", kpl.run),
}


def main() -> int:
    """Run the case that is named on the command line."""
    listed = "\n".join(f"  {name:18} {summary}" for name, (summary, _) in CASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Cases:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("case", metavar="CASE", choices=CASES, help=", ".join(CASES))
    case = parser.parse_args().case
    if not WORKER_ENVIRONMENT.items() <= os.environ.items():
        # What is measured in this process is measured as in a worker.
        environment = {**os.environ, **WORKER_ENVIRONMENT}
        os.execve(sys.executable, [sys.executable, "-m", "bench", case], environment)
    before = os.getloadavg()[0]
    measured = CASES[case][1]()
    result = {
        "case": case,
        "metrics": measured["metrics"],
        "runs": measured["runs"],
        "machine": {**machine(), "load_before": round(before, 2)},
        "commit": commit(),
        "command": f"make bench CASE={case}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{case}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["metrics"], indent=2))
    print(f"{path.relative_to(ROOT)}; `make docs` takes it into docs/reference/benchmarks.md")
    return 0


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 1024**3, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def commit() -> str:
    """Name the commit that is measured; `+` after it means that files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    # A result that was just written is no change of what is measured.
    changed = git("status", "--porcelain", "--", ".", ":!bench/results")
    return (git("rev-parse", "HEAD") or "unknown") + ("+" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
