"""Payloads to columns: what is taken, what is rejected and why, and that neighbours never pay."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from messages import Block, Reject
from operators.codes import TextCodes
from operators.decode import ARRIVAL, REASONS, Decoded, Decoder
from operators.intake import Intake
from operators.spec import Field
from payloads import Lines

FIELDS = (
    Field("user_id", "integer"),
    Field("event_type", "text"),
    Field("brand", "text", required=False),
    Field("price", "decimal", scale=2),
    Field("rank", "integer", required=False),
    Field("weight", "decimal", required=False, scale=3),
)
NOON = "2026-01-02T12:00:00"
NOON_US = 1_767_355_200_000_000
WHOLE = {"at": NOON, "user_id": 7, "event_type": "view", "price": 1.5}

Row = tuple[Any, ...]


def payload(**changes: object) -> bytes:
    """A good event with some fields changed; `...` takes one away."""
    event = {name: value for name, value in {**WHOLE, **changes}.items() if value is not ...}
    return json.dumps(event).encode()


def decoded(payloads: list[bytes] | Lines, time_field: str = "at") -> tuple[Decoded, TextCodes]:
    texts = TextCodes()
    arrival_us = np.arange(len(payloads)) if time_field == ARRIVAL else None
    return Decoder(FIELDS, time_field, texts).decode(payloads, arrival_us), texts


def events_of(payloads: list[bytes] | Lines) -> list[tuple[int, Row, bytes]]:
    """(index of the payload, event time and fields, own bytes) of each event."""
    found, texts = decoded(payloads)
    bad = set(found.bad_rows.tolist())
    rows = []
    for row in range(len(found.times_us)):
        if row not in bad:
            fields = [
                texts.text_of(int(found.columns[field.name][row]))
                if field.kind == "text"
                else int(found.columns[field.name][row])
                for field in FIELDS
            ]
            values = (int(found.times_us[row]), *fields)
            rows.append((found.source_of(row), values, found.payload_of(row, payloads)))
    return rows


def rejects_of(payloads: list[bytes] | Lines) -> list[tuple[int, str, bytes]]:
    return [(bad.index, bad.reason, bad.payload) for bad in decoded(payloads)[0].rejected]


def row(
    user_id: int = 7, event_type: str = "view", brand: str = "", price: int = 150,
    rank: int = 0, weight: int = 0, at_us: int = NOON_US,
) -> Row:  # fmt: skip
    return (at_us, user_id, event_type, brand, price, rank, weight)


# ---- what is taken ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, row()),
        ({"user_id": "101"}, row(user_id=101)),
        ({"user_id": -3}, row(user_id=-3)),
        ({"user_id": 2**63 - 1}, row(user_id=2**63 - 1)),
        ({"user_id": str(-(2**63))}, row(user_id=-(2**63))),
        ({"user_id": 5.0}, row(user_id=5)),
        ({"price": "12.34"}, row(price=1234)),
        ({"price": "12"}, row(price=1200)),
        ({"price": -0.01}, row(price=-1)),
        ({"price": 1e3}, row(price=100_000)),
        ({"price": "0.285"}, row(price=28)),
        ({"event_type": "\u00e9t\u00e9 \U0001f600"}, row(event_type="\u00e9t\u00e9 \U0001f600")),
        ({"event_type": ""}, row(event_type="")),
        ({"brand": "apple"}, row(brand="apple")),
        ({"brand": None}, row(brand="")),
        ({"brand": "null"}, row(brand="null")),
        ({"rank": 4, "weight": "0.125"}, row(rank=4, weight=125)),
        ({"rank": None, "weight": None}, row()),
        ({"rank": "null"}, row()),
        ({"other": {"deep": [1, {"x": None}]}}, row()),
        ({"at": "2026-01-02 12:00:00 UTC"}, row()),
    ],
)
def test_a_good_event_is_read_laxly(changes: dict[str, object], expected: Row) -> None:
    assert events_of([payload(**changes)]) == [(0, expected, payload(**changes))]
    assert rejects_of([payload(**changes)]) == []


def test_of_a_name_that_stands_twice_the_last_counts() -> None:
    assert events_of([b'{"user_id": 1, ' + payload()[1:]])[0][1] == row()


@given(st.integers(-(2**51) + 1, 2**51 - 1), st.booleans())
@example(2**51 - 1, True)
def test_a_decimal_is_exact(cents: int, as_text: bool) -> None:
    price = str(Decimal(cents).scaleb(-2))
    text = payload(price="@").replace(
        b'"@"', b'"%s"' % price.encode() if as_text else price.encode()
    )
    ((_, values, _),) = events_of([text])
    assert values == row(price=cents)


@given(st.decimals(-(10**9), 10**9, places=4))
def test_further_places_of_a_decimal_are_rounded_to_the_nearest(price: Decimal) -> None:
    ((_, values, _),) = events_of([payload(price=str(price))])
    exact = price * 100
    if exact % 1 != Decimal("0.5") and exact % 1 != Decimal("-0.5"):
        assert values == row(price=int(exact.quantize(Decimal(1), ROUND_HALF_EVEN)))
    else:  # a tie in decimal needn't be one in binary
        assert abs(values[4] - exact) == Decimal("0.5")


def test_arrival_times_can_be_the_event_times() -> None:
    two = payload(at=...) + payload(at=...)
    found, _ = decoded([payload(at=...), b"x", two], ARRIVAL)
    assert found.times_us.tolist() == [0, 2, 2]
    assert [bad.index for bad in found.rejected] == [1]


def test_a_run_by_arrival_needs_a_source_that_knows_it() -> None:
    with pytest.raises(ValueError, match="arrival"):
        Decoder(FIELDS, ARRIVAL, TextCodes()).decode([payload()], None)


def test_no_payloads_are_no_events() -> None:
    found, _ = decoded([])
    assert (len(found.times_us), found.rejected, found.objects) == (0, [], 0)


# ---- what is rejected ---------------------------------------------------------------------------

NOT_UTF8 = payload(other="@").replace(b"@", b"\xff")
REJECTED = [
    ("empty", b""),
    ("empty", b" \t\r "),
    ("not_utf8", b"\xff\xfe"),
    ("not_utf8", NOT_UTF8),
    ("not_utf8", payload(event_type="@").replace(b"@", b"\xc3\x28")),
    ("not_utf8", payload(event_type="@").replace(b"@", b"\xed\xa0\x80")),
    ("not_json", b"x"),
    ("not_json", b"{"),
    ("not_json", b"}"),
    ("not_an_object", b"[" * 100),
    ("not_json", b'"' ),
    ("not_json", payload()[:-1]),
    ("not_json", payload(price="@").replace(b'"@"', b"NaN")),
    ("not_json", payload(price="@").replace(b'"@"', b"-Infinity")),
    ("not_json", payload(event_type="@").replace(b"@", b"\\ud800")),
    ("not_json", payload(other="@").replace(b'"@"', b"[" * 100_000 + b"]" * 100_000)),
    ("not_json", b'{"a":' * 100_000),
    ("not_json", b"\xef\xbb\xbf" + payload()),
    ("not_an_object", b"[" * 100_000),
    ("not_an_object", b"17"),
    ("not_an_object", b"null"),
    ("not_an_object", b'"text"'),
    ("not_an_object", b"[" + payload() + b"]"),
    ("missing_field", b"{}"),
    ("missing_field", payload(user_id=...)),
    ("missing_field", payload(user_id=None)),
    ("missing_field", payload(event_type=None)),
    ("missing_field", payload(price=None)),
    ("missing_field", payload(at=...)),
    ("missing_field", payload(at=None)),
    ("wrong_type", payload(user_id="seven")),
    ("wrong_type", payload(user_id="")),
    ("wrong_type", payload(user_id=True)),
    ("wrong_type", payload(user_id=1.5)),
    ("wrong_type", payload(user_id=[1])),
    ("wrong_type", payload(event_type=3)),
    ("wrong_type", payload(brand={"name": "apple"})),
    ("wrong_type", payload(price="cheap")),
    ("wrong_type", payload(at=True)),
    ("bad_time", payload(at=10**12)),
    ("bad_value", payload(user_id=2**63)),
    ("bad_value", payload(user_id=-(2**63) - 1)),
    ("bad_value", payload(user_id="9" * 40)),
    ("bad_value", payload(price="nan")),
    ("bad_value", payload(price="inf")),
    ("bad_value", payload(price="-inf")),
    ("bad_value", payload(price=1e30)),
    ("bad_value", payload(price=2.0**51 / 100)),
    ("bad_value", payload(price="@").replace(b'"@"', b"1" + b"0" * 400)),
    ("bad_value", payload(price="@").replace(b'"@"', b"1e999")),
    ("bad_time", payload(at="")),
    ("bad_time", payload(at="soon")),
    ("bad_time", payload(at="2026-02-30T00:00:00")),
    ("bad_time", payload(at="9999-12-31T23:59:59")),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "bad"), REJECTED, ids=lambda value: str(value[:40]))
def test_what_is_no_event_is_rejected_with_its_reason_and_costs_no_neighbour(
    reason: str, bad: bytes
) -> None:
    around = [payload(user_id=1), bad, payload(user_id=2)]
    forms = [around, *([Lines(b"\n".join(around))] if b"\n" not in bad else [])]
    for payloads in forms:
        assert rejects_of(payloads) == [(1, reason, bad)]
        assert [(index, values[1]) for index, values, _ in events_of(payloads)] == [(0, 1), (2, 2)]
    assert rejects_of([bad]) == [(0, reason, bad)]
    assert events_of([bad]) == []


def test_every_reason_can_be_reached() -> None:
    reached = {reason for reason, _ in REJECTED}
    for block in (
        Block("s", [payload()], ["1"], np.array([NOON_US - 301_000_000])),
        Block("s", [payload(), *[payload(at="2026-01-01T00:00:00")] * 2], ["1", "2", "3"]),
    ):
        taken = Intake("d", Decoder(FIELDS, "at", TextCodes()), (), 0).take([block])
        reached |= {item.reason for item in taken.aside if isinstance(item, Reject)}
    assert reached == set(REASONS)


def test_a_field_whose_name_looks_like_a_message_changes_no_reason() -> None:
    fields = (Field("got", "integer"),)
    found = Decoder(fields, ARRIVAL, TextCodes()).decode(
        [b'{"got": 9223372036854775808}'], np.zeros(1, np.int64)
    )
    assert [bad.reason for bad in found.rejected] == ["bad_value"]


def test_the_detail_names_the_field() -> None:
    found, _ = decoded([payload(user_id="x"), payload(price="nan"), payload(at="soon")])
    named = ["`$.user_id`", "`price`", "`at`"]
    assert all(name in bad.detail for name, bad in zip(named, found.rejected, strict=True))


# ---- several objects in a payload ---------------------------------------------------------------


@pytest.mark.parametrize("between", ["", " ", "\n", "\r\n", "\n\n  "])
def test_several_objects_in_a_payload_are_several_events(between: str) -> None:
    pieces = [payload(user_id=number) for number in range(1, 4)]
    whole = between.encode().join(pieces) + between.encode()
    payloads = [payload(user_id=0), whole, payload(user_id=4)]
    assert [(index, values[1], own) for index, values, own in events_of(payloads)] == [
        (0, 0, payloads[0]),
        *[(1, number, piece) for number, piece in enumerate(pieces, 1)],
        (2, 4, payloads[2]),
    ]
    found, _ = decoded(payloads)
    assert found.objects == 5


def test_pretty_printed_objects_in_one_payload_are_several_events() -> None:
    pretty = json.dumps({**WHOLE, "items": [{"a": {}}, {"b": []}]}, indent=2).encode()
    assert [own for _, _, own in events_of([pretty + b"\n" + pretty])] == [pretty, pretty]


@pytest.mark.parametrize(
    "bad",
    [
        b'{"user_id": 1,, "x": 2}',
        b'{"user_id":',
        b'{"user_id": "1" "x"}',
        b'{"user_id": 01}',
        b"{broken}",
        b"}",
        b"rubbish",
        b"rubbish {",
    ],
)
@pytest.mark.parametrize("between", [b"\n", b" \n  "])
def test_a_broken_object_among_several_costs_only_itself(bad: bytes, between: bytes) -> None:
    first, last = payload(user_id=1), payload(user_id=2)
    payloads = [between.join([first, bad, last])]
    assert [own for _, _, own in events_of(payloads)] == [first, last]
    ((index, reason, rejected),) = rejects_of(payloads)
    assert (index, reason, rejected.strip()) == (0, "not_json", bad)


@pytest.mark.parametrize("bad", [b'{"user_id": 1,, "x": 2}', b"{broken}", b'{"a": {}}}', b"]}"])
@pytest.mark.parametrize("between", [b"", b" ", b"\t"])
def test_a_broken_object_that_is_closed_needs_no_line_end_behind_it(
    bad: bytes, between: bytes
) -> None:
    first, last = payload(user_id=1), payload(user_id=2)
    payloads = [between.join([first, bad, last])]
    assert [own for _, _, own in events_of(payloads)] == [first, last]
    assert {reason for _, reason, _ in rejects_of(payloads)} <= {"not_json", "missing_field"}


def test_a_wrong_object_among_several_is_rejected_with_its_own_reason() -> None:
    pieces = [payload(), b"{}", payload(user_id="x"), payload(price="nan"), payload(at="?"), b"3"]
    payloads = [b"".join(pieces)]
    assert [own for _, _, own in events_of(payloads)] == [pieces[0]]
    assert sorted(rejects_of(payloads)) == sorted(
        (0, reason, piece)
        for reason, piece in zip(
            ["missing_field", "wrong_type", "bad_value", "bad_time", "not_an_object"],
            pieces[1:],
            strict=True,
        )
    )
    assert decoded(payloads)[0].objects == 6


def test_rubbish_of_many_lines_is_one_reject() -> None:
    rubbish = b"this\nis {not}\n{an} event\n[]"
    assert rejects_of([rubbish]) == [(0, "not_json", rubbish)]
    assert decoded([rubbish])[0].objects == 1


@pytest.mark.parametrize(
    "unit",
    [
        b"x", b"\x00", b"[", b"{", b"}", b'"', b"\n{", b'{"a":\n', b'{"a":[\n', b'{"a":1}{', b"} ",
        b"{}", b"[{},\n", b'\n{"a":"', b"1e999 ", b"\\", b"{\n\n", b"\xc3\xa9\n",
    ],
)  # fmt: skip
def test_a_mebibyte_of_rubbish_is_one_reject_and_is_done_with_at_once(unit: bytes) -> None:
    # Quadratic time would take hours here, so this test needs no clock to fail.
    rubbish = b"x" + unit * (2**20 // len(unit))
    for bad in (rubbish, rubbish[1:]):
        payloads = [payload(), bad, payload()]
        ((index, _, rejected),) = rejects_of(payloads)
        assert (index, rejected) == (1, bad)
        assert len(events_of(payloads)) == 2


def test_a_mebibyte_of_line_breaks_behind_a_word_is_done_with_at_once() -> None:
    for blank in (b"\n", b" ", b"\r\n", b"\n "):
        bad = b"x" + blank * (2**20 // len(blank))
        assert rejects_of([bad]) == [(0, "not_json", bad)]
        bad = b"}" + blank * (2**20 // len(blank)) + b"x"
        assert rejects_of([bad]) == [(0, "not_json", bad)]


def test_a_payload_costs_no_more_than_a_hundred_rejects() -> None:
    wrong = b"{}" * 150 + payload(user_id=2)
    events, rejects = events_of([payload() + wrong]), rejects_of([payload() + wrong])
    assert [own for _, _, own in events] == [payload()]
    assert [own for _, _, own in rejects] == [b"{}"] * 99 + [wrong[99 * 2 :]]


def test_a_good_object_at_either_end_of_rubbish_counts() -> None:
    rubbish = b"\n".join([b"{"] * 50)
    assert len(events_of([b"\n".join([payload(), rubbish, payload()])])) == 2


# ---- a random mix, as a list and as a buffer ----------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A payload of one line, with what must come of it."""

    data: bytes
    users: tuple[int, ...]
    reasons: tuple[str, ...]


