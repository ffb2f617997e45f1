"""The demo through the public command line: it finds what it planted, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.rig import wait_until

pytestmark = pytest.mark.deploy

DEADLINE_SECONDS = 120


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of processes that work in or on a directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            home = os.readlink(process / "cwd")
        except OSError:
            continue
        if str(directory) in command or home.startswith(str(directory)):
            found.append(command)
    return found


@pytest.fixture
def demo(kinewax, tmp_path):
    """Start demos that write below the test's own directory."""

    def start(*arguments: str) -> subprocess.Popen[str]:
        return kinewax.start("demo", "--out", tmp_path / "demo", *arguments)

    return start


def test_the_demo_finds_all_attackers_and_nobody_else_and_the_ledger_balances(demo, tmp_path):
    process = demo("--seconds", "6", "--rate", "200", "--attackers", "4", "--json")
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, errors
    report = json.loads(output)
    assert (report["planted"], report["found"]) == (4, 4)
    assert not report["missing"]
    assert not report["unexpected"]
    assert not report["wrong"]
    assert report["balanced"]
    assert report["unread"] == 0
    assert report["ledger"]["events"] == report["produced"]
    rejected = [n for name, n in report["ledger"].items() if name.startswith("rejected.")]
    assert sum(rejected) == report["malformed"] > 0
    assert 0 < report["latency_p50_ms"] <= report["latency_p99_ms"]
    assert report["notices"] == report["notices_due"] == 4
    assert report["notice"]["subject"].startswith("Possible DDoS detected, by user_id")
    assert report["rows_in_bucket"]["ecommerce-aggregates"] > 0
    assert report["rows_in_bucket"]["ecommerce-dead-letters"] == report["malformed"]
    assert report["replayed_same"] > 0
    assert report["replayed_otherwise"] == 0
    assert list((tmp_path / "demo/raw").rglob("*.gz"))
    assert "<svg" in (tmp_path / "demo/insights.html").read_text()
    # What the files hold is what the bystander saw.
    alerts = [
        json.loads(line)
        for line in (tmp_path / "demo/results/alerts.jsonl").read_text().splitlines()
    ]
    finals = {
        alert["key"]["user_id"]: alert["value"] for alert in alerts if alert["phase"] == "final"
    }
    truth = json.loads((tmp_path / "demo/truth.json").read_text())
    assert finals == {one["user_id"]: one["count"] for one in truth["incidents"]}
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_ends_the_demo_and_all_its_children(demo, tmp_path, number):
    process = demo("--seconds", "60", "--rate", "100", "--attackers", "1")
    deadline = time.monotonic() + DEADLINE_SECONDS
    # The producer's log appears when it starts, last of all children.
    while not (tmp_path / "demo/logs/producer.log").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(processes_of(tmp_path)) >= 4
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 130
    assert processes_of(tmp_path) == []


def test_a_demo_that_is_killed_takes_all_its_children_along(demo, tmp_path):
    process = demo("--seconds", "60", "--rate", "100", "--attackers", "1")
    wait_until((tmp_path / "demo/logs/producer.log").exists, "the producer's start")
    assert len(processes_of(tmp_path)) >= 4
    process.kill()
    process.communicate(timeout=DEADLINE_SECONDS)
    wait_until(lambda: not processes_of(tmp_path), "the end of all its processes")


def test_a_service_that_dies_ends_the_demo_with_its_last_words(demo, tmp_path):
    process = demo("--seconds", "60", "--rate", "100", "--attackers", "1")
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (services := services_of(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(min(services), signal.SIGKILL)
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "the service ended with exit code -9" in errors
    assert "Traceback" not in errors


def services_of(directory: Path) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and f"file://{directory}/demo/results".encode() in cmdline(entry)
        and b"run" in cmdline(entry).split(b"\0")
    ]


def cmdline(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_directory_that_is_not_a_demos_is_left_alone(demo, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").touch()
    process = demo()
    _, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 2
    assert "not an older demo" in errors
    assert (tmp_path / "demo" / "thesis.txt").exists()
