"""A bad hour of AWS, every service at once, and an exact account behind it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.fakes.storm import PARTIAL, Storm
from tests.rig import Aws, Feeder, Names, Service, wait_until

SHARDS = 4
STORM_EVENTS = 800
NOTICE_ABOVE = 10
ACTIONS = {
    *("GetRecords", "PutRecords", "UpdateItem", "GetItem", "Publish", "PutRecordBatch"),
    "PutMetricData",
}
"""What the job calls again and again."""


@pytest.fixture
def aws(ministack: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(ministack, Names.made_by(unique_name), shards=SHARDS)


@pytest.fixture
def proxy(aws: Aws) -> Iterator[FaultProxy]:
    with fault_proxy(aws.clients.endpoint) as made:
        yield made


@pytest.fixture
def service(aws: Aws, proxy: FaultProxy, tmp_path: Path) -> Iterator[Service]:
    made = Service(
        arguments=[
            "run",
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", f"aws,file://{tmp_path / 'out'}"),
            *("--recovery", str(tmp_path / "recovery")),
            *("--start", "TRIM_HORIZON"),
            *("--disorder", "2s"),
            *("--epoch-interval", "1s"),
            *("--endpoint-url", proxy.url),
        ],
        environment={**aws.names.settings(), "KINEWAX_AWS__READ_TIMEOUT": "1s"},
        log=tmp_path / "service.log",
    )
    yield made
    made.kill()


@pytest.fixture
def feeder(aws: Aws) -> Iterator[Feeder]:
    made = Feeder(aws, attackers=15, honest=400)
    made.start()
    yield made
    made.stop()


def test_after_a_storm_of_faults_in_every_service_the_account_is_exact(
    aws: Aws, proxy: FaultProxy, service: Service, feeder: Feeder, tmp_path: Path
) -> None:
    service.start()
    proxy.wait_for("GetRecords", SHARDS)
    storm = Storm(random.Random(2026))
    for action, code in PARTIAL.items():
        proxy.fail_entries(action, code, lambda number, _: number % 2 == 0, times=2)
    proxy.begin(storm)
    wait_until(
        lambda: feeder.sent >= STORM_EVENTS and max(list(feeder.truth.values())) > NOTICE_ABOVE,
        "enough was fed, and somebody did enough for a notice",
    )
    feeder.stop()
    expected = feeder.incidents()
    feeder.close_windows()
    wait_until(lambda: {action for action, _ in storm.met} >= ACTIONS, "all met the storm")
    proxy.mend()
    wait_until(lambda: _finals(aws) == expected, "every incident stands at its final value")
    assert service.drain() == 0, service.log.read_text()[-3000:]
    service.start()  # what is pending it publishes at once, else within half a minute
    wait_until(lambda: bool(service.workers()), "it has started")
    raised = {key for key, count in expected.items() if count > NOTICE_ABOVE}
    wait_until(lambda: _told(aws) == raised, "every raised incident, and no other, was noticed")
    wait_until(lambda: not any("notified" in row for row in aws.rows()), "the outbox is empty")
    assert service.drain() == 0, service.log.read_text()[-3000:]

    assert _finals(aws) == expected, "a row came, or changed, after its incident was final"
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["balanced"], summary
    ledger = summary["ledger"]
    assert ledger["records"] == ledger["events"] == ledger["counted.user_actions"] == feeder.sent
    assert not [name for name in ledger if "dead_letter" in name and ledger[name]], ledger
    second = Counter(_incident(row) for row in _second_stream(aws))
    assert set(second) == set(expected.items()), "the second stream lacks a row, or has a wrong one"
    rows = {row["row_id"]: row for row in _aggregate_rows(aws) if row["aggregate"] == "trade"}
    assert sum(row["events"] for row in rows.values()) == feeder.sent - SHARDS, "closers are open"
    assert {fault for _, fault in storm.met} >= {"throttled", "failed", "cut", "lost", None}


def _finals(aws: Aws) -> dict[tuple[int, int], int]:
    return {
        (row["user_id"], row["ddb_sort_key"]): row["num_actions_per_watermark"]
        for row in aws.rows()
        if row.get("phase") == "final"
    }


def _told(aws: Aws) -> set[tuple[int, int]]:
    return {_incident(notice | notice["key"])[0] for notice in aws.notices()}


def _incident(row: dict[str, Any]) -> tuple[tuple[int, int], int]:
    start = int(datetime.fromisoformat(row["window_start"]).timestamp())
    return (row["user_id"], start), row.get("num_actions_per_watermark", 0)


def _second_stream(aws: Aws) -> Iterator[dict[str, Any]]:
    kinesis = aws.clients("kinesis")
    for shard in kinesis.list_shards(StreamName=aws.names.incidents_stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=aws.names.incidents_stream,
            ShardId=shard["ShardId"],
            ShardIteratorType="TRIM_HORIZON",
        )["ShardIterator"]
        while records := (reply := kinesis.get_records(ShardIterator=iterator))["Records"]:
            yield from (json.loads(record["Data"]) for record in records)
            iterator = reply["NextShardIterator"]


def _aggregate_rows(aws: Aws) -> Iterator[dict[str, Any]]:
    s3 = aws.clients("s3")
    for listed in s3.list_objects_v2(Bucket=aws.names.bucket, Prefix=aws.names.aggregates)[
        "Contents"
    ]:
        body = s3.get_object(Bucket=aws.names.bucket, Key=listed["Key"])["Body"].read()
        yield from map(json.loads, body.splitlines())
