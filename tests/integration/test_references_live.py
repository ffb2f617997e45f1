"""A table that changes while a job runs: events get what was in force when they came."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service import local_aws
from service.local_aws import REGION
from tests.integration.test_references import DOMAIN
from tests.rig import Service, wait_until
from tests.servers import Clients, free_port

pytestmark = pytest.mark.deploy

PROCESSES = 2


def moment(second: int) -> str:
    """Write a second of the test's hour."""
    return f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"


@dataclass
class Live:
    """A job over a stream of one shard a process, and the table it joins."""

    aws: Clients
    name: str
    folder: Path
    admin: str
    service: Service
    shards: list[dict[str, Any]] = field(default_factory=list)

    def table(self, text: str) -> str:
        """Put another version of the table, and return its ETag."""
        where = {"Bucket": self.name, "Key": "margins.csv"}
        self.aws("s3").put_object(**where, Body=b"product,margin_group\n" + text.encode())
        return str(self.aws("s3").head_object(**where)["ETag"])

    def loads(self, outcome: str) -> int:
        """Return how often a process took a version up, or failed to."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        labels = rf'outcome="{outcome}",reference="margins"'
        found = re.search(
            rf"^kinewax_reference_loads_total\{{{labels}\}} (\S+)", text, re.MULTILINE
        )
        return int(float(found[1])) if found else 0

    def sell(self, products: list[int], second: int) -> None:
        """Put events of one second on every shard."""
        for shard in self.shards:
            self.aws("kinesis").put_records(
                StreamName=self.name,
                Records=[
                    {
                        "Data": json.dumps(
                            {
                                "product": product,
                                "at": moment(second),
                            }
                        ),
                        "PartitionKey": "any",
                        "ExplicitHashKey": shard["HashKeyRange"]["StartingHashKey"],
                    }
                    for product in products
                ],
            )

    def counted(self, second: int) -> dict[str, int]:
        """Return what the window that begins then came to, once it has closed."""
        path = self.folder / "out/aggregates/groups.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        found: Counter[str] = Counter()
        for row in rows:
            if row["window_start"] == moment(second):
                found[row["margin_group"]] += row["sales"]
        return dict(found)


@pytest.fixture(params=["('unknown',)", "'drop'"], ids=["values", "drop"])
def live(
    request: pytest.FixtureRequest,
    moto: Clients,
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[Live]:
    name = unique_name("sales")
    (tmp_path / "sales.py").write_text(DOMAIN.replace("MISSING", request.param))
    moto("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    kinesis = moto("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=PROCESSES)
    kinesis.get_waiter("stream_exists").wait(
        StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    port = free_port()
    service = Service(
        arguments=[
            *("run", str(tmp_path / "sales.py"), "--source", f"kinesis://{name}"),
            *("--start", "TRIM_HORIZON", "--sinks", f"file://{tmp_path / 'out'}"),
            *("--processes", str(PROCESSES), "--epoch-interval", "200ms"),
            *("--reference", f"margins=s3://{name}/margins.csv", "--admin-port", str(port)),
        ],
        environment={
            **local_aws.local_environment(moto.endpoint),
            "KINEWAX_REFERENCES__INTERVAL": "200ms",
            "KINEWAX_EVENT_TIME__IDLE": "hold",
        },
        log=tmp_path / "service.log",
    )
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    yield Live(moto, name, tmp_path, f"http://127.0.0.1:{port}", service, shards)
    service.kill()


def test_a_version_that_comes_while_a_job_runs_counts_for_the_events_after_it(live: Live) -> None:
    drops = "drop" in (live.folder / "sales.py").read_text()

    def counts(**groups: int) -> dict[str, int]:
        if drops:
            groups.pop("unknown", None)
        return {group: sales * PROCESSES for group, sales in groups.items()}

    first = live.table("1,high\n")
    live.service.start()
    live.sell([1, 1, 2], 0)
    live.sell([1], 25)  # later events close the windows before them
    wait_until(lambda: live.counted(0) == counts(high=2, unknown=1), "the first window closed")

    loaded = live.loads("loaded")
    second = live.table("1,low\n2,high\n")
    wait_until(lambda: live.loads("loaded") == loaded + PROCESSES, "all have the second version")
    live.sell([1, 1, 2, 3], 30)
    live.sell([1], 55)
    wait_until(
        lambda: live.counted(30) == counts(low=2, high=1, unknown=1), "the second window closed"
    )

    failed = live.loads("failed")
    live.table("1,low\n1,high\n")  # a key stands twice: the last good version stays in force
    wait_until(lambda: live.loads("failed") >= failed + PROCESSES, "all refuse the third")
    live.sell([1, 2], 60)
    live.sell([1], 85)
    wait_until(lambda: live.counted(60) == counts(low=1, high=1), "the third window closed")

    assert live.service.drain() == 0
    summary = json.loads((live.folder / "out/summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    name = "dropped.not_in_margins" if drops else "missing.margins"
    assert summary["ledger"][name] == 2 * PROCESSES
    versions = [one["version"] for one in summary["run"]["references"]]
    assert list(dict.fromkeys(versions)) == [first, second]
