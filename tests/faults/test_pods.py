"""Three supervisors with three recovery directories stand for three pods of one service."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from service.snapshots import committed_epoch
from tests.pods import PODS, Pods, running_pods
from tests.rig import Aws, Feeder, Names, wait_until

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds workers in /proc"
)


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=4)


@pytest.fixture
def pods(aws: Aws, tmp_path: Path) -> Iterator[Pods]:
    with running_pods(Pods(aws, tmp_path)) as started:
        yield started


@pytest.fixture
def feeder(aws: Aws) -> Iterator[Feeder]:
    made = Feeder(aws)
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param((2,), id="others", marks=pytest.mark.deploy),
        pytest.param((0, 2, 0), id="first", marks=pytest.mark.soak),
    ],
)
def test_pods_are_killed_leave_and_are_rolled_out_and_nothing_is_lost(
    aws: Aws, pods: Pods, feeder: Feeder, victims: tuple[int, ...]
) -> None:
    for victim in victims:
        amid_an_incident(aws, pods)
        kill_and_start(pods, victim)
        amid_an_incident(aws, pods)
        let_leave_and_start(pods, (victim + 1) % PODS)
    amid_an_incident(aws, pods)
    roll_out(pods)
    pods.wait_until_ready()

    assert_all_is_told(aws, pods, feeder)


def amid_an_incident(aws: Aws, pods: Pods) -> None:
    pods.wait_until_ready()
    before = committed_epoch(pods.store(0))
    wait_until(lambda: committed_epoch(pods.store(0)) > before, "an epoch is committed")
    wait_until(lambda: bool(open_incidents(aws)), "an incident is open")


def kill_and_start(pods: Pods, victim: int) -> None:
    pods.of[victim].kill()
    pods.of[victim].start()


def let_leave_and_start(pods: Pods, leaver: int) -> None:
    """Stop one pod alone: all drain, and the others wait for it without a worker."""
    restarts = pods.logs().count("starting again")
    assert pods.of[leaver].drain() == 0, pods.logs()
    for index in range(PODS):
        if index != leaver:
            wait_until(lambda index=index: "pods" in pods.failing(index), "the others wait")
            assert pods.of[index].workers() == []
    assert pods.logs().count("starting again") == restarts, "a drain is no crash"
    pods.of[leaver].start()


def roll_out(pods: Pods) -> None:
    drain_all(pods)
    for pod in pods.of:
        pod.start()


def drain_all(pods: Pods) -> None:
    for pod in pods.of:
        os.kill(pod.pid, signal.SIGTERM)
    for pod in pods.of:
        assert pod.process is not None
        assert pod.process.wait(60) == 0, pods.logs()


def assert_all_is_told(aws: Aws, pods: Pods, feeder: Feeder) -> None:
    """Let all windows close, drain, and compare with what the feeder counted."""
    feeder.stop()
    expected = feeder.incidents()
    feeder.close_windows()
    wait_until(
        lambda: (
            {key for key, row in rows_of(aws).items() if row["phase"] == "final"} >= set(expected)
        ),
        "every incident is final",
        timeout_seconds=90,
    )
    drain_all(pods)

    rows = rows_of(aws)
    assert {key: row["num_actions_per_watermark"] for key, row in rows.items()} == expected
    summary = json.loads((pods.out / "summary.json").read_text())
    assert summary["balanced"], summary
    ledger = summary["ledger"]
    assert ledger["records"] == ledger["events"] == feeder.sent
    assert ledger["counted.user_actions"] == ledger["counted.trade"] == feeder.sent
    lines = (pods.out / "alerts.jsonl").read_text().splitlines()
    finals = [one for one in map(json.loads, lines) if one["phase"] == "final"]
    assert {
        (one["key"]["user_id"], seconds(one["window_start"])): one["value"] for one in finals
    } == expected
    assert len(finals) == len(expected), "an incident is final twice"


def rows_of(aws: Aws) -> dict[tuple[int, int], dict[str, Any]]:
    return {(row["user_id"], row["ddb_sort_key"]): row for row in aws.rows() if "phase" in row}


def open_incidents(aws: Aws) -> set[tuple[int, int]]:
    return {key for key, row in rows_of(aws).items() if row["phase"] != "final"}


def seconds(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp())
