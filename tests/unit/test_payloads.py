"""`Lines`, against `bytes.split`, and several of them joined."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payloads import Lines, joined

buffers = st.lists(st.sampled_from([b"\n", b"a", b"{}", b"}\n{", b" ", b"\r"]), max_size=40).map(
    b"".join
)


@given(buffers)
def test_lines_are_what_a_split_gives(buffer: bytes) -> None:
    lines, expected = Lines(buffer), buffer.split(b"\n")
    assert len(lines) == len(expected)
    assert list(lines) == expected
    assert [lines[place] for place in range(len(lines))] == expected
    assert [lines[place] for place in range(-len(lines), 0)] == expected
    assert lines[1:-1] == expected[1:-1]
    assert lines[::2] == expected[::2]


def own(payloads: list[bytes], view: type[bytes | memoryview] = bytes) -> Lines:
    """Return payloads with a line end behind each that has none of its own."""
    ended = [one if one.endswith(b"\n") else one + b"\n" for one in payloads]
    begins = np.cumsum([0, *map(len, ended)], dtype=np.int64)[:-1]
    ends = begins + np.array([len(one) for one in payloads], np.int64)
    return Lines(view(b"".join(ended)), np.array([begins, ends]))


some = st.lists(st.sampled_from([b"", b"\n", b"a", b"{}", b"{}\n", b"{}\n{}", b" "]), max_size=9)


@given(some, st.sampled_from([bytes, memoryview]))
def test_payloads_with_line_ends_of_their_own_stay_whole(
    payloads: list[bytes], view: type[bytes | memoryview]
) -> None:
    lines = own(payloads, view)
    assert list(lines) == payloads
    assert [lines[place] for place in range(-len(payloads), 0)] == payloads
    assert list(pickle.loads(pickle.dumps(lines))) == payloads
    assert lines.are_lines() == (not any(b"\n" in one for one in payloads))
    assert lines.has_blank() == (b"" in payloads)
    assert lines.loose_ends().tolist() == [
        place
        for place, (one, other) in enumerate(itertools.pairwise(payloads))
        if not (one.removesuffix(b"\n").endswith(b"}") and other.startswith(b"{"))
    ]
    assert [size for size, _ in lines.runs(4)] == [
        len(payloads[place : place + 4]) for place in range(0, len(payloads), 4)
    ]
    runs = b"".join(run.rstrip(b"\n") for _, run in lines.runs(4))
    assert runs.replace(b"\n", b"") == b"".join(payloads).replace(b"\n", b"")


@given(st.lists(some, min_size=1, max_size=4))
def test_consecutive_payloads_are_joined_in_order(parts: list[list[bytes]]) -> None:
    assert list(joined([own(part) for part in parts])) == list(itertools.chain(*parts))


def test_what_is_known_of_payloads_is_known_of_them_joined() -> None:
    bounds = np.array([[0, 4], [3, 6]])
    known = Lines(b"{} \n{1\n", bounds, np.array([True, False]))
    assert known.loose_ends().tolist() == [0]
    twice = joined([known, known])
    assert twice.braced is not None
    assert twice.braced.tolist() == [True, False, True, False]
    assert pickle.loads(pickle.dumps(twice)).braced.tolist() == [True, False, True, False]
    assert joined([known, own([b"{}"])]).braced is None


@given(buffers)
def test_there_is_no_line_outside_of_the_buffer(buffer: bytes) -> None:
    lines = Lines(buffer)
    for place in (len(lines), -len(lines) - 1):
        with pytest.raises(IndexError, match=f"no line {place}"):
            lines[place]


@given(buffers, st.integers(1, 9))
def test_runs_hold_all_lines_in_order(buffer: bytes, size: int) -> None:
    runs = list(Lines(buffer).runs(size))
    expected = buffer.split(b"\n")
    assert [line for _, run in runs for line in run.split(b"\n")] == expected
    assert [count for count, _ in runs] == [len(run.split(b"\n")) for _, run in runs]
    assert all(count == size for count, _ in runs[:-1])
    assert 1 <= runs[-1][0] <= size


@given(buffers)
def test_loose_ends_are_those_that_stand_not_between_two_objects(buffer: bytes) -> None:
    lines = buffer.split(b"\n")
    expected = [
        place
        for place in range(len(lines) - 1)
        if not (lines[place].endswith(b"}") and lines[place + 1].startswith(b"{"))
    ]
    assert Lines(buffer).loose_ends().tolist() == expected


def test_lines_survive_the_way_between_processes() -> None:
    assert list(pickle.loads(pickle.dumps(Lines(b"a\nb")))) == [b"a", b"b"]
