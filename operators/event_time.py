"""Event times from text and back: ISO 8601 and its kin, a column at a time.

The common layouts (`2019-11-01 00:00:00 UTC`, `2026-01-02T03:04:05.678901`, with or without a
fraction, `Z` or ` UTC`) are parsed as a matrix of bytes; a text of any other layout goes through
`datetime.fromisoformat` alone, so that one odd text doesn't slow its neighbours. A time without a
zone is UTC. A number is whole seconds since the epoch. The years 1 and 9999 are refused: the
windows around such times may begin or end where no date can be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from messages import Int64s

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_BEFORE_MONTH = np.array([0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int32)
_DAYS_IN_MONTH = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int32)
_DATE = (slice(0, 4), slice(5, 7), slice(8, 10))
_CLOCK = (slice(11, 13), slice(14, 16), slice(17, 19))
_SEPARATORS = {4: b"-", 7: b"-", 10: b"T ", 13: b":", 16: b":"}
_SECONDS_LENGTH = 19  # of 2026-01-02T03:04:05
_SUFFIXES = (b"", b"Z", b" UTC")
_DIGITS = [place for place in range(_SECONDS_LENGTH) if place not in _SEPARATORS]
_US_PER_SECOND = 1_000_000
_LEAST_SECOND = (datetime(MINYEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)
_END_SECOND = (datetime(MAXYEAR, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


def iso_time(time_us: int) -> str:
    """Write a time as ISO 8601 in UTC, with a fraction only where there is one."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


def iso_times(times_us: Int64s) -> list[str]:
    """Write a column of times as `iso_time` writes one."""
    if not (times_us % _US_PER_SECOND).any():
        seconds = np.datetime_as_string((times_us // _US_PER_SECOND).view("datetime64[s]"))
        return [text + "Z" for text in seconds.tolist()]
    texts = np.datetime_as_string(times_us.view("datetime64[us]")).tolist()
    return [text.removesuffix(".000000") + "Z" for text in texts]


def parse_times(texts: Sequence[str | int]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Parse a column of event times.

    Args:
        texts: n texts, or whole seconds since the epoch.

    Returns:
        int64[n], microseconds since the epoch, UTC; and bool[n], which of them are times. Where
        one isn't, the number means nothing.
    """
    try:
        joined = "".join(texts)  # type: ignore[arg-type]  # where none is a number, as mostly
    except TypeError:
        return _parse_mixed(texts)
    return _parse_texts(texts, joined)  # type: ignore[arg-type]


def _parse_mixed(moments: Sequence[str | int]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    is_number = np.fromiter((isinstance(one, int) for one in moments), bool, len(moments))
    seconds = [one for one in moments if isinstance(one, int)]
    in_reach = [_LEAST_SECOND <= one < _END_SECOND for one in seconds]
    times, valid = np.zeros(len(moments), np.int64), np.zeros(len(moments), bool)
    times[is_number] = [
        one * _US_PER_SECOND if good else 0 for one, good in zip(seconds, in_reach, strict=True)
    ]
    valid[is_number] = in_reach
    texts = [one for one in moments if isinstance(one, str)]
    times[~is_number], valid[~is_number] = _parse_texts(texts, "".join(texts))
    return times, valid


def _parse_texts(texts: Sequence[str], joined: str) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    size = len(texts)
    times = np.zeros(size, np.int64)
    valid = np.zeros(size, bool)
    if size == 0:
        return times, valid
    characters = np.frombuffer(joined.encode("ascii", "replace"), np.uint8)
    lengths = np.fromiter(map(len, texts), np.int64, size)
    if (lengths == lengths[0]).all():
        if lengths[0] >= _SECONDS_LENGTH:
            times, valid = _parse_table(characters.reshape(size, -1).T.copy())
    else:
        starts = np.cumsum(lengths) - lengths
        for length in np.unique(lengths).tolist():
            if length >= _SECONDS_LENGTH:
                rows = np.flatnonzero(lengths == length)
                table = characters[starts[rows] + np.arange(length)[:, None]]
                times[rows], valid[rows] = _parse_table(table)
    for row in np.flatnonzero(~valid).tolist():
        one = _parse_one(texts[row])
        if one is not None:
            times[row], valid[row] = one, True
    return times, valid


def _parse_table(table: npt.NDArray[np.uint8]) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Parse texts of one length, given as characters[length, n]; odd layouts are not valid."""
    valid = np.ones(table.shape[1], bool)
    for place, allowed in _SEPARATORS.items():
        is_allowed = table[place] == allowed[0]
        for other in allowed[1:]:
            is_allowed |= table[place] == other
        valid &= is_allowed
    digits = table - np.uint8(ord("0"))  # wraps round below "0", so > 9 means not a digit
    valid &= digits[_DIGITS].max(axis=0) <= 9
    fraction_us, is_tail = _parse_tail(table, digits)
    valid &= is_tail
    year, month, day = (_number(digits[place]) for place in _DATE)
    hour, minute, second = (_number(digits[place]) for place in _CLOCK)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    date = (year * 100 + month) * 100 + day
    if valid.all() and (date == date[0]).all():  # most blocks: one day
        days, is_date = _days(year[:1], month[:1], day[:1])
    else:
        days, is_date = _days(year, month, day)
    valid &= is_date
    seconds = days.astype(np.int64) * 86_400 + ((hour * 60 + minute) * 60 + second)
    return (seconds * _US_PER_SECOND + fraction_us).astype(np.int64, copy=False), valid


_Int32s = npt.NDArray[np.int32]


def _days(year: _Int32s, month: _Int32s, day: _Int32s) -> tuple[_Int32s, npt.NDArray[np.bool_]]:
    """Return the days since the epoch, and which of them are days of the calendar."""
    valid = (year > MINYEAR) & (year < MAXYEAR) & (month >= 1) & (month <= 12) & (day >= 1)
    month = np.where(valid, month, 1)
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    valid &= day <= _DAYS_IN_MONTH[month] + (leap & (month == 2))
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    days += _DAYS_BEFORE_MONTH[month] + (leap & (month > 2)) + day - 1
    return days, valid


def _number(digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the numbers whose decimal digits are the rows of digits[places, n]."""
    total: _Int32s = digits[0].astype(np.int32)
    for place in digits[1:]:
        total *= 10
        total += place
    return total


def _parse_tail(
    table: npt.NDArray[np.uint8], digits: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Parse what follows the seconds: an optional fraction and an optional suffix."""
    length, size = table.shape
    fraction_us = np.zeros(size, np.int32)
    valid = np.zeros(size, bool)
    for suffix in _SUFFIXES:
        fraction_end = length - len(suffix)
        fraction_digits = fraction_end - _SECONDS_LENGTH - 1
        has_suffix = np.ones(size, bool)
        for offset, character in enumerate(suffix):
            has_suffix &= table[fraction_end + offset] == character
        if not has_suffix.any():
            continue
        if fraction_digits == -1:
            valid |= has_suffix
        elif 1 <= fraction_digits <= 6:
            places = slice(_SECONDS_LENGTH + 1, fraction_end)
            matches = has_suffix & (table[_SECONDS_LENGTH] == ord("."))
            matches &= digits[places].max(axis=0) <= 9
            scaled = _number(digits[places]) * 10 ** (6 - fraction_digits)
            fraction_us = np.where(matches, scaled, fraction_us)
            valid |= matches
    return fraction_us, valid


def _parse_one(text: str) -> int | None:
    """Parse one text of an uncommon layout; None when it is no time."""
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
    except ValueError:
        return None
    if not MINYEAR < moment.year < MAXYEAR:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // (datetime.resolution)
