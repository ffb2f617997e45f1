"""Frames to events: whatever the network makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import ReadTimeoutError as SocketTimeoutError

from sources.kinesis.event_stream import Events
from sources.kinesis.failures import classify
from tests.fakes.event_stream import ARRIVAL_SECONDS, child, event, exception, frame, opening

ASKED_US = 7


class Chunks:
    """A body whose chunks are here already; an exception among them is raised."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks

    def stream(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


def always_room(frame_bytes: int) -> None:
    pass


def events(*chunks: bytes | Exception) -> list[Any]:
    return list(Events(Chunks(*chunks), ASKED_US, lambda: 0, always_room))


THREE = opening() + event([(1, b"a"), (2, b"b")], after=5) + event(after=9, behind_ms=4)


def test_an_event_has_what_the_service_said():
    first, second = events(THREE)
    assert list(first.records.payloads) == [b"a", b"b"]
    assert list(first.records.numbers) == [b"1", b"2"]
    assert first.records.arrival_us[0] == (ARRIVAL_SECONDS + 1) * 1_000_000
    assert (first.continuation_sequence_number, first.millis_behind_latest) == ("5", 0)
    assert (len(second.records), second.continuation_sequence_number) == (0, "9")
    assert second.millis_behind_latest == 4
    (last,) = events(event(children=[child("c", "p")]))
    assert last.continuation_sequence_number is None
    assert last.child_shards == [child("c", "p")]


@pytest.mark.parametrize("size", [1, 3, 11, 12, 13, 64, 4096])
def test_it_makes_no_difference_where_the_network_cuts(size: int):
    cut = [THREE[begin : begin + size] for begin in range(0, len(THREE), size)]
    assert [told(one) for one in events(*cut)] == [told(one) for one in events(THREE)]


def told(event: Any) -> tuple[Any, ...]:
    records = event.records
    columns = (list(records.payloads), list(records.numbers), records.arrival_us.tolist())
    return (*columns, event.continuation_sequence_number, event.millis_behind_latest)


def test_a_wrong_bit_anywhere_is_a_failed_call_and_never_an_event():
    whole = event([(1, b"payload")], after=5)
    for place in range(len(whole)):
        for bit in (0x01, 0x80):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            with pytest.raises(ResponseParserError):
                events(bytes(damaged))


def test_a_wrong_length_is_found_before_its_bytes_are_waited_for():
    damaged = bytearray(event(after=5))
    damaged[1] ^= 0x01  # 64 KiB more
    with pytest.raises(ResponseParserError):
        events(bytes(damaged), AssertionError("waited for bytes that never come"))


def test_an_end_within_a_frame_is_a_failed_call_behind_the_events_before_it():
    whole = event([(1, b"a")], after=5)
    for length in range(1, len(whole)):
        found = iter(Events(Chunks(whole + whole[:length]), ASKED_US, lambda: 0, always_room))
        assert next(found).continuation_sequence_number == "5"
        with pytest.raises(ResponseParserError):
            next(found)


def test_a_frame_of_another_kind_is_passed_over_and_one_with_rubbish_inside_is_not():
    unknown = frame({":message-type": "event", ":event-type": "Invented"}, b"?")
    assert len(events(unknown, event(after=1))) == 1
    known = {":message-type": "event", ":event-type": "SubscribeToShardEvent"}
    for rubbish in (b"", b"{}", b'{"Records": 3}', b'{"Records": [{"Data": "?"}]}'):
        with pytest.raises(ResponseParserError):
            events(frame(known, rubbish))


def test_what_the_service_raises_within_the_stream_is_classified_like_a_refused_call():
    for code, kind in [
        ("ResourceInUseException", "in_use"),
        ("ResourceNotFoundException", "missing"),
        ("InternalFailureException", "server"),
        ("KMSAccessDeniedException", "denied"),
        ("KMSThrottlingException", "throttled"),
    ]:
        with pytest.raises(ClientError) as raised:
            events(exception(code))
        assert classify(raised.value) == kind
    with pytest.raises(ClientError, match="ServiceBroken"):
        events(frame({":message-type": "error", ":error-code": "ServiceBroken"}, b""))


def test_what_the_socket_raises_is_classified_like_a_failed_call():
    for error, wanted, kind in [
        (SocketTimeoutError(None, "", ""), ReadTimeoutError, "timeout"),  # type: ignore[arg-type]
        (ProtocolError("cut"), ResponseStreamingError, "network"),
        (OSError("reset"), ResponseStreamingError, "network"),
        (ValueError("closed"), ResponseStreamingError, "network"),
    ]:
        with pytest.raises(HTTPClientError) as raised:
            events(error)
        assert isinstance(raised.value, wanted)
        assert classify(raised.value) == kind


def test_an_event_is_known_to_be_made_after_the_request_or_after_a_long_wait(
    monkeypatch: pytest.MonkeyPatch,
):
    now = [100.0]
    fake_time = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("sources.kinesis.event_stream.time", fake_time)

    class Timed:
        def stream(self) -> Iterator[bytes]:
            for seconds, chunk in [
                (3.0, opening()),
                (3.0, event(after=1) + event(after=2)),  # together: the second waited as long
                (0.9, event(after=3)),  # may have lain in the socket
                (1.1, event(after=4)),
                (0.0, event(after=5)[:20]),  # its beginning was there before the long wait
                (5.0, event(after=5)[20:]),
                (5.0, event(after=6)),
            ]:
                now[0] += seconds
                yield chunk

    stream = Events(Timed(), ASKED_US, lambda: round(now[0] * 10), always_room)
    found = [(e.continuation_sequence_number, stream.made_after_us) for e in stream]
    assert found == [
        ("1", ASKED_US),
        ("2", ASKED_US),
        ("3", None),
        ("4", 1069),
        ("5", None),
        ("6", 1130),
    ]


def test_room_is_asked_for_once_a_frame_of_which_the_rest_is_still_to_come():
    small, large = event(after=1), event([(1, b"x" * 1_000)], after=2)
    asked: list[int] = []
    cut = [large[place : place + 300] for place in range(0, len(large), 300)]
    body = Chunks(small + small, *cut, small)
    assert len(list(Events(body, ASKED_US, lambda: 0, asked.append))) == 4
    assert asked == [len(large)]
