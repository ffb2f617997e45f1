"""Child processes of the demo: kinewax's own commands, in an environment of their own.

Each is a session of its own, so that Ctrl-C reaches the demo alone, which then ends its children in
their order, each by its process id. When the demo itself is killed they die with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from errors import KinewaxError
from service.local_aws import local_environment
from service.settings import ENV_PREFIX
from service.signals import uninterrupted
from service.tied import tied

_STOP_SECONDS = 40.0
"""The service drains within 25 s, or says that it couldn't."""
_POLL_SECONDS = 0.05


class Child:
    """A kinewax command as a child process, started by `start`, ended by `end` at the latest.

    Args:
        name: What to call it, and its log.
        arguments: The command line behind `kinewax`.
        out: The demo's directory; the log goes below it.
        environment: Further variables.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        out: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._environment = environment or {}
        self._log = out / "logs" / f"{name}.log"
        self._started: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        program = Path(sys.executable).with_name("kinewax")
        with self._log.open("wb") as output, uninterrupted():
            self._started = subprocess.Popen(
                tied([str(program), *self._arguments]),
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop children in their order
            )

    def end(self) -> None:
        """Make sure that it has ended: asked first, then killed."""
        if self._started is None or not self.running():
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        except BaseException:  # a second Ctrl-C: no more waiting
            self._kill()
            raise

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._started is None:
            msg = f"the {self._name} was not started"
            raise RuntimeError(msg)
        return self._started

    def running(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def must_run(self) -> None:
        """Raise unless it is still there."""
        if not self.running():
            raise self._bad_end()

    def stop(self, seconds: float, good: Sequence[int] = (0,)) -> None:
        """Ask it to end, and wait for a good end."""
        self.must_run()
        self._process.terminate()
        self.wait(seconds, good)

    def wait(self, seconds: float, good: Sequence[int] = (0,)) -> None:
        """Wait for a good end: one of these exit codes."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            how = f"did not end within {seconds:g} s"
            raise self.failure(how) from None
        if code not in good:
            raise self._bad_end()

    def until(self, met: Callable[[], bool], seconds: float, otherwise: str) -> None:
        """Wait for a condition while it runs; `otherwise` says what it failed to be."""
        deadline = time.monotonic() + seconds
        while not met():
            self.must_run()
            if time.monotonic() > deadline:
                how = f"{otherwise} after {seconds:g} s"
                raise self.failure(how)
            time.sleep(_POLL_SECONDS)

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _bad_end(self) -> KinewaxError:
        return self.failure(f"ended with exit code {self._process.returncode}")

    def failure(self, how: str) -> KinewaxError:
        """Make the error that says how it failed, with its last words."""
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return KinewaxError(f"the {self._name} {how}{last}", hint=f"see {self._log}")


@contextmanager
def isolated(endpoint: str) -> Iterator[None]:
    """Let this process and its children see the local server and no other account or setting."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("AWS_", ENV_PREFIX)):
            del os.environ[name]
    os.environ.update(local_environment(endpoint))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
