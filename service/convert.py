"""Archives to partitioned Parquet, where no Glue runs: `kinewax convert`.

Each object of an archive becomes one Parquet object, in Hive's folders of the hour at which its
records arrived and under a name made of its own:

    p_year=2026/p_month=11/p_day=22/p_hour=10/raw.2026.11.22.10.shop-1-<time>-<uuid>!<digest>.parquet

Where a key tells no hour, folders go only as far as it tells. A name begins with the whole key, so
objects that arrived together keep their order, and the archive replays as its source does.

Guarantee: a Parquet object is there whole or not at all, and has all events of its source. Done
again, everything has the same name and content. An object that can't be read to its end is named
and leaves nothing; a record that is no event is a dead letter beside its object, in a file whose
name begins with `_`, which replays and Athena pass over.

Limits: memory holds one group of rows (`GROUP_BYTES`), and the disk one object. An access log has
no JSON objects, so no columns.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote

from botocore.exceptions import BotoCoreError, ClientError

from dataflows.domain import Domain
from dataflows.registry import find_domain
from errors import KinewaxError, MissingResourceError, SettingsError
from messages import Reject
from service.archives import FILE, S3, open_store
from service.aws import Aws, explain
from service.convert_rows import RowMaker, schema_of
from service.settings import Settings
from sinks.lines import lines_of
from sources.archive.formats import batches
from sources.archive.layouts import HOUR_US, Period, layout_of
from sources.archive.listing import ArchiveObject, Listing, listed
from sources.archive.stores import EMPTY, ObjectError, Store

GROUP_BYTES = 16 * 1024 * 1024
"""So many bytes of JSON make a group of rows."""

_DIGEST_BYTES = 6
_MOST_NAME_BYTES = 200  # of the 255 that a file's name may have
_SUFFIXES = (
    *(".gz", ".gzip", ".zip", ".zst", ".zstd"),
    *(".csv", ".json", ".jsonl", ".ndjson", ".txt", ".log", ".parquet"),
)
_FOLDERS = ("p_year=%Y/", "p_month=%m/", "p_day=%d/", "p_hour=%H/")
_DAY_US = 24 * HOUR_US
_LONGEST_US = (366 * _DAY_US, 31 * _DAY_US, _DAY_US, HOUR_US)  # what each folder stands for


@dataclass(slots=True)
class Converted:
    """What converting came to.

    Attributes:
        objects: How many were read.
        written: How many Parquet objects were.
        records: How many records there were.
        events: How many of them are rows now.
        rejected: How many weren't events, by reason.
        unreadable: Objects that could not be read to their end: key, reason, detail.
        bytes_read: Of all objects, as they lie there.
        bytes_written: Of all Parquet objects.
    """

    objects: int = 0
    written: int = 0
    records: int = 0
    events: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unreadable: list[tuple[str, str, str]] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0


class Target(Protocol):
    """Where converted objects go."""

    def put(self, key: str, path: Path) -> None:
        """Store a file's content under a key: whole, or not at all."""


class DirectoryTarget:
    """A directory, made when it is needed.

    Args:
        root: Keys are paths from here on.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, path: Path) -> None:
        """Copy a file beside where it goes, and rename it."""
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        with path.open("rb") as source, beside.open("wb") as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        beside.replace(target)


class S3Target:
    """A bucket.

    Args:
        client: boto3's (untyped: made at run time). It tries again by itself.
        bucket: Its name.
        prefix: What keys begin with.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def put(self, key: str, path: Path) -> None:
        """Put a file, of up to 5 GiB: S3 shows it when all of it is there."""
        with path.open("rb") as body:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body)


