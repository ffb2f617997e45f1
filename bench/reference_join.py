"""What a table joined to events costs: one domain with and without it, over one file.

Both count by user in windows of 10 s and add up a number of each event: its own price, or what a
table of 100,000 products says of it. So both decode two fields, and the join is all that differs.
No rows are written. Runs take turns, so that a busy machine is as busy for both.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.pipeline import EVENTS, INPUTS, RUNS, generate, kinewax

ROWS = 100_000
_DOMAIN = """\
from dataflows.domain import Domain
from operators.reference_spec import Reference
from operators.spec import Field, Window
from operators.value_spec import Count, Sum

OWN = Field("price", "decimal", scale=2)
JOINED = Field("cost", "decimal", scale=2)


def domain(name, fields, value, references=()):
    values = (Count("events"), Sum("amount", of=value))
    window = Window("users", 10, ("user_id",), values, emit=False)
    return Domain(
        name=name, summary=name, fields=(Field("user_id", "integer"), *fields),
        times=("txn_timestamp",), windows=(window,), rules=(), references=references,
    )


WITHOUT = domain("without", (OWN,), "price")
WITH = domain(
    "with", (Field("product_id", "integer"),), "cost",
    (Reference("products", "product_id", (JOINED,)),),
)
"""


def run() -> dict[str, Any]:
    """Measure both in turns."""
    with tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder:
        home = Path(folder)
        generate(INPUTS[0], home / "events.jsonl")
        (home / "domains.py").write_text(_DOMAIN, encoding="utf-8")
        joined = _write_table(home)
        runs = [
            {"domain": name, **_measure(home, name, *arguments)}
            for _ in range(RUNS)
            for name, arguments in (
                ("WITHOUT", ()),
                ("WITH", ("--reference", f"products={(home / 'products.csv').as_uri()}")),
            )
        ]
    seconds = {
        name: statistics.median(one["cpu_seconds"] for one in runs if one["domain"] == name)
        for name in ("WITHOUT", "WITH")
    }
    return {
        "metrics": {
            "events_per_cpu_second_without": round(EVENTS / seconds["WITHOUT"]),
            "events_per_cpu_second_with": round(EVENTS / seconds["WITH"]),
            "table_rows": ROWS,
            "joined_share": joined,
        },
        "runs": runs,
    }


def _write_table(home: Path) -> float:
    """Write a table with every second product of the events, and return how many it knows."""
    sold: dict[int, int] = {}
    with (home / "events.jsonl").open("rb") as events:
        for line in events:
            text = line.partition(b'"product_id":"')[2].partition(b'"')[0]
            if text.isdigit():
                sold[int(text)] = sold.get(int(text), 0) + 1
    known = sorted(sold)[::2][:ROWS]
    others = range(max(sold) + 1, max(sold) + 1 + ROWS - len(known))
    lines = [f"{product},{product % 1000}.{product % 100:02d}" for product in (*known, *others)]
    (home / "products.csv").write_text("\n".join(["product_id,cost", *lines]), encoding="utf-8")
    return round(sum(sold[product] for product in known) / EVENTS, 3)


def _measure(home: Path, name: str, *more: str) -> dict[str, Any]:
    kinewax(
        *("run", f"{home / 'domains.py'}:{name}", "--source", (home / "events.jsonl").as_uri()),
        *("--sinks", (home / name).as_uri(), "--processes", "1", *more),
    )
    summary = json.loads((home / name / "summary.json").read_text(encoding="utf-8"))
    ledger = summary["ledger"]
    if not summary["balanced"] or ledger["events"] != EVENTS:
        msg = f"the run is wrong, its speed means nothing: {ledger}"
        raise ValueError(msg)
    (worker,) = summary["run"]["usage"]
    found = {
        "cpu_seconds": worker["work_cpu_seconds"],
        "wall_seconds": worker["work_seconds"],
        "peak_rss_mb": worker["peak_rss_mb"],
    }
    print(f"{name}: {found}", flush=True)
    return found
