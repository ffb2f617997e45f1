"""Templates of the Kinesis Data Generator: text with `{{helper}}` and `{{helper(arguments)}}`.

Arguments are JSON values, over several lines if need be; a text may stand without quotes, as the
generator allows. The helpers are listed in `producers.template_helpers`. All that is wrong with a
template is told at once, each thing by line and column, before anything is made of it.

A record is one line: line breaks of the template and the indentation behind them are left out,
which means nothing to JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from errors import MissingResourceError, SettingsError
from producers.template_helpers import HELPERS, Draw

FOLDER = Path(__file__).resolve().parent / "template_files"
"""Templates that come with kinewax."""

_NAME = re.compile(r"\s*([A-Za-z][\w.]*)\s*")
_END = re.compile(r"\s*\}\}")
_LINE_BREAK = re.compile(r"\s*\n\s*")
_CLOSED = re.compile(r"\s*\)")
_COMMA = re.compile(r"\s*,")
_NO_WHITE_SPACE = re.compile(r"\S|$")
_JSON = json.JSONDecoder()

Made = Callable[[Draw], str]


class Template:
    """A template, ready to make records.

    Args:
        text: The template.
        name: What errors call it: its file.

    Raises:
        SettingsError: Naming all that is wrong, by line and column.
    """

    def __init__(self, text: str, name: str) -> None:
        self._parts: list[str | Made] = []
        problems: list[str] = []
        hint = ""
        for at, part in _parts(text):
            if isinstance(part, str):
                self._parts.append(_LINE_BREAK.sub("", part))
                continue
            try:
                self._parts.append(part())
            except ValueError as error:
                line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
                problems.append(f"{name}:{line}:{column}: {error}")
                if isinstance(error, _UnknownHelperError):
                    hint = f"the helpers: {', '.join(HELPERS)}"
        if problems:
            msg = "; ".join(problems)
            raise SettingsError(msg, hint=hint, problems=tuple(problems))

    def make(self, draw: Draw) -> str:
        """Make a record."""
        return "".join([part if isinstance(part, str) else part(draw) for part in self._parts])


def read(path: Path) -> Template:
    """Read a template's file.

    Raises:
        MissingResourceError: It doesn't exist.
        SettingsError: It can't be read, or something is wrong with it.
    """
    try:
        return Template(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        msg = f"there is no file {path}"
        raise MissingResourceError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"--template: can't read {path}: {error}"
        raise SettingsError(msg) from error


class _UnknownHelperError(ValueError):
    """A name that no helper has."""


def _parts(text: str) -> Iterator[tuple[int, str | Callable[[], Made]]]:
    """Yield literal texts, and what makes a helper or says what is wrong with it; by place."""
    end = 0
    while (begin := text.find("{{", end)) >= 0:
        # Of three braces and more the last two begin a helper: {"a":{{{random.number}}}} is JSON.
        while text.startswith("{{{", begin):
            begin += 1
        yield end, text[end:begin]
        name, arguments, end, wrong = _call(text, begin + 2)
        yield (
            begin,
            lambda name=name, arguments=arguments, wrong=wrong: _made(  # type: ignore[misc]
                name, arguments, wrong
            ),
        )
    yield end, text[end:]


def _made(name: str, arguments: list[Any], wrong: str) -> Made:
    if wrong:
        raise ValueError(wrong)
    if name not in HELPERS:
        close = get_close_matches(name, HELPERS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        msg = f"there is no helper {name!r}{meant}"
        raise _UnknownHelperError(msg)
    try:
        return HELPERS[name](*arguments)
    except (TypeError, ValueError) as error:
        msg = (
            f"{name}: {error}"
            if isinstance(error, ValueError)
            else f"{name}: takes other arguments"
        )
        raise ValueError(msg) from error


def _call(text: str, begin: int) -> tuple[str, list[Any], int, str]:
    """Read a helper's name and arguments: with where it ends, and what is wrong with it."""
    named = _NAME.match(text, begin)
    if named is None:
        return "", [], begin, "a helper's name must follow {{"
    name, place = named[1], named.end()
    arguments: list[Any] = []
    if text.startswith("(", place):
        place += 1
        closed = _CLOSED.match(text, place)
        while not closed:
            try:
                value, place = _argument(text, place)
            except ValueError as error:
                return name, [], place, f"{name}: {error}"
            arguments.append(value)
            closed = _CLOSED.match(text, place)
            if not closed:
                comma = _COMMA.match(text, place)
                if not comma:
                    return name, [], place, f"{name}: a comma or ) must follow its argument"
                place = comma.end()
        place = closed.end()
    ended = _END.match(text, place)
    if ended is None:
        return name, [], place, f"{name}: }}}} must follow"
    return name, arguments, ended.end(), ""


def _argument(text: str, begin: int) -> tuple[Any, int]:
    """Read one argument: JSON, or a text without quotes up to the closing parenthesis."""
    found = _NO_WHITE_SPACE.search(text, begin)
    begin = found.start() if found else len(text)
    try:
        return _JSON.raw_decode(text, begin)
    except ValueError:
        end = text.find(")", begin)
        if end < 0:
            msg = "its parenthesis is never closed"
            raise ValueError(msg) from None
        bare = text[begin:end].strip()
        if not bare or bare[0] in "{[\"'":
            msg = f"its argument isn't JSON: {bare or 'nothing'}"
            raise ValueError(msg) from None
        return bare, end
