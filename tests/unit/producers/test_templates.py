"""Templates of the Kinesis Data Generator: what they make, and how they are refused."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import uuid
from collections import Counter
from pathlib import Path

import pytest

from errors import MissingResourceError, SettingsError
from producers.template_helpers import HELPERS, Draw
from producers.templates import FOLDER, Template, read

NOON_US = 1_767_355_205_060_700  # 2026-01-02T12:00:05.060700Z, a Friday


def made(text: str, seed: int = 1) -> str:
    return Template(text, "t.json").make(Draw(random.Random(seed), NOON_US))


def many(text: str, count: int = 2_000) -> list[str]:
    template, rng = Template(text, "t.json"), random.Random(7)
    return [template.make(Draw(rng, NOON_US)) for _ in range(count)]


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        Template(text, "t.json")
    return refused.value.problems


# ---- what is made -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clickstream.json", "clickstream_timed.json"])
def test_what_comes_with_kinewax_makes_events_of_the_original_shape(name: str):
    template, rng = read(FOLDER / name), random.Random(3)

    events = [json.loads(template.make(Draw(rng, NOON_US))) for _ in range(2_000)]

    assert {int(event["customerId"]) for event in events} <= set(range(501))
    assert {event["gender"] for event in events} == {"M", "F"}
    assert {event["event"]["type"] for event in events} == {
        *("search", "viewDetail", "addToCart", "checkout", "addToWishlist", "removeFromCart")
    }
    assert {event["event"]["product"] for event in events} == {
        *("", "shoes", "bags", "cosmetics", "apparel")
    }
    assert all(50 <= event["event"]["amount"] <= 300 for event in events)
    assert all(ipaddress.IPv4Address(event["ipAddress"]) for event in events)


def test_numbers_reach_both_ends_of_their_range():
    assert set(many("{{random.number(3)}}")) == {"0", "1", "2", "3"}
    assert set(many('{{random.number({"min":-1,"max":1})}}')) == {"-1", "0", "1"}
    assert set(many('{{random.number({"min":10,"max":30,"precision":10})}}')) == {"10", "20", "30"}
    assert set(many('{{random.number({"max":1,"precision":0.5})}}')) == {"0.0", "0.5", "1.0"}


def test_weights_are_kept():
    text = '{{random.weightedArrayElement({"weights": [0.9, 0.1, 0], "data": ["red", 3, "no"]})}}'

    counts = Counter(many(text, 10_000))

    assert counts.keys() == {"red", "3"}
    assert 8_800 < counts["red"] < 9_200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{date.now}}", "2026-01-02T12:00:05.060700Z"),
        ('{{date.now("YYYY-MM-DD HH:mm:ss.SSS")}}', "2026-01-02 12:00:05.060"),
        ("{{date.now(YYYY-MM-DD)}}", "2026-01-02"),
        ('{{date.utc("DD/MMM/YYYY:HH:mm:ss ZZ")}}', "02/Jan/2026:12:00:05 +0000"),
        (
            '{{date.now("dddd D MMMM YY, h:m:s a [at UTC]")}}',
            "Friday 2 January 26, 12:0:5 pm at UTC",
        ),
        ('{{date.now("x X")}}', "1767355205060 1767355205"),
    ],
)
def test_times_are_written_as_moment_js_writes_them(text: str, expected: str):
    assert made(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ random.number( 0 ) }}",
        '{{random.number(\n{"min":0,\n"max":0}\n)}}',
        '{{random.number({"max":\t0})}}',
    ],
)
def test_white_space_within_a_helper_means_nothing(text: str):
    assert made(text) == "0"


def test_an_object_may_begin_and_end_beside_a_helper():
    assert made('{"a":{{{random.number(0)}}}}') == '{"a":{0}}'
    assert made("{{random.number(0)}}{{random.number(0)}}{}") == "00{}"


def test_a_record_is_one_line():
    assert made('{\n  "a": 1,\r\n\n\t"b": "x y"\n}\n') == '{"a": 1,"b": "x y"}'


@pytest.mark.parametrize("name", sorted(HELPERS))
def test_the_same_seed_makes_the_same_and_another_seed_something_else(name: str):
    arguments = '({"weights": [1, 1], "data": [1, 2]})' if "weighted" in name else ""
    text = f"{{{{{name}{arguments}}}}}" * 20

    assert made(text) == made(text)
    assert made(text)
    if not name.startswith("date."):
        assert made(text) != made(text, seed=2)


def test_ids_are_ids():
    assert uuid.UUID(made("{{random.uuid}}")).version == 4
    assert ipaddress.IPv6Address(made("{{internet.ipv6}}"))
    assert re.fullmatch(r"[a-z0-9]{12}", made("{{random.alphaNumeric(12)}}"))
    assert re.fullmatch(r"\d+\.\d{2}", made("{{finance.amount(5, 10)}}"))


# ---- what is refused ----------------------------------------------------------------------------


def test_all_that_is_wrong_is_told_at_once_by_line_and_column():
    found = problems_of(
        '{\n  "a": "{{random.nmber(5)}}",\n  "b": {{random.number({"min":5,"max":2})}}, {{x\n}'
    )

    assert found == (
        "t.json:2:9: there is no helper 'random.nmber'; did you mean random.number?",
        "t.json:3:8: random.number: from 5 to 2 there is nothing",
        "t.json:3:46: x: }} must follow",
    )


def test_an_unknown_helper_is_told_the_known_ones():
    with pytest.raises(SettingsError) as refused:
        Template("{{internet.avatar}}", "t.json")

    assert all(name in refused.value.hint for name in HELPERS)


@pytest.mark.parametrize(
    "text",
    [
        "{{}}",
        "{{random.number",
        "{{random.number(5}}",
        "{{random.number(1 2)}}",
        "{{random.number(1,)}}",
        "{{random.number(1, 2)}}",
        '{{random.number("x")}}',
        '{{random.number({"most": 5})}}',
        '{{random.number({"precision": 0})}}',
        "{{random.arrayElement([])}}",
        "{{random.arrayElement([1, 2)}}",
        "{{random.arrayElement('a')}}",
        "{{random.weightedArrayElement}}",
        '{{random.weightedArrayElement({"weights": [1], "data": [1, 2]})}}',
        '{{random.weightedArrayElement({"weights": [0, 0], "data": [1, 2]})}}',
        '{{random.weightedArrayElement({"weights": ["a"], "data": [1]})}}',
        "{{date.now(5)}}",
        "{{internet.ip(4)}}",
        "{{random.alphaNumeric(0)}}",
    ],
)
def test_a_helper_that_is_not_well_written_is_refused(text: str):
    (problem,) = problems_of(text)

    assert problem.startswith("t.json:1:1: ")


def test_a_template_that_is_not_there_or_not_text_is_named(tmp_path: Path):
    with pytest.raises(MissingResourceError, match="there is no file"):
        read(tmp_path / "none.json")
    (path := tmp_path / "zip").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="can't read"):
        read(path)
