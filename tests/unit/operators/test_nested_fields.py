"""Fields that lie in objects within an event: read by path, and missing with their objects."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from operators.codes import TextCodes
from operators.decode import ARRIVAL, Decoded, Decoder
from operators.spec import Field
from payloads import Lines

FIELDS = (
    Field("who", "text", path="who"),
    Field("type", "text", path="event.type"),
    Field("amount", "decimal", required=False, scale=2, path="event.amount"),
    Field("new_length", "integer", required=False, path="length.new"),
    Field("old_length", "integer", required=False, path="length.old"),
    Field("deepest", "text", required=False, path="a.b.c.d"),
)
WHOLE = {
    "who": "me",
    "event": {"type": "search", "amount": 12.5, "more": [1, {"type": "x"}]},
    "length": {"new": 7, "old": 5},
    "a": {"b": {"c": {"d": "here"}}},
}


def decoded(*objects: object, time_field: str = ARRIVAL) -> tuple[Decoded, TextCodes]:
    texts = TextCodes()
    payloads = [json.dumps(one).encode() for one in objects]
    return Decoder(FIELDS, time_field, texts).decode(payloads, np.arange(len(payloads))), texts


def row(decoded: Decoded, texts: TextCodes, index: int = 0) -> dict[str, Any]:
    return {
        field.name: texts.text_of(int(decoded.columns[field.name][index]))
        if field.kind == "text"
        else int(decoded.columns[field.name][index])
        for field in FIELDS
    }


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in WHOLE.items() if name not in names}


def test_a_nested_field_is_a_column_like_any_other():
    assert row(*decoded(WHOLE)) == {
        "who": "me",
        "type": "search",
        "amount": 1250,
        "new_length": 7,
        "old_length": 5,
        "deepest": "here",
    }


@pytest.mark.parametrize("gone", ["missing", "null", "empty"])
def test_what_lies_in_an_object_that_is_not_there_is_missing_and_neighbours_are_not(gone: str):
    bare = without("length", "a") | (
        {} if gone == "missing" else dict.fromkeys(("length", "a"), None if gone == "null" else {})
    )

    found, texts = decoded(WHOLE, bare, WHOLE)

    assert row(found, texts, 0) == row(found, texts, 2)
    assert row(found, texts, 1) == row(found, texts, 0) | {
        "new_length": 0,
        "old_length": 0,
        "deepest": "",
    }
    assert found.rejected == []


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, "missing_field"),
        (None, "missing_field"),
        ({"type": None}, "missing_field"),
        ({"type": 3}, "wrong_type"),
        ("search", "wrong_type"),
        ([], "wrong_type"),
        ({"type": "search", "amount": "much"}, "wrong_type"),
        ({"type": "search", "amount": 1e300}, "bad_value"),
    ],
)
def test_an_event_without_a_nested_field_that_it_needs_is_rejected_alone(event: Any, reason: str):
    found, _ = decoded(WHOLE, WHOLE | {"event": event}, WHOLE)

    assert [(one.index, one.reason) for one in found.rejected] == [(1, reason)]
    assert found.objects == 3


def test_the_event_time_can_be_nested():
    found, _ = decoded(
        WHOLE | {"meta": {"dt": "1970-01-01T00:00:01Z"}},
        WHOLE | {"meta": {"dt": "soon"}},
        WHOLE,
        time_field="meta.dt",
    )

    assert found.times_us[0] == 1_000_000
    assert [(one.index, one.reason) for one in found.rejected] == [
        (2, "missing_field"),
        (1, "bad_time"),
    ]


def test_lines_of_a_file_are_read_as_single_payloads_are():
    objects = [WHOLE, without("a"), WHOLE | {"event": None}, WHOLE]
    lines = Lines(b"\n".join(json.dumps(one).encode() for one in objects))
    texts = TextCodes()

    found = Decoder(FIELDS, ARRIVAL, texts).decode(lines, np.arange(4))

    assert [row(found, texts, index)["deepest"] for index in range(3)] == ["here", "", "here"]
    assert [one.index for one in found.rejected] == [2]
