"""What golden runs leave in their directories, read and compared."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.rig import Service


def no_client() -> Any:
    """Stand for the Kinesis client of a producer that writes a file."""
    msg = "a file needs no client"
    raise AssertionError(msg)


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
