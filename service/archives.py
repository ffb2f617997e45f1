"""Archives as sources: from a URL to objects, listed once and kept beside the recovery store.

`s3://bucket/prefix` and `file:///directory/` (or one file) have the same layouts; see
`sources/archive/layouts.py` for what may stand in a prefix.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from errors import KinewaxError, MissingResourceError, SettingsError
from service.aws import Aws, explain
from service.settings import Settings
from sources.archive.layouts import layout_of
from sources.archive.listing import Listing, listed
from sources.archive.slot import Stamps
from sources.archive.source import DEFAULT_LANES, ArchiveSource, Reading
from sources.archive.stores import DirectoryStore, S3Store, Store

S3 = "s3://"
FILE = "file://"
_HINT = "an archive is s3://BUCKET/PREFIX or file:///DIRECTORY/"
_LISTING_NAME = "objects.json"
_STEP_US = 250_000  # the original's simulator sent 4 rows a second
_WINDOW_US = 10_000_000  # and its windows were of 10 s: stamps begin with one
_PACED_ROWS = 100
_LIST_ATTEMPTS = 5


@dataclass(frozen=True)
class Scope:
    """What a job makes of an archive: which of its objects it needs, and how they may be read.

    Attributes:
        by_arrival: Whether event times are near arrival, so that times in keys tell which objects
            can hold what is wanted. Otherwise all are read.
        one_lane: Whether all must be read in one order: to know what came before, or when.
        run_up_us: How long before the first wanted window events are needed, too.
    """

    by_arrival: bool
    one_lane: bool = False
    run_up_us: int = 0


@dataclass(frozen=True)
class Replay:
    """What a replay chooses, beyond what every run does.

    Attributes:
        from_us: Only windows that begin at this event time or later are written.
        to_us: Only windows that end by this event time are written.
        speed: How many times faster than events happened; None for as fast as it goes.
        notify: Whether people are told of incidents.
        processing_time: Whether events are stamped as they are read, 4 a second.
        listing: The file with the objects, once they are listed.
        board: The file in which the processes tell how far they are.
    """

    from_us: int | None = None
    to_us: int | None = None
    speed: float | None = None
    notify: bool = False
    processing_time: bool = False
    listing: str = ""
    board: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def is_archive(url: str) -> bool:
    """Tell whether a URL can only be an archive's."""
    return url.startswith(S3)


def open_store(url: str, settings: Settings, aws: Aws) -> tuple[Store, str]:
    """Return the store behind a URL, and the prefix in it.

    Raises:
        SettingsError: The URL means nothing.
        MissingResourceError: There is no such directory or file.
    """
    if url.startswith(S3):
        bucket, _, prefix = url.removeprefix(S3).partition("/")
        if not bucket:
            msg = f"{url} names no bucket"
            raise SettingsError(msg, hint=_HINT)
        client = aws.fresh("s3", max_pool_connections=settings.aws.max_connections)
        return S3Store(client, bucket), prefix
    if not url.startswith(FILE + "/"):
        msg = f"{url!r} is no archive"
        raise SettingsError(msg, hint=_HINT)
    path = unquote(url.removeprefix(FILE))
    root, mark, pattern = path.partition("!{")
    if not mark:
        return DirectoryStore(Path(path)), ""
    folder, _, begun = root.rpartition("/")
    return DirectoryStore(Path(folder or "/")), begun + mark + pattern


def list_archive(url: str, replay: Replay, settings: Settings, aws: Aws, scope: Scope) -> Listing:
    """List an archive, in the order and the lanes in which it is to be read.

    Args:
        url: The archive's.
        replay: What is wanted of it.
        settings: All settings.
        aws: Makes clients.
        scope: What the job makes of it.

    Raises:
        MissingResourceError: There is no such bucket, or nothing in it.
        KinewaxError: It can't be asked for.
    """
    store, prefix = open_store(url, settings, aws)
    layout = layout_of(prefix)
    disorder_us = round(settings.event_time.disorder.total_seconds() * 1e6)
    from_us, to_us = replay.from_us, replay.to_us
    arrived_us = (
        from_us - scope.run_up_us if scope.by_arrival and from_us is not None else None,
        to_us + disorder_us if scope.by_arrival and to_us is not None else None,
    )
    try:
        found = listed(
            url,
            store,
            layout,
            arrived_us=arrived_us,
            most_lanes=1 if scope.one_lane else DEFAULT_LANES,
            drift_us=_drift_us(settings),
        )
    except KinewaxError:
        raise
    except Exception as error:
        raise explain(error, url) from error
    if not found.objects:
        others = found.left_out + found.folders_left_out
        why = f", {others} objects and folders outside of the times" if others else ""
        msg = f"there is no object to read in {url}{why}"
        raise MissingResourceError(msg, hint="check the prefix, --from and --to")
    return found


def pinned(
    url: str,
    replay: Replay,
    settings: Settings,
    aws: Aws,
    scope: Scope,
    *,
    store: Path,
    scratch: Path,
) -> tuple[Replay, Listing]:
    """Return the replay with its listing: that of the first start on this recovery store."""
    path = store / _LISTING_NAME
    if not path.exists():
        list_archive(url, replay, settings, aws, scope).write(path)
    return replace(replay, listing=str(path), board=str(scratch / "board")), Listing.read(path)


def open_archive(
    url: str, replay: Replay, settings: Settings, aws: Aws, *, started_at_us: int
) -> ArchiveSource:
    """Make the source of a replay whose objects are listed."""
    store, _ = open_store(url, settings, aws)
    begin_us = started_at_us - started_at_us % _WINDOW_US
    return ArchiveSource(
        Listing.read(Path(replay.listing)),
        store,
        Reading(
            drift_us=_drift_us(settings),
            board=Path(replay.board) if replay.board else None,
            stamps=Stamps(begin_us, _STEP_US) if replay.processing_time else None,
            block_rows=None if replay.speed is None else _PACED_ROWS,
        ),
    )


def archive_layout(url: str, replay: Replay, source: ArchiveSource) -> dict[str, str | int]:
    """Return what ties a recovery store to a replay."""
    return {
        "slots": len(source.slots),
        "source": url,
        "from": "-" if replay.from_us is None else replay.from_us,
        "to": "-" if replay.to_us is None else replay.to_us,
        "processing time": str(replay.processing_time),
    }


def moment_us(text: str) -> int:
    """Read a time of --from or --to, UTC where it names no zone.

    Raises:
        ValueError: It is none.
    """
    moment = datetime.fromisoformat(text)
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:  # the first or last hours that there are, elsewhere
        raise ValueError(text) from error
    return round(moment.timestamp() * 1e6)


def _drift_us(settings: Settings) -> int:
    return round(settings.source.max_drift.total_seconds() * 1e6)
