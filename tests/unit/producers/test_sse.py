"""The event-stream format, cut up in every way."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.sse import Event, EventStream

WHOLE = (
    b'\xef\xbb\xbf:ok\n\nevent: message\nid: [1]\ndata: {"a":1}\n\n'
    b"data:two\ndata: lines\n\nretry: 1500\nid:\ndata\n\nid: [2]\n\nevent: other\ndata: x\n\n"
    b"data: never told\n"
)
EVENTS = [
    Event(b'{"a":1}', "[1]"),
    Event(b"two\nlines", "[1]"),
    Event(b"", ""),
    Event(b"x", "[2]", "other"),
]


def events_of(*chunks: bytes) -> list[Event]:
    stream = EventStream()
    return [event for chunk in chunks for event in stream.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_told_at_an_empty_line_whatever_lines_end_with(end: bytes) -> None:
    assert events_of(WHOLE.replace(b"\n", end)) == EVENTS


@given(st.lists(st.integers(0, len(WHOLE) * 2), max_size=12), st.sampled_from([b"\n", b"\r\n"]))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int], end: bytes) -> None:
    whole = WHOLE.replace(b"\n", end)
    edges = [0, *sorted(cuts), len(whole)]
    chunks = [whole[low:high] for low, high in pairwise(edges)]
    assert events_of(*chunks) == EVENTS


def test_each_byte_alone_gives_the_same() -> None:
    assert events_of(*(bytes([byte]) for byte in WHOLE)) == EVENTS


def test_the_server_says_how_long_to_wait() -> None:
    stream = EventStream()
    list(stream.feed(WHOLE))
    assert stream.retry_ms == 1500


def test_an_id_goes_on_from_the_connection_before() -> None:
    assert list(EventStream("[7]").feed(b"data: x\n\n")) == [Event(b"x", "[7]")]


def test_an_id_with_a_zero_byte_is_none() -> None:
    assert events_of(b"id: a\0b\ndata: x\n\n") == [Event(b"x", "")]
