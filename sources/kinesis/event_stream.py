"""The events of one SubscribeToShard: frames off a socket, checked, to typed events.

boto3 reads this stream over HTTP/1.1 and blocks in it. Its own parser costs about 16 us a record
and tells neither when bytes came nor lets go of a socket on which none come. So `keep_body`, a
handler of botocore's event `before-parse.kinesis.SubscribeToShard`, takes the body before that
parser sees it; signing, errors and error classes stay botocore's, as do its checks of a frame
(`botocore.eventstream.EventStreamBuffer`: both CRCs, the headers). Nothing works without the hook,
and a test fails.

Guarantee: an event is whole and its checksums are right, or it is a failed call; bytes are copied
a fixed number of times, however the network cuts them.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from botocore.eventstream import EventStreamBuffer, EventStreamMessage, ParserError
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as SocketTimeoutError

from sources.kinesis.replies import Records, take_in

_OPERATION = "SubscribeToShard"
_PRELUDE_BYTES = 12
_MOST_FRAME_BYTES = 25 << 20  # botocore's limits of payload and headers, and some
_WAITED_SECONDS = 1.0


class Body(Protocol):
    """A response that goes on and on: urllib3's `HTTPResponse` (2.3 or later, for `shutdown`)."""

    def stream(self) -> Iterator[bytes]:
        """Yield bytes as they come, until the service ends the response."""

    def shutdown(self) -> None:
        """Wake a thread that waits in `stream`; any thread may call it."""

    def close(self) -> None:
        """Close the connection."""


class _Rest(msgspec.Struct, rename="pascal"):
    """One SubscribeToShardEvent without its records; names as the service's, but for case."""

    continuation_sequence_number: str | None = None
    millis_behind_latest: int | None = None
    child_shards: list[dict[str, Any]] | None = None  # `Any`: as boto3 gives them


_decode = msgspec.json.Decoder(_Rest).decode


@dataclass(frozen=True, slots=True)
class Event:
    """One SubscribeToShardEvent (`Any`: as boto3 gives them)."""

    records: Records
    continuation_sequence_number: str | None
    millis_behind_latest: int | None
    child_shards: list[dict[str, Any]] | None


