"""Killed again and again, between an incident's opening and its end, the service loses nothing."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from service.snapshots import resume_epoch
from tests.rig import WINDOW_SECONDS, Aws, Feeder, Names, Service, wait_until

SHARE_OF_THE_SUPERVISOR = 0.15
SHARE_AMID_AN_INCIDENT = 0.75
KILLS_FOR_ONE_AMID_A_START = 3
"""The others wait for a committed epoch: too many starts without one end the service."""

DISORDER_SECONDS = 2


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=4)


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
            *("--disorder", f"{DISORDER_SECONDS}s"),
            *("--epoch-interval", "1s"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        environment=aws.names.settings(),
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


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds workers in /proc")
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.soak)])
def test_kills_amid_incidents_leave_every_row_right_and_every_notice_sent(
    aws: Aws, service: Service, feeder: Feeder, tmp_path: Path, kills: int
) -> None:
    rng = random.Random(2026)
    service.start()
    of_the_supervisor = math.ceil(SHARE_OF_THE_SUPERVISOR * kills)
    supervisor_kills = set(rng.sample(range(kills), of_the_supervisor))
    open_when_killed: list[set[tuple[int, int]]] = []
    for kill in range(kills):
        wait_until(lambda: len(service.workers()) == 2, "both workers run")
        wait_until(lambda: bool(_open(aws)), "an incident is open")
        if kill % KILLS_FOR_ONE_AMID_A_START:
            wait_for_an_epoch(tmp_path / "recovery")
        time.sleep(rng.uniform(0, 1))  # anywhere in an epoch, a start or a flush
        open_when_killed.append(_open(aws))
        if kill in supervisor_kills:
            os.kill(service.pid, signal.SIGKILL)
            assert service.process is not None
            service.process.wait()
            service.start()
        else:
            workers = service.workers()
            if workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
    feeder.stop()
    expected = feeder.incidents()
    feeder.close_windows()
    wait_until(
        lambda: (
            {key for key, row in _by_key(aws).items() if row["phase"] == "final"} >= set(expected)
        ),
        "every incident is final",
        timeout_seconds=90,
    )
    wait_until(lambda: _told(aws) >= _raised(expected), "every raised incident was noticed")
    assert service.drain() == 0, service.log.read_text()[-3000:]

    assert "they hold, source.start does not" in service.log.read_text()

    rows = _by_key(aws)
    assert {key: row["num_actions_per_watermark"] for key, row in rows.items()} == expected
    assert len(aws.rows()) == len(rows), "an incident has two rows"
    amid = [seen for seen in open_when_killed if seen and seen <= set(rows)]
    assert len(amid) >= SHARE_AMID_AN_INCIDENT * kills
    assert all(rows[key]["phase"] == "final" for seen in amid for key in seen)

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["balanced"], summary
    ledger = summary["ledger"]
    assert ledger["records"] == ledger["events"] == feeder.sent
    assert ledger["counted.user_actions"] == ledger["counted.trade"] == feeder.sent
    finals = [
        json.loads(line)
        for line in (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
        if '"final"' in line
    ]
    assert {
        (f["key"]["user_id"], _epoch(f["window_start"])): f["value"] for f in finals
    } == expected
    assert len(finals) == len(expected), "an incident is final twice"


def wait_for_an_epoch(store: Path) -> None:
    before = resume_epoch(store)
    wait_until(lambda: resume_epoch(store) > before, "an epoch is committed")


def _by_key(aws: Aws) -> dict[tuple[int, int], dict[str, Any]]:
    # moto makes a new row in two steps: a scan in between sees its bare key. The last assertions
    # count all rows, so none can hide here.
    rows = [row for row in aws.rows() if set(row) != {"ddb_partition_key", "ddb_sort_key"}]
    return {(row["user_id"], row["ddb_sort_key"]): row for row in rows}


def _open(aws: Aws) -> set[tuple[int, int]]:
    return {key for key, row in _by_key(aws).items() if row["phase"] != "final"}


def _raised(incidents: dict[tuple[int, int], int]) -> set[tuple[int, int]]:
    return {key for key, count in incidents.items() if count > 10}


def _told(aws: Aws) -> set[tuple[int, int]]:
    return {(notice["key"]["user_id"], _epoch(notice["window_start"])) for notice in aws.notices()}


def _epoch(iso: str) -> int:
    start = int(datetime.fromisoformat(iso).timestamp())
    assert start % WINDOW_SECONDS == 0
    return start