def _several(parts: list[Made]) -> Made:
    return Made(
        b" ".join(part.data for part in parts),
        tuple(user for part in parts for user in part.users),
        tuple(reason for part in parts for reason in part.reasons),
    )


good = st.integers(0, 99).map(lambda user: Made(payload(user_id=user), (user,), ()))
wrong = st.sampled_from(
    [
        Made(data, (), (reason,))
        for reason, data in REJECTED
        if len(data) < 1000 and data.startswith(b"{") and reason not in {"not_json", "not_utf8"}
    ]
)
single_bad = st.sampled_from(
    [Made(data, (), (reason,)) for reason, data in REJECTED if len(data) < 1000]
)
several = st.tuples(good, st.lists(st.one_of(good, wrong), min_size=1, max_size=3)).map(
    lambda drawn: _several([drawn[0], *drawn[1]])
)
# Runs of 64 lines are decoded in one call, so mostly good ones, and many.
mixes = st.lists(st.one_of(good, good, good, good, single_bad, several), min_size=1, max_size=200)


@given(mixes)
def test_a_mix_gives_its_events_and_rejects_whatever_its_form(mix: list[Made]) -> None:
    payloads = [made.data for made in mix]
    expected_events = [(index, user) for index, made in enumerate(mix) for user in made.users]
    expected_rejects = sorted(
        (index, reason) for index, made in enumerate(mix) for reason in made.reasons
    )
    for form in (payloads, Lines(b"\n".join(payloads))):
        events = events_of(form)
        assert [(index, values[1]) for index, values, _ in events] == expected_events
        assert all(
            json.loads(own)["user_id"] == values[1] and own in payloads[index]
            for index, values, own in events
        )
        rejects = rejects_of(form)
        assert sorted((index, reason) for index, reason, _ in rejects) == expected_rejects
        assert all(own in payloads[index] for index, _, own in rejects)
        assert decoded(form)[0].objects == len(expected_events) + len(expected_rejects)


