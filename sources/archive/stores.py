"""Where objects lie: an S3 bucket, or a directory with the same layout.

Guarantee: the bytes of an object are those of the version that was listed, whole and in order, in
chunks that are cut at the same places each time; else `ObjectError` says what is wrong with that
one object, and the rest can go on. What may pass (throttling, a broken connection) is tried again
from the byte that was reached, until nothing has come for `PATIENCE_SECONDS`.
"""

from __future__ import annotations

import errno
import os
import random
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ResponseStreamingError,
)
from urllib3.exceptions import HTTPError

from errors import KinewaxError, MissingResourceError
from sources.archive.folders import files_below, name_of, path_of

MISSING = "object_missing"
CHANGED = "object_changed"
DENIED = "object_denied"
EMPTY = "object_empty"
CORRUPT = "object_corrupt"
TRUNCATED = "object_truncated"
REASONS = {
    MISSING: "an archive's object is gone since it was listed",
    CHANGED: "an archive's object has changed since it was listed",
    DENIED: "an archive's object may not be read",
    EMPTY: "an archive's object holds no records",
    CORRUPT: "an archive's object is not what its name says, or damaged",
    TRUNCATED: "an archive's object ends before its end",
}
"""Why an object of an archive is rejected, beside the reasons of single records."""

CHUNK_BYTES = 256 * 1024
PATIENCE_SECONDS = 60.0
MOST_FOLDERS = 200
"""So many folders are looked into one by one, to leave out those of other times."""
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

_OBJECT_CODES = {
    "NoSuchKey": MISSING,
    "NoSuchVersion": MISSING,
    "404": MISSING,
    "PreconditionFailed": CHANGED,
    "412": CHANGED,
    "InvalidRange": CHANGED,
    "416": CHANGED,
    "AccessDenied": DENIED,
    "403": DENIED,
    "InvalidObjectState": DENIED,  # in Glacier, not restored
    "KMS.DisabledException": DENIED,
}
_FILE_ERRORS = {
    errno.ENOENT: (MISSING, "it is gone since it was listed"),
    errno.ENOTDIR: (MISSING, "it is gone since it was listed"),
    errno.ELOOP: (MISSING, "it is a link that leads nowhere"),
    errno.EISDIR: (CHANGED, "it is a directory"),
    errno.ESTALE: (CHANGED, "it has changed since it was opened"),
    errno.EACCES: (DENIED, "this user may not read it"),
    errno.EPERM: (DENIED, "this user may not read it"),
}
_OWN_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # no file is to blame
_PASSING_CODES = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestLimitExceeded"}
)
_PASSING = (HTTPClientError, ResponseStreamingError, IncompleteReadError, HTTPError, OSError)
_FOR_PEOPLE = (NoCredentialsError, PartialCredentialsError, ParamValidationError)


class ObjectError(Exception):
    """One object can't be read, or not to its end; the others can.

    Args:
        reason: One of the `object_...` reasons of a reject.
        detail: What is wrong, for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as its store lists it; `version` changes with its content."""

    key: str
    size: int
    version: str


Share = Literal["none", "some", "all"]
"""How much of what lies in a folder is wanted."""

Wants = Callable[[str], Share]
"""Tells of a folder (`raw/2026/`), or of the prefix that is listed, how much of it is wanted."""


def everything(_folder: str) -> Share:
    """Want all there is."""
    return "all"


class Store(Protocol):
    """Lists objects and reads them."""

    def list(self, prefix: str, wants: Wants = everything) -> Iterator[Listed]:
        """Yield the objects whose keys begin with `prefix`, but for those in unwanted folders.

        Objects of other folders are yielded whether they are wanted or not.

        Raises:
            MissingResourceError: There is no such bucket or directory.
        """

    def read(self, key: str, size: int, version: str) -> Iterator[bytes]:
        """Yield an object's bytes in chunks of `CHUNK_BYTES`, the last one shorter.

        Raises:
            ObjectError: It isn't there, or isn't the object that was listed.
        """


class DirectoryStore:
    """A directory, or a single file, which then is the only object.

    Args:
        path: Of the directory or file.

    Raises:
        MissingResourceError: There is neither.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            msg = f"there is no file or directory {path}"
            raise MissingResourceError(msg, hint="check the path behind file://")
        self._root = path if path.is_dir() else path.parent
        self._only = None if path.is_dir() else path

    def list(self, prefix: str, wants: Wants = everything) -> Iterator[Listed]:
        """Yield the files below the directory; keys are paths from there on.

        What can't be looked at is listed, too, and whoever reads it is told why.
        """
        if self._only is not None:
            names: Iterable[str] = (name_of(self._only.name),)
        else:
            names = files_below(self._root, lambda folder: wants(folder) != "none")
        for name in names:
            if name.startswith(prefix) and (found := self._listed(name)):
                yield found

    def read(self, key: str, size: int, version: str) -> Iterator[bytes]:
        """Yield a file's bytes."""
        done = 0
        try:
            with (self._root / path_of(key)).open("rb") as file:
                if _version(os.fstat(file.fileno())) != (size, version):
                    raise ObjectError(CHANGED, "it has changed since it was listed")
                while chunk := file.read(CHUNK_BYTES):
                    done += len(chunk)
                    if done > size:
                        break
                    yield chunk
                if done != size or _version(os.fstat(file.fileno())) != (size, version):
                    raise ObjectError(CHANGED, "it changed while it was read")
        except OSError as error:
            if error.errno in _OWN_ERRORS:
                raise
            reason, detail = _FILE_ERRORS.get(error.errno or 0, (CORRUPT, str(error.strerror)))
            raise ObjectError(reason, detail) from error

    def _listed(self, name: str) -> Listed | None:
        """Return what stands under a name; None for what holds no bytes, such as a pipe."""
        try:
            status = (self._root / path_of(name)).stat()
        except OSError:  # it may not be looked at, or is a link to nothing: who reads it finds out
            return Listed(name, 0, "")
        if stat.S_ISDIR(status.st_mode):  # it can't be read: who tries finds out
            return Listed(name, 0, "")
        return Listed(name, *_version(status)) if stat.S_ISREG(status.st_mode) else None


