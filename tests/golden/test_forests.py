"""Forests of keys and of single events in a user's own domain: scores as a plain loop has them.

The loop counts with the standard library and gives each point alone to one detector; what number
of processes, batches and a crash in the middle must not change any of it.
"""

from __future__ import annotations

import json
import math
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from operators.detector import Detector
from operators.feature_spec import KeyForest, RecordForest, config_of
from operators.forest import seed_of
from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import produce
from tests.golden.forests_domain import DOMAIN
from tests.golden.output import finish, lines_of, no_client, seconds, written
from tests.rig import Service, wait_until

FILE = Path(__file__).with_name("forests_domain.py")
KINDS, PURCHASES, PRICES = DOMAIN.detectors
WINDOW_SECONDS = 5
SPIKE_LINE = 10_000
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events of 40 minutes, in order; a hundred views come at once, once."""
    folder = tmp_path_factory.mktemp("events")
    path = folder / "plain.jsonl"
    produce(
        ProduceOptions(
            domain="ecommerce",
            to=f"file://{path}",
            events=12_000,
            users=2_000,
            rate=5,
            seed=20261123,
            attackers=0,
            disorder=timedelta(0),
            start=datetime(2026, 1, 5, 8, tzinfo=UTC),
        ),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    lines = path.read_bytes().splitlines()
    spike = json.loads(lines[SPIKE_LINE]) | {"event_type": "view", "price": "99999.99"}
    lines[SPIKE_LINE:SPIKE_LINE] = [json.dumps(spike).encode()] * 100
    spiked = folder / "events.jsonl"
    spiked.write_bytes(b"\n".join(lines) + b"\n")
    return spiked


@pytest.fixture(scope="module")
def start(events: Path) -> Iterator[Start]:
    started: list[Service] = []

    def make(folder: Path, processes: int, *more: str) -> Service:
        service = Service(
            arguments=[
                *("run", f"{FILE}:DOMAIN", "--source", f"file://{events}"),
                *("--sinks", f"file://{folder / 'out'}", "--processes", str(processes)),
                *("--recovery", str(folder / "store"), *more),
            ],
            environment={},
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
    """What one process wrote, from the first event to the last."""
    folder = tmp_path_factory.mktemp("whole")
    finish(start(folder, 1))
    return folder / "out"


def microseconds(iso: str) -> int:
    since = datetime.fromisoformat(iso).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


Windows = dict[int, dict[str, tuple[int, Decimal]]]


def counted(events: Path) -> Windows:
    """Return (events, value) by window start and kind."""
    found: Windows = defaultdict(dict)
    for event in lines_of(events):
        at = microseconds(event["txn_timestamp"]) // 1_000_000
        of_window = found[at - at % WINDOW_SECONDS]
        count, value = of_window.get(event["event_type"], (0, Decimal(0)))
        of_window[event["event_type"]] = (count + 1, value + Decimal(event["price"]))
    return found


def test_each_kinds_windows_are_scored_by_a_forest_of_its_own(whole: Path, events: Path) -> None:
    assert isinstance(KINDS, KeyForest)
    detectors: dict[str, Detector] = {}
    expected = {}
    for start_seconds, of_window in sorted(counted(events).items()):
        for kind, (count, value) in of_window.items():
            seed = seed_of("prices", "unusual_kinds", f"event_type={kind}")
            detector = detectors.setdefault(kind, Detector(config_of(KINDS), seed))
            point = [[math.log1p(count), math.log1p(float(value))]]
            found = detector.take(point, np.array([start_seconds * 1_000_000]))
            expected[start_seconds, kind] = (
                count,
                float(value),
                round(float(found.scores[0]), 6),
                round(float(found.grades[0]), 6),
            )
    rows = lines_of(whole / "aggregates" / "unusual_kinds.jsonl")
    found_rows = {
        (seconds(row["window_start"]), row["event_type"]): (
            row["events"],
            row["value"],
            row["score"],
            row["grade"],
        )
        for row in rows
    }
    assert len(found_rows) == len(rows), "a row is written twice"
    last = max(start for start, _ in found_rows)
    assert found_rows == {place: row for place, row in expected.items() if place[0] <= last}
    assert sum(score > 0 for _, _, score, _ in found_rows.values()) > 1_000


def test_each_event_is_scored_in_its_order(whole: Path, events: Path) -> None:
    assert isinstance(PRICES, RecordForest)
    given = lines_of(events)
    found = Detector(config_of(PRICES), seed_of("prices", "unusual_prices", "records")).take(
        [[float(event["price"])] for event in given],
        np.array([microseconds(event["txn_timestamp"]) for event in given]),
    )
    expected = {
        str(number): (int(event["user_id"]), event["brand"], float(event["price"]), score, grade)
        for number, (event, score, grade) in enumerate(
            zip(given, found.scores.round(6).tolist(), found.grades.round(6).tolist(), strict=True),
            start=1,
        )
    }
    rows = lines_of(whole / "aggregates" / "unusual_prices.jsonl")
    assert {
        row["sequence_number"]: (
            *(row["user_id"], row["brand"], row["price"], row["score"], row["grade"]),
        )
        for row in rows
    } == expected


def test_the_planted_spike_is_an_incident_with_evidence(whole: Path, events: Path) -> None:
    spike = json.loads(events.read_bytes().splitlines()[SPIKE_LINE])
    at = microseconds(spike["txn_timestamp"]) // 1_000_000
    alerts = lines_of(whole / "alerts.jsonl")

    of_views = [
        alert
        for alert in alerts
        if alert["rule"] == "unusual_kinds"
        and alert["key"] == {"event_type": "view"}
        and seconds(alert["window_start"]) == at - at % WINDOW_SECONDS
    ]
    assert [alert["severity"] for alert in of_views] == ["high"]
    attribution = of_views[0]["evidence"]["attribution"]
    assert attribution.keys() == {"events", "value"}
    assert attribution["value"]["DIRECTION"] == "HIGH"
    parts = sum(part["ATTRIBUTION_SCORE"] for part in attribution.values())
    assert parts == pytest.approx(of_views[0]["evidence"]["score"], abs=1e-5)

    of_events = [alert for alert in alerts if alert["rule"] == "unusual_prices"]
    first = next(a for a in of_events if a["key"]["sequence_number"] == str(SPIKE_LINE + 1))
    assert first["evidence"]["features"] == {"price": 99999.99}
    assert first["key"]["user_id"] == int(spike["user_id"])
    assert first["window_start"] == first["window_end"]


def test_brands_without_purchases_are_not_scored_and_forgotten_ones_start_anew(
    whole: Path,
) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["balanced"], summary["identities"]
    ledger = summary["ledger"]
    rows = lines_of(whole / "aggregates" / "unusual_purchases.jsonl")
    assert 0 < len(rows) < ledger["windows_refused"]
    assert not any(row["mean_purchase"] is None for row in rows)
    kinds = lines_of(whole / "aggregates" / "unusual_kinds.jsonl")
    assert ledger["windows_scored"] == len(rows) + len(kinds)


@pytest.mark.parametrize("processes", [2, pytest.param(3, marks=pytest.mark.deploy)])
def test_any_number_of_processes_writes_the_same(
    start: Start, whole: Path, tmp_path: Path, processes: int
) -> None:
    finish(start(tmp_path, processes))
    assert written(tmp_path / "out") == written(whole)


def test_a_crash_and_another_number_of_processes_change_nothing(
    start: Start, whole: Path, tmp_path: Path
) -> None:
    crashed = start(tmp_path, 2, "--epoch-interval", "100ms")
    scores = tmp_path / "out" / "aggregates" / "unusual_kinds.jsonl"
    wait_until(
        lambda: scores.exists() and scores.stat().st_size > 50_000, "some windows closed", 120
    )
    assert crashed.process is not None
    os.kill(crashed.process.pid, signal.SIGKILL)
    crashed.process.wait()
    assert not (tmp_path / "out" / "summary.json").exists(), "it had ended before the kill"
    finish(start(tmp_path, 1, "--epoch-interval", "100ms"))
    assert written(tmp_path / "out") == written(whole)
