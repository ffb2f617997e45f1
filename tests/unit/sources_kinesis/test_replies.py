"""Bodies of replies, against `json` and `base64`: what is understood is right, the rest is left."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sources.kinesis.replies import Records, take_in

payloads = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"", b"\n", b"{}\n", b"a\nb", b"\xf3\x89\x9a\xc2"]),
    st.text("{}[] \n\r\ta", max_size=6).map(str.encode),
    st.integers(4090, 4100).map(lambda size: bytes(range(256)) * 17 + b"x" * (size - 4352 % size)),
)
texts = st.text(st.sampled_from('a"\\/\n{}[],:é\u2028😀 '), max_size=8)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)
entries = st.fixed_dictionaries(
    {
        "Data": payloads.map(lambda data: base64.b64encode(data).decode()),
        "SequenceNumber": st.integers(0, 10**56).map(str),
        "ApproximateArrivalTimestamp": st.integers(0, 2**40).map(lambda ms: ms / 1000),
    },
    optional={"PartitionKey": texts, "EncryptionType": st.none(), "Later": values},
).flatmap(lambda entry: st.permutations(list(entry.items())).map(dict))


def body_of(entries: list[dict[str, Any]], **around: Any) -> bytes:
    return json.dumps({"Records": entries, **around}).encode()


def entry(data: str = "eA==", number: str = "1", arrival: Any = 1) -> dict[str, Any]:
    return {"Data": data, "SequenceNumber": number, "ApproximateArrivalTimestamp": arrival}


def as_rows(records: Records) -> list[tuple[bytes, str, int]]:
    numbers = [number.decode() for number in records.numbers]
    return list(zip(records.payloads, numbers, records.arrival_us.tolist(), strict=True))


def expected(entries: list[dict[str, Any]]) -> list[tuple[bytes, str, int]]:
    return [
        (
            base64.b64decode(one["Data"]),
            one["SequenceNumber"],
            round(one["ApproximateArrivalTimestamp"] * 1e6),
        )
        for one in entries
    ]


@given(
    st.lists(entries, max_size=5),
    st.dictionaries(st.sampled_from(["NextShardIterator", "x", "Record", "Recordsx"]), values),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")]),
    st.sampled_from([None, 2]),
    st.booleans(),
    st.booleans(),
)
def test_records_are_taken_out_of_any_object(
    entries: list[dict[str, Any]],
    around: dict[str, Any],
    separators: tuple[str, str],
    indent: int | None,
    is_last: bool,
    is_ascii: bool,
) -> None:
    whole = {**around, "Records": entries} if is_last else {"Records": entries, **around}
    body = json.dumps(whole, separators=separators, indent=indent, ensure_ascii=is_ascii).encode()
    taken = take_in(body)
    assert taken is not None
    records, rest = taken
    assert as_rows(records) == expected(entries)
    assert records.payloads.braced is not None
    assert records.payloads.braced.tolist() == [
        payload.startswith(b"{") and payload.rstrip(b" \n\r\t").endswith(b"}")
        for payload in records.payloads
    ]
    assert json.loads(rest) == {**around, "Records": []}


@given(st.lists(entries, min_size=1, max_size=3), st.data())
def test_a_body_that_was_cut_is_not_understood(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    body = body_of(entries, MillisBehindLatest=0)
    end = data.draw(st.integers(0, body.rindex(b"]")))
    assert take_in(body[:end]) is None


@given(st.lists(entries, min_size=1, max_size=2), st.data())
@example([entry()], None)
def test_a_body_with_wrong_bytes_is_left_alone_or_read_as_json_reads_it(
    entries: list[dict[str, Any]], data: st.DataObject | None
) -> None:
    body = bytearray(body_of(entries))
    for _ in range(data.draw(st.integers(1, 3)) if data else 0):
        assert data is not None
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.sampled_from(b'"\\{}[],: 0e.-\x00\xffA='))
    taken = take_in(bytes(body))
    if taken is None:
        return
    try:
        found = json.loads(body)["Records"]
        wanted = expected(found)
    except (ValueError, TypeError, LookupError):
        return  # strings that nobody asked for are passed over unchecked
    if len({*map(len, found)}) == 1 and all(len(one) == len(entries[0]) for one in found):
        assert as_rows(taken[0]) == wanted


@pytest.mark.parametrize("size", [*range(9), 3071, 3072, 3073, 6143, 6144, 6145, 1 << 20])
def test_payloads_of_every_length_are_decoded(size: int) -> None:
    data = bytes(number * 7 % 256 for number in range(size))
    taken = take_in(body_of([entry(base64.b64encode(data).decode()), entry()]))
    assert taken is not None
    assert list(taken[0].payloads) == [data, b"x"]


def test_each_character_of_base64_stands_for_its_bits_and_others_for_nothing() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for character in map(chr, range(32, 127)):
        if character in '"\\':
            continue
        taken = take_in(body_of([entry(f"AAA{character}")]))
        if character == "=":
            assert taken is not None
            assert list(taken[0].payloads) == [b"\0\0"]
        elif character in alphabet:
            assert taken is not None
            assert list(taken[0].payloads) == [bytes([0, 0, alphabet.index(character)])]
        else:
            assert taken is None


@pytest.mark.parametrize(
    "data", ["A", "AA", "AAA", "AAAAA", "A===", "====", "AA=A", "=AAA", "é" * 4]
)
def test_what_is_no_base64_is_not_understood(data: str) -> None:
    assert take_in(body_of([entry(), entry(data)])) is None


@pytest.mark.parametrize(
    "notation",
    [
        *("0", "1", "1760000000", "1760000000.123", "1760000000.1234567", "1760000000.12345649"),
        *("1.760000000123E9", "1760000000123e-3", "17.6e+8", "176000000000e-2"),
        *("0.0000005", "1E-12"),
    ],
)
def test_times_are_read_in_every_notation(notation: str) -> None:
    body = body_of([entry(arrival=77777)]).replace(b"77777", notation.encode())
    taken = take_in(body)
    assert taken is not None
    exact = Decimal(notation) * 1_000_000
    assert abs(taken[0].arrival_us.tolist()[0] - exact) <= Decimal("0.5")


@pytest.mark.parametrize(
    "notation",
    [
        *("-1", "+1", ".5", "e9", "1e", "1e+", "1.2.3", "--1", "NaN", "Infinity", "null", "true"),
        *('"1"', "[1]", "{}", "2026-01-01T00:00:00Z", "1 2", ""),
        # More digits than 64 bits have.
        *("1" * 19, "1760000000.123456499999", "1e40", "1e999999999999999999999", "1E-30"),
    ],
)
def test_what_is_no_time_is_not_understood(notation: str) -> None:
    body = body_of([entry(arrival=77777)]).replace(b"77777", notation.encode())
    assert take_in(body) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b'{"Records":null}',
        b'{"Records":{}}',
        b'{"Records":[',
        b'{"Records":[1]}',
        b'{"Records":[{}]}',
        b'{"a":{"Records":[]}}',
        b'{"records":[]}',
        body_of([{**entry(), "Data": None}]),
        body_of([{**entry(), "SequenceNumber": 1}]),
        *(body_of([entry(number=number)]) for number in ("", "1a", "a", "1\\", "-1", "1 ", "é")),
        # Raw, as no JSON has them:
        body_of([entry(number="1#")]).replace(b"#", b"\n"),
        body_of([entry(number="#")]).replace(b"#", b"\n"),
        body_of([entry(number="1#")]).replace(b"#", b"\xff"),
        body_of([entry()]).replace(b'"Data": "eA=="', b'"Data": "eA==", "Data": "eA=="'),
        body_of([entry()]).replace(b'"Data": "eA==", ', b""),
        body_of([entry()]).replace(b"}]", b",}]"),
        body_of([entry()]).replace(b"}]", b"},]"),
        body_of([entry(), entry()]).replace(b"}, {", b"} {"),
    ],
)
def test_what_is_no_reply_is_not_understood(body: bytes) -> None:
    assert take_in(body) is None


def test_more_records_than_a_reply_has_are_taken_all_the_same() -> None:
    many = [entry(number=str(number)) for number in range(25_000)]
    taken = take_in(body_of(many))
    assert taken is not None
    assert as_rows(taken[0]) == expected(many)


def test_more_records_than_a_reply_has_are_left_alone_where_they_have_no_numbers() -> None:
    assert take_in(body_of([entry(data="", number="")] * 11_000)) is None
