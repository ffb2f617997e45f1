import socket
import threading

import pytest

from errors import (
    DataLossError,
    DeliveryError,
    KinewaxError,
    LayoutError,
    MissingResourceError,
    SettingsError,
)
from service.channel import Failure, Listener, Reporter


class Ends:
    """Both ends of a line, in one process."""

    def __init__(self) -> None:
        self.listener = Listener()
        # A worker inherits a copy of the descriptor; so does this.
        self.worker = socket.fromfd(self.listener.descriptor, socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.handed_over()
        self.reporter = Reporter(self.worker.detach())

    def hang_up(self) -> None:
        self.reporter._socket.close()


@pytest.fixture
def ends():
    both = Ends()
    yield both
    both.hang_up()
    both.listener.close()


def test_reports_arrive_in_order(ends: Ends) -> None:
    ends.reporter.send("polled")
    ends.reporter.send("beat", still_seconds=1.5)

    assert ends.listener.reports() == [
        {"kind": "polled"},
        {"kind": "beat", "still_seconds": 1.5},
    ]
    assert ends.listener.reports() == []
    assert not ends.listener.ended


def test_the_end_of_the_worker_is_the_end_of_the_line(ends: Ends) -> None:
    ends.reporter.send("polled")
    ends.hang_up()

    assert ends.listener.reports() == [{"kind": "polled"}]
    assert ends.listener.ended


def test_a_line_that_was_cut_by_a_death_is_no_report(ends: Ends) -> None:
    ends.reporter._socket.send(b'{"kind": "po')
    ends.hang_up()

    assert ends.listener.reports() == []
    assert ends.listener.ended


def test_only_the_first_known_error_is_reported(ends: Ends) -> None:
    ends.reporter.fail(DeliveryError("the table is gone", hint="look"))
    ends.reporter.fail(RuntimeError("what followed"))

    (report,) = ends.listener.reports()
    assert report["message"] == "the table is gone"
    assert report["hint"] == "look"


def test_an_engine_panic_does_not_hide_the_error_behind_it(ends: Ends) -> None:
    ends.reporter.fail(BaseException("Send thread panic: Any { .. }"))
    ends.reporter.fail(ValueError("the cause"))

    known = [report["message"] for report in ends.listener.reports() if report["known"]]
    assert known == ["ValueError: the cause"]


def test_a_worker_ends_when_its_supervisor_is_gone(ends: Ends) -> None:
    ended = threading.Event()
    ends.reporter.end_with_supervisor(lambda code: ended.set())

    ends.listener.close()

    assert ended.wait(10)


def test_a_worker_waits_for_the_word_to_go(ends: Ends) -> None:
    ends.reporter.end_with_supervisor(lambda code: None)
    gone = threading.Event()
    thread = threading.Thread(target=lambda: (ends.reporter.wait_to_go(), gone.set()))
    thread.start()
    ends.listener.socket.setblocking(True)
    first = ends.listener.socket.recv(100)

    assert first == b'{"kind":"ready"}\n'
    assert not gone.is_set()
    ends.listener.go()
    assert gone.wait(10)
    thread.join()


def test_reporting_to_a_dead_supervisor_is_no_error(ends: Ends) -> None:
    ends.listener.close()

    ends.reporter.send("polled")


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (SettingsError("a"), False),
        (MissingResourceError("a"), False),
        (LayoutError("a"), False),
        (DataLossError("a"), False),
        (DeliveryError("a"), True),
        (KinewaxError("a"), True),
        (ValueError("a"), True),
    ],
)
def test_only_what_a_restart_can_mend_is_retried(error: Exception, retryable: bool) -> None:
    assert Failure.of(error).retryable is retryable


@pytest.mark.parametrize(
    "error",
    [SettingsError("a"), MissingResourceError("b", hint="c"), DataLossError("d")],
)
def test_an_error_of_ours_keeps_its_class_words_and_exit_code(error: KinewaxError) -> None:
    again = Failure.of(error).as_error()

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.hint == error.hint
    assert again.exit_code == error.exit_code


def test_another_error_is_told_in_its_first_line() -> None:
    assert Failure.of(ValueError("one\ntwo")).message == "ValueError: one"
    assert Failure.of(ValueError()).message == "ValueError"


def test_an_output_that_nobody_reads_any_more_is_not_tried_again() -> None:
    error = DeliveryError("cannot write to standard output")
    error.__cause__ = BrokenPipeError()

    assert not Failure.of(error).retryable
