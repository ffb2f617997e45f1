"""`Lines`, against `bytes.split`."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import Lines

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