def test_two_objects_on_a_line_and_a_blank_line_are_not_one_object_a_line() -> None:
    lines = [payload(user_id=1) + payload(user_id=2), b"", payload(user_id=3)]
    found = Lines(b"\n".join(lines))
    assert [(index, values[1]) for index, values, _ in events_of(found)] == [(0, 1), (0, 2), (2, 3)]
    assert rejects_of(found) == [(1, "empty", b"")]


def test_an_object_over_two_lines_and_two_on_one_are_not_one_object_a_line() -> None:
    broken = payload().replace(b", ", b",\n", 1).split(b"\n")
    lines = [*broken, payload(user_id=1) + payload(user_id=2)]
    found = Lines(b"\n".join(lines))
    assert [(index, values[1]) for index, values, _ in events_of(found)] == [(2, 1), (2, 2)]
    assert [index for index, _, _ in rejects_of(found)] == [0, 1]


@given(st.lists(st.sampled_from([payload(), NOT_UTF8, payload() + NOT_UTF8, b"x"]), max_size=9))
def test_a_payload_that_is_not_utf8_never_hides_or_spoils_another(payloads: list[bytes]) -> None:
    expected = [index for index, data in enumerate(payloads) if data == payload()]
    assert [index for index, _, _ in events_of(payloads)] == expected
    assert {(index, reason) for index, reason, _ in rejects_of(payloads)} == {
        (index, "not_json" if data == b"x" else "not_utf8")
        for index, data in enumerate(payloads)
        if data != payload()
    }