def keep_body(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Put a good reply's body into the reply; botocore's event handler (`Any`: its dictionaries).

    Args:
        response_dict: `status_code` and `body`; another body, in which nothing comes, replaces it.
        customized_response_dict: What botocore lays over its own result.
    """
    if response_dict["status_code"] == 200:
        customized_response_dict["Body"] = response_dict["body"]
        response_dict["body"] = _OpenedOnly()


class _OpenedOnly:
    """What botocore parses in place of the body: the opening, which it insists on."""

    def stream(self) -> Iterator[bytes]:
        headers = b"".join(
            bytes([len(name)]) + name + b"\x07" + len(value).to_bytes(2, "big") + value
            for name, value in ((b":message-type", b"event"), (b":event-type", b"initial-response"))
        )
        payload = b"{}"
        length = _PRELUDE_BYTES + len(headers) + len(payload) + 4
        prelude = length.to_bytes(4, "big") + len(headers).to_bytes(4, "big")
        frame = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
        yield frame + zlib.crc32(frame).to_bytes(4, "big")

    def close(self) -> None:
        """Nothing is open here."""


class Events:
    """Iterates over the events of a subscription; ends when the service ends it.

    Args:
        body: Of the reply.
        asked_us: When the subscription was asked for.
        clock: Microseconds since the epoch.
        make_room: Called with the length of a frame of which only a part has come, before the rest
            is read off the socket; what it raises ends the iteration.

    Raises:
        ReadTimeoutError: Nothing came within the client's read timeout.
        ResponseStreamingError: The connection broke.
        ResponseParserError: What came are no events.
        ClientError: The service ended the subscription with an error.
    """

    def __init__(
        self,
        body: Body,
        asked_us: int,
        clock: Callable[[], int],
        make_room: Callable[[int], None],
    ) -> None:
        self.made_after_us: int | None = asked_us
        """A moment before the service made the event last yielded; None where none is known.

        The first event was made after it was asked for. Of a later one only its coming is seen, and
        how long it was under way is anybody's guess: it may have lain in our socket while we did
        something else, or been sent again and again. But when we waited for it for a second or
        more, nothing lay in the socket as the wait began; so unless it travelled longer than the
        whole wait, it was made after that.
        """
        self._body = body
        self._clock = clock
        self._make_room = make_room
        self._delivered = False

    def __iter__(self) -> Iterator[Event]:
        for message in self._messages():
            event = _event(message)
            if event is not None:
                self._delivered = True
                yield event

    def _messages(self) -> Iterator[EventStreamMessage]:
        chunks = self._body.stream()
        pending = bytearray()
        has_room = False
        while True:
            length = _frame_bytes(pending)
            if length is not None and len(pending) >= length:
                with memoryview(pending) as view:
                    frame = view[:length].tobytes()
                del pending[:length]
                has_room = False
                yield _checked(frame)
                continue
            if length is not None and not has_room:
                self._make_room(length)
                has_room = True
            chunk = self._wait(chunks, begins_frame=not pending)
            if chunk is None:
                break
            pending += chunk
        if pending:
            message = "An event stream ended within a frame"
            raise ResponseParserError(message)

    def _wait(self, chunks: Iterator[bytes], *, begins_frame: bool) -> bytes | None:
        begun, begun_us = time.monotonic(), self._clock()
        try:
            chunk = next(chunks, None)
        except SocketTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=_OPERATION, error=error) from error
        except (HTTPError, OSError, ValueError) as error:  # ValueError: closed by another thread
            raise ResponseStreamingError(error=error) from error
        if begins_frame and self._delivered:
            waited = time.monotonic() - begun >= _WAITED_SECONDS
            self.made_after_us = begun_us if waited else None
        return chunk


def _frame_bytes(pending: bytearray) -> int | None:
    if len(pending) < _PRELUDE_BYTES:
        return None
    # Else a length that is wrong would have us wait for bytes that never come.
    if zlib.crc32(pending[:8]) != int.from_bytes(pending[8:_PRELUDE_BYTES], "big"):
        message = "A frame of an event stream begins with a wrong checksum"
        raise ResponseParserError(message)
    length = int.from_bytes(pending[:4], "big")
    if length > _MOST_FRAME_BYTES:
        message = f"A frame of an event stream claims {length} bytes"
        raise ResponseParserError(message)
    return length


def _checked(frame: bytes) -> EventStreamMessage:
    buffer = EventStreamBuffer()
    buffer.add_data(frame)
    try:
        return next(buffer)
    except (ParserError, StopIteration, LookupError, ValueError) as error:
        message = f"A frame of an event stream is damaged: {error}"
        raise ResponseParserError(message) from error


def _taken_in(payload: bytes) -> Event:
    taken = take_in(payload)
    if taken is None:
        text = "The records of an event of a subscription are not understood"
        raise ResponseParserError(text)
    records, without = taken
    try:
        rest = _decode(without)
    except msgspec.MsgspecError as error:
        text = f"An event of a subscription is not understood: {error}"
        raise ResponseParserError(text) from error
    return Event(
        records, rest.continuation_sequence_number, rest.millis_behind_latest, rest.child_shards
    )


def _event(message: EventStreamMessage) -> Event | None:
    headers = message.headers
    kind = headers.get(":message-type")
    if kind == "event":
        if headers.get(":event-type") != "SubscribeToShardEvent":
            return None  # the opening, or what is yet to be invented
        return _taken_in(message.payload)
    if kind == "exception":
        code = headers.get(":exception-type")
        text = message.payload.decode(errors="replace")
    else:
        code, text = headers.get(":error-code"), str(headers.get(":error-message"))
    raise ClientError({"Error": {"Code": str(code), "Message": text}}, _OPERATION)
