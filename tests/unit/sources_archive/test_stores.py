"""An S3 that fails in every way: what passes is tried again, what doesn't is one object's."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError, ResponseStreamingError

from errors import KinewaxError, MissingResourceError
from sources.archive.stores import (
    CHUNK_BYTES,
    PATIENCE_SECONDS,
    DirectoryStore,
    Listed,
    ObjectError,
    S3Store,
)

CONTENT = bytes(range(256)) * 4_000


def refused(code: str, status: int = 400) -> ClientError:
    reply: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(reply, "GetObject")


class Body(io.BytesIO):
    """Breaks after so many bytes."""

    def __init__(self, content: bytes, breaks_after: int | None) -> None:
        super().__init__(content)
        self._left = breaks_after

    def read(self, size: int | None = -1) -> bytes:
        if self._left is None:
            return super().read(size)
        if not self._left:
            raise ResponseStreamingError(error="reset")
        data = super().read(min(size or 0, self._left))
        self._left -= len(data)
        return data


class Client:
    """Plays back one step a call: an error, or after how many bytes the reply breaks."""

    def __init__(self, *script: Exception | int | None) -> None:
        self._script = list(script)
        self.requests: list[dict[str, Any]] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        begin = int(request.get("Range", "bytes=0-")[6:-1])
        return {"Body": Body(CONTENT[begin:], step)}

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        step = self._script.pop(0) if self._script else None
        if isinstance(step, Exception):
            raise step
        if "ContinuationToken" in request:
            return {"Contents": [{"Key": "b", "Size": 2, "ETag": "e2"}], "IsTruncated": False}
        return {
            "Contents": [{"Key": "a", "Size": 1, "ETag": "e1"}],
            "IsTruncated": True,
            "NextContinuationToken": "next",
        }


class Time:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.5)

    def monotonic(self) -> float:
        return self.now


def store(client: Client) -> S3Store:
    time = Time()
    return S3Store(client, "bucket", sleep=time.sleep, monotonic=time.monotonic)


def chunks(client: Client, size: int = len(CONTENT)) -> list[bytes]:
    return list(store(client).read("key", size, '"etag"'))


def test_an_object_comes_in_chunks_of_one_size() -> None:
    found = chunks(Client(None))
    assert b"".join(found) == CONTENT
    assert {len(chunk) for chunk in found[:-1]} == {CHUNK_BYTES}


@pytest.mark.parametrize("after", [1, 1_000, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_behind_a_broken_connection_reading_goes_on_at_its_byte(after: int) -> None:
    client = Client(after, refused("SlowDown", 503), after, None)
    assert chunks(client) == chunks(Client(None))
    assert client.requests[2]["Range"] == f"bytes={after}-"
    assert all(request["IfMatch"] == '"etag"' for request in client.requests)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("NoSuchKey", "object_missing"),
        ("PreconditionFailed", "object_changed"),
        ("AccessDenied", "object_denied"),
        ("InvalidObjectState", "object_denied"),
    ],
)
def test_what_is_wrong_with_one_object_is_that_objects_error(code: str, reason: str) -> None:
    with pytest.raises(ObjectError) as caught:
        chunks(Client(refused(code)))
    assert caught.value.reason == reason


def test_another_length_than_was_listed_is_another_object() -> None:
    with pytest.raises(ObjectError, match="were listed"):
        chunks(Client(None), size=len(CONTENT) + 1)


@pytest.mark.parametrize("error", [refused("ExpiredToken"), NoCredentialsError()])
def test_what_a_person_must_mend_ends_the_run(error: Exception) -> None:
    with pytest.raises(KinewaxError, match=r"s3://bucket/key"):
        chunks(Client(error))


def test_patience_ends_when_nothing_comes_and_not_while_something_does() -> None:
    with pytest.raises(KinewaxError, match=f"nothing came for {PATIENCE_SECONDS:g} s"):
        chunks(Client(refused("InternalError", 500)))
    assert b"".join(chunks(Client(5_000))) == CONTENT, "it breaks every 5,000 bytes"


@pytest.mark.parametrize("after", [1_000, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_patience_is_for_the_store_and_not_for_who_takes_the_chunks(after: int) -> None:
    client, time = Client(after, None), Time()
    found = []
    reading = S3Store(client, "bucket", sleep=time.sleep, monotonic=time.monotonic)
    for chunk in reading.read("key", len(CONTENT), '"etag"'):
        found.append(chunk)
        time.now += 10 * PATIENCE_SECONDS
    assert b"".join(found) == CONTENT
    assert len(client.requests) == 2


def test_a_bug_is_not_taken_for_a_passing_error() -> None:
    with pytest.raises(ZeroDivisionError):
        chunks(Client(ZeroDivisionError()))


def test_pages_are_listed_to_the_last_one_and_throttling_passes() -> None:
    client = Client(refused("SlowDown", 503))
    found = list(store(client).list("p/"))
    assert found == [Listed("a", 1, "e1"), Listed("b", 2, "e2")]


def test_a_bucket_or_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResourceError, match="bucket"):
        list(store(Client(refused("NoSuchBucket", 404))).list(""))
    with pytest.raises(MissingResourceError, match="absent"):
        DirectoryStore(tmp_path / "absent")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.unlink(), "object_missing"),
        (lambda path: path.write_bytes(b"other"), "object_changed"),
    ],
)
def test_a_file_that_is_not_what_was_listed_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    directory = DirectoryStore(tmp_path)
    (one,) = directory.list("")
    spoil(path)
    with pytest.raises(ObjectError) as caught:
        list(directory.read(one.key, one.size, one.version))
    assert caught.value.reason == reason
