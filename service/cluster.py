"""One generation of worker processes: started together, ended together.

Any death ends the generation: the engine knows no rejoin. What the workers reported is kept, so
that the one error which caused the end is found among those that followed from it.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from errors import KinewaxError
from service.channel import Failure, Listener

_LISTEN_SECONDS = 0.03
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Member:
    """What a worker is told about its place.

    Attributes:
        process: Its index, from 0.
        addresses: Where all processes listen for each other; none for a single one.
        channel: The descriptor of its reporting line.
    """

    process: int
    addresses: tuple[str, ...]
    channel: int


@dataclass(frozen=True)
class Seat:
    """The place of these workers in the whole cluster.

    Attributes:
        first: The index of the first of them.
        addresses: Where all processes listen, those of other pods too; none for a single one.
    """

    first: int
    addresses: tuple[str, ...]


Command = Callable[[Member], Sequence[str]]


@dataclass
class Worker:
    """A running process and what it last said.

    Attributes:
        index: Its place in the cluster.
        process: The child.
        listener: Its reporting line.
        heard_at: When it last reported, in monotonic seconds.
        ready: Whether it waits for the word to go.
        polled: Whether its dataflow reads: the cluster is connected.
        still_seconds: For how long its loop had stood still when it last reported.
        usage: What it cost, reported at its end.
        references: Each version of a table beside the stream that came into force.
        failures: The errors it reported.
    """

    index: int
    process: subprocess.Popen[bytes]
    listener: Listener
    heard_at: float
    ready: bool = False
    polled: bool = False
    still_seconds: float = 0.0
    usage: dict[str, float] = field(default_factory=dict)
    references: list[dict[str, object]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def hear(self) -> None:
        """Take in the reports that are there."""
        for report in self.listener.reports():
            self.heard_at = time.monotonic()
            match report:
                case {"kind": "ready"}:
                    self.ready = True
                case {"kind": "polled"}:
                    self.polled = True
                case {"kind": "beat", "still_seconds": still_seconds}:
                    self.still_seconds = still_seconds
                case {"kind": "usage", **usage}:
                    self.usage = usage
                case {"kind": "reference", **facts}:
                    self.references.append(facts)
                case {"kind": "failed", **failure}:
                    self.failures.append(Failure(**failure))


class Cluster:
    """Starts workers and ends them; a context manager that leaves none behind.

    Args:
        processes: How many.
        command: Makes the command line of each.
        environment: Their variables, whole; None for this process's own.
        seat: Their place among the workers of other pods; None where these are all.
    """

    def __init__(
        self,
        processes: int,
        command: Command,
        environment: Mapping[str, str] | None,
        seat: Seat | None = None,
    ) -> None:
        seat = seat or Seat(0, free_addresses(processes))
        self.workers: list[Worker] = []
        self._killed: set[int] = set()
        self._gone = False
        try:
            for index in range(processes):
                member = seat.first + index
                self.workers.append(_start(member, seat.addresses, command, environment))
        except OSError as error:
            self.end()
            msg = f"a worker can't be started: {error}"
            raise KinewaxError(msg) from error

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all that are alive."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def go_when_ready(self) -> None:
        """Let all go once all are ready, each a little after those that it will connect to."""
        if self._gone or not all(worker.ready for worker in self.workers):
            return
        self._gone = True
        for worker in self.workers:
            worker.listener.go()
            time.sleep(_LISTEN_SECONDS if len(self.workers) > 1 else 0)

    def end(self) -> None:
        """Kill what is alive, and hear what all have said; does nothing the second time."""
        for worker in self.workers:
            if worker.listener.closed:
                continue
            if worker.process.poll() is None:
                self._killed.add(worker.index)
                worker.process.kill()
            worker.process.wait()
            worker.hear()
            worker.listener.close()

    def why(self) -> Failure:
        """Choose, of all that the dead workers said, what explains the end best."""
        failures = [failure for worker in self.workers for failure in worker.failures]
        final = [failure for failure in failures if not failure.retryable]
        known = [failure for failure in failures if failure.known]
        silent = [
            Failure("WorkerDied", f"worker {worker.index} {_how(worker.process.returncode)}")
            for worker in self.workers
            if worker.process.returncode and not worker.failures
            if worker.index not in self._killed
        ]
        unknown = [Failure("WorkerDied", "a worker ended without a word")]
        return (final or known or silent or failures or unknown)[0]


def _start(
    index: int,
    addresses: tuple[str, ...],
    command: Command,
    environment: Mapping[str, str] | None,
) -> Worker:
    listener = Listener()
    try:
        process = subprocess.Popen(
            list(command(Member(index, addresses, listener.descriptor))),
            env=environment,
            pass_fds=(listener.descriptor,),
            start_new_session=True,  # Ctrl-C is the supervisor's to handle: it drains, not kills
        )
    except OSError:
        listener.close()
        raise
    listener.handed_over()
    return Worker(index, process, listener, time.monotonic())


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def free_addresses(processes: int) -> tuple[str, ...]:
    """Find free loopback ports for a cluster; a single process needs none."""
    return () if processes == 1 else free_ports(_LOOPBACK, processes)


def free_ports(host: str, count: int) -> tuple[str, ...]:
    """Find free ports of an address.

    Another program may take one before the worker does; the worker then fails and the next start
    finds others.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            server = stack.enter_context(socket.create_server((host, 0)))
            found.append(f"{host}:{server.getsockname()[1]}")
        return tuple(found)
