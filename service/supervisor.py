"""The supervisor: starts the worker processes, restarts them from the last snapshot, drains them.

Guarantee: at most one generation of workers runs at a time. When a worker dies, all are ended and
started again, with growing backoff; an error that a restart can't mend ends the run at once, and
`max_starts` starts without a newly committed epoch end it as a crash loop. A drain stops the
sources of all processes, so that sinks flush and the last epoch is committed; a second request
ends everything at once.

It knows nothing of dataflows: a worker is a command, and what is committed is asked of the plan.
Of other pods it knows `Peers`: it waits for them before each start, and a drain is asked of all.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import metrics
from errors import CrashLoopError, DrainError
from service.channel import Failure
from service.cluster import Cluster, Command, Seat, Worker

logger = logging.getLogger(__name__)

_REFERENCES_TOLD = 100
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 30.0


class Peers(Protocol):
    """The other pods of a service, and this one's place among them.

    Attributes:
        waiting: What is being waited for; empty while workers run.
        draining: Whether all are to drain.
        over: Why the workers must end at once; empty while they needn't.
    """

    waiting: str
    draining: bool
    over: str

    def meet(self, sleep: Callable[[float], bool]) -> Seat | None:
        """Wait until all can start; None when told to stop meanwhile."""
        ...

    def in_round(self, wake: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """Listen to the others while workers run; `wake` is called when there is news."""
        ...

    def ask(self) -> None:
        """Ask all to drain."""
        ...

    def drained(self) -> None:
        """Take note that the workers have drained."""
        ...


@dataclass(frozen=True)
class Plan:
    """What a supervisor needs to know.

    Attributes:
        processes: How many workers.
        command: Makes the command line of a worker.
        environment: Variables of the workers, whole.
        before_start: Called while no worker runs, before each start.
        committed: Tells up to which epoch the store is committed; called while no worker runs.
        after_death: Called with each dead worker's process id.
        restartable: False when the input can't be read twice.
        drain_seconds: The longest wait for a drain.
        max_starts: Starts without a newly committed epoch before the run ends.
        peers: The other pods; None for a service that is alone.
    """

    processes: int
    command: Command
    environment: Mapping[str, str] | None = None
    before_start: Callable[[], None] = lambda: None
    committed: Callable[[], int] = lambda: 0
    after_death: Callable[[int], None] = lambda _pid: None
    restartable: bool = True
    drain_seconds: float = 25.0
    max_starts: int = 5
    peers: Peers | None = None


@dataclass(frozen=True)
class Health:
    """What the admin port tells.

    Attributes:
        alive: How many workers are alive.
        polled: How many of them read.
        still_seconds: For how long the slowest has stood still, or was silent.
        draining: Whether a drain was asked for.
        waiting: What of other pods is being waited for.
    """

    alive: int
    polled: int
    still_seconds: float
    draining: bool
    waiting: str = ""


@dataclass
class Facts:
    """What a run cost.

    Attributes:
        restarts: How often the processes were started again.
        drained: Whether a drain ended the run.
        usage: What each process of the last generation cost.
        references: The last versions of tables beside the stream that came into force, the latest
            last; each once, whatever the number of processes.
    """

    restarts: int = 0
    drained: bool = False
    usage: list[dict[str, float]] = field(default_factory=list)
    references: list[dict[str, object]] = field(default_factory=list)

    def take_references(self, workers: Sequence[Worker]) -> None:
        """Add what the workers of a generation told."""
        told = [one for worker in workers for one in worker.references]
        known = {(one["name"], one["version"]): one for one in self.references}
        for one in sorted(told, key=lambda one: str(one["loaded_at"])):
            known.setdefault((one["name"], one["version"]), one)
        self.references = list(known.values())[-_REFERENCES_TOLD:]


class Supervisor:
    """Runs a plan to its end, once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._workers: list[Worker] = []
        self._stops = 0
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self.facts = Facts()

    def stop(self) -> None:
        """Ask for a drain; the second time, for an end at once. Safe in signal handlers."""
        self._stops += 1
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full, or the run has just ended
            self._waker.send(b"!")

    def pids(self) -> list[int]:
        """Return the process ids of the workers, by index."""
        return [worker.process.pid for worker in self._workers]

    def health(self) -> Health:
        """Return what the admin port tells; safe in other threads."""
        now = time.monotonic()
        alive = [worker for worker in self._workers if worker.process.returncode is None]
        reading = [worker for worker in alive if worker.polled]
        still = [max(worker.still_seconds, now - worker.heard_at) for worker in reading]
        peers = self._plan.peers
        return Health(
            alive=len(alive),
            polled=len(reading),
            still_seconds=max(still, default=0.0),
            draining=self._stops > 0 or (peers is not None and peers.draining),
            waiting="" if peers is None else peers.waiting,
        )

    def run(self) -> Facts:
        """Return when a finite input is read, or when a drain is done.

        Raises:
            DrainError: The drain's deadline passed, or a worker failed in it.
            CrashLoopError: `max_starts` starts committed nothing new.
            KinewaxError: An error that a restart can't mend.
        """
        with self._woken, self._waker:
            self._run()
        self.facts.drained = self._stops > 0
        return self.facts

    def _run(self) -> None:
        plan = self._plan
        committed = plan.committed()
        fruitless = 0
        while True:
            failure = self._generation()
            if failure is None and self._stops == 0 and plan.peers and plan.peers.draining:
                continue  # another pod was told to stop: wait for its return
            if failure is None:
                return
            if self._stops:
                msg = f"stopped, but the last epoch was not committed: {failure.message}"
                raise DrainError(msg, hint="the next start reads that epoch again")
            if not (failure.retryable and plan.restartable):
                raise failure.as_error()
            reached = plan.committed()
            fruitless = 0 if reached > committed else fruitless + 1
            committed = max(reached, committed)
            if fruitless >= plan.max_starts:
                msg = f"{fruitless} starts in a row committed nothing; the last: {failure.message}"
                raise CrashLoopError(msg, hint=failure.hint or "-v shows the tracebacks")
            delay_seconds = min(_FIRST_DELAY_SECONDS * 2**fruitless, _LONGEST_DELAY_SECONDS)
            logger.warning(
                "%s; starting again in %.2f s, from epoch %d",
                failure.message,
                delay_seconds,
                committed,
                extra={"event": "restart", "error_type": failure.error},
            )
            if self._sleep(delay_seconds):
                msg = f"stopped while starting again: {failure.message}"
                raise DrainError(msg, hint="the next start reads the last epoch again")
            self.facts.restarts += 1
            metrics.restarts.inc()

    def _generation(self) -> Failure | None:
        """Run one generation; return None when all its workers ended well, else why not."""
        plan, peers = self._plan, self._plan.peers
        seat = None
        if peers is not None and (seat := peers.meet(self._sleep)) is None:
            return None  # told to stop while no worker ran
        plan.before_start()
        listening = contextlib.nullcontext() if peers is None else peers.in_round(self._wake)
        with listening, Cluster(plan.processes, plan.command, plan.environment, seat) as cluster:
            self._workers = cluster.workers
            logger.debug("workers run as %s", self.pids(), extra={"event": "start"})
            failure = self._watch(cluster)
        for worker in cluster.workers:
            plan.after_death(worker.process.pid)
        self.facts.usage = [worker.usage for worker in cluster.workers]
        self.facts.take_references(cluster.workers)
        if peers is not None and peers.draining and failure is None:
            peers.drained()
        return failure

    def _watch(self, cluster: Cluster) -> Failure | None:
        peers = self._plan.peers
        asked = False
        deadline: float | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for worker in cluster.workers:
                selector.register(worker.listener.socket, selectors.EVENT_READ, worker)
            running = len(cluster.workers)
            while running:
                if self._stops > 1:
                    return Failure("DrainError", "a second signal ended the workers")
                if peers is not None and peers.over:
                    return Failure("PeersLost", peers.over)
                if self._stops and not asked:
                    if not any(worker.polled for worker in cluster.workers):
                        return None  # nothing has been read, so nothing is lost
                    asked = True
                    if peers is not None:
                        peers.ask()
                draining = asked if peers is None else peers.draining
                if draining and deadline is None:
                    deadline = time.monotonic() + self._plan.drain_seconds
                    cluster.signal(signal.SIGTERM)
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    message = f"the drain took longer than {self._plan.drain_seconds:g} s"
                    return Failure("DrainError", message)
                for key, _ in selector.select(rest):
                    if key.data is None:
                        self._clear_wakes()
                        continue
                    key.data.hear()
                    if key.data.listener.ended:
                        selector.unregister(key.fileobj)
                        running -= 1
                        if key.data.process.wait() != 0:
                            cluster.end()
                            return cluster.why()
                cluster.go_when_ready()
        return None

    def _sleep(self, seconds: float) -> bool:
        """Wait, but not through a request to stop; return whether there was one."""
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stops and (rest := deadline - time.monotonic()) > 0:
                if selector.select(rest):
                    self._clear_wakes()
        return self._stops > 0

    def _clear_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(64):
                pass


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop` while the block runs; in the main thread only."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