class Converting:
    """An archive on its way to Parquet.

    Args:
        domain: Whose events it holds: its name, or a file.
        time: Which of the domain's times is the event time, which no event can be without; None
            for its first.
        source: The archive's URL.
        target: Where Parquet goes: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`.
        settings: All settings.
        aws: Makes clients.

    Attributes:
        listing: What there is to convert.

    Raises:
        SettingsError: A URL means nothing, or the domain has no such time, or no JSON.
        MissingResourceError: There is nothing at the source.
    """

    def __init__(
        self,
        domain: str,
        time: str | None,
        source: str,
        target: str,
        settings: Settings,
        aws: Aws,
    ) -> None:
        self._domain = find_domain(domain)
        chosen = _time(self._domain, time)
        if _lies_in(target, source):
            msg = f"{target} lies in {source}: converted again, it would be converted, too"
            raise SettingsError(msg, hint="name another prefix")
        self._rows = RowMaker(self._domain, chosen)
        self._schema = schema_of(self._rows.tree)
        self._target = _target(target, settings, aws)
        self._store, self.listing = _listed(source, settings, aws)
        self._to = target

    def run(self, progress: Callable[[Converted], None]) -> Converted:
        """Convert all of it; `progress` is told after each object.

        Raises:
            KinewaxError: A store can't be reached, or the disk is full.
        """
        found = Converted()
        try:
            with tempfile.TemporaryDirectory(prefix="kinewax-convert-") as folder:
                for one in self.listing.objects:
                    self._convert(one, Path(folder), found)
                    progress(found)
        except (ClientError, BotoCoreError) as error:
            raise explain(error, self._to) from error
        except OSError as error:
            msg = f"can't write to {self._to}: {error.strerror or error}"
            raise KinewaxError(msg, hint="see that TMPDIR and the target have room") from error
        return found

    def _convert(self, one: ArchiveObject, folder: Path, found: Converted) -> None:
        rows, letters = folder / "rows", folder / "letters"
        own = Converted()
        try:
            self._write(one, rows, letters, own)
        except ObjectError as error:
            found.unreadable.append((one.key, error.reason, error.detail))
            own = Converted()
        else:
            place, name = folders_of(one.period), name_of(one.key)
            if own.rejected:
                self._target.put(f"{place}_{name}.rejected.jsonl", letters)
            if own.events:
                own.written, own.bytes_written = 1, rows.stat().st_size
                self._target.put(f"{place}{name}.parquet", rows)
        found.objects += 1
        found.bytes_read += one.size
        found.written += own.written
        found.bytes_written += own.bytes_written
        found.records += own.records
        found.events += own.events
        found.rejected += own.rejected

    def _write(self, one: ArchiveObject, rows: Path, letters: Path, own: Converted) -> None:
        """Write an object's events and dead letters into files."""
        import pyarrow  # half a second to load, which no other command needs
        from pyarrow import parquet

        with ExitStack() as stack:
            kept = stack.enter_context(letters.open("wb"))
            writer = stack.enter_context(parquet.ParquetWriter(rows, self._schema))
            for group in self._groups(one, kept, own):
                writer.write_table(pyarrow.Table.from_pylist(group, self._schema))
                own.events += len(group)

    def _groups(
        self, one: ArchiveObject, letters: IO[bytes], own: Converted
    ) -> Iterator[list[Any]]:
        """Yield an object's events, as many together as make a group of rows."""
        chunks = self._store.read(one.key, one.size, one.version)
        group: list[Any] = []
        size = 0
        for batch in batches(one.key, chunks):
            if batch is None:
                continue
            rows, rejected = self._rows.rows(batch.payloads)
            for index, reason, detail, payload in rejected:
                place = f"{one.key}:{own.records + index + 1}"
                letter = Reject(self._domain.name, reason, detail, "", place, payload)
                letters.writelines(lines_of(letter))
                own.rejected[reason] += 1
            own.records += len(batch.payloads)
            group += rows
            size += sum(map(len, batch.payloads))
            if size >= GROUP_BYTES:
                yield group
                group, size = [], 0
        if not own.records:
            raise ObjectError(EMPTY, "it has no records")
        if group:
            yield group


# ---- names --------------------------------------------------------------------------------------


def folders_of(period: Period | None) -> str:
    """Return the folders of an object that arrived in a period: as far as it tells."""
    if period is None:
        return ""
    finest = sum(period.length_us <= longest_us for longest_us in _LONGEST_US)
    begin = datetime.fromtimestamp(period.begin_us // 1_000_000, UTC)
    return begin.strftime("".join(_FOLDERS[:finest]))


def name_of(key: str) -> str:
    """Return what an object's Parquet is called: as its key, so in its order, and like no other."""
    name = key
    while suffix := next((one for one in _SUFFIXES if name.lower().endswith(one)), ""):
        name = name[: -len(suffix)]
    # A dot comes next before a slash, an exclamation mark before all else that keys are made of.
    name = name.replace("/", ".").encode()[:_MOST_NAME_BYTES].decode(errors="ignore")
    return f"{name}!{blake2b(key.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"


# ---- parts --------------------------------------------------------------------------------------


def _time(domain: Domain, time: str | None) -> str:
    if domain.format is not None:
        msg = f"events of {domain.name} are lines of text, which have no columns"
        raise SettingsError(msg, hint="archives of JSON and CSV can be converted")
    chosen = time or domain.time_choices[0]
    if chosen not in domain.time_choices:
        msg = f"events of {domain.name} have no time {chosen!r}"
        raise SettingsError(msg, hint=f"--time: {', '.join(domain.time_choices)}")
    return chosen


def _listed(url: str, settings: Settings, aws: Aws) -> tuple[Store, Listing]:
    store, prefix = open_store(url, settings, aws)
    layout = layout_of(prefix)
    try:
        found = listed(url, store, layout, arrived_us=(None, None), most_lanes=1, drift_us=1)
    except (ClientError, BotoCoreError) as error:
        raise explain(error, url) from error
    if not found.objects:
        msg = f"there is no object to read in {url}"
        raise MissingResourceError(msg, hint="check the prefix")
    return store, found


def _lies_in(target: str, source: str) -> bool:
    """Tell whether what is written would be read again, by another run."""
    if target.startswith(S3) and source.startswith(S3):
        return _slashed(target).startswith(layout_of(source).prefix)
    if target.startswith(FILE) and source.startswith(FILE):
        inner, outer = (Path(unquote(url.removeprefix(FILE))).resolve() for url in (target, source))
        return inner.is_relative_to(outer)
    return False


def _target(url: str, settings: Settings, aws: Aws) -> Target:
    if url.startswith(S3):
        bucket, _, prefix = _slashed(url).removeprefix(S3).partition("/")
        if bucket:
            # Nobody else tries again here.
            retries = {"total_max_attempts": 8, "mode": "standard"}
            client = aws.fresh(
                "s3", retries=retries, max_pool_connections=settings.aws.max_connections
            )
            return S3Target(client, bucket, prefix)
    elif url.startswith(FILE + "/"):
        return DirectoryTarget(Path(unquote(url.removeprefix(FILE))))
    msg = f"{url!r} is no place for Parquet"
    raise SettingsError(msg, hint="name s3://BUCKET/PREFIX or file:///DIRECTORY")


def _slashed(url: str) -> str:
    return url if url.endswith("/") else url + "/"
