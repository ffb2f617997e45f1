"""A server that sends event streams as Kinesis does, to a script: over a real socket, real frames.

`EventStreamServer` answers SubscribeToShard with whatever bytes the test's script yields, each as a
chunk of HTTP/1.1, and other operations with the JSON that the test gives. So a test decides when a
subscription closes, breaks, stalls or is refused; the frames are made here, apart from the product,
after the description of `application/vnd.amazon.eventstream`: total length, length of the headers,
CRC-32 of these; headers; payload; CRC-32 of all before.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
from botocore.config import Config

from tests.servers import FAKE_CREDENTIALS, REGION

STREAM_ARN = "arn:aws:kinesis:eu-west-1:000000000000:stream/pushed"
CONSUMER_ARN = f"{STREAM_ARN}/consumer/kinewax:1700000000"
ARRIVAL_SECONDS = 1_700_000_000


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Make one message with headers of strings (type 7)."""
    raw = b"".join(
        len(name).to_bytes(1, "big")
        + name.encode()
        + b"\x07"
        + len(value).to_bytes(2, "big")
        + value.encode()
        for name, value in headers.items()
    )
    lengths = (16 + len(raw) + len(payload)).to_bytes(4, "big") + len(raw).to_bytes(4, "big")
    head = lengths + zlib.crc32(lengths).to_bytes(4, "big") + raw + payload
    return head + zlib.crc32(head).to_bytes(4, "big")


def opening() -> bytes:
    headers = {":message-type": "event", ":event-type": "initial-response"}
    return frame(headers, b"{}")


def event(
    records: Iterable[tuple[int, bytes]] = (),
    *,
    after: int | None = None,
    behind_ms: int = 0,
    children: Sequence[dict[str, Any]] | None = None,
) -> bytes:
    """Make a SubscribeToShardEvent.

    Args:
        records: Sequence number and data of each.
        after: The continuation sequence number; None leaves it out.
        behind_ms: MillisBehindLatest.
        children: ChildShards.
    """
    body: dict[str, Any] = {
        "Records": [
            {
                "SequenceNumber": str(sequence),
                "ApproximateArrivalTimestamp": ARRIVAL_SECONDS + sequence,
                "Data": base64.b64encode(data).decode(),
                "PartitionKey": "key",
            }
            for sequence, data in records
        ],
        "MillisBehindLatest": behind_ms,
    }
    if after is not None:
        body["ContinuationSequenceNumber"] = str(after)
    if children is not None:
        body["ChildShards"] = list(children)
    headers = {
        ":message-type": "event",
        ":event-type": "SubscribeToShardEvent",
        ":content-type": "application/x-amz-json-1.1",
    }
    return frame(headers, json.dumps(body).encode())


def exception(code: str) -> bytes:
    headers = {":message-type": "exception", ":exception-type": code}
    return frame(headers, json.dumps({"message": "scripted"}).encode())


def child(name: str, parent: str, first_hash: int = 0, last_hash: int = 2**128 - 1) -> Any:
    return {
        "ShardId": name,
        "ParentShards": [parent],
        "HashKeyRange": {"StartingHashKey": str(first_hash), "EndingHashKey": str(last_hash)},
    }


def subscriber(endpoint: str) -> Any:
    """Make a client as the service does for subscriptions: it doesn't retry on its own."""
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(read_timeout=35, retries={"total_max_attempts": 1, "mode": "standard"}),
    )


class RefusedError(Exception):
    """Raised by a script before its first bytes: the call fails with this code."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class CutError(Exception):
    """Raised by a script: the connection breaks off here."""


Arguments = dict[str, Any]


class EventStreamServer:
    """Serves until its block ends.

    Attributes:
        endpoint: Its address.
        subscribe: The script: called with a call's arguments; yields what to send.
        answers: By operation, what makes the reply to its arguments.
        calls: Operations called, with arguments.
        over: Set when the block ends: a script that stalls waits for it.
    """

    def __init__(self) -> None:
        self.subscribe: Callable[[Arguments], Iterator[bytes]] = lambda _: iter(())
        self.answers: dict[str, Callable[[Arguments], dict[str, Any]]] = {}
        self.calls: list[tuple[str, Arguments]] = []
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def positions(self) -> list[dict[str, Any]]:
        """Return the starting positions of all subscriptions asked for."""
        name = "SubscribeToShard"
        return [called["StartingPosition"] for operation, called in self.calls if operation == name]

    def stall(self) -> Iterator[bytes]:
        """Send nothing more, and keep the connection."""
        self.over.wait(60)
        yield from ()

    def __enter__(self) -> EventStreamServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Hold no client's hanging up against it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(server: EventStreamServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers["X-Amz-Target"].partition(".")[2]
            arguments = json.loads(body)
            server.calls.append((operation, arguments))
            try:
                if operation == "SubscribeToShard":
                    self._stream(server.subscribe(arguments))
                else:
                    self._reply(200, server.answers[operation](arguments))
            except RefusedError as refused:
                self._reply(refused.status, {"__type": refused.code, "message": "scripted"})
            except (CutError, ConnectionError):
                self.close_connection = True

        def _reply(self, status: int, reply: dict[str, Any]) -> None:
            body = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, script: Iterator[bytes]) -> None:
            first = next(script, b"")  # refused before anything is sent
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.amazon.eventstream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for chunk in (opening(), first):
                self._send(chunk)
            for chunk in script:
                self._send(chunk)
            self.wfile.write(b"0\r\n\r\n")

        def _send(self, chunk: bytes) -> None:
            if chunk:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
