"""Single texts and mixed columns, against `datetime`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from operators.event_time import iso_time, parse_times

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(*moment: int, zone: timezone = UTC) -> int:
    return (datetime(*moment, tzinfo=zone) - EPOCH) // timedelta(microseconds=1)


def parsed(*texts: str) -> list[int | None]:
    times_us, valid = parse_times(texts)
    assert times_us.dtype == np.int64
    assert len(times_us) == len(valid) == len(texts)
    return [
        time if ok else None for time, ok in zip(times_us.tolist(), valid.tolist(), strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-11-01 00:00:00 UTC", micros(2019, 11, 1)),
        ("2019-11-01T00:00:00", micros(2019, 11, 1)),
        ("2019-11-01T00:00:00Z", micros(2019, 11, 1)),
        ("2019-11-01 23:59:59.5 UTC", micros(2019, 11, 1, 23, 59, 59, 500_000)),
        ("2026-01-02T03:04:05.678901", micros(2026, 1, 2, 3, 4, 5, 678_901)),
        ("2026-01-02T03:04:05.6789Z", micros(2026, 1, 2, 3, 4, 5, 678_900)),
        ("2026-01-02T03:04:05.000001", micros(2026, 1, 2, 3, 4, 5, 1)),
        ("2024-02-29T12:00:00", micros(2024, 2, 29, 12)),
        ("2000-02-29T12:00:00", micros(2000, 2, 29, 12)),
        ("1969-12-31T23:59:59.999999", -1),
        ("1900-03-01 00:00:00", micros(1900, 3, 1)),
    ],
)
def test_the_common_layouts_are_read_exactly(text: str, expected: int) -> None:
    assert parsed(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "2026-01-02T03:04:05+02:00",
            micros(2026, 1, 2, 3, 4, 5, zone=timezone(timedelta(hours=2))),
        ),
        (
            "2026-01-02T03:04:05.5-05:30",
            micros(2026, 1, 2, 3, 4, 5, 500_000, zone=timezone(-timedelta(hours=5, minutes=30))),
        ),
        ("2026-01-02", micros(2026, 1, 2)),
        ("20260102T030405", micros(2026, 1, 2, 3, 4, 5)),
        ("  2026-01-02T03:04:05  ", micros(2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04", micros(2026, 1, 2, 3, 4)),
        ("2026-01-02T03:04:05.123456789", micros(2026, 1, 2, 3, 4, 5, 123_456)),
    ],
)
def test_an_uncommon_layout_is_read_alone(text: str, expected: int) -> None:
    assert parsed(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "yesterday",
        "2026-13-01T00:00:00",
        "2026-00-01T00:00:00",
        "2026-01-00T00:00:00",
        "2026-01-32T00:00:00",
        "2026-04-31T00:00:00",
        "2025-02-29T00:00:00",
        "1900-02-29T00:00:00",
        "2026-01-01T24:00:00",
        "2026-01-01T00:60:00",
        "2026-01-01T00:00:60",
        "2026-01-01T00:00:00.",
        "2026-01-01T00:00:00.12x",
        "2026-01-01T00:00:0O",
        "2026-01-01T00:00:00 CET",
        "2026/01/01 00:00:00",
        "2026-01-01T00-00-00",
        "0000-01-01T00:00:00",
        "-026-01-01T00:00:00",
        "٢٠٢٦-٠١-٠١T٠٠:٠٠:٠٠",  # noqa: RUF001  # digits, but not ASCII's
        "2026-01-01T00:00:00\u2003UTC",
        "1700000000",
        "9" * 100_000,
    ],
)
def test_what_is_no_time_is_told_apart(text: str) -> None:
    assert parsed(text) == [None]
    assert parsed("2026-01-01T00:00:00", text, "2026-01-01T00:00:01") == [
        micros(2026, 1, 1),
        None,
        micros(2026, 1, 1, 0, 0, 1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+10:00",
        "0001-12-31 23:59:59 UTC",
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999",
        "9999-12-31T23:59:59-10:00",
    ],
)
def test_times_whose_windows_could_not_be_written_are_refused(text: str) -> None:
    assert parsed(text) == [None]


@pytest.mark.parametrize("text", ["0002-01-01T00:00:00+23:59", "9998-12-31T23:59:59-23:59"])
def test_the_windows_of_the_utmost_times_can_be_written(text: str) -> None:
    (time_us,) = parsed(text)
    assert time_us is not None
    for days in (1, 7, 365):
        length_us = days * 86_400_000_000
        start_us = time_us - time_us % length_us
        assert iso_time(start_us) < iso_time(start_us + length_us)


def test_no_texts_are_no_times() -> None:
    assert parsed() == []


def test_a_column_of_many_layouts_and_days_keeps_each_row_in_its_place() -> None:
    texts = [
        "2019-12-31 23:59:59 UTC",
        "nothing",
        "2020-01-01T00:00:00.25",
        "2020-01-01",
        "2020-02-29T10:11:12Z",
        "2021-02-29T10:11:12Z",
        "2020-01-01T00:00:00+01:00",
    ]
    assert parsed(*texts) == [
        micros(2019, 12, 31, 23, 59, 59),
        None,
        micros(2020, 1, 1, 0, 0, 0, 250_000),
        micros(2020, 1, 1),
        micros(2020, 2, 29, 10, 11, 12),
        None,
        micros(2019, 12, 31, 23),
    ]
