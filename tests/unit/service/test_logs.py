import io
import json
import logging

import pytest

from service import logs


@pytest.fixture(autouse=True)
def _restored():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers, root.level = before[0], before[1]


def json_lines(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def set_up(**options) -> io.StringIO:
    stream = io.StringIO()
    logs.set_up(stream=stream, **options)
    return stream


def test_a_line_off_a_terminal_is_json_with_the_fields_of_the_call() -> None:
    stream = set_up(fields={"domain": "ecommerce", "process": 1})

    logging.getLogger("kinewax.sinks").warning(
        "%s is slow", "table", extra={"event": "slow", "error_type": "timeout", "shard": "s-1"}
    )

    (line,) = json_lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "kinewax.sinks",
        "event": "slow",
        "message": "table is slow",
        "domain": "ecommerce",
        "process": 1,
        "error_type": "timeout",
        "shard": "s-1",
    }


def test_text_names_the_level_only_where_it_matters() -> None:
    stream = set_up(style="text")

    logging.getLogger("kinewax.service").info("started")
    logging.getLogger("kinewax.service").warning("slow", extra={"event": "x", "shard": "s-1"})

    first, second = stream.getvalue().splitlines()
    assert first.endswith(" started")
    assert second.endswith(" warning: slow (shard=s-1)")
    assert "\x1b" not in stream.getvalue()


def test_a_traceback_stays_inside_its_json_line() -> None:
    stream = set_up(style="json")

    try:
        msg = "broken"
        raise ValueError(msg)
    except ValueError:
        logging.getLogger("kinewax.service").exception("it broke")

    (line,) = json_lines(stream)
    assert "ValueError: broken" in line["traceback"]


def test_our_loggers_speak_at_the_level_asked_for_and_libraries_at_warning() -> None:
    stream = set_up(level="debug", style="json")

    logging.getLogger("kinewax.service").debug("ours")
    logging.getLogger("botocore.auth").debug("a signature")
    logging.getLogger("urllib3").info("a connection")

    assert [line["message"] for line in json_lines(stream)] == ["ours"]


def test_setting_up_twice_writes_each_line_once() -> None:
    set_up()
    stream = set_up()

    logging.getLogger("kinewax.service").info("once")

    assert len(json_lines(stream)) == 1


class Filtered:
    """A filter with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._filter = logs.RepeatFilter(lambda: self.now)
        self.last: logging.LogRecord

    def passes(self, message: str = "m %s", level: int = logging.WARNING, **extra: str) -> bool:
        self.last = logging.makeLogRecord(
            {"name": "kinewax", "msg": message, "levelno": level, **extra}
        )
        return self._filter.filter(self.last)


def test_a_warning_that_repeats_is_written_once_a_window_and_the_rest_are_counted() -> None:
    warnings = Filtered()

    assert [warnings.passes() for _ in range(5)] == [True, False, False, False, False]
    warnings.now = 10.0
    assert warnings.passes()
    assert warnings.last.suppressed == 4


def test_warnings_of_another_kind_are_not_held_back() -> None:
    warnings = Filtered()

    assert warnings.passes(error_type="throttled")
    assert warnings.passes(error_type="timeout")
    assert warnings.passes("other")
    assert not warnings.passes(error_type="throttled")


def test_what_is_no_warning_is_never_held_back() -> None:
    warnings = Filtered()

    assert all(warnings.passes(level=logging.INFO) for _ in range(3))


def test_endlessly_many_kinds_do_not_fill_the_memory() -> None:
    warnings = Filtered()

    for number in range(5000):
        assert warnings.passes(f"message {number}")

    assert len(warnings._filter._kinds) <= 1000
