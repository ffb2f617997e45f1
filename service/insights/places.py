"""Where an archive is: a directory or file of this machine, or a prefix in S3.

DuckDB's own S3 reader is an extension that it downloads when it is first used; here objects come
through kinewax's one AWS client instead, into a temporary directory, so that endpoint, credentials
and errors are those of all other commands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from errors import MissingResourceError, SettingsError

_THREADS = 8


class S3(Protocol):
    """The calls that are made; boto3's client is one."""

    def get_paginator(self, operation_name: str) -> Any:
        """Return what pages through a listing; `Any` because boto3 makes it at run time."""

    def download_file(self, bucket: str, key: str, filename: str, /) -> None:
        """Write an object to a file."""


Progress = Callable[[int, int], None]
"""Told after each object: bytes so far, and of how many."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object: its key, its size."""

    key: str
    size_bytes: int


def local(place: str) -> Path:
    """Return the path that a plain path or a file:// URL names.

    Raises:
        MissingResourceError: There is nothing.
    """
    parts = urlsplit(place)
    path = Path(unquote(parts.path)) if parts.scheme == "file" else Path(place)
    if not path.exists():
        msg = f"there is nothing at {path}"
        raise MissingResourceError(msg, hint="name a file, a directory, or s3://BUCKET/PREFIX")
    return path


def is_s3(place: str) -> bool:
    """Tell whether a place is in S3.

    Raises:
        SettingsError: It is a URL of something else.
    """
    scheme = urlsplit(place).scheme if "://" in place else ""
    if scheme not in ("", "file", "s3"):
        msg = f"{place} can't be read"
        raise SettingsError(msg, hint="name a path, file:///PATH, or s3://BUCKET/PREFIX")
    return scheme == "s3"


def fetch(s3: S3, place: str, folder: Path, progress: Progress) -> Path:
    """Copy all objects below `s3://bucket/prefix` into a directory, and return it.

    Raises:
        MissingResourceError: There are none.
    """
    bucket, prefix = _parts(place)
    objects = list(_listed(s3, bucket, prefix))
    if not objects:
        msg = f"there are no objects at {place}"
        raise MissingResourceError(msg, hint="check bucket and prefix with `aws s3 ls`")
    total = sum(one.size_bytes for one in objects)
    done = 0

    def copy(numbered: tuple[int, Listed]) -> int:
        number, one = numbered
        # Keys can be names that no file can have; the last part is for people.
        s3.download_file(bucket, one.key, str(folder / _file_name(number, one.key)))
        return one.size_bytes

    with ThreadPoolExecutor(_THREADS) as pool:
        for size_bytes in pool.map(copy, enumerate(objects)):
            done += size_bytes
            progress(done, total)
    return folder


class Links:
    """Other names of files, with nothing in them that DuckDB expands, as `*` or `[`.

    Args:
        folder: A temporary directory of one's own, for the links.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    def of(self, path: Path) -> str:
        """Return another name of a file."""
        self._made += 1
        link = self._folder / str(self._made)
        link.symlink_to(path.absolute())
        return str(link)


def _parts(place: str) -> tuple[str, str]:
    """Split s3://bucket/prefix as it stands: a key may hold what a URL's path may not."""
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    if not bucket:
        msg = f"{place} names no bucket"
        raise SettingsError(msg, hint="write s3://BUCKET/PREFIX")
    return bucket, prefix


def _listed(s3: S3, bucket: str, prefix: str) -> Iterator[Listed]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Size"]:
                yield Listed(item["Key"], item["Size"])


def _file_name(number: int, key: str) -> str:
    last = PurePosixPath(key).name[-80:]
    return f"{number:08d}-{''.join(c if c.isalnum() or c in '.-' else '-' for c in last)}"
