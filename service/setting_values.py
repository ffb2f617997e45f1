"""The kinds of values that settings have: durations with a unit, start positions, lists of names.

Each has a function that reads what a person wrote, and raises ValueError with what is expected.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")


def parse_duration(value: object) -> timedelta:
    """Read `"250ms"`, `"10s"` or `"1h30m"`.

    Raises:
        ValueError: It is not a duration; a bare number isn't one, since its unit is a guess.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        msg = f'must be a duration with a unit, as "10s", "250ms" or "1h30m", is {text!r}'
        raise ValueError(msg)
    return timedelta(microseconds=sum(float(number) * _UNITS_US[unit] for number, unit in parts))


def format_duration(value: timedelta) -> str:
    """Write a duration as the shortest text that `parse_duration` reads back."""
    rest = microseconds(value)
    if rest == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS_US[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def microseconds(value: timedelta) -> int:
    """Turn a duration into whole microseconds, the unit of every time inside."""
    return value // timedelta(microseconds=1)


def parse_start(value: object) -> str:
    """Check a start position: LATEST, TRIM_HORIZON or an ISO time (UTC where it names no zone)."""
    text = str(value).strip()
    if text.upper() in ("LATEST", "TRIM_HORIZON"):
        return text.upper()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"must be LATEST, TRIM_HORIZON or a time as 2026-11-01T00:00:00Z, is {text!r}"
        raise ValueError(msg) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def split_names(value: object) -> object:
    """Read a list from the comma-separated text of a variable or flag."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def redact_addresses(text: str) -> str:
    """Take user names and passwords out of the addresses in a text."""
    return re.sub(r"(?<=://)[^/@\s\"]+@", "***@", text)


def redact(value: Any) -> Any:
    """Take user names and passwords out of addresses, in a list too."""
    if isinstance(value, str):
        return redact_addresses(value)
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration, return_type=str)
]
Positive = Annotated[Duration, Field(gt=timedelta(0))]
NotNegative = Annotated[Duration, Field(ge=timedelta(0))]
Start = Annotated[str, BeforeValidator(parse_start)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_names)]
