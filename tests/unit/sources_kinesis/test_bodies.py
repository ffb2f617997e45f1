"""Replies' bodies read in one piece: the same replies, and the same errors when they break."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from sources.kinesis.bodies import WholeBodies, use_whole_bodies

BODY = json.dumps({"ShardIterator": "i" * 200_000}).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[Any]:
    """A boto3 client of a server that does with each connection as it is told."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                _read_request(connection)
                answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    client = boto3.client(
        "kinesis",
        endpoint_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=0.3),
    )
    use_whole_bodies(client)
    try:
        yield client
    finally:
        client.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _read_request(connection: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(65536)
    head, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += connection.recv(65536)


def ask(client: Any) -> dict[str, Any]:
    reply: dict[str, Any] = client.get_shard_iterator(
        StreamName="s", ShardId="0", ShardIteratorType="LATEST"
    )
    return reply


def whole(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)


def test_a_body_is_read_by_one_call_and_never_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    contents: list[object] = []
    read = AWSResponse.content.fget
    assert read is not None

    def watch(response: Any) -> object:
        contents.append(response._content)  # what botocore finds, before it would read itself
        return read(response)

    monkeypatch.setattr(AWSResponse, "content", property(watch))
    with answering(whole) as client:
        assert ask(client)["ShardIterator"] == "i" * 200_000
        assert isinstance(client._endpoint.http_session, WholeBodies)
    assert contents[0] == BODY


def test_a_chunked_body_is_read_whole() -> None:
    def chunked(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        for begin in range(0, len(BODY), 70_000):
            piece = BODY[begin : begin + 70_000]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    with answering(chunked) as client:
        assert ask(client)["ShardIterator"] == "i" * 200_000


def test_an_error_reply_stays_botocore_s() -> None:
    def refuse(connection: socket.socket) -> None:
        body = b'{"__type": "LimitExceededException"}'
        head = HEAD.replace(b"200 OK", b"400 Bad Request")
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    with answering(refuse) as client, pytest.raises(ClientError) as raised:
        ask(client)
    assert raised.value.response["Error"]["Code"] == "LimitExceededException"


def test_a_body_that_stops_coming_is_a_timeout() -> None:
    left = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:1000])
        left.wait(10)

    with answering(stall) as client:
        with pytest.raises(ReadTimeoutError):
            ask(client)
        left.set()


def test_a_connection_that_breaks_within_the_body_is_a_connection_error() -> None:
    def reset(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:1000])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        answering(reset) as client,
        pytest.raises((ConnectionClosedError, HTTPClientError)),
    ):
        ask(client)


def test_a_client_that_is_no_boto3_client_is_left_alone() -> None:
    client = object()
    use_whole_bodies(client)  # type: ignore[arg-type]
    assert not hasattr(client, "_endpoint")
