"""The shop's pipeline over generated files equals a plain group-by, whatever the processes."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from producers.clock import SystemClock
from producers.run import ProduceOptions, produce
from tests.golden import output
from tests.golden.oracle import Expected, expected_of
from tests.golden.output import no_client, seconds, wait_for_an_epoch, went_on
from tests.golden.shop_oracle import AGGREGATES, Shop, shop_of
from tests.rig import Service, wait_until

DISORDER_SECONDS = 10


@dataclass(frozen=True)
class Truth:
    """What a run over the file must give."""

    expected: Expected
    shop: Shop


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """200,000 events, 1 % of them beyond the allowed disorder, 0.1 % malformed; and the truth."""
    return _produced(tmp_path_factory.mktemp("events") / "events.jsonl", 200_000, None)


@pytest.fixture(scope="module")
def recent_events(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """The like, 100,000 of them, of the last minutes: a run over them isn't catching up."""
    start = datetime.now(UTC) - timedelta(minutes=10)
    return _produced(tmp_path_factory.mktemp("recent") / "events.jsonl", 100_000, start)


def _produced(path: Path, events: int, start: datetime | None) -> tuple[Path, Truth]:
    produce(
        ProduceOptions(
            domain="ecommerce",
            to=f"file://{path}",
            events=events,
            rate=events / 200,
            start=start,
            seed=20261122,
            users=25_000,
            attackers=40,
            disorder=timedelta(seconds=5),
            late_share=0.01,
            malformed_share=0.001,
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    return path, Truth(expected_of(path, DISORDER_SECONDS), shop_of(path, DISORDER_SECONDS))


@dataclass
class Outputs:
    """What a run wrote."""

    directory: Path

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.directory / name).read_text().splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "summary.json").read_text())
        return found


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def make(source: Path, processes: int, *more: str) -> Service:
        service = Service(
            arguments=[
                "run",
                "ecommerce",
                *("--source", f"file://{source}"),
                *("--sinks", f"file://{tmp_path / 'out'}"),
                *("--processes", str(processes)),
                *("--disorder", f"{DISORDER_SECONDS}s"),
                *more,
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


def finish(service: Service, tmp_path: Path) -> Outputs:
    output.finish(service)
    return Outputs(tmp_path / "out")


def check(outputs: Outputs, truth: Truth) -> None:
    """Hold a run's files against the plain group-by."""
    expected = truth.expected
    finals = [alert for alert in outputs.lines("alerts.jsonl") if alert["phase"] == "final"]
    assert len(finals) == len(expected.incidents)
    assert {
        (alert["key"]["user_id"], seconds(alert["window_start"])): alert["value"]
        for alert in finals
    } == expected.incidents
    last = {alert["id"]: alert["phase"] for alert in outputs.lines("alerts.jsonl")}
    assert set(last.values()) == {"final"}, "an incident's last line is its final one"

    rows = outputs.lines("aggregates/trade.jsonl")
    assert len(rows) == len(expected.trade)
    assert {
        (
            seconds(row["window_start"]),
            row["event_type"],
            row["category_code"],
            row["brand"],
        ): (row["events"], row["revenue"], row["users"])
        for row in rows
    } == expected.trade

    late = outputs.lines("late.jsonl")
    assert len(late) == len(expected.late) + len(truth.shop.late)
    assert {
        (row["aggregate"], int(row["sequence_number"]), microseconds(row["event_time"]))
        for row in late
    } == expected.late | truth.shop.late
    for aggregate in ("journeys", *AGGREGATES):
        check_rows(outputs, aggregate, truth.shop.rows[aggregate])
    assert len(outputs.lines("dead-letters.jsonl")) == expected.rejected

    summary = outputs.summary
    assert summary["balanced"], summary["identities"]
    assert summary["ledger"]["counted.user_actions"] == sum(expected.actions.values())
    assert sum(n for name, n in summary["ledger"].items() if name.startswith("rejected.")) == (
        expected.rejected
    )


def check_rows(
    outputs: Outputs, aggregate: str, expected: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    """Hold the last line of each row id, and the final lines, against the plain group-by."""
    lines = outputs.lines(f"aggregates/{aggregate}.jsonl")
    finals = [line for line in lines if line["phase"] == "final"]
    last = {line["row_id"]: line for line in lines}
    assert len(finals) == len(expected)
    assert all(line["phase"] == "final" for line in last.values()), "a row was left behind"
    key = AGGREGATES[aggregate].key if aggregate in AGGREGATES else ("user_session",)
    for line in finals:
        values = expected[(*(str(line[name]) for name in key), microseconds(line["window_start"]))]
        for name, value in values.items():
            if isinstance(value, set):
                assert line[name] in value, line
            else:
                assert line[name] == value, line


def microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


@pytest.mark.parametrize("processes", [1, 2, pytest.param(3, marks=pytest.mark.deploy)])
def test_all_outputs_equal_a_plain_group_by_with_any_number_of_processes(
    run: Callable[..., Service],
    events: tuple[Path, Truth],
    tmp_path: Path,
    processes: int,
) -> None:
    path, truth = events
    assert truth.expected.late
    assert truth.expected.incidents
    check(finish(run(path, processes), tmp_path), truth)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_kill_in_the_middle_changes_nothing(
    run: Callable[..., Service],
    events: tuple[Path, Truth],
    tmp_path: Path,
    processes: int,
) -> None:
    path, truth = events
    store = tmp_path / "store"
    service = run(path, processes, "--epoch-interval", "100ms", "--recovery", str(store))
    wait_for_an_epoch(store)
    workers = service.workers()
    os.kill(workers[-1], signal.SIGKILL)
    outputs = finish(service, tmp_path)
    assert outputs.summary["run"]["restarts"] >= 1, "it was killed too late"
    assert went_on(store), "it was killed too early"
    check(outputs, truth)


def test_rows_of_what_is_open_leave_nothing_behind_not_even_after_a_kill(
    run: Callable[..., Service], recent_events: tuple[Path, Truth], tmp_path: Path
) -> None:
    path, truth = recent_events
    store = tmp_path / "store"
    service = run(path, 2, "--epoch-interval", "100ms", "--recovery", str(store))
    journeys = tmp_path / "out" / "aggregates" / "journeys.jsonl"
    wait_until(lambda: journeys.exists() and journeys.stat().st_size > 0, "an interim row is there")
    wait_for_an_epoch(store)
    os.kill(service.workers()[-1], signal.SIGKILL)
    outputs = finish(service, tmp_path)
    assert outputs.summary["run"]["restarts"] >= 1, "it was killed too late"
    assert went_on(store), "it was killed too early"
    for aggregate in ("journeys", "visitors_daily", "categories_hourly"):
        phases = Counter(line["phase"] for line in outputs.lines(f"aggregates/{aggregate}.jsonl"))
        assert phases["interim"] > 0
    check(outputs, truth)


def test_stopped_in_mid_window_and_started_again_no_window_is_cut_and_nothing_counted_twice(
    run: Callable[..., Service], events: tuple[Path, Truth], tmp_path: Path
) -> None:
    path, truth = events
    recovery = ("--recovery", str(tmp_path / "recovery"), "--epoch-interval", "200ms")
    service = run(path, 2, *recovery)
    late = tmp_path / "out" / "late.jsonl"
    wait_until(lambda: late.exists() and late.stat().st_size > 0, "something is written")
    assert service.drain() == 0, service.log.read_text()[-3000:]
    assert Outputs(tmp_path / "out").summary["run"]["drained"]
    check(finish(run(path, 1, *recovery), tmp_path), truth)
