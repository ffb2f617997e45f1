"""A store moved to another number of slots in mid-window loses nothing and doubles nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CommandLine
from tests.rig import Aws, Feeder, Names, Service, wait_until

pytestmark = pytest.mark.deploy

SHARDS = 8
SLOTS = 64
DISORDER_SECONDS = 2

Incident = tuple[int, int]  # user, window start


class Rig:
    """A service over a stream, whose store and number of slots may change between its starts."""

    def __init__(self, aws: Aws, folder: Path) -> None:
        self._aws = aws
        self._out = folder / "out"
        self._log = folder / "service.log"
        self.service: Service | None = None

    def start(self, store: Path, *, slots: int, processes: int) -> None:
        self.service = Service(
            arguments=[
                *("run", "ecommerce"),
                *("--source", f"kinesis://{self._aws.names.stream}"),
                *("--sinks", f"file://{self._out}"),
                *("--processes", str(processes)),
                *("--recovery", str(store)),
                *("--start", "TRIM_HORIZON"),
                *("--disorder", f"{DISORDER_SECONDS}s"),
                *("--epoch-interval", "1s"),
                *("--endpoint-url", self._aws.clients.endpoint),
            ],
            environment={**self._aws.names.settings(), "KINEWAX_SOURCE__SLOTS": str(slots)},
            log=self._log,
        )
        self.service.start()

    def drain(self) -> None:
        assert self.service is not None
        assert self.service.drain() == 0, self._log.read_text()[-3000:]

    def alerts(self) -> list[dict[str, Any]]:
        path = self._out / "alerts.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def finals(self, *, after: int = 0) -> dict[Incident, int]:
        """Return the final counts, of alerts after the first so many."""
        found = [alert for alert in self.alerts()[after:] if alert["phase"] == "final"]
        by_incident = {_incident(alert): alert["value"] for alert in found}
        assert len(by_incident) == len(found), "an incident is final twice"
        return by_incident

    def open(self) -> set[Incident]:
        return {_incident(alert) for alert in self.alerts()} - set(self.finals())

    def summary(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._out / "summary.json").read_text())
        return content


def _incident(alert: dict[str, Any]) -> Incident:
    start = int(datetime.fromisoformat(alert["window_start"]).timestamp())
    return alert["key"]["user_id"], start


@pytest.fixture
def rig(moto: Any, unique_name: Callable[[str], str], tmp_path: Path) -> Iterator[tuple[Rig, Aws]]:
    aws = Aws(moto, Names.made_by(unique_name), shards=SHARDS)
    made = Rig(aws, tmp_path)
    yield made, aws
    if made.service is not None:
        made.service.kill()


@pytest.mark.parametrize("slots", [128, pytest.param(16, marks=pytest.mark.soak)])
def test_a_store_moved_in_mid_window_goes_on_to_exact_counts(
    rig: tuple[Rig, Aws], kinewax: CommandLine, tmp_path: Path, slots: int
) -> None:
    running, aws = rig
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "positions.json"
    feeder = Feeder(aws)
    feeder.start()
    running.start(old, slots=SLOTS, processes=2)
    wait_until(lambda: bool(running.finals()), "an incident is final")
    wait_until(lambda: bool(running.open()), "another is open")

    busy = kinewax.run("positions", "export", "--recovery", old, "--to", file)
    assert busy.returncode == 2
    assert "another kinewax runs" in busy.stderr
    live = kinewax.run("positions", "show", "--recovery", old, "--json")
    assert live.returncode == 0, live.stderr
    assert len(json.loads(live.stdout)["shards"]) == SHARDS

    running.drain()
    assert running.open(), "the drain fell between two incidents: nothing is tested"
    before = running.summary()["ledger"]
    for command in (
        ("export", "--recovery", old, "--to", file),
        ("import", "--recovery", new, "--from", file, "--slots", str(slots)),
    ):
        done = kinewax.run("positions", *command)
        assert done.returncode == 0, done.stderr
    shown = [
        json.loads(kinewax.run("positions", "show", "--recovery", store, "--json").stdout)
        for store in (old, new)
    ]
    assert shown[1]["slots"] == slots
    assert shown[1]["open_windows"] == shown[0]["open_windows"] != {}
    assert shown[1]["ledger"] == shown[0]["ledger"]
    assert _without_slots(shown[1]) == _without_slots(shown[0])

    running.start(new, slots=slots, processes=1)
    known = {*running.finals(), *running.open()}
    wait_until(lambda: bool(running.open() - known), "an incident opens that the old store lacks")
    feeder.stop()
    expected = feeder.incidents()
    feeder.close_windows()
    wait_until(lambda: set(running.finals()) >= set(expected), "every incident is final")
    running.drain()

    assert running.finals() == expected
    summary = running.summary()
    assert summary["balanced"], summary
    ledger = summary["ledger"]
    assert ledger["records"] == ledger["events"] == feeder.sent > before["records"] > 0
    assert ledger["counted.user_actions"] == ledger["counted.trade"] == feeder.sent


def test_a_reset_to_the_oldest_record_finds_everything_again(
    rig: tuple[Rig, Aws], kinewax: CommandLine, tmp_path: Path
) -> None:
    running, aws = rig
    store = tmp_path / "store"
    feeder = Feeder(aws)
    feeder.start()
    running.start(store, slots=SLOTS, processes=1)
    wait_until(lambda: bool(running.open()), "an incident is open")
    feeder.stop()
    running.drain()
    read = running.summary()["ledger"]["records"]
    seen = len(running.alerts())

    done = kinewax.run("positions", "reset", "--recovery", store, "--to", "TRIM_HORIZON", "--yes")
    assert done.returncode == 0, done.stderr

    expected = feeder.incidents()
    feeder.close_windows()
    running.start(store, slots=SLOTS, processes=2)
    wait_until(lambda: set(running.finals(after=seen)) >= set(expected), "all are final again")
    running.drain()
    assert running.finals(after=seen) == expected
    summary = running.summary()
    assert summary["balanced"], summary
    assert summary["ledger"]["records"] == read + feeder.sent
    assert summary["ledger"]["events"] == summary["ledger"]["counted.user_actions"]


def _without_slots(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(
        ({**row, "slot": None} for row in shown["shards"]), key=lambda row: str(row["shard"])
    )
