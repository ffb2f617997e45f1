"""The pipeline of access logs over generated lines: as a plain group-by has it, and scores included
what any number of processes and a crash in the middle must not change.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import produce
from tests.golden.log_oracle import KEYS, OF_STRANGERS, TOP, Expected, Rows, expected_of
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

DISORDER_SECONDS = 10
ALLOWED = "96.0.0.0/4"
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    """An hour of a site with an attack of each kind, and the truth.

    1 % of the lines are beyond the allowed disorder, 0.2 % are malformed.
    """
    path = tmp_path_factory.mktemp("log") / "access.log"
    produce(
        ProduceOptions(
            domain="access_logs",
            to=f"file://{path}",
            events=40_000,
            rate=11,
            seed=20261123,
            attackers=4,
            disorder=timedelta(seconds=5),
            late_share=0.01,
            malformed_share=0.002,
            start=datetime(2026, 1, 5, 8, tzinfo=UTC),
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    return path, expected_of(path, DISORDER_SECONDS, ALLOWED)


@pytest.fixture(scope="module")
def start(log: tuple[Path, Expected], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[Service] = []

    def make(folder: Path, processes: int, *more: str) -> Service:
        service = Service(
            arguments=[
                *("run", "access_logs", "--source", f"file://{log[0]}"),
                *("--sinks", f"file://{folder / 'out'}", "--processes", str(processes)),
                *("--disorder", f"{DISORDER_SECONDS}s", "--final-only"),
                *("--recovery", str(folder / "store"), *more),
            ],
            environment={"KINEWAX_RULES__ALLOW": f"client={ALLOWED}"},
            log=folder / "service.log",
        )
        service.start()
        started.append(service)
        return service

    yield make
    for service in started:
        service.kill()


@pytest.fixture(scope="module")
def whole(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process wrote, from the first line to the last."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, 1))
    return folder / "out"


def rows_of(directory: Path, aggregate: str) -> Rows:
    """Return an aggregate's rows as the oracle has them."""
    length, key = KEYS[aggregate]
    found: Rows = {}
    for row in lines_of(directory / "aggregates" / f"{aggregate}.jsonl"):
        for name in ("row_id", "domain", "aggregate", "emitted_at"):
            del row[name]
        start = seconds(row.pop("window_start"))
        assert seconds(row.pop("window_end")) == start + length
        place = (start, *(row.pop(name) for name in key))
        assert place not in found, "a row is written twice"
        found[place] = row
    return found


@pytest.mark.parametrize("aggregate", KEYS)
def test_an_aggregate_is_what_a_plain_count_says(
    whole: Path, log: tuple[Path, Expected], aggregate: str
) -> None:
    length = KEYS[aggregate][0]
    expected = log[1].rows[aggregate]
    found = rows_of(whole, aggregate)
    assert {place: row for place, row in found.items() if expected.get(place) != row} == {}
    is_top = aggregate in ("pages_60s", "agents_60s", "referrers_60s")
    keys = Counter(place[0] for place in expected)
    if is_top:
        assert Counter(place[0] for place in found) == {
            start: min(count, TOP) for start, count in keys.items()
        }
        for start in keys:
            of_start = [place for place in expected if place[0] == start]
            kept = [expected[place]["requests"] for place in of_start if place in found]
            left = [expected[place]["requests"] for place in of_start if place not in found]
            assert min(kept) >= max(left, default=0)
    else:
        assert found.keys() == expected.keys()
    assert len(keys) > log[1].ledger["events"] / 11 / length * 0.9, "few windows were compared"


def test_every_line_is_accounted_for(whole: Path, log: tuple[Path, Expected]) -> None:
    expected = log[1]
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    checked = {identity["name"].rpartition(" ")[2] for identity in summary["identities"]}
    assert checked >= {f"({name})" for name in (*KEYS, *OF_STRANGERS)}
    ledger = summary["ledger"]
    found = {name: ledger.get(name, 0) for name in expected.ledger}
    found["rejected"] = sum(n for name, n in ledger.items() if name.startswith("rejected."))
    assert found == expected.ledger
    for what in ("counted", "late", "filtered"):
        assert all(expected.ledger[f"{what}.{name}"] for name in OF_STRANGERS), what
    assert len(lines_of(whole / "dead-letters.jsonl")) == expected.ledger["rejected"]
    late = lines_of(whole / "late.jsonl")
    assert len(late) == len(expected.late)
    assert {
        (row["aggregate"], int(row["sequence_number"]), seconds(row["event_time"])) for row in late
    } == expected.late


def test_each_kind_of_attack_is_found(whole: Path) -> None:
    rules = {line["rule"] for line in lines_of(whole / "alerts.jsonl")}
    assert {"client_flood", "unusual_traffic", "scan", "errors"} <= rules


def test_every_window_is_scored(whole: Path) -> None:
    scored = lines_of(whole / "aggregates" / "unusual_traffic.jsonl")
    traffic = lines_of(whole / "aggregates" / "traffic_10s.jsonl")
    assert [row["window_start"] for row in scored] == [row["window_start"] for row in traffic]
    assert sum(row["score"] > 0 for row in scored) > 80


def test_two_processes_write_the_same(start: Start, whole: Path, tmp_path: Path) -> None:
    finish(start(tmp_path, 2))
    assert written(tmp_path / "out") == written(whole)


def test_a_crash_and_another_number_of_processes_change_nothing(
    start: Start, whole: Path, tmp_path: Path
) -> None:
    crashed = start(tmp_path, 2, "--epoch-interval", "50ms")
    wait_for_an_epoch(tmp_path / "store")
    assert crashed.process is not None
    os.kill(crashed.process.pid, signal.SIGKILL)
    crashed.process.wait()
    assert not (tmp_path / "out" / "summary.json").exists(), "it had ended before the kill"
    finish(start(tmp_path, 1, "--epoch-interval", "50ms"))
    assert went_on(tmp_path / "store"), "it was killed before it had committed anything"
    assert written(tmp_path / "out") == written(whole)
