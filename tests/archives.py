"""Streams whose shards lag, the live run over them, the archive that Firehose leaves, its replay.

All in the test's own process: the real wiring and engine between sources and files.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from bytewax.testing import run_main

from dataflows.domain import Domain
from dataflows.ecommerce import ECOMMERCE
from dataflows.options import Options
from dataflows.pipeline import build_flow
from messages import VOLATILE, Adopted, Block, Ended, EndOfInput, Hello, Mark
from operators.spec import Field
from service.archives import Replay, list_archive
from service.aws import Aws
from service.job import Job
from service.settings import Settings
from sinks import files
from sources.archive.listing import Listing
from sources.archive.source import ArchiveSource, Reading
from sources.archive.stores import DirectoryStore
from sources.base import Source
from tests.rig import event

BEGIN_US = 1_795_344_000_000_000  # 2026-11-22T10:40
DISORDER_US = 10_000_000
IDENTIFIED = replace(
    ECOMMERCE, event_id="id", fields=(*ECOMMERCE.fields, Field("id", "text", required=False))
)
"""The shop, were its events to say who they are."""

LOST_ORDER_US = 15 * 60_000_000
LONGEST_LAG_US = 3 * 60_000_000


@dataclass(frozen=True)
class Record:
    """One event on its way: when it happened, where it lies, when it got there."""

    time_us: int
    arrival_us: int
    shard: int
    payload: bytes


def stream_of(rng: Random, shards: int, minutes: int, stragglers: float = 0.0) -> list[Record]:
    """Make a stream's records, in the order of their arrival.

    Each shard lags by up to 3 minutes. None is late but for a share of stragglers, which come up to
    two minutes behind the others of their shard.
    """
    lags_us = [rng.randrange(LONGEST_LAG_US) for _ in range(shards)]
    found: list[Record] = []
    for number in range(minutes * rng.randrange(20, 60)):
        is_attack = rng.random() < 0.2
        time_us = BEGIN_US + rng.randrange(minutes) * 60_000_000
        time_us += rng.randrange(10_000_000 if is_attack else 60_000_000)
        shard = rng.randrange(shards)
        arrival_us = time_us + lags_us[shard] + rng.randrange(DISORDER_US - 1)
        if rng.random() < stragglers:
            arrival_us += rng.randrange(DISORDER_US, 120_000_000)
        found.append(Record(time_us, arrival_us, shard, _event(rng, number, time_us, is_attack)))
    return sorted(found, key=lambda one: (one.arrival_us, one.shard, one.payload))


def _event(rng: Random, number: int, time_us: int, is_attack: bool) -> bytes:
    user = 7 if is_attack else rng.randrange(100, 120)
    fields = event(user, datetime.fromtimestamp(time_us / 1e6, UTC))
    fields["event_type"] = rng.choice(("view", "view", "cart", "purchase"))
    fields["category_code"] = rng.choice(("", "electronics.audio", "kids.toys"))
    fields["brand"] = rng.choice(("", "apple", "lego"))
    fields["user_session"] = f"{user}-{number % 29}"  # some with gaps of half an hour
    return json.dumps({"id": f"event-{number}", **fields}).encode()


class Shards:
    """A live stream that has come to its end: a slot a shard, blocks as they may have been cut."""

    name = "stream"
    finite = True

    def __init__(self, records: Sequence[Record], shards: int, rng: Random) -> None:
        self.slots = tuple(f"slot-{number:02d}" for number in range(shards))
        self._records = [[one for one in records if one.shard == n] for n in range(shards)]
        self._rng = rng

    def open(self, slot: str, state: Any) -> _Shard:
        """Open a slot at its beginning: these runs don't crash."""
        assert state is None
        return _Shard(slot, self._records[self.slots.index(slot)], self._rng)


class _Shard:
    def __init__(self, slot: str, records: Sequence[Record], rng: Random) -> None:
        self.finished = False
        self._slot, self._shard = slot, slot.replace("slot", "shard")
        self._records, self._rng = records, rng
        self._done = 0
        self._greeted = False

    def poll(self) -> list[Block | Mark]:
        if not self._greeted:
            self._greeted = True
            return [Hello(self._slot, (self._shard,)), Adopted(self._shard)]
        taken = self._records[self._done : self._done + self._rng.randrange(1, 200)]
        if not taken:
            self.finished = True
            return [EndOfInput(self._slot), Ended(self._shard)]
        numbers = [str(self._done + number) for number in range(len(taken))]
        self._done += len(taken)
        arrivals_us = np.array([one.arrival_us for one in taken])
        return [Block(self._shard, [one.payload for one in taken], numbers, arrivals_us)]

    def next_awake(self) -> None:
        return None

    def snapshot(self) -> dict[str, Any]:
        return {"version": 1, "ledger": {}}

    def close(self) -> None:
        pass


