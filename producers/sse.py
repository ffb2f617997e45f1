"""Server-sent events out of bytes, however these are cut: the HTML standard's event-stream format.

An event is dispatched at an empty line; what stands behind the last one is an event that broke off,
and never told. Lines end with CR, LF or both; a byte order mark at the start is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        data: Its lines of data, joined by newlines.
        id: The last id that the stream has named so far: what a client resumes after.
        type: Its type, `message` where it names none.
    """

    data: bytes
    id: str = ""
    type: str = "message"


class EventStream:
    """Reads one connection's events.

    Args:
        last_id: The id that was last seen before this connection.

    Attributes:
        retry_ms: How long the server wants clients to wait before they come back; None where it
            doesn't say.
    """

    def __init__(self, last_id: str = "") -> None:
        self._rest = b""
        self._at_start = True
        self._id = last_id
        self._data: list[bytes] = []
        self._type = ""
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Take bytes in; yield the events that they complete."""
        self._rest += chunk
        if self._at_start:
            if len(self._rest) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(self._rest):
                return
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        begin = 0
        for end in _LINE_END.finditer(self._rest):
            if end[0] == b"\r" and end.end() == len(self._rest):
                break  # the next byte tells whether that is all of the line's end
            event = self._take(self._rest[begin : end.start()])
            begin = end.end()
            if event is not None:
                yield event
        self._rest = self._rest[begin:]

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")  # a comment has no name
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._data.append(value)
            case b"event":
                self._type = value.decode(errors="replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode(errors="replace")
            case b"retry" if value.isdigit():
                self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        return Event(b"\n".join(data), self._id, kind or "message") if data else None
