"""The lines that people and files read."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import AggregateRows, Late, Reject
from sinks.lines import iso, kind_lines_of, line, lines_of
from tests.fakes.sink_cases import START_US, alert, late, reject


def only(lines: object) -> dict[str, object]:
    [text] = list(lines)  # type: ignore[call-overload]
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    return orjson.loads(text)  # type: ignore[no-any-return]


def test_an_alert_line_has_exactly_these_fields() -> None:
    fields = only(lines_of(alert(101, "raised", 11, detected_at_us=START_US + 250_000)))
    assert fields == {
        "id": f"ecommerce/high_volume/user_id=101/{START_US}",
        "domain": "ecommerce",
        "rule": "high_volume",
        "severity": "high",
        "key": {"user_id": 101},
        "window_start": "2023-11-14T22:13:20Z",
        "window_end": "2023-11-14T22:13:30Z",
        "value": 11,
        "threshold": 10.0,
        "phase": "raised",
        "detected_at": "2023-11-14T22:13:20.250000Z",
    }


def test_an_alert_says_partial_only_when_it_is() -> None:
    assert only(lines_of(alert(1, partial=True)))["partial"] is True
    assert "partial" not in only(lines_of(alert(1)))


def test_a_late_line_holds_the_event_as_it_came() -> None:
    assert only(lines_of(late(7))) == {
        "domain": "ecommerce",
        "aggregate": "user_actions",
        "window_start": "2023-11-14T22:13:20Z",
        "event_time": "2023-11-14T22:13:20.000005Z",
        "shard": "shard-0",
        "sequence_number": "7",
        "event": '{"a": 1}',
    }


def test_a_dead_letter_says_why_and_where_from() -> None:
    assert only(lines_of(reject(3, b"{"))) == {
        "domain": "ecommerce",
        "reason": "json",
        "detail": "not JSON",
        "shard": "shard-0",
        "sequence_number": "3",
        "payload": "{",
    }


@given(st.binary())
def test_no_byte_of_a_payload_is_lost(payload: bytes) -> None:
    for item, name in ((replace(reject(1), payload=payload), "payload"), (late(1), "event")):
        fields = only(lines_of(replace(item, payload=payload)))
        if "payload_base64" in fields:
            assert base64.b64decode(str(fields["payload_base64"])) == payload
        else:
            assert str(fields[name]).encode() == payload


def test_rows_are_lines_of_their_own_with_numpy_numbers_as_numbers() -> None:
    item = AggregateRows("by_minute", ({"n": np.int64(3), "mean": np.float64(0.5)}, {"n": 4}))
    assert [orjson.loads(text) for text in lines_of(item)] == [{"n": 3, "mean": 0.5}, {"n": 4}]


def test_a_number_that_json_does_not_know_is_null() -> None:
    assert line({"mean": float("nan")}) == b'{"mean":null}\n'


@pytest.mark.parametrize(
    ("item", "head"),
    [
        (alert(1), {"kind": "alert"}),
        (late(1), {"kind": "late"}),
        (reject(1, b"x"), {"kind": "dead_letter"}),
        (AggregateRows("by_minute", ({"n": 1},)), {"kind": "aggregate", "aggregate": "by_minute"}),
    ],
)
def test_where_kinds_are_mixed_each_line_says_its_own_first(
    item: AggregateRows | Late | Reject, head: dict[str, str]
) -> None:
    fields = only(kind_lines_of(item))
    assert list(fields.items())[: len(head)] == list(head.items())
    assert {**fields, **only(lines_of(item))} == fields


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))  # noqa: DTZ001
def test_a_time_is_read_back_as_it_was(moment: datetime) -> None:
    time_us = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    text = iso(time_us)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.replace(tzinfo=UTC)


@pytest.mark.parametrize("time_us", [2**63 - 1, -(2**63) + 1, 253_402_300_800_000_000])
def test_a_time_that_no_calendar_holds_is_still_written(time_us: int) -> None:
    assert iso(time_us).endswith("Z")
