"""Which objects a replay reads, in which order and in which lane: decided once, and written down.

What lies in an archive changes while it is read. So the objects are listed once, at the first
start, and the listing is kept beside the recovery store: every process, and every later start,
works from the same one. An object that has changed or gone since then is found out when it is read.

A lane is what a shard was: objects in order of arrival, read one behind the other. Objects go
in that order to the lane with the fewest bytes so far, so lanes get on evenly through time.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from errors import LayoutError
from sources.archive.layouts import Layout, Period
from sources.archive.stores import Share, Store

VERSION = 2
BUFFERING_US = 15 * 60 * 1_000_000
"""How long Firehose gathers at most what it puts into one object (15 minutes)."""

_AHEAD_US = 5 * 60 * 1_000_000  # an event's clock may be so far ahead of its arrival
_COST_BYTES = 64 * 1024  # what to open an object costs, in bytes that could be read meanwhile
_LONG_AGO_US = -(2**62)
_HINT = "positions mean nothing without it: start with another recovery store, from the beginning"


@dataclass(frozen=True, slots=True)
class ArchiveObject:
    """One object.

    Attributes:
        key: Its name in its store.
        size: In bytes.
        version: Its ETag, or a file's time of change: another one means another content.
        period: When its records arrived, as far as its key tells.
    """

    key: str
    size: int
    version: str
    period: Period | None

    @property
    def latest_arrival_us(self) -> int | None:
        """The latest moment at which a record in it can have arrived; None if unknown."""
        period = self.period
        if period is None or not period.is_precise:
            return None
        return period.begin_us + period.length_us + BUFFERING_US


@dataclass(frozen=True)
class Listing:
    """All that a replay reads.

    Attributes:
        url: Where the objects are.
        objects: In order of arrival; an object's place here is its rank.
        lanes: How many lanes share them.
        left_out: How many objects lie outside of the times that were asked for.
        folders_left_out: How many folders do, whose objects weren't even listed.
        ignored: How many are no part of the archive, by their names.
    """

    url: str
    objects: tuple[ArchiveObject, ...]
    lanes: int
    left_out: int = 0
    folders_left_out: int = 0
    ignored: int = 0

    @property
    def total_bytes(self) -> int:
        """The size of all objects."""
        return sum(one.size for one in self.objects)

    def lane(self, number: int) -> tuple[int, ...]:
        """Return the ranks of a lane's objects, ascending."""
        return shared_out([one.size for one in self.objects], self.lanes)[number]

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        content = {
            "version": VERSION,
            "url": self.url,
            "lanes": self.lanes,
            "left_out": self.left_out,
            "folders_left_out": self.folders_left_out,
            "ignored": self.ignored,
            "objects": [
                [one.key, one.size, one.version, *_dumped(one.period)] for one in self.objects
            ],
        }
        temporary = path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(orjson.dumps(content))
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name and no content
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Listing:
        """Read what `write` wrote.

        Raises:
            LayoutError: It is damaged, or another version of kinewax wrote it.
        """
        try:
            content: dict[str, Any] = orjson.loads(path.read_bytes())
            if content["version"] != VERSION:
                msg = f"{path} is of version {content['version']}, not {VERSION}"
                raise LayoutError(msg, hint=_HINT)
            objects = tuple(
                ArchiveObject(key, size, version, None if begin is None else Period(begin, length))
                for key, size, version, begin, length in content["objects"]
            )
            numbers = ("lanes", "left_out", "folders_left_out", "ignored")
            return cls(content["url"], objects, *(content[name] for name in numbers))
        except (ValueError, LookupError, TypeError) as error:
            msg = f"{path}, which lists the objects of this replay, is damaged: {error}"
            raise LayoutError(msg, hint=_HINT) from error


def listed(
    url: str,
    store: Store,
    layout: Layout,
    *,
    arrived_us: tuple[int | None, int | None],
    most_lanes: int,
    drift_us: int,
) -> Listing:
    """Choose, order and share out what a store holds.

    Args:
        url: Where the objects are.
        store: Who lists them.
        layout: How keys look.
        arrived_us: When what is wanted arrived, from and to; None for no bound. Objects whose keys
            tell that all of theirs arrived at other times are left out.
        most_lanes: How many lanes at most.
        drift_us: How far lanes may be apart.
    """
    objects: list[ArchiveObject] = []
    left_out = folders_left_out = ignored = 0

    def wants(folder: str) -> Share:
        nonlocal folders_left_out
        if layout.hides(folder):
            return "none"
        share = _share(layout.period_of_folder(folder), *arrived_us)
        folders_left_out += share == "none"
        return share

    for one in store.list(layout.prefix, wants):
        if not layout.includes(one.key):
            ignored += 1
            continue
        period = layout.period_of(one.key)
        if period is not None and not _overlaps(period, *arrived_us):
            left_out += 1
            continue
        objects.append(ArchiveObject(one.key, one.size, one.version, period))
    objects.sort(key=_order)
    lanes = lanes_for([one.period for one in objects], most_lanes, drift_us)
    return Listing(url, tuple(objects), lanes, left_out, folders_left_out, ignored)


def lanes_for(periods: Sequence[Period | None], most: int, drift_us: int) -> int:
    """Return how many lanes read so many objects.

    Each lane holds the watermark at what it has read, so windows stay open for as long as the lanes
    are apart: one object each. Objects that are far apart in time get fewer lanes, two at least.
    """
    known = [period.begin_us for period in periods if period is not None]
    lanes = max(1, min(most, len(periods)))
    if len(known) < len(periods) or len(known) < 2 or known[-1] == known[0]:
        return lanes
    spacing_us = (known[-1] - known[0]) // (len(known) - 1)
    return min(lanes, max(2, drift_us // max(1, spacing_us)))


def shared_out(sizes: Sequence[int], lanes: int) -> list[tuple[int, ...]]:
    """Return the ranks of each lane's objects: each goes to the lane with the least so far."""
    ranks: list[list[int]] = [[] for _ in range(lanes)]
    waiting = [(0, lane) for lane in range(lanes)]
    for rank, size in enumerate(sizes):
        load, lane = waiting[0]
        heapq.heapreplace(waiting, (load + size + _COST_BYTES, lane))
        ranks[lane].append(rank)
    return [tuple(own) for own in ranks]


def _share(period: Period | None, from_us: int | None, to_us: int | None) -> Share:
    """Tell how much of what arrived in a folder's period is wanted."""
    if from_us is None and to_us is None:
        return "all"
    if period is None:
        return "some"
    if not _overlaps(period, from_us, to_us):
        return "none"
    begins = from_us is None or period.begin_us >= from_us
    ends = to_us is None or period.begin_us + period.length_us <= to_us
    return "all" if begins and ends else "some"


def _overlaps(period: Period, from_us: int | None, to_us: int | None) -> bool:
    end_us = period.begin_us + period.length_us + BUFFERING_US
    if from_us is not None and end_us < from_us - _AHEAD_US:
        return False
    return to_us is None or period.begin_us <= to_us


def _order(one: ArchiveObject) -> tuple[int, str]:
    return (_LONG_AGO_US if one.period is None else one.period.begin_us, one.key)


def _dumped(period: Period | None) -> tuple[int | None, int | None]:
    return (None, None) if period is None else (period.begin_us, period.length_us)
