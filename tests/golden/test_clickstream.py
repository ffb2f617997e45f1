"""The pipeline of clicks over a generated file equals a plain group-by, whatever the processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import produce
from producers.templates import FOLDER
from tests.golden.click_oracle import KEYS, Expected, expected_of
from tests.golden.output import (
    finish,
    lines_of,
    no_client,
    seconds,
    wait_for_an_epoch,
    went_on,
    written,
)
from tests.rig import Service

DISORDER_SECONDS = 5
BURSTS = 12
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """120,000 events with bursts, 1 % of them late, 0.2 % malformed; and the truth."""
    path = tmp_path_factory.mktemp("clicks") / "clicks.jsonl"
    report = produce(
        ProduceOptions(
            domain="clickstream",
            to=f"file://{path}",
            template=FOLDER / "clickstream_timed.json",
            events=120_000,
            rate=200,
            start=datetime(2026, 1, 5, tzinfo=UTC),
            seed=20261123,
            attackers=BURSTS,
            disorder=timedelta(seconds=3),
            late_share=0.01,
            malformed_share=0.002,
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    expected = expected_of(path, DISORDER_SECONDS)
    # The oracle and the producer's own truth agree on what there is.
    assert expected.bursts == {
        (one.customer_id, one.window_start_us // 1_000_000): one.count for one in report.incidents
    }
    assert expected.events == report.events
    assert expected.rejected == sum(report.malformed.values())
    return path, expected


@pytest.fixture
def start(clicks: tuple[Path, Expected], tmp_path: Path) -> Iterator[Start]:
    started: list[Service] = []

    def make(folder: Path, processes: int, *more: str) -> Service:
        service = Service(
            arguments=[
                *("run", "clickstream", "--source", f"file://{clicks[0]}"),
                *("--sinks", f"file://{folder / 'out'}", "--processes", str(processes)),
                *("--time", "timestamp", "--disorder", f"{DISORDER_SECONDS}s"),
                *("--final-only", *more),
            ],
            environment={},
            log=tmp_path / "service.log",
        )
        service.start()
        started.append(service)
        return service

    yield make
    for service in started:
        service.kill()


def check(directory: Path, expected: Expected) -> None:
    """Hold a run's files against the plain group-by."""
    alerts = lines_of(directory / "alerts.jsonl")
    assert len(alerts) == len(expected.bursts) == BURSTS
    assert {
        (alert["key"]["customer_id"], seconds(alert["window_start"])): alert["value"]
        for alert in alerts
    } == expected.bursts
    for name, key in KEYS.items():
        rows = lines_of(directory / "aggregates" / f"{name}.jsonl")
        assert len(rows) == len(expected.rows[name])
        for row in rows:
            values = expected.rows[name][(seconds(row["window_start"]), row[key] if key else "")]
            assert {column: row[column] for column in values} == pytest.approx(values), row
    late = lines_of(directory / "late.jsonl")
    assert len(late) == len(expected.late) > 0
    assert {(one["aggregate"], int(one["sequence_number"])) for one in late} == expected.late
    assert len(lines_of(directory / "dead-letters.jsonl")) == expected.rejected > 0
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    assert summary["ledger"]["events"] == expected.events


def test_any_number_of_processes_and_a_kill_give_what_a_plain_group_by_gives(
    start: Start, clicks: tuple[Path, Expected], tmp_path: Path
) -> None:
    finish(start(tmp_path / "one", 1))
    check(tmp_path / "one" / "out", clicks[1])

    store = tmp_path / "two" / "store"
    killed = start(tmp_path / "two", 2, "--epoch-interval", "100ms", "--recovery", str(store))
    wait_for_an_epoch(store)
    os.kill(killed.workers()[-1], signal.SIGKILL)
    finish(killed)
    check(tmp_path / "two" / "out", clicks[1])
    restarts = json.loads((tmp_path / "two" / "out" / "summary.json").read_text())["run"][
        "restarts"
    ]
    assert restarts >= 1, "it was killed too late"
    assert went_on(store), "it was killed too early"

    assert written(tmp_path / "one" / "out") == written(tmp_path / "two" / "out")
