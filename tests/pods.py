"""Pods for tests: supervisors on loopback, each with its own recovery directory and admin port.

Three of them stand for three pods of a StatefulSet: what starts, kills and stops them here is what
a cluster does there.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from service.children import free_port
from tests.rig import Aws, Service, wait_until

PODS = 3
TOKEN = "not-much-of-a-secret-0123456789"


class Pods:
    """The pods of one service.

    Args:
        aws: Its resources.
        home: Where its directories go.
        count: How many pods.
        settings: Further environment of all.
        processes: How many workers a pod.
    """

    def __init__(
        self,
        aws: Aws,
        home: Path,
        *,
        count: int = PODS,
        settings: Mapping[str, str] | None = None,
        processes: int = 1,
    ) -> None:
        self._aws = aws
        self._home = home
        self._settings = settings or {}
        self._processes = processes
        self.out = home / "out"
        self.ports = [free_port() for _ in range(count)]
        (home / "token").write_text(TOKEN)
        self.of = [self.pod(index) for index in range(count)]

    def pod(self, index: int, count: int | None = None) -> Service:
        """Make a pod that isn't started yet, of `count` that are to be."""
        addresses = [f"127.0.0.1:{port}" for port in self.ports[:count]]
        return Service(
            arguments=[
                *("run", "ecommerce", "--source", f"kinesis://{self._aws.names.stream}"),
                *("--sinks", f"aws,file://{self.out}", "--processes", str(self._processes)),
                *("--recovery", str(self.store(index)), "--start", "TRIM_HORIZON"),
                *("--disorder", "2s", "--epoch-interval", "1s"),
                *("--endpoint-url", self._aws.clients.endpoint),
                *("--admin-port", str(self.ports[index])),
            ],
            environment={
                **self._aws.names.settings(),
                "KINEWAX_CLUSTER__PODS": ",".join(addresses),
                "KINEWAX_CLUSTER__INDEX": str(index),
                "KINEWAX_CLUSTER__PORT": "0",
                "KINEWAX_CLUSTER__TOKEN_FILE": str(self._home / "token"),
                **self._settings,
            },
            log=self._home / f"pod-{index}.log",
        )

    def store(self, index: int) -> Path:
        """Return a pod's recovery directory."""
        return self._home / f"recovery-{index}"

    def failing(self, index: int) -> dict[str, str]:
        """Return what keeps a pod from being ready, by check."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[index]}/readyz", timeout=5):
                return {}
        except urllib.error.HTTPError as error:
            found: dict[str, str] = json.loads(error.read())["failing"]
            return found
        except OSError as error:
            return {"answering": str(error)}

    def is_ready(self, index: int) -> bool:
        """Tell whether a pod reads."""
        return not self.failing(index)

    def wait_until_ready(self, indices: Sequence[int] | None = None) -> None:
        """Wait until all read."""
        for index in range(len(self.of)) if indices is None else indices:
            wait_until(partial(self.is_ready, index), f"pod {index} reads")

    def logs(self) -> str:
        """Return the end of every pod's log."""
        files = sorted(self._home.glob("pod-*.log"))
        return "\n".join(f"== {file.name}\n{file.read_text()[-3000:]}" for file in files)


@contextmanager
def running_pods(pods: Pods) -> Iterator[Pods]:
    """Start all pods, and end them afterwards, however."""
    with ExitStack() as stack:
        for pod in pods.of:
            stack.callback(pod.kill)
            pod.start()
        yield pods
