"""A run whose disk is gone with its task goes on from the last copy of its recovery store."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from service.aws import Aws as Clients
from service.copies import Copies
from service.settings import Settings
from service.shelves import Shelf, open_shelf
from tests.rig import Aws, Feeder, Names, Service, wait_until

pytestmark = pytest.mark.deploy

KILLS = 3


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=2)


@pytest.fixture
def service(aws: Aws, tmp_path: Path) -> Iterator[Service]:
    made = Service(
        arguments=[
            "run",
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", f"aws,file://{tmp_path / 'out'}"),
            *("--processes", "2"),
            *("--recovery", str(tmp_path / "recovery")),
            *("--start", "TRIM_HORIZON"),
            *("--disorder", "2s"),
            *("--epoch-interval", "500ms"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        environment={
            **aws.names.settings(),
            "KINEWAX_RUNTIME__SNAPSHOTS": f"s3://{aws.names.bucket}/copies",
            "KINEWAX_RUNTIME__SNAPSHOT_INTERVAL": "500ms",
        },
        log=tmp_path / "service.log",
    )
    yield made
    made.kill()


@pytest.fixture
def feeder(aws: Aws) -> Iterator[Feeder]:
    made = Feeder(aws)
    made.start()
    yield made
    made.stop()


def test_kills_with_the_disk_gone_lose_nothing(
    aws: Aws, service: Service, feeder: Feeder, tmp_path: Path
) -> None:
    rng = random.Random(2026)
    shelf = open_shelf(
        f"s3://{aws.names.bucket}/copies",
        Clients(Settings.model_validate({"aws": {"endpoint_url": aws.clients.endpoint}}).aws),
    )
    copies = Copies(shelf, lambda: 0)
    service.start()
    killed_within = 0
    for number in range(KILLS):
        before = [copy.number for copy in copies.listed()][-1:]
        wait_until(
            lambda before=before: [copy.number for copy in copies.listed()][-1:] > before,
            "another copy is made",
        )
        # Anywhere, and now and then for sure within a copy: files are there, their manifest isn't.
        if number % 2:
            time.sleep(rng.uniform(0, 1))
        else:
            wait_until(lambda: bool(_cut(shelf)), "a copy is under way", every_seconds=0.005)
        service.kill()
        killed_within += bool(_cut(shelf))
        shutil.rmtree(tmp_path / "recovery")
        service.start()
    feeder.stop()
    expected = feeder.incidents()
    feeder.close_windows()
    wait_until(
        lambda: (
            {key for key, row in _rows(aws).items() if row.get("phase") == "final"} >= set(expected)
        ),
        "every incident is final",
        timeout_seconds=90,
    )
    assert service.drain() == 0, service.log.read_text()[-3000:]

    assert killed_within > 0, "no kill cut a copy off"
    assert service.log.read_text().count("going on from snapshot") == KILLS
    rows = _rows(aws)
    assert {key: row["num_actions_per_watermark"] for key, row in rows.items()} == expected
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["balanced"], summary
    assert summary["ledger"]["events"] == feeder.sent
    lines = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
    finals = [one for one in map(json.loads, lines) if one["phase"] == "final"]
    assert {(one["key"]["user_id"], _epoch(one["window_start"])) for one in finals} == set(expected)
    assert len(finals) == len(expected), "an incident is final twice"


def test_the_last_copy_is_made_when_a_drain_is_done(
    aws: Aws, service: Service, feeder: Feeder, tmp_path: Path
) -> None:
    service.environment["KINEWAX_RUNTIME__SNAPSHOT_INTERVAL"] = "1h"
    service.start()
    wait_until(lambda: bool(aws.rows()), "an incident is open")
    feeder.stop()
    assert service.drain() == 0, service.log.read_text()[-3000:]
    first = json.loads((tmp_path / "out" / "summary.json").read_text())["ledger"]
    shutil.rmtree(tmp_path / "recovery")

    service.start()
    wait_until(lambda: "going on from snapshot 1" in service.log.read_text(), "it is fetched")
    wait_until(lambda: len(service.workers()) == 2, "both workers run")
    assert service.drain() == 0, service.log.read_text()[-3000:]

    second = json.loads((tmp_path / "out" / "summary.json").read_text())["ledger"]
    assert feeder.sent >= second["events"] >= first["events"] > 0


def _cut(shelf: Shelf) -> set[str]:
    """Return the numbers of copies that have files and no manifest."""
    names = shelf.names()
    whole = {name.removesuffix(".json") for name in names if "/" not in name}
    return {name.partition("-")[0] for name in names if "/" in name} - whole


def _rows(aws: Aws) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["user_id"], row["ddb_sort_key"]): row for row in aws.rows() if "user_id" in row}


def _epoch(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())
