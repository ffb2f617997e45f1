"""What cases that measure the running service share: it, its CPU, memory and metrics, from outside.

The service is `kinewax run` as users start it, in a process of its own with its workers.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SAMPLE = re.compile(r"^(kinewax_\w+)(?:\{(.*)\})? (\S+)$")
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}


class Live:
    """A service that runs; `lines` are those of its standard output with the moment they came."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self._admin = ""
        self.lines: list[tuple[float, str]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append((time.time(), line))

    def pids(self) -> list[int]:
        """Return the supervisor and its workers."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [pid, *map(int, children.split())]

    def cpu_seconds(self) -> float:
        """Return the CPU time of the workers so far."""
        spent = 0
        for pid in self.pids()[1:]:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
            spent += sum(map(int, fields.split()[11:13]))
        return spent / _TICKS

    def rss_mb(self) -> float:
        """Return what supervisor and workers have in memory now."""
        pages = 0
        for pid in self.pids():
            try:
                pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
            except (OSError, IndexError):
                continue  # a worker that has just ended
        return pages * resource.getpagesize() / 1e6

    def metrics(self) -> dict[str, dict[str, float]]:
        """Return the samples of each metric by their labels, as the admin port tells them."""
        if not self._admin:
            found = re.search(r"admin port: (http://[\d.:]+)", self.log())
            assert found, f"the service has no admin port yet: {self.log()[-2000:]}"
            self._admin = found[1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._admin}/metrics", timeout=10) as reply:
            text = reply.read().decode()
        samples: dict[str, dict[str, float]] = {}
        for line in text.splitlines():
            if found := _SAMPLE.match(line):
                samples.setdefault(found[1], {})[found[2] or ""] = float(found[3])
        return samples

    def total(self, metric: str) -> float:
        """Return the sum of a metric's samples."""
        return sum(self.metrics().get(metric, {}).values())

    def log(self) -> str:
        """Return all that the service has written about itself."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, metric: str, samples: int, timeout_seconds: float = 60) -> None:
        """Wait until a metric has so many samples.

        Raises:
            TimeoutError: It has not.
        """
        deadline = time.monotonic() + timeout_seconds
        while "admin port" not in self.log() or len(self.metrics().get(metric, {})) < samples:
            if time.monotonic() > deadline:
                message = f"{metric} has not {samples} samples: {self.log()[-2000:]}"
                raise TimeoutError(message)
            time.sleep(0.2)

    def drain(self) -> None:
        """Have it end well.

        Raises:
            ChildProcessError: It didn't.
        """
        self._process.terminate()
        code = self._process.wait(60)
        if code:
            message = f"the service exited {code}: {self.log()[-2000:]}"
            raise ChildProcessError(message)

    def end(self) -> None:
        """End it at once, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()  # its workers end with it
            self._process.wait()


@contextmanager
def live(arguments: Sequence[str], **environment: str) -> Iterator[Live]:
    """Run `kinewax run` until the block ends."""
    with tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder:
        log = Path(folder) / "log"
        with log.open("w", encoding="utf-8") as errors:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("kinewax"), "run", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **_CREDENTIALS, **environment},
            )
        service = Live(process, log)
        try:
            yield service
        finally:
            service.end()


@contextmanager
def server(*arguments: str) -> Iterator[str]:
    """Run a module as a server that writes its port; yields its address."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()
