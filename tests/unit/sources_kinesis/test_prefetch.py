"""Threads for steps."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from sources.kinesis.prefetch import Prefetch

WAIT = 10.0


class Failures(list[BaseException]):
    def __init__(self) -> None:
        super().__init__()
        self.happened = threading.Event()

    def tell(self, error: BaseException) -> None:
        self.append(error)
        self.happened.set()


@pytest.fixture
def failures() -> Failures:
    return Failures()


@pytest.fixture
def prefetch(failures: Failures) -> Iterator[Prefetch]:
    made = Prefetch("test", failures.tell, max_threads=4)
    yield made
    made.close()
    made.join(WAIT)
    assert not any(thread.is_alive() for thread in made._threads)


def test_a_step_runs_again_until_it_asks_no_more(prefetch: Prefetch) -> None:
    done, runs = threading.Event(), []

    def step() -> float | None:
        runs.append(1)
        if len(runs) < 5:
            return 0.0
        done.set()
        return None

    prefetch.add(step)
    assert done.wait(WAIT)
    assert len(runs) == 5


def test_steps_run_when_they_are_due_and_not_before(prefetch: Prefetch) -> None:
    order: list[str] = []
    done = threading.Event()

    def step(name: str) -> None:
        order.append(name)
        if len(order) == 3:
            done.set()

    prefetch.add(lambda: step("third"), 0.20)
    prefetch.add(lambda: step("first"), 0.0)
    prefetch.add(lambda: step("second"), 0.05)
    assert done.wait(WAIT)
    assert order == ["first", "second", "third"]


def test_a_step_that_hangs_holds_up_no_other(prefetch: Prefetch) -> None:
    release, done = threading.Event(), threading.Event()
    for _ in range(3):
        prefetch.add(lambda: release.wait(WAIT) and None)
    runs = []

    def step() -> float | None:
        runs.append(1)
        if len(runs) == 20:
            done.set()
            return None
        return 0.0

    prefetch.add(step)
    assert done.wait(WAIT)
    release.set()


def test_a_leader_that_goes_to_work_leaves_another_in_its_place(prefetch: Prefetch) -> None:
    release, done = threading.Event(), threading.Event()
    prefetch.add(done.set, 0.05)
    while not prefetch._has_leader:
        time.sleep(0.001)
    prefetch.add(lambda: release.wait(2 * WAIT) and None)
    assert done.wait(WAIT)
    release.set()


def test_no_more_threads_than_allowed_and_no_step_on_two_at_a_time(prefetch: Prefetch) -> None:
    running: Counter[int] = Counter()
    runs: Counter[int] = Counter()
    lock, done = threading.Lock(), threading.Event()
    overlaps: list[int] = []

    def make(number: int) -> object:
        def step() -> float | None:
            with lock:
                running[number] += 1
                if running[number] > 1 or sum(running.values()) > 4:
                    overlaps.append(number)
            time.sleep(0.0005)
            with lock:
                running[number] -= 1
                runs[number] += 1
                if runs[number] >= 20:
                    if all(runs[n] >= 20 for n in range(30)):
                        done.set()
                    return None
            return 0.0

        return step

    for number in range(30):
        prefetch.add(make(number))  # type: ignore[arg-type]
    assert done.wait(WAIT)
    assert overlaps == []


def test_one_quiet_step_needs_one_thread_or_two(prefetch: Prefetch) -> None:
    done, runs = threading.Event(), []

    def step() -> float | None:
        runs.append(1)
        if len(runs) == 50:
            done.set()
            return None
        return 0.001

    prefetch.add(step)
    assert done.wait(WAIT)
    assert len(prefetch._threads) <= 2


def test_a_step_that_raises_is_told_and_ends_and_others_go_on(
    prefetch: Prefetch, failures: Failures
) -> None:
    done, runs = threading.Event(), []

    def bad() -> float | None:
        raise ZeroDivisionError

    def good() -> float | None:
        runs.append(1)
        if len(runs) == 10:
            done.set()
            return None
        return 0.001

    prefetch.add(bad)
    prefetch.add(good)
    assert failures.happened.wait(WAIT)
    assert done.wait(WAIT)
    assert [type(error) for error in failures] == [ZeroDivisionError]


def test_where_no_more_threads_can_be_had_those_there_are_do_all_the_steps(
    prefetch: Prefetch, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, done = threading.Thread.start, threading.Event()
    runs: Counter[int] = Counter()

    def refuse_the_third(thread: threading.Thread) -> None:
        if len(prefetch._threads) == 2:
            message = "can't start new thread"
            raise RuntimeError(message)
        start(thread)

    def make(number: int) -> object:
        def step() -> float | None:
            time.sleep(0.001)
            runs[number] += 1
            if all(runs[other] >= 10 for other in range(10)):
                done.set()
            return 0.0 if runs[number] < 10 else None

        return step

    monkeypatch.setattr("sources.kinesis.prefetch.threading.Thread.start", refuse_the_third)
    for number in range(10):
        prefetch.add(make(number))  # type: ignore[arg-type]
    assert done.wait(WAIT)
    assert len(prefetch._threads) == 2
    assert failures == []


def test_nothing_begins_after_the_end(failures: Failures) -> None:
    prefetch = Prefetch("test", failures.tell)
    prefetch.close()
    ran = []
    prefetch.add(lambda: ran.append(1))
    prefetch.join(WAIT)
    assert ran == []
