"""A server of server-sent events as Wikimedia's: it remembers its events, and connections fail.

Each connection in turn does what its `Connection` says; those beyond the script send all there is
and stay open. A client that comes back with `Last-Event-ID` gets what comes after it.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal


@dataclass(frozen=True)
class Connection:
    """What becomes of one connection.

    Attributes:
        send: How many events it sends; None for all there are.
        then: Whether it is closed, broken off in the middle of an event, or silent from then on.
        repeat: How many events it sends again that the client has already.
        status: What it answers instead of events.
        retry_ms: How long clients are asked to wait.
        chunk: How many bytes go out at once; None for an event at once.
        end: What lines end with.
    """

    send: int | None = None
    then: Literal["close", "cut", "stall"] = "close"
    repeat: int = 0
    status: int = 200
    kind: str = "text/event-stream; charset=utf-8"
    retry_ms: int | None = None
    chunk: int | None = None
    end: str = "\n"


@dataclass
class SseServer:
    """The server; `asked` has the headers of each request."""

    events: Sequence[bytes]
    script: list[Connection] = field(default_factory=list)
    url: str = ""
    asked: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def take(self, headers: dict[str, str]) -> Connection:
        with self.lock:
            self.asked.append(headers)
            return self.script.pop(0) if self.script else Connection(then="stall")

    def written(self, number: int, end: str) -> bytes:
        """Write an event as it goes over the wire."""
        where = [{"topic": "eqiad.mediawiki.recentchange", "partition": 0, "offset": number}]
        data = self.events[number].decode()
        lines = ["event: message", f"id: {json.dumps(where)}", f"data: {data}", "", ""]
        return end.join(lines).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    sse: SseServer

    def do_GET(self) -> None:
        sse = self.sse
        connection = sse.take(dict(self.headers))
        self.send_response(connection.status)
        if connection.status != 200:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_header("Content-Type", connection.kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        last_id = self.headers.get("Last-Event-ID")
        first = json.loads(last_id)[0]["offset"] + 1 if last_id else 0
        first = max(0, first - connection.repeat)
        end = len(sse.events) if connection.send is None else first + connection.send
        try:
            self._chunk(f":ok{connection.end}{connection.end}".encode())
            if connection.retry_ms is not None:
                self._chunk(f"retry: {connection.retry_ms}{connection.end}".encode())
            for number in range(first, min(end, len(sse.events))):
                text = sse.written(number, connection.end)
                step = connection.chunk or len(text)
                for begin in range(0, len(text), step):
                    self._chunk(text[begin : begin + step])
            if connection.then == "stall":
                sse.ended.wait()
            elif connection.then == "cut" and end < len(sse.events):
                self._chunk(sse.written(end, connection.end)[:-40])
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass  # the client has hung up
        self.close_connection = True

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
        self.wfile.flush()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def sse_server(events: Sequence[bytes], *script: Connection) -> Iterator[SseServer]:
    """Run a server on a free port."""
    server = SseServer(events, list(script))
    handler = type("Handler", (_Handler,), {"sse": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}/v2/stream/recentchange"
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        http.server_close()
