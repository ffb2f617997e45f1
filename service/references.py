"""Files beside the stream: read before a run, and again whenever they change.

A thread of each process asks for each file every `references.interval`: S3 by one GetObject with
`If-None-Match`, which brings the object only if its ETag is another; a file of this machine by its
size and time of change. The dataflow only takes up what is there, and never waits.

At a start a file must be there and right, else the run is refused. Later, when one can't be read,
or is wrong, the last good copy stays in force; that is logged as a warning each time, counted, and
`kinewax_reference_checked_timestamp_seconds` stands still: its age is how old the copy may be.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

import metrics
from dataflows.domain import Domain
from errors import KinewaxError, MissingResourceError, SettingsError
from operators.allow import Allows, allows_of_table
from operators.reference import Table, TableError, table_of
from operators.reference_rows import rows_of
from operators.reference_spec import Reference
from operators.spec import Field
from service.aws import error_code, explain
from service.settings import Settings

logger = logging.getLogger("kinewax.service")

S3 = "s3://"
FILE = "file://"
ALLOW = "allow"
"""What the file of `rules.allow_from` is called beside the domain's references."""

T = TypeVar("T")
_UNCHANGED = ("304", "NotModified")
_GONE = ("NoSuchKey", "NoSuchBucket", "404")
_URLS = "name s3://BUCKET/KEY or file:///PATH"


@dataclass(frozen=True, slots=True)
class Content:
    """A file as it was read: its bytes, and what names this version of it."""

    data: bytes
    version: str


