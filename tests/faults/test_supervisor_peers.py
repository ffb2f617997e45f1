"""The supervisor of one pod among others: what it does when they drain, end or are silent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from errors import DrainError
from service import pods as pods_module
from service import supervisor as module
from service.cluster import Seat, free_addresses
from service.pods import Pods, Store
from service.rounds import Beat, Order
from service.settings import Cluster
from tests.faults.test_supervisor import Bench, in_background, wait_until


class Peers:
    """Other pods, as a test scripts them."""

    def __init__(self) -> None:
        self.waiting = ""
        self.draining = False
        self.over = ""
        self.met = 0
        self.asked = 0
        self.shares = 0
        self.absent = threading.Event()
        self._wake: Callable[[], None] = lambda: None

    def meet(self, sleep: Callable[[float], bool]) -> Seat | None:
        self.draining, self.over = False, ""
        while self.absent.is_set():
            self.waiting = "waiting for pod 1"
            if sleep(0.01):
                return None
        self.waiting = ""
        self.met += 1
        return Seat(0, free_addresses(2))

    @contextlib.contextmanager
    def in_round(self, wake: Callable[[], None]) -> Iterator[None]:
        self._wake = wake
        yield

    def ask(self) -> None:
        self.asked += 1

    def drained(self) -> None:
        self.shares += 1

    def tell(self, *, drain: bool = False, over: str = "") -> None:
        """Let them say something."""
        self.draining, self.over = drain, over
        self._wake()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(module, "_FIRST_DELAY_SECONDS", 0.01)
    return Bench(tmp_path)


def test_workers_drain_when_all_are_to_and_not_when_this_pod_alone_is_asked(bench: Bench) -> None:
    peers = Peers()
    supervisor = bench.supervisor({"all": "run"}, peers=peers)
    with in_background(supervisor) as raised:
        wait_until(lambda: bench.running(1) and supervisor.health().polled == 2)
        supervisor.stop()
        wait_until(lambda: peers.asked == 1)
        assert not list(bench.home.glob("drained-*")), "the others still run"
        peers.tell(drain=True)

    assert raised == []
    assert len(list(bench.home.glob("drained-*"))) == 2
    assert (peers.met, peers.shares) == (1, 1)


def test_after_the_drain_of_another_pod_it_waits_and_starts_again_with_it(bench: Bench) -> None:
    peers = Peers()
    supervisor = bench.supervisor({"all": "run"}, {"all": "end"}, peers=peers)
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        peers.absent.set()
        peers.tell(drain=True)
        wait_until(lambda: supervisor.health().waiting == "waiting for pod 1")
        assert supervisor.health().alive == 0
        peers.absent.clear()

    assert raised == []
    assert (bench.starts, peers.met, peers.shares) == (2, 2, 1)
    assert supervisor.facts.restarts == 0, "a drain is no crash"


def test_a_round_that_is_over_ends_the_workers_at_once_and_all_start_again(bench: Bench) -> None:
    peers = Peers()
    supervisor = bench.supervisor({"all": "unheeding"}, {"all": "end"}, peers=peers)
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        peers.tell(over="pod 1 has been silent for 6 s")

    assert raised == []
    assert (bench.starts, peers.shares) == (2, 0)
    assert bench.running_at_start == [0, 0]
    assert supervisor.facts.restarts == 1


def test_a_pod_told_to_stop_that_reaches_nobody_ends_with_75(bench: Bench) -> None:
    peers = Peers()
    supervisor = bench.supervisor({"all": "unheeding"}, peers=peers)
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        supervisor.stop()
        wait_until(lambda: peers.asked == 1)
        peers.tell(over="pod 0 is silent: Connection refused")

    (error,) = raised
    assert isinstance(error, DrainError)
    assert "pod 0 is silent" in str(error)


def test_a_stop_while_others_are_waited_for_ends_well(bench: Bench) -> None:
    peers = Peers()
    peers.absent.set()
    supervisor = bench.supervisor({"all": "run"}, peers=peers)
    with in_background(supervisor) as raised:
        wait_until(lambda: bool(supervisor.health().waiting))
        supervisor.stop()

    assert raised == []
    assert bench.starts == 0


# ---- signs of life ------------------------------------------------------------------------------


class First:
    """The first pod, as a test scripts it."""

    def __init__(self, *orders: Order | OSError) -> None:
        self.orders = list(orders)
        self.beats: list[Beat] = []

    def beat(self, beat: Beat) -> Order:
        self.beats.append(beat)
        order = self.orders.pop(0) if len(self.orders) > 1 else self.orders[0]
        if isinstance(order, OSError):
            raise order
        return order


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pods:
    monkeypatch.setattr(pods_module, "_BEAT_SECONDS", 0.01)
    monkeypatch.setattr(pods_module, "SILENT_SECONDS", 0.05)
    (tmp_path / "token").write_text("0123456789abcdef")
    return Pods(
        Cluster(pods=("a:1", "b:1"), index=1, token_file=tmp_path / "token"),
        Store(tmp_path, {}, 4, lambda: None),
        same={},
        processes=1,
        clock_us=lambda: 1,
    )


def test_a_first_pod_that_is_silent_for_long_ends_the_round(pods: Pods) -> None:
    pods._first = First(Order("go on"), OSError("connection refused"))
    woken = threading.Event()
    with pods.in_round(woken.set):
        assert woken.wait(10)

    assert pods.over == "pod 0 is silent: connection refused"


def test_a_first_pod_that_is_silent_for_a_moment_does_not(pods: Pods) -> None:
    pods._first = first = First(OSError("timed out"), Order("go on"))
    with pods.in_round(lambda: None):
        wait_until(lambda: len(first.beats) > 5)

    assert pods.over == ""


def test_a_request_to_drain_is_passed_on_and_the_order_heard(pods: Pods) -> None:
    pods._first = first = First(Order("go on"), Order("drain"))
    woken = threading.Event()
    with pods.in_round(woken.set):
        pods.ask()
        assert woken.wait(10)
        assert pods.draining
        wait_until(lambda: any(beat.drain for beat in first.beats))

    assert pods.over == ""
