"""The pipeline of access logs over generated lines: as a plain group-by has it, scores included in
what any number of processes and a crash in the middle must not change.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import produce
from tests.rig import Service, wait_until

LINE = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<target>\S+) [^"]*" '
    r"(?P<status>\d+) (?P<bytes>\d+) "
)
WINDOW_SECONDS = 10


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour and a half of a site, with an attack of each kind."""
    path = tmp_path_factory.mktemp("log") / "access.log"
    produce(
        ProduceOptions(
            domain="access_logs",
            to=f"file://{path}",
            events=60_000,
            rate=11,
            seed=20261123,
            attackers=4,
            start=datetime(2026, 1, 5, 8, tzinfo=UTC),
        ),
        kinesis_client_factory=_no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    return path


def _no_client() -> Any:
    msg = "a file needs no client"
    raise AssertionError(msg)


@pytest.fixture
def run(log: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def make(name: str, processes: int, *more: str) -> Service:
        service = Service(
            arguments=[
                *("run", "access_logs", "--source", f"file://{log}"),
                *("--sinks", f"file://{tmp_path / name}", "--processes", str(processes)),
                *("--final-only", "--recovery", str(tmp_path / f"store-{name}"), *more),
            ],
            environment={},
            log=tmp_path / f"{name}.log",
        )
        service.start()
        started.append(service)
        return service

    yield make
    for service in started:
        service.kill()


def finish(service: Service) -> None:
    assert service.process is not None
    assert service.process.wait(180) == 0, service.log.read_text()[-3000:]


def written(directory: Path) -> dict[str, list[str]]:
    """Return each file's lines without what says when they were written, sorted."""
    found = {}
    for path in sorted(directory.rglob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line.pop("emitted_at", None)
            line.pop("detected_at", None)
        found[path.name] = sorted(json.dumps(line, sort_keys=True) for line in lines)
    return found


def plain_traffic(log: Path) -> dict[str, dict[str, int]]:
    """Count each 10 s of the log, line by line."""
    counts: dict[str, Counter[str]] = {}
    clients: dict[str, set[str]] = {}
    paths: dict[str, set[str]] = {}
    for line in log.read_text().splitlines():
        found = LINE.match(line)
        assert found is not None, line
        time = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
        time -= timedelta(seconds=time.second % WINDOW_SECONDS)
        start = time.strftime("%Y-%m-%dT%H:%M:%SZ")
        count = counts.setdefault(start, Counter())
        count["requests"] += 1
        count["bytes"] += int(found["bytes"])
        count["errors_4xx"] += found["status"].startswith("4")
        count["errors_5xx"] += found["status"].startswith("5")
        clients.setdefault(start, set()).add(found["client"])
        paths.setdefault(start, set()).add(found["target"].partition("?")[0])
    return {
        start: {**count, "clients": len(clients[start]), "paths": len(paths[start])}
        for start, count in counts.items()
    }


def test_traffic_is_what_a_plain_count_says_and_processes_and_a_crash_change_nothing(
    log: Path, run: Callable[..., Service], tmp_path: Path
) -> None:
    finish(run("one", 1))
    one = written(tmp_path / "one")
    plain = plain_traffic(log)
    rows = [json.loads(line) for line in one["traffic_10s.jsonl"]]
    assert {
        row["window_start"]: {name: row[name] for name in plain[row["window_start"]]}
        for row in rows
    } == {start: plain[start] for start in (r["window_start"] for r in rows)}
    assert len(plain) - len(rows) <= 2  # the last windows stay open
    rules = {json.loads(line)["rule"] for line in one["alerts.jsonl"]}
    assert {"client_flood", "scan", "errors"} <= rules
    assert len(one["unusual_traffic.jsonl"]) >= len(rows) - 1

    finish(run("two", 2))
    assert written(tmp_path / "two") == one

    crashed = run("crashed", 2, "--epoch-interval", "100ms")
    aggregates = tmp_path / "crashed" / "aggregates" / "traffic_10s.jsonl"
    wait_until(
        lambda: aggregates.exists() and aggregates.stat().st_size > 20_000,
        "some windows have closed",
        120,
    )
    assert crashed.process is not None
    os.kill(crashed.process.pid, signal.SIGKILL)
    crashed.process.wait()
    assert not (tmp_path / "crashed" / "summary.json").exists(), "it had ended before the kill"
    finish(run("crashed", 1, "--epoch-interval", "100ms"))
    assert written(tmp_path / "crashed") == one
