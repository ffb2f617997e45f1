"""Codes: fixed for ever, so the vectors stand here; a bijection; equal shares for groups."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import operators.codes
from operators.codes import (
    TextCodes,
    combine,
    first_of_runs,
    group_edges,
    integer_codes,
    integers_of,
    mix,
    unmix,
)

WORD = (1 << 64) - 1
words = st.integers(0, WORD)
integers = st.integers(-(2**63), 2**63 - 1)


def mixed(word: int) -> int:
    """SplitMix64's finaliser, in Python's own integers, as published."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & WORD
    return word ^ (word >> 31)


@given(st.lists(words, min_size=1))
def test_mixing_is_split_mix(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    assert mix(array).tolist() == [mixed(value) for value in values]
    assert array.tolist() == values, "the argument was changed"


def test_mixing_gives_the_published_sequence() -> None:
    # The generator's state grows by the golden ratio; these are its outputs for seed 1234567.
    states = [(1234567 + step * 0x9E3779B97F4A7C15) & WORD for step in range(1, 6)]
    assert mix(np.array(states, np.uint64)).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(words, min_size=1))
def test_unmixing_undoes_mixing(values: list[int]) -> None:
    array = np.array(values, np.uint64)
    codes = mix(array)
    assert unmix(codes).tolist() == values
    assert codes.tolist() == mix(array).tolist(), "the argument was changed"


@given(st.lists(integers, min_size=1))
def test_an_integer_comes_back_from_its_code(values: list[int]) -> None:
    codes = integer_codes(np.array(values, np.int64))
    assert codes.dtype == np.uint64
    assert integers_of(codes).tolist() == values


@given(st.lists(words, min_size=1, max_size=4))
def test_a_combined_code_is_that_of_the_tuple(parts: list[int]) -> None:
    expected = parts[0]
    for part in parts[1:]:
        expected = mixed((expected * 0x9E3779B97F4A7C15 + part) & WORD)
    assert combine([np.array([part], np.uint64) for part in parts]).tolist() == [expected]


def test_the_order_of_a_tuple_matters() -> None:
    one, two = np.array([1], np.uint64), np.array([2], np.uint64)
    assert combine([one, two]) != combine([two, one])


def test_tuples_of_small_codes_do_not_collide() -> None:
    first, second = np.divmod(np.arange(250_000, dtype=np.uint64), np.uint64(500))
    assert len(np.unique(combine([first, second]))) == 250_000


# ---- texts --------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.none(), st.text())))
def test_a_text_comes_back_from_its_code(texts: list[str | None]) -> None:
    codes = TextCodes()
    found = codes.of(texts, len(texts))
    assert [codes.text_of(code) for code in found.tolist()] == [text or "" for text in texts]
    digests = [blake2b((text or "").encode(), digest_size=8).digest() for text in texts]
    assert found.tolist() == [int.from_bytes(digest, "little") for digest in digests]


def test_the_codes_of_texts_stay_what_they_are() -> None:
    codes = TextCodes()
    assert codes["view"] == 12678551940656423468
    assert codes[None] == codes[""]


def test_memory_of_texts_is_bounded_and_those_in_use_are_kept() -> None:
    limit = operators.codes._TEXT_CACHE_ENTRIES
    codes = TextCodes()
    for tick in range(4):
        names = [f"{tick}/{number}" for number in range(limit + 1)]
        found = codes.of(names, len(names)).tolist()
        codes.forget()
        # What was met since the last but one time can still be turned back.
        assert codes.text_of(found[0]) == names[0]
        assert codes.text_of(found[-1]) == names[-1]
        assert codes[names[0]] == found[0], "a forgotten text got another code"
    assert len(codes) + len(codes._texts) + len(codes._older) < 3 * limit


def test_few_texts_are_not_forgotten() -> None:
    codes = TextCodes()
    code = codes["view"]
    for _ in range(3):
        codes.forget()
    assert "view" in codes
    assert codes.text_of(code) == "view"


# ---- groups -------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.lists(words))
def test_each_group_owns_an_equal_share_of_the_codes(groups: int, codes: list[int]) -> None:
    edges = group_edges(groups)
    assert len(edges) == groups - 1
    for code in [*codes, 0, WORD, *edges.tolist(), *(edge - 1 for edge in edges.tolist())]:
        group = int(np.searchsorted(edges, np.uint64(code), side="right"))
        assert group == code * groups >> 64


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2))))
def test_runs_begin_where_a_row_differs_from_the_one_before(rows: list[tuple[int, int]]) -> None:
    expected = [place for place, row in enumerate(rows) if place == 0 or row != rows[place - 1]]
    columns = np.array(rows, np.int64).reshape(-1, 2).T
    assert first_of_runs(*columns).tolist() == expected
