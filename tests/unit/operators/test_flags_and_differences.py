"""Fields that are true or false, made of others, times in seconds, and events that are dropped."""

from __future__ import annotations

import numpy as np
import pytest

from operators.codes import TextCodes
from operators.decode import Decoder
from operators.derived import Difference, derive
from operators.event_time import parse_times
from operators.filter_spec import Drop, Where
from operators.filters import Drops
from operators.spec import Field


@pytest.mark.parametrize(
    ("written", "text"),
    [(b"true", "true"), (b"false", "false"), (b"null", ""), (b'"true"', "true"), (b"0", "false")],
)
def test_a_flag_is_the_text_true_or_false(written: bytes, text: str) -> None:
    texts = TextCodes()
    decoder = Decoder([Field("bot", "flag", required=False)], "time", texts)
    decoded = decoder.decode([b'{"time":0,"bot":' + written + b"}", b'{"time":0}'], None)
    assert [texts.text_of(code) for code in decoded.columns["bot"].tolist()] == [text, ""]


def test_a_flag_that_is_neither_is_rejected() -> None:
    decoder = Decoder([Field("bot", "flag", required=False)], "time", TextCodes())
    [rejected] = decoder.decode([b'{"time":0,"bot":"maybe"}'], None).rejected
    assert rejected.reason in ("wrong_type", "bad_value")


def test_a_difference_takes_what_is_not_there_for_zero() -> None:
    fields = [
        Field("new", "integer", required=False, path="length.new"),
        Field("old", "integer", required=False, path="length.old"),
    ]
    payloads = [
        b'{"time":0,"length":{"old":100,"new":60}}',
        b'{"time":0,"length":{"new":7}}',
        b'{"time":0,"length":{"old":null,"new":8}}',
        b'{"time":0,"length":null}',
        b'{"time":0}',
    ]
    columns = Decoder(fields, "time", TextCodes()).decode(payloads, None).columns
    derive([Difference("grew", "new", "old"), Difference("by", "new", "old", True)], columns)
    assert columns["grew"].tolist() == [-40, 7, 8, 0, 0]
    assert columns["by"].tolist() == [40, 7, 8, 0, 0]


def test_a_difference_of_fields_that_no_window_needs_is_not_made() -> None:
    columns = {"new": np.array([1])}
    derive([Difference("grew", "new", "old")], columns)
    assert set(columns) == {"new"}


def test_times_may_be_numbers_and_texts_beside_each_other() -> None:
    times_us, valid = parse_times(
        ["2026-01-01T00:00:00Z", 1767225600, 0, -1, 10**12, "soon", 10**30, -(10**30)]
    )
    assert valid.tolist() == [True, True, True, True, False, False, False, False]
    assert times_us[:4].tolist() == [1767225600_000_000, 1767225600_000_000, 0, -1_000_000]


def test_events_are_dropped_for_their_reason() -> None:
    texts = TextCodes()
    columns = {"domain": texts.of(["canary", "a", "", "test"], 4)}
    drops = Drops([Drop("test", Where("domain", ("canary", "test")))], texts)
    [(reason, dropped)] = drops.found(columns)
    assert (reason, dropped.tolist()) == ("test", [True, False, False, True])
