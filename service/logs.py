"""Logs: JSON lines in a container, text on a terminal, and never the same error a thousand times.

Fields of a JSON line: `ts`, `level`, `logger`, `event`, `message`, and whatever the call gave in
`extra=`: `domain`, `shard`, `sequence_number`, `error_type`, `stage`. Payloads and credentials are
never logged. Warnings and errors that repeat are written once a window, and the next one says in
`suppressed` how many were held back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from service.setting_values import redact_addresses

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "event",
}
_REPEAT_SECONDS = 10.0
_MOST_KINDS = 1000
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_OURS = ("kinewax", "service", "sources", "sinks", "operators", "dataflows", "producers")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, fields: Mapping[str, str | int]) -> None:
        super().__init__()
        self._fields = dict(fields)

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        line: dict[str, Any] = {
            "ts": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", record.funcName),
            "message": record.getMessage(),
        }
        line |= self._fields | _extras(record)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        return redact_addresses(text)


class TextFormatter(logging.Formatter):
    """One line for people: time, level where it matters, message, fields."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        extras = " ".join(f"{name}={value}" for name, value in _extras(record).items())
        level = "" if record.levelno == logging.INFO else record.levelname.lower() + ": "
        start = _COLOURS.get(record.levelname, "") if self._colour else ""
        end = "\x1b[0m" if start else ""
        text = f"{_moment(record):%H:%M:%S} {start}{level}{record.getMessage()}{end}"
        if extras:
            text += f" ({extras})"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return redact_addresses(text)


class RepeatFilter(logging.Filter):
    """Lets a warning or error of one kind through once a window.

    A kind is logger, message template and `error_type`: the shard and the moment don't count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide about one record."""
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, str(record.msg), str(getattr(record, "error_type", "")))
        now = self._clock()
        with self._lock:
            if len(self._kinds) >= _MOST_KINDS and kind not in self._kinds:
                self._kinds.clear()
            since, held_back = self._kinds.get(kind, (-_REPEAT_SECONDS, 0))
            if now - since < _REPEAT_SECONDS:
                self._kinds[kind] = (since, held_back + 1)
                return False
            self._kinds[kind] = (now, 0)
        if held_back:
            record.suppressed = held_back
        return True


def set_up(
    *,
    level: str = "info",
    style: str = "auto",
    colour: bool = True,
    fields: Mapping[str, str | int] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Direct all logs of this process to one stream, by default standard error.

    Args:
        level: The least level of our own loggers; others' libraries start at warning.
        style: `json`, `text`, or `auto`, which looks whether the stream is a terminal.
        colour: Whether text may be coloured; `NO_COLOR` is the caller's to heed.
        fields: Fields of every JSON line, as the domain and the process.
        stream: Where to.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    if style == "json" or (style == "auto" and not terminal):
        handler.setFormatter(JsonFormatter(fields or {}))
    else:
        handler.setFormatter(TextFormatter(colour=colour and terminal))
    handler.addFilter(RepeatFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())
