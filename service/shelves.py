"""Where copies of a recovery store are kept: an S3 prefix, or a directory.

Guarantee: what can be read under a name is whole; `claim` succeeds for one of several who try.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from errors import KinewaxError, SettingsError
from service.aws import Aws, error_code, explain

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_ATTEMPTS = 8
_DELETED_AT_ONCE = 1_000  # DeleteObjects takes no more

_T = TypeVar("_T")


class Shelf(Protocol):
    """Keeps files by name; names may hold slashes."""

    def names(self) -> list[str]:
        """Return all names, ascending."""

    def read(self, name: str) -> bytes:
        """Return a small file."""

    def put(self, name: str, path: Path) -> None:
        """Keep a file's content."""

    def fetch(self, name: str, path: Path) -> None:
        """Write a file's content to `path`."""

    def claim(self, name: str, content: bytes) -> bool:
        """Keep a small file unless the name is taken; tell whether it wasn't."""

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; names that nothing has are ignored."""


def open_shelf(url: str, aws: Aws) -> Shelf:
    """Return the shelf of `s3://BUCKET/PREFIX` or `file:///DIRECTORY`.

    Raises:
        SettingsError: It is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        prefix = parts.path.strip("/")
        client = aws.fresh("s3", retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"})
        return S3Shelf(client, parts.netloc, f"{prefix}/" if prefix else "")
    if parts.scheme == "file" and parts.path:
        return DirectoryShelf(Path(parts.path))
    msg = f"{url!r} is no place for snapshots"
    raise SettingsError(msg, hint="name s3://BUCKET/PREFIX or file:///DIRECTORY")


class DirectoryShelf:
    """A directory: of another disk, or a network's."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Return all names, ascending."""
        files = (path for path in self._root.rglob("*") if path.is_file())
        return sorted(path.relative_to(self._root).as_posix() for path in files)

    def read(self, name: str) -> bytes:
        """Return a small file."""
        return self._told(lambda: (self._root / name).read_bytes(), name)

    def put(self, name: str, path: Path) -> None:
        """Keep a file's content."""

        def copy() -> None:
            draft = self._draft(name)
            shutil.copyfile(path, draft)
            draft.replace(self._root / name)

        self._told(copy, name)

    def fetch(self, name: str, path: Path) -> None:
        """Write a file's content to `path`."""
        self._told(lambda: shutil.copyfile(self._root / name, path), name)

    def claim(self, name: str, content: bytes) -> bool:
        """Keep a small file unless the name is taken; tell whether it wasn't."""

        def link() -> bool:
            draft = self._draft(name)
            draft.write_bytes(content)
            try:
                os.link(draft, self._root / name)
            except FileExistsError:
                return False
            finally:
                draft.unlink()
            return True

        return self._told(link, name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; names that nothing has are ignored."""
        for path in [self._root / name for name in names]:
            self._told(lambda path=path: path.unlink(missing_ok=True), path.name)  # type: ignore[misc]

    def _draft(self, name: str) -> Path:
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path.with_name(f".{path.name}.{uuid.uuid4().hex}")

    def _told(self, work: Callable[[], _T], name: str) -> _T:
        try:
            return work()
        except OSError as error:
            msg = f"{self._root / name}: {error.strerror or error}"
            raise KinewaxError(msg, hint="the place of snapshots must be writable") from error


class S3Shelf:
    """A prefix of a bucket.

    Args:
        client: A boto3 client of S3 that tries again what may pass (`Any`: made at run time).
        bucket: The bucket.
        prefix: What all names begin with there: empty, or with a slash at its end.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def names(self) -> list[str]:
        """Return all names, ascending."""

        def listed() -> list[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
            return sorted(key.removeprefix(self._prefix) for key in keys)

        return self._told(listed, "")

    def read(self, name: str) -> bytes:
        """Return a small file."""

        def got() -> bytes:
            reply = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            content: bytes = reply["Body"].read()
            return content

        return self._told(got, name)

    def put(self, name: str, path: Path) -> None:
        """Keep a file's content."""
        self._told(
            lambda: self._client.upload_file(str(path), self._bucket, self._prefix + name), name
        )

    def fetch(self, name: str, path: Path) -> None:
        """Write a file's content to `path`."""
        self._told(
            lambda: self._client.download_file(self._bucket, self._prefix + name, str(path)), name
        )

    def claim(self, name: str, content: bytes) -> bool:
        """Keep a small file unless the name is taken; tell whether it wasn't."""

        def put() -> bool:
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=self._prefix + name, Body=content, IfNoneMatch="*"
                )
            except ClientError as error:
                if error_code(error) in _TAKEN:
                    return False
                raise
            return True

        return self._told(put, name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; names that nothing has are ignored."""
        keys = [{"Key": self._prefix + name} for name in names]

        def delete() -> None:
            for first in range(0, len(keys), _DELETED_AT_ONCE):
                some = keys[first : first + _DELETED_AT_ONCE]
                reply = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": some, "Quiet": True}
                )
                for one in reply.get("Errors", ()):
                    msg = f"s3://{self._bucket}/{one['Key']}: {one['Code']}"
                    raise KinewaxError(msg, hint="the role needs s3:DeleteObject there")

        self._told(delete, "")

    def _told(self, work: Callable[[], _T], name: str) -> _T:
        try:
            return work()
        except (ClientError, BotoCoreError) as error:
            raise explain(error, f"s3://{self._bucket}/{self._prefix}{name}") from error
