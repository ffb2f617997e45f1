"""The line between a worker process and its supervisor: reports go up, and its end is a death.

One socket pair a worker. The worker writes a JSON object a line; the supervisor reads them and
learns of the worker's death, however it came, as the end of the stream. The worker in turn learns
of the supervisor's death the same way and ends at once: two generations of workers on one recovery
store would ruin it. The supervisor writes one byte only: the word to go, when all workers of a
cluster are ready, since the engine waits a second after each peer that doesn't listen yet.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from errors import (
    DataLossError,
    DeliveryError,
    KinewaxError,
    LayoutError,
    MissingResourceError,
    SettingsError,
)

_FINAL = (SettingsError, MissingResourceError, LayoutError, DataLossError)
_READ_BYTES = 65_536


@dataclass(frozen=True)
class Failure:
    """Why a process ended, as its supervisor prints and judges it.

    Attributes:
        error: The error's class.
        message: One line.
        hint: What to do next; may be empty.
        exit_code: What kinewax exits with when it gives up.
        retryable: Whether a restart can help.
        known: False for the engine's own panic, which follows from a failure elsewhere.
    """

    error: str
    message: str
    hint: str = ""
    exit_code: int = 1
    retryable: bool = True
    known: bool = True

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describe an error; of ours, its own words, of others, class and first line too."""
        name = type(error).__name__
        if isinstance(error, KinewaxError):
            # Whoever read our standard output has gone, and no restart brings it back.
            unread = isinstance(error.__cause__, BrokenPipeError)
            retryable = not (unread or isinstance(error, _FINAL))
            return cls(name, str(error), error.hint, error.exit_code, retryable)
        lines = str(error).splitlines()
        message = f"{name}: {lines[0]}" if lines else name
        return cls(name, message, known=isinstance(error, Exception))

    def as_error(self) -> KinewaxError:
        """Return the error to raise when this failure ends the run."""
        kinds = {kind.__name__: kind for kind in (*_FINAL, DeliveryError)}
        return kinds.get(self.error, KinewaxError)(self.message, hint=self.hint)


class Reporter:
    """The worker's end."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()
        self._failed = False
        self._go = threading.Event()

    def send(self, kind: str, **fields: Any) -> None:
        """Send one report; a supervisor that is gone is no error here."""
        line = orjson.dumps({"kind": kind, **fields}) + b"\n"
        with self._lock:
            try:
                self._socket.sendall(line)
            except OSError:
                return  # `end_with_supervisor` sees the same end and acts on it

    def fail(self, error: BaseException) -> None:
        """Report an error; only the first known one counts, since others follow from it."""
        failure = Failure.of(error)
        if not self._failed:
            self._failed = failure.known
            self.send("failed", **asdict(failure))

    def end_with_supervisor(self, end: Callable[[int], None] = os._exit) -> None:
        """End this process as soon as the supervisor is gone."""

        def watch() -> None:
            try:
                while self._socket.recv(1):
                    self._go.set()
            except OSError:
                pass  # a reset is an end too
            end(1)

        threading.Thread(target=watch, name="supervisor-watch", daemon=True).start()

    def wait_to_go(self) -> None:
        """Say that this worker is ready, and wait until all are."""
        self.send("ready")
        self._go.wait()


class Listener:
    """The supervisor's end."""

    def __init__(self) -> None:
        self.socket, self._theirs = socket.socketpair()
        self._rest = b""
        self.ended = False
        self.closed = False

    @property
    def descriptor(self) -> int:
        """What the worker inherits; valid until `handed_over`."""
        return self._theirs.fileno()

    def handed_over(self) -> None:
        """Close the worker's end here, so that only the worker holds it."""
        self._theirs.close()
        self.socket.setblocking(False)

    def reports(self) -> list[dict[str, Any]]:
        """Return the reports that are there; `ended` is set once the worker is dead."""
        received = [self._rest]
        while not self.ended:
            try:
                chunk = self.socket.recv(_READ_BYTES)
            except BlockingIOError:
                break
            except ConnectionError:
                chunk = b""
            if chunk:
                received.append(chunk)
            else:
                self.ended = True
        *lines, self._rest = b"".join(received).split(b"\n")
        return [orjson.loads(line) for line in lines if line]

    def go(self) -> None:
        """Let the worker go on; one that has died is seen elsewhere."""
        with contextlib.suppress(OSError):
            self.socket.send(b"!")

    def close(self) -> None:
        """Close both ends."""
        self.closed = True
        self._theirs.close()
        self.socket.close()