def delivered(records: Sequence[Record], root: Path, rng: Random, seconds: int) -> None:
    """Write a stream as Firehose does: so many seconds of arrivals an object, two at a time."""
    objects: dict[tuple[int, int], list[Record]] = {}
    for one in records:
        together = (one.arrival_us // (seconds * 1_000_000), rng.randrange(2))
        objects.setdefault(together, []).append(one)
    for number, own in enumerate(objects.values()):
        own.sort(key=lambda one: one.shard)  # the least order that fetching shards can leave
        moment = datetime.fromtimestamp(min(one.arrival_us for one in own) / 1e6, UTC)
        path = root / f"{moment:%Y/%m/%d/%H}" / f"s-1-{moment:%Y-%m-%d-%H-%M-%S}-{number}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(b"".join(one.payload + b"\n" for one in own)))


def listing_of(domain: Domain, root: Path, between_us: tuple[int, int] | None) -> Listing:
    """List an archive as `kinewax replay` does."""
    from_us, to_us = between_us or (None, None)
    replay, settings = Replay(from_us, to_us), Settings()
    late = settings.event_time.model_copy(
        update={"disorder": timedelta(microseconds=DISORDER_US + LOST_ORDER_US)}
    )
    near = settings.source.model_copy(update={"max_drift": timedelta(hours=1)})
    settings = settings.model_copy(update={"event_time": late, "source": near})
    scope = Job("ecommerce", root.as_uri(), settings, replay=replay).scope()
    scope = replace(scope, one_lane=bool(domain.event_id))
    return list_archive(root.as_uri(), replay, settings, Aws(settings.aws), scope)


def run_live(domain: Domain, records: Sequence[Record], shards: int, rng: Random, to: Path) -> None:
    """Run a domain over the shards of a stream."""
    options = Options(time=domain.times[0], disorder_us=DISORDER_US)
    run(domain, Shards(records, shards, rng), options, to)


def run_replay(
    domain: Domain,
    root: Path,
    to: Path,
    *,
    between_us: tuple[int, int] | None = None,
) -> None:
    """Run a domain over an archive, as `kinewax replay` does."""
    options = Options(
        time=domain.times[0],
        disorder_us=DISORDER_US + LOST_ORDER_US,
        early=False,
        notify=False,
        between_us=between_us,
    )
    listing = listing_of(domain, root, between_us)
    run(domain, ArchiveSource(listing, DirectoryStore(root), Reading()), options, to)


def run(domain: Domain, source: Source, options: Options, to: Path) -> None:
    """Run a domain over a source, outputs to a directory."""
    aggregates = domain.aggregates_of(domain.all_windows)
    files.prepare(to, aggregates)
    flow = build_flow(domain, source, [files.FilesSink(to, aggregates)], options)
    run_main(flow)  # type: ignore[no-untyped-call]


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def finals_of(directory: Path) -> dict[str, dict[str, str]]:
    """Return final incidents and rows by file and id, without what differs from run to run."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((*directory.glob("alerts.jsonl"), *directory.glob("aggregates/*"))):
        own = found.setdefault(path.name, {})
        for line in lines_of(path):
            if line.get("phase", "final") == "final":
                kept = {name: value for name, value in line.items() if name not in VOLATILE}
                name = kept.get("row_id") or kept["id"]
                assert name not in own, "an id stands for one row"
                own[name] = json.dumps(kept, sort_keys=True)
    return found


def delivered_again(records: Sequence[Record], rng: Random, share: float) -> list[Record]:
    """Return a stream in which Firehose delivers some records twice, minutes apart.

    The second time they come in another object, which another lane may read.
    """
    again = [
        replace(one, arrival_us=one.arrival_us + rng.randrange(300_000_000))
        for one in records
        if rng.random() < share
    ]
    return sorted([*records, *again], key=lambda one: one.arrival_us)
