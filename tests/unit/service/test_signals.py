"""Signals of a command with children."""

import os
import signal
import threading

import pytest

from service.signals import ended_by_sigterm, uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_until_the_block_has_done_its_work(number):
    done = []

    def start_a_child():
        with ended_by_sigterm(), uninterrupted():
            os.kill(os.getpid(), number)
            done.append("started")

    with pytest.raises(KeyboardInterrupt):
        start_a_child()
    assert done == ["started"]


def test_handlers_are_as_they_were_afterwards():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with ended_by_sigterm(), uninterrupted():
        pass
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_another_thread_is_never_interrupted_and_may_start_children_too():
    errors = []

    def work():
        try:
            with uninterrupted():
                pass
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
