"""Local AWS servers for tests: real sockets on a free port of 127.0.0.1, stopped afterwards.

`moto_server()` is the server of the demo; `ministack_server()` has what that lacks, as iterators
that expire. Each starts a server, waits until it answers, and yields its endpoint; `clients` gives
boto3 clients for it. Neither reshards as AWS does (tests/node_servers.py has two that do), and
neither throttles (docs/decisions/0005-local-aws-server.md): throttling and partial failures come
from scripted fakes or a proxy in front.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from service.local_aws import LocalAws

REGION = "eu-west-1"
FAKE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
}
"""Environment in which neither tests nor their children can reach a real account."""

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_START_ATTEMPTS = 3


class ServerFailedError(Exception):
    """A local server ended, or didn't answer in time; the message ends with its log."""


class Clients:
    """boto3 clients of one endpoint, made once each: call it with a service's name.

    It is what the product takes as `Callable[[str], Client]`.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        """Return the client of `service`, as `kinesis`."""
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=Config(
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"total_max_attempts": 2, "mode": "standard"},
                    # moto and ministack serve all buckets under one host name.
                    s3={"addressing_style": "path"},
                ),
            )
        return self._clients[service]

    def close(self) -> None:
        """Close the connections of all clients."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()


@contextmanager
def clients(endpoint: str) -> Iterator[Clients]:
    """Yield the clients of `endpoint`, and close them afterwards."""
    made = Clients(endpoint)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def moto_server() -> Iterator[str]:
    """Yield the endpoint of a moto server that runs until the block ends."""
    with (
        tempfile.TemporaryDirectory(prefix="kinewax-moto-") as home,
        LocalAws(Path(home)) as server,
    ):
        yield server.endpoint


@contextmanager
def ministack_server() -> Iterator[str]:
    """Yield the endpoint of a ministack server that runs until the block ends."""

    def launch(port: int, home: Path) -> Launch:
        address = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
        return Launch([_ministack()], home, address, "/_ministack/health")

    with started("ministack", launch) as endpoint:
        yield endpoint


@dataclass(frozen=True)
class Launch:
    """How a server is started on a port.

    Attributes:
        command: Its command line.
        folder: Where it is run.
        environment: Variables of its own.
        health: The path that it answers once it is up.
        healthy: With which status.
    """

    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    health: str
    healthy: int = 200


@contextmanager
def started(name: str, launch: Callable[[int, Path], Launch]) -> Iterator[str]:
    """Yield the endpoint of a server that runs until the block ends.

    Args:
        name: Of the server, for people.
        launch: Says how to start it on a port; its home is an empty folder that goes with it.

    Raises:
        ServerFailedError: It doesn't start.
    """
    with tempfile.TemporaryDirectory(prefix=f"kinewax-{name}-") as home:
        log = Path(home) / "server.log"
        for _ in range(_START_ATTEMPTS):
            # A port that was free may be taken by the time the server binds it: try another.
            port = free_port()
            how = launch(port, Path(home))
            with log.open("wb") as output:
                process = subprocess.Popen(
                    how.command,
                    env={**os.environ, **FAKE_CREDENTIALS, "HOME": home, **how.environment},
                    cwd=how.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            try:
                if _is_up(process, f"http://127.0.0.1:{port}{how.health}", how.healthy):
                    yield f"http://127.0.0.1:{port}"
                    return
            finally:
                _stop(process)
        msg = f"{name} didn't start:\n{log.read_text(errors='replace')[-2000:]}"
        raise ServerFailedError(msg)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_up(process: subprocess.Popen[bytes], url: str, healthy: int) -> bool:
    """Wait until `url` answers as it should; False when the process ends or the time is over."""
    # Straight to the socket: a proxy set for the machine must not see loopback traffic.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with opener.open(url, timeout=2) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except (urllib.error.URLError, OSError):
            status = 0
        if status == healthy:
            return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the process by its id: SIGTERM, and SIGKILL when it doesn't listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ministack() -> str:
    """Return the program beside the Python that runs the tests, else the one on PATH."""
    beside = Path(sys.executable).with_name("ministack")
    found = str(beside) if beside.exists() else shutil.which("ministack")
    if found is None:
        msg = f"ministack is not installed beside {sys.executable}: run `make setup`"
        raise ServerFailedError(msg)
    return found