def _version(status: os.stat_result) -> tuple[int, str]:
    return status.st_size, str(status.st_mtime_ns)


class S3Client(Protocol):
    """The calls that are made; boto3's client is one (`Any`: it builds methods at run time)."""

    def list_objects_v2(self, **request: Any) -> Mapping[str, Any]:
        """List a page of objects."""

    def get_object(self, **request: Any) -> Mapping[str, Any]:
        """Open an object."""


class S3Store:
    """A bucket.

    Args:
        client: Thread-safe.
        bucket: Its name.
        sleep: Waits so many seconds between attempts.
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep
        self._monotonic = monotonic
        self._rng = random.Random()

    def list(self, prefix: str, wants: Wants = everything) -> Iterator[Listed]:
        """Yield the objects page by page, folder by folder where not all are wanted.

        A folder costs a call, so beyond the first `MOST_FOLDERS` what is in others comes whole.
        """
        waiting = [prefix]
        looked_into = 0
        while waiting:
            folder = waiting.pop()
            share = wants(folder)
            if share == "none":
                continue
            into = share == "some" and looked_into < MOST_FOLDERS
            looked_into += into
            request = {"Prefix": folder, **({"Delimiter": "/"} if into else {})}
            while True:
                page = self._page(request)
                for one in page.get("Contents", ()):
                    yield Listed(one["Key"], one["Size"], one["ETag"])
                waiting += [one["Prefix"] for one in page.get("CommonPrefixes", ())]
                if not page.get("IsTruncated"):
                    break
                request["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, key: str, size: int, version: str) -> Iterator[bytes]:
        """Yield an object's bytes; where a connection breaks, the rest by another."""
        done = 0
        pending = bytearray()
        attempt = 0
        patience_ends = self._monotonic() + PATIENCE_SECONDS
        while True:
            try:
                for data in self._rest(key, version, done):
                    attempt = 0
                    done += len(data)
                    if not pending and len(data) == CHUNK_BYTES:  # but where a reply began anew
                        yield data
                    else:
                        pending += data
                        while len(pending) >= CHUNK_BYTES:
                            yield bytes(pending[:CHUNK_BYTES])
                            del pending[:CHUNK_BYTES]
                    # From here on: whoever takes chunks may have been busy for minutes.
                    patience_ends = self._monotonic() + PATIENCE_SECONDS
                break
            except Exception as error:
                self._judge(error, key)
                if self._monotonic() >= patience_ends:
                    msg = f"s3://{self._bucket}/{key}: nothing came for {PATIENCE_SECONDS:g} s"
                    raise KinewaxError(msg, hint=f"the last error: {error}") from error
                self._pause(attempt)
                attempt += 1
        if done != size:
            raise ObjectError(CHANGED, f"it has {done} bytes, {size} were listed")
        if pending:
            yield bytes(pending)

    def _rest(self, key: str, version: str, begin: int) -> Iterator[bytes]:
        span = {"Range": f"bytes={begin}-"} if begin else {}
        reply = self._client.get_object(Bucket=self._bucket, Key=key, IfMatch=version, **span)
        body = reply["Body"]
        try:
            while data := body.read(CHUNK_BYTES):
                yield data
        finally:
            body.close()

    def _page(self, request: Mapping[str, str]) -> Mapping[str, Any]:
        attempt = 0
        patience_ends = self._monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._client.list_objects_v2(Bucket=self._bucket, **request)
            except Exception as error:
                if isinstance(error, ClientError) and _code(error) == "NoSuchBucket":
                    msg = f"bucket {self._bucket} does not exist"
                    raise MissingResourceError(msg, hint="mend its name") from error
                if not _passes(error) or self._monotonic() >= patience_ends:
                    raise
                self._pause(attempt)
                attempt += 1

    def _pause(self, attempt: int) -> None:
        longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
        self._sleep(self._rng.uniform(0, longest))

    def _judge(self, error: Exception, key: str) -> None:
        """Return when trying again may help; else raise what the error means."""
        if isinstance(error, ClientError) and (reason := _OBJECT_CODES.get(_code(error))):
            detail = f"{_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
            raise ObjectError(reason, detail) from error
        if not _passes(error):
            if not isinstance(error, BotoCoreError | ClientError):
                raise error
            msg = f"s3://{self._bucket}/{key}: {error}"
            raise KinewaxError(msg, hint="check credentials and permissions") from error


def _passes(error: Exception) -> bool:
    """Tell whether a failed call may succeed when it is made again."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or _code(error) in _PASSING_CODES
    return isinstance(error, _PASSING) and not isinstance(error, _FOR_PEOPLE)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
