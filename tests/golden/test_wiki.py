"""The pipeline of changes over a generated file equals a plain group-by, whatever the processes.

Its single events, too: in a file, and in a search index that is told each of them once or more.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataflows.wiki import WIKI
from messages import Events, Late, Reject
from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import produce
from tests.fakes.opensearch import FakeOpenSearch, fake_opensearch
from tests.flow import outputs_of
from tests.golden.output import (
    finish,
    lines_of,
    no_client,
    seconds,
    wait_for_an_epoch,
    went_on,
    written,
)
from tests.golden.wiki_oracle import FED, LENGTHS, Expected, expected_of
from tests.rig import Service

DISORDER_SECONDS = 10
BURSTS = 8
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "wiki"
Start = Callable[..., Service]


@dataclass
class Made:
    """A file of changes, what it must give, and who bursts in it."""

    path: Path
    expected: Expected
    bursts: dict[tuple[str, str, int], int]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Some minutes with bursts; 1 % late, 0.2 % malformed, and some changes come twice."""
    path = tmp_path_factory.mktemp("wiki") / "changes.jsonl"
    report = produce(
        ProduceOptions(
            domain="wiki",
            to=f"file://{path}",
            seconds=700,
            seed=20261123,
            attackers=BURSTS,
            disorder=timedelta(seconds=5),
            late_share=0.01,
            malformed_share=0.002,
            start=datetime(2026, 1, 5, 8, tzinfo=UTC),
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    for place in range(len(lines) - 1, 1_000, -997):
        lines.insert(place, lines[place - 20])
    path.write_bytes(b"\n".join(lines) + b"\n")
    expected = expected_of(path, DISORDER_SECONDS)
    bursts = {
        (one.user, one.wiki, one.window_start_us // 1_000_000): one.count
        for one in report.incidents
    }
    # The oracle and the producer's own truth agree on what there is.
    assert {place: count for place, count in expected.edits.items() if count > 5} == bursts
    assert expected.ledger["events"] + expected.ledger["dropped.canary"] >= report.events
    return Made(path, expected, bursts)


@pytest.fixture
def search() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as running:
        yield running


@pytest.fixture
def start(made: Made) -> Iterator[Start]:
    started: list[Service] = []

    def make(folder: Path, processes: int, server: FakeOpenSearch, *more: str) -> Service:
        service = Service(
            arguments=[
                *("run", "wiki", "--source", f"file://{made.path}"),
                *("--sinks", f"file://{folder / 'out'},{server.url}"),
                *("--processes", str(processes), "--disorder", f"{DISORDER_SECONDS}s"),
                *("--final-only", "--recovery", str(folder / "store"), *more),
            ],
            environment={},
            log=folder / "service.log",
        )
        folder.mkdir(exist_ok=True)
        service.start()
        started.append(service)
        return service

    yield make
    for service in started:
        service.kill()


def check(directory: Path, made: Made) -> None:
    """Hold a run's files against the plain group-by."""
    expected = made.expected
    for name, length in LENGTHS.items():
        found = {}
        for row in lines_of(directory / "aggregates" / f"{name}.jsonl"):
            begin = seconds(row["window_start"])
            assert seconds(row["window_end"]) == begin + length
            place = (begin, row["wiki"], row["type"])
            assert place not in found, "a row is written twice"
            found[place] = {value: row[value] for value in expected.rows[name][place]}
        assert found == expected.rows[name]
    bursts = {
        (alert["key"]["user"], alert["key"]["wiki"], seconds(alert["window_start"])): alert["value"]
        for alert in lines_of(directory / "alerts.jsonl")
        if alert["rule"] == "edit_burst"
    }
    assert bursts == made.bursts
    assert len(bursts) == BURSTS
    late = lines_of(directory / "late.jsonl")
    assert len(late) == len(expected.late) > 0
    assert {(one["aggregate"], int(one["sequence_number"])) for one in late} == expected.late
    assert lines_of(directory / "events.jsonl") == list(expected.written.values())
    summary = json.loads((directory / "summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    ledger = summary["ledger"]
    found_counts = {name: ledger.get(name, 0) for name in expected.ledger}
    found_counts["rejected"] = sum(n for name, n in ledger.items() if name.startswith("rejected."))
    assert found_counts == expected.ledger
    for name in ("dropped.canary", "dropped.duplicate", "rejected", *(f"late.{w}" for w in FED)):
        assert expected.ledger[name], name


def test_a_run_gives_what_a_plain_group_by_gives_and_indexes_each_event_once(
    start: Start, made: Made, search: FakeOpenSearch, tmp_path: Path
) -> None:
    finish(start(tmp_path / "one", 1, search))
    check(tmp_path / "one" / "out", made)
    assert search.documents("wiki") == made.expected.written

    with fake_opensearch() as other:
        killed = start(tmp_path / "two", 2, other, "--epoch-interval", "100ms")
        wait_for_an_epoch(tmp_path / "two" / "store")
        assert killed.process is not None
        os.kill(killed.process.pid, signal.SIGKILL)
        killed.process.wait()
        assert not (tmp_path / "two" / "out" / "summary.json").exists(), "killed too late"
        finish(start(tmp_path / "two", 2, other, "--epoch-interval", "100ms"))
        assert went_on(tmp_path / "two" / "store"), "killed too early"
        check(tmp_path / "two" / "out", made)
        assert other.documents("wiki") == made.expected.written
    assert written(tmp_path / "two" / "out") == written(tmp_path / "one" / "out")


@pytest.mark.soak
def test_a_day_of_fifty_changes_a_second_is_accounted_for_to_the_last(tmp_path: Path) -> None:
    path, folder = tmp_path / "day.jsonl", tmp_path / "out"
    report = produce(
        ProduceOptions(
            domain="wiki",
            to=f"file://{path}",
            seconds=86_400,
            seed=9,
            attackers=40,
            disorder=timedelta(seconds=5),
            malformed_share=0.0005,
            start=datetime(2026, 1, 5, tzinfo=UTC),
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    service = Service(
        arguments=[
            *("run", "wiki", "--source", f"file://{path}", "--sinks", f"file://{folder}"),
            "--final-only",
        ],
        environment={},
        log=tmp_path / "service.log",
    )
    service.start()
    finish(service)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    ledger = summary["ledger"]
    assert ledger["events"] + ledger["dropped.canary"] == report.events == 4_320_000
    rejected = sum(count for name, count in ledger.items() if name.startswith("rejected."))
    assert rejected == sum(report.malformed.values())
    assert "dropped.duplicate" not in ledger
    bursts = {
        (alert["key"]["user"], seconds(alert["window_start"])): alert["value"]
        for alert in lines_of(folder / "alerts.jsonl")
        if alert["rule"] == "edit_burst"
    }
    assert bursts == {
        (one.user, one.window_start_us // 1_000_000): one.count for one in report.incidents
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/wiki")
def test_real_changes_decode_whole_also_a_log_entry_without_an_id() -> None:
    found = outputs_of(WIKI, SHARED / "recentchange.ndjson", events=True)
    assert not [one for one in found if isinstance(one, Reject)]
    rows = [row for one in found if isinstance(one, Events) for row in one.rows]
    assert Counter(str(row["type"]) for row in rows) == {
        "edit": 5,
        "categorize": 3,
        "new": 2,
        "log": 1,
    }
    [entry] = [row for row in rows if row["type"] == "log"]
    assert entry == {
        "id": "",
        "type": "log",
        "wiki": "wikidatawiki",
        "change_datetime": "2020-02-02 13:05:24",
        "change_timestamp": 1580648724,
    }
    # The file goes back in time, years even: what is late is told, and nothing is lost.
    assert {one.sequence_number for one in found if isinstance(one, Late)} == set("678") | {
        "9",
        "10",
        "11",
    }
