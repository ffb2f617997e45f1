"""The real shop's sample, replayed through a stream as the original's simulator did."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers.clock import SystemClock
from producers.run import ProduceOptions, produce
from tests.rig import Aws, Names, Service, wait_until

pytestmark = pytest.mark.deploy

ROWS = 4_999
START = datetime(2026, 1, 1, tzinfo=UTC)  # on a multiple of 10 s


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=1)


@pytest.fixture
def run(aws: Aws, shared_data: Path, tmp_path: Path) -> Iterator[Callable[[str], Outputs]]:
    produce(
        ProduceOptions(
            domain="ecommerce",
            to=f"kinesis://{aws.names.stream}",
            from_csv=shared_data / "ecommerce" / "2019-Oct-sample-5000.csv",
            pretty=True,
            start=START,
        ),
        kinesis_client_factory=lambda: aws.clients("kinesis"),
        clock=SystemClock(),
        out=lambda _progress: None,
    )
    service = Service(
        arguments=[
            "run",
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", f"file://{tmp_path / 'out'}"),
            *("--start", "TRIM_HORIZON"),
            *("--epoch-interval", "500ms"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        # The tip of the stream closes all windows, whatever time counts.
        environment={"KINEWAX_EVENT_TIME__IDLE": "wallclock"},
        log=tmp_path / "service.log",
    )

    def read(time: str) -> Outputs:
        """Run the service until every row has been counted in a closed window."""
        service.arguments += ["--time", time]
        service.start()
        outputs = Outputs(tmp_path / "out")
        wait_until(lambda: outputs.counted() == ROWS, "every row is in a closed window")
        assert service.drain() == 0, service.log.read_text()[-3000:]
        return outputs

    yield read
    service.kill()


@dataclass
class Outputs:
    directory: Path

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def counted(self) -> int:
        return sum(row["events"] for row in self.lines("aggregates/trade.jsonl"))


def test_by_its_true_event_time_nobody_looks_like_an_attacker(
    run: Callable[[str], Outputs],
) -> None:
    outputs = run("event_time")
    assert outputs.lines("alerts.jsonl") == []
    assert outputs.lines("dead-letters.jsonl") == []


def test_stamped_at_four_rows_a_second_exactly_one_user_does(
    run: Callable[[str], Outputs],
) -> None:
    alerts = run("txn_timestamp").lines("alerts.jsonl")
    finals = [alert for alert in alerts if alert["phase"] == "final"]
    assert [(alert["key"], alert["value"]) for alert in finals] == [({"user_id": 513840435}, 14)]
