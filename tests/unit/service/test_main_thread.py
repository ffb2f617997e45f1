"""The main thread of a cluster's process: it rests, and it alone takes signals."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from service.main_thread import MainThread

DEADLINE_SECONDS = 30.0


def wait_as_the_engine_does(until: threading.Event) -> None:
    """Look for signals each millisecond, in the main thread."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not until.is_set():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_it_rests_again_and_again_once_the_flow_reads() -> None:
    rests: list[float] = []
    thrice = threading.Event()

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            thrice.set()

    with MainThread(sleep) as main_thread:
        time.sleep(0.01)
        assert not rests, "before the first read the engine may not be interrupted"
        threading.Thread(target=main_thread.rest).start()  # the worker's thread says so
        wait_as_the_engine_does(thrice)
    after = len(rests)
    time.sleep(0.01)
    assert len(rests) == after, "nothing is left of it behind the block"


def test_a_stop_is_heard_in_the_middle_of_a_rest() -> None:
    stopped = threading.Event()
    resting = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())

    def rest_until_stopped(_seconds: float) -> None:
        resting.set()
        wait_as_the_engine_does(stopped)

    def stop() -> None:
        resting.wait(DEADLINE_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    with MainThread(rest_until_stopped) as main_thread:
        threading.Thread(target=stop).start()
        main_thread.rest()
        wait_as_the_engine_does(stopped)
    assert resting.is_set()


def test_a_stop_before_the_first_read_is_heard_at_the_first_read() -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    with MainThread() as main_thread:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        assert not stopped.is_set()
        main_thread.rest()
        wait_as_the_engine_does(stopped)


def test_threads_of_the_engine_are_born_deaf_to_signals() -> None:
    blocked: list[set[int]] = []
    with MainThread():
        engine = threading.Thread(
            target=lambda: blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        )
        engine.start()
        engine.join()
    assert {signal.SIGTERM, signal.SIGALRM} <= blocked[0]
    assert not {signal.SIGTERM, signal.SIGALRM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_that_is_no_cluster_never_rests() -> None:
    rests: list[float] = []
    MainThread(rests.append).rest()
    time.sleep(0.01)
    assert not rests
