"""Events piped into a run: what is there counts at once, and an open pipe holds nothing up."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path

from tests.conftest import CommandLine
from tests.rig import event, wait_until


def test_alerts_come_while_the_pipe_is_open_and_a_stop_drains_it(
    kinewax: CommandLine, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = kinewax.start(
        *("run", "ecommerce", "--source", "-", "--sinks", out.as_uri()),
        *("--windows", "user_actions", "--epoch-interval", "200ms"),
    )
    assert running.stdin is not None
    now = datetime.now(UTC)
    running.stdin.write("".join(json.dumps(event(7, now)) + "\n" for _ in range(9)))
    running.stdin.flush()

    alerts = out / "alerts.jsonl"
    wait_until(lambda: alerts.exists() and alerts.stat().st_size > 0, "an alert is there")
    alert = json.loads(alerts.read_text().splitlines()[0])
    assert (alert["phase"], alert["key"], alert["value"]) == ("open", {"user_id": 7}, 9)

    running.send_signal(signal.SIGTERM)  # the pipe stays open, and nothing comes
    assert running.wait(60) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["run"]["drained"]
    assert summary["balanced"]
    assert summary["ledger"]["counted.user_actions"] == 9
