"""The service under test: `kinewax run` on a stream, and all that it leaves behind in files."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

from errors import LayoutError
from service import positions
from tests.reshard.states import Committed
from tests.rig import Service, wait_until

EPOCH_MS = 300


class Job:
    """The service, started again and again on one recovery store.

    Args:
        folder: For its store, its results and its log.
        stream: What it reads.
        endpoint: Where.
        settings: Variables.
    """

    def __init__(
        self, folder: Path, stream: str, endpoint: str, settings: dict[str, str], disorder_us: int
    ) -> None:
        self.processes = 0
        self.starts = 0
        self._last: set[int] = set()  # the workers that a kill ended
        self._store = folder / "store"
        self._out = folder / "out"
        self._arguments = [
            *("run", "ecommerce", "--windows", "user_actions,trade"),
            *("--source", f"kinesis://{stream}"),
            *("--sinks", f"file://{self._out}"),
            *("--recovery", str(self._store)),
            *("--start", "TRIM_HORIZON"),
            *("--disorder", f"{disorder_us // 1_000}ms"),
            *("--epoch-interval", f"{EPOCH_MS}ms"),
            # Each user of each window is an incident: its final value is the user's count.
            *("--final-only", "--limit", "high_volume.warning=0"),
            *("--endpoint-url", endpoint),
        ]
        self._service = Service([], settings, folder / "service.log")

    # ---- starting and stopping ----

    def start(self, processes: int) -> None:
        """Start it and wait until its workers run."""
        self.processes = processes
        self.starts += 1
        self._service.arguments = [*self._arguments, "--processes", str(processes)]
        self._service.start()
        self.wait_for_workers()

    def wait_for_workers(self) -> None:
        """Wait until as many workers run as should."""
        wait_until(self._runs, "the service runs")

    def drain(self) -> None:
        """Stop it in good order."""
        code = self._service.drain()
        assert code == 0, f"the drain ended with {code}\n{self.log()}"

    def kill_worker(self, rng: random.Random) -> None:
        """Kill a worker; the supervisor starts all of them again."""
        self._last = set(self._service.workers())
        os.kill(rng.choice(sorted(self._last)), signal.SIGKILL)

    def kill_supervisor(self) -> None:
        """Kill the supervisor alone; its workers end by themselves."""
        assert self._service.process is not None
        os.kill(self._service.pid, signal.SIGKILL)
        self._service.process.wait()

    def kill(self) -> None:
        """Kill the supervisor and its workers, if they live."""
        self._service.kill()

    def _runs(self) -> bool:
        process = self._service.process
        assert process is not None
        assert process.poll() is None, f"it ended with {process.returncode}\n{self.log()}"
        workers = set(self._service.workers())
        return len(workers) == self.processes and not workers & self._last

    # ---- what it leaves behind ----

    def committed(self) -> Committed:
        """Return what its slots have committed, by shard."""
        try:
            found, _ = positions.look(self._store)
        except LayoutError:
            return {}  # nothing yet
        return {name: shard.read for name, shard in found.shards.items()}

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Return the whole lines of one of its files."""
        path = self._out / f"{name}.jsonl"
        whole = path.read_text(encoding="utf-8").rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def summary(self) -> dict[str, Any]:
        """Return the account of its last run."""
        content: dict[str, Any] = json.loads((self._out / "summary.json").read_text())
        return content

    def log(self) -> str:
        """Return the end of its log."""
        return self._service.log.read_text(encoding="utf-8", errors="replace")[-3000:]
