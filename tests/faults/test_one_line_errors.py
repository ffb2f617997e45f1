"""Whatever ends a run is told in one line and a hint, not in pages of the engine's stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import free_port


@pytest.mark.parametrize("processes", [1, 2])
def test_a_destination_that_cannot_be_reached_is_one_line(tmp_path: Path, processes: int) -> None:
    events = tmp_path / "events.jsonl"
    events.write_text("no event\n" * 20)
    ended = subprocess.run(
        [
            str(Path(sys.executable).with_name("kinewax")),
            "run",
            "ecommerce",
            *("--source", f"file://{events}"),
            *("--sinks", "aws"),
            *("--processes", str(processes)),
            *("--endpoint-url", f"http://127.0.0.1:{free_port()}"),
        ],
        env={
            **os.environ,
            "RUST_BACKTRACE": "1",
            "KINEWAX_SINKS__TOPIC": "arn:aws:sns:eu-west-1:123456789012:incidents",
            "KINEWAX_SINKS__DEADLINE": "1s",
            "KINEWAX_RUNTIME__MAX_STARTS": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 70, ended.stderr
    told = [line for line in ended.stderr.splitlines() if not line.startswith('{"ts"')]
    assert [line.split(":")[0] for line in told] == ["error", "hint"], ended.stderr
    assert "Firehose" in told[0] or "stream" in told[0]
    assert "panicked" not in ended.stderr
