"""What golden runs leave in their directories, read and compared."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

from service.snapshots import marks, resume_epoch
from tests.rig import Service, wait_until


def no_client() -> Any:
    """Stand for the Kinesis client of a producer that writes a file."""
    msg = "a file needs no client"
    raise AssertionError(msg)


def wait_for_an_epoch(store: Path) -> None:
    """Wait until a run has committed an epoch: if it is killed then it has state to go on from.

    That something is written says less: sinks write within an epoch, before it is committed.
    """

    def committed() -> int:
        try:
            return resume_epoch(store)
        except sqlite3.OperationalError:  # a file is there, its tables aren't yet
            return 0

    # Looked at often: these runs are over a second later.
    wait_until(lambda: committed() > 1, "an epoch is committed", every_seconds=0.01)


def went_on(store: Path) -> bool:
    """Tell whether the last start went on from a committed epoch, not from the beginning."""
    executions = marks(store).executions
    _, resumed_at = executions[max(executions)]
    return resumed_at > 1


def finish(service: Service) -> None:
    """Wait for a run's end; it must be a good one."""
    assert service.process is not None
    assert service.process.wait(180) == 0, service.log.read_text()[-3000:]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(directory: Path) -> dict[str, list[str]]:
    """Return each file's lines without what says when they were written, sorted."""
    found = {}
    for path in sorted(directory.rglob("*.jsonl")):
        lines = lines_of(path)
        for line in lines:
            line.pop("emitted_at", None)
            line.pop("detected_at", None)
        found[path.name] = sorted(json.dumps(line, sort_keys=True) for line in lines)
    return found


def seconds(iso: str) -> int:
    """Return the whole seconds since the epoch of a time with a zone."""
    return int(datetime.fromisoformat(iso).timestamp())