class Watched(Generic[T]):
    """One file, what is made of it, and which version that is.

    Args:
        name: What it is called in logs and metrics.
        url: Where it is.
        read: Reads it; None where it is still the version that is given.
        make: Makes of its bytes what the dataflow uses; may raise `TableError`.
        loaded: Told of each version that comes into force, with its facts.

    Raises:
        KinewaxError: It can't be read, or is wrong.
    """

    def __init__(
        self,
        name: str,
        url: str,
        read: Callable[[str], Content | None],
        make: Callable[[bytes], T],
        loaded: Callable[[Mapping[str, object]], None],
    ) -> None:
        self.name = name
        self._url = url
        self._read = read
        self._make = make
        self._loaded = loaded
        self._checked = metrics.reference_checked_timestamp.labels(name)
        content = read("")
        assert content is not None, "there is no version before the first"
        try:
            self._current = self._take(content)
        except TableError as error:
            msg = f"{url}: {error}"
            raise SettingsError(msg, hint=f"mend it: it is the table of {name}") from None

    def __call__(self) -> T:
        """Return what is in force."""
        return self._current

    def check(self) -> None:
        """Take up another version, if there is one; keep the last good one if it is wrong."""
        try:
            content = self._read(self._version)
            if content is not None:
                self._current = self._take(content)
        except (KinewaxError, TableError) as error:
            metrics.reference_loads.labels(self.name, "failed").inc()
            logger.warning(
                "%s: the version %s stays in force, %s can't be taken up: %s",
                self.name,
                self._version,
                self._url,
                error,
                extra={"event": "reference_kept", "error_type": type(error).__name__},
            )
        else:
            self._checked.set_to_current_time()

    def _take(self, content: Content) -> T:
        made = self._make(content.data)
        self._version = content.version
        self._checked.set_to_current_time()
        metrics.reference_loads.labels(self.name, "loaded").inc()
        self._loaded(
            {
                "name": self.name,
                "url": self._url,
                "version": content.version,
                "bytes": len(content.data),
                "loaded_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            }
        )
        return made


class References:
    """All files beside the stream of one run.

    Args:
        domain: Whose references.
        settings: Where they are, and the allow-list.
        aws: Makes clients by service name (`Any`: boto3 makes their classes at run time).
        loaded: Told of each version that comes into force.

    Attributes:
        tables: The domain's, by name.
        listed: Whom the allow-list's table allows; None where there is none.

    Raises:
        KinewaxError: One isn't named, isn't there, or is wrong.
    """

    def __init__(
        self,
        domain: Domain,
        settings: Settings,
        aws: Callable[[str], Any],
        loaded: Callable[[Mapping[str, object]], None] = lambda _: None,
    ) -> None:
        self.tables: dict[str, Watched[Table]] = {}
        self.listed: Watched[Allows] | None = None
        self._interval_seconds = settings.references.interval.total_seconds()
        most_bytes = settings.references.max_bytes
        urls = urls_of(domain, settings)
        allow_url = urls.pop(ALLOW, None)
        for reference in domain.references:
            url = urls[reference.name]
            key = domain.field_by_name[reference.key]
            self.tables[reference.name] = Watched(
                reference.name,
                url,
                _reader(url, aws, most_bytes),
                partial(_table, reference, key, url),
                loaded,
            )
        if allow_url is not None:
            self.listed = Watched(
                ALLOW,
                allow_url,
                _reader(allow_url, aws, most_bytes),
                lambda data: allows_of_table(domain.allow, rows_of(allow_url, data)),
                loaded,
            )

    def watch(self) -> None:
        """Ask for changes from now on, in a thread that ends with the process."""
        watched: list[Watched[Table] | Watched[Allows]] = [*self.tables.values()]
        watched += [] if self.listed is None else [self.listed]
        if watched:
            thread = threading.Thread(target=self._watch, args=(watched,), name="references")
            thread.daemon = True
            thread.start()

    def _watch(self, watched: Sequence[Watched[Table] | Watched[Allows]]) -> None:
        never = threading.Event()
        while not never.wait(self._interval_seconds):
            for one in watched:
                one.check()


def _table(reference: Reference, key: Field, url: str, data: bytes) -> Table:
    return table_of(reference, key, rows_of(url, data))


def urls_of(domain: Domain, settings: Settings) -> dict[str, str]:
    """Return where each table is, by the reference's name; the allow-list's as `ALLOW`.

    Raises:
        SettingsError: A reference has none, or there is one for something else.
    """
    declared = [reference.name for reference in domain.references]
    urls: dict[str, str] = {}
    for entry in settings.references.tables:
        name, _, url = entry.partition("=")
        if name not in declared:
            msg = f"references.tables: domain {domain.name} has no reference {name!r}"
            hint = f"its references: {', '.join(declared)}" if declared else "it has none"
            raise SettingsError(msg, hint=hint)
        urls[name] = url
    for name in declared:
        if name not in urls:
            msg = f"references.tables: the reference {name} of domain {domain.name} has no table"
            raise SettingsError(msg, hint=f"--reference {name}=s3://BUCKET/KEY, or file:///PATH")
    if settings.rules.allow_from:
        if not domain.allow:
            msg = f"rules.allow_from: domain {domain.name} allows nobody"
            raise SettingsError(msg)
        urls[ALLOW] = settings.rules.allow_from
    for url in urls.values():
        if not url.startswith((S3, FILE)) or not object_of(url)[1]:
            msg = f"{url!r} names no table"
            raise SettingsError(msg, hint=_URLS)
    return urls


def objects_of(domain: Domain, settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield bucket and key of each table that is in S3."""
    for url in urls_of(domain, settings).values():
        if url.startswith(S3):
            yield object_of(url)


def object_of(url: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URL."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key


def _reader(
    url: str, aws: Callable[[str], Any], most_bytes: int
) -> Callable[[str], Content | None]:
    if url.startswith(FILE):
        path = Path(unquote(url.removeprefix(FILE)))
        return lambda version: _read_file(path, version, most_bytes)
    return lambda version: _read_object(url, version, most_bytes, aws("s3"))


def _read_file(path: Path, version: str, most_bytes: int) -> Content | None:
    try:
        with path.open("rb") as file:
            status = path.stat()
            found = f"{status.st_mtime_ns}-{status.st_size}"
            if found == version:
                return None
            return Content(_bounded(file.read(most_bytes + 1), str(path), most_bytes), found)
    except FileNotFoundError as error:
        msg = f"there is no file {path}"
        raise MissingResourceError(msg, hint="check the path behind file://") from error
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise SettingsError(msg) from error


def _read_object(url: str, version: str, most_bytes: int, s3: Any) -> Content | None:
    bucket, key = object_of(url)
    known = {"IfNoneMatch": version} if version else {}
    try:
        reply = s3.get_object(Bucket=bucket, Key=key, **known)
        with reply["Body"] as body:
            data = body.read(most_bytes + 1)
    except ClientError as error:
        if error_code(error) in _UNCHANGED:
            return None
        if error_code(error) in _GONE:
            msg = f"{url} does not exist"
            raise MissingResourceError(msg, hint="put the table there") from error
        raise explain(error, url) from error
    except (BotoCoreError, HTTPError, OSError) as error:
        msg = f"{url}: {type(error).__name__}: {error}"
        raise KinewaxError(msg) from error
    return Content(_bounded(data, url, most_bytes), reply["ETag"])


def _bounded(data: bytes, what: str, most_bytes: int) -> bytes:
    if len(data) > most_bytes:
        msg = f"{what} has more than {most_bytes:,} bytes"
        raise SettingsError(msg, hint="make it smaller, or raise references.max_bytes")
    return data
