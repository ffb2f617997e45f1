"""Puts a feed's records on a stream or into a file, live or on a simulated clock.

Live: events are generated when they happen, stamped with the moment they are due, and sent at once
(or later, as far as disorder is asked for). Simulated: the clock runs as fast as records can be
written. Stopping is orderly in both: what was sent is reported, and the truth file holds it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import orjson

from producers import clickstream, templates
from producers.access_logs import Website
from producers.clickstream import Clicks
from producers.crowd import Traffic
from producers.csv_replay import CsvReplay
from producers.ecommerce import Shop
from producers.file_writer import FileWriter
from producers.kinesis_writer import MAX_RECORDS_PER_CALL, KinesisClient, KinesisWriter
from producers.kpl import aggregate
from producers.options import ProduceOptions, check, file_path, is_url, rate_of
from producers.records import NO_ATTACK, Feed, Record, Writer
from producers.wiki import Changes
from producers.wiki_stream import USER_AGENT, Follower, Position, read_file

EVENTS_IN_A_FILE = 100_000
USERS = 10_000
_USERS_PER_RATE = {"ecommerce": 10, "access_logs": 30}
"""Twice as many honest users for each event a second as would just do, at the busiest hour."""

RAISING_EVENT = 6
"""An incident opens above 5 events: the truth file notes when an attack's sixth was written."""

_FILE_START = datetime(2026, 1, 1, tzinfo=UTC)
_TICK_SECONDS = 0.04
_STEP_RECORDS = 20_000
_TELL_SECONDS = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """The time, and a way to wait that a stop cuts short."""

    def now_us(self) -> int:
        """Return the microseconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait, or return at once when stopped."""

    def stopped(self) -> bool:
        """Whether somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `total` is None where it has no end."""

    events: int
    total: int | None
    elapsed_seconds: float


@dataclass(slots=True)
class Planted:
    """An incident that a detector must find, and when its sixth event was written."""

    user_id: int
    window_start: str
    window_start_us: int
    count: int
    sixth_sent_us: int | None = None
    sixth_written_us: int | None = None


@dataclass(slots=True)
class PlantedAttack:
    """An attack on the web site, as `producers.access_log_attacks` describes it."""

    kind: str
    client: str
    clients: int
    start: str
    start_us: int
    end: str
    end_us: int
    count: int
    sixth_sent_us: int | None = None
    sixth_written_us: int | None = None


@dataclass(slots=True)
class PlantedBurst:
    """A customer's burst, and when the event was written that goes beyond the rule's limit."""

    customer_id: str
    window_start: str
    window_start_us: int
    count: int
    raising_sent_us: int | None = None
    raising_written_us: int | None = None


@dataclass(slots=True)
class PlantedEdits:
    """One user's burst of edits of one wiki, and when its sixth edit was written."""

    user: str
    wiki: str
    window_start: str
    window_start_us: int
    count: int
    sixth_sent_us: int | None = None
    sixth_written_us: int | None = None


PlantedAll = list[Planted] | list[PlantedAttack] | list[PlantedBurst] | list[PlantedEdits]


@dataclass(frozen=True, slots=True)
class ProduceReport:
    """What a run held.

    Attributes:
        records: Records given to the destination, before aggregation.
        events: Well-formed events in them.
        late: Those of them sent beyond the disorder and a window.
        malformed: Malformed records, by kind.
        incidents: What there is to find.
        retried: Records that Kinesis refused and got again.
        stopped: Whether it was stopped before its end.
    """

    domain: str
    to: str
    seed: int
    start: str
    live: bool
    records: int
    events: int
    late: int
    malformed: dict[str, int]
    incidents: PlantedAll
    retried: int
    stopped: bool
    elapsed_seconds: float


Made = Shop | Website | Clicks | Changes
"""What generates events, and can plant something among them."""


class _Sender:
    """Hands records to the writer, and notes when each attack's raising event was written."""

    def __init__(self, writer: Writer, clock: Clock, raising: int) -> None:
        self._writer = writer
        self._clock = clock
        self._raising = raising
        self._seen: Counter[int] = Counter()
        self.records = 0
        self.raised: dict[int, tuple[int, int]] = {}

    def send(self, records: Sequence[Record]) -> None:
        # A call at a time, so that an attack's event is written when its own call returns.
        for first in range(0, len(records), MAX_RECORDS_PER_CALL):
            call = records[first : first + MAX_RECORDS_PER_CALL]
            sent_us = self._clock.now_us()
            self._writer.write(call)
            written_us = self._clock.now_us()
            self.records += len(call)
            for attack in [record.attack for record in call if record.attack != NO_ATTACK]:
                self._seen[attack] += 1
                if self._seen[attack] == self._raising:
                    self.raised[attack] = (sent_us, written_us)


def produce(
    options: ProduceOptions,
    *,
    kinesis_client_factory: Callable[[], KinesisClient],
    clock: Clock,
    out: Callable[[Progress], None],
) -> ProduceReport:
    """Run a producer to its end, or until the clock says stop.

    Args:
        options: What to produce.
        kinesis_client_factory: Makes the client; only called for a stream.
        clock: The time and the stop; simulated runs only look at its stop.
        out: Told about the progress, about once a second.

    Raises:
        SettingsError: The options don't go together.
        MissingResourceError: The stream or the CSV doesn't exist.
        DeliveryError: Records couldn't be written.
    """
    check(options)
    if options.source is not None:
        writer = _writer(options, kinesis_client_factory)
        return _hand_on(options, options.source, writer, clock, out)
    live = file_path(options.to) is None and options.start is None
    start_us = _start_us(options, clock, live=live)
    feed, total = _feed(options, start_us, live=live)
    writer = _writer(options, kinesis_client_factory)
    sender = _Sender(writer, clock, _raising(feed))
    step_us = max(int(_STEP_RECORDS / rate_of(options) * 1e6), 1)
    began, told_seconds, until_us = time.monotonic(), 0.0, start_us
    try:
        while not feed.done and not clock.stopped():
            until_us = clock.now_us() if live else until_us + step_us
            sender.send(feed.advance(until_us))
            elapsed_seconds = time.monotonic() - began
            if elapsed_seconds - told_seconds >= _TELL_SECONDS:
                told_seconds = elapsed_seconds
                out(Progress(feed.events, total, elapsed_seconds))
            if live and not feed.done:
                clock.sleep(_TICK_SECONDS)
    finally:
        writer.close()
    made = feed if isinstance(feed, Made) else None
    report = ProduceReport(
        domain=options.domain,
        to=options.to,
        seed=options.seed,
        start=_iso(start_us),
        live=live,
        records=sender.records,
        events=feed.events,
        late=made.late if made else 0,
        malformed=made.malformed if made else {},
        incidents=_planted(made, sender) if made else [],
        retried=writer.retried if isinstance(writer, KinesisWriter) else 0,
        stopped=not feed.done,
        elapsed_seconds=round(time.monotonic() - began, 3),
    )
    if options.truth is not None:
        write_truth(options.truth, report)
    return report


def _writer(
    options: ProduceOptions, kinesis_client_factory: Callable[[], KinesisClient]
) -> KinesisWriter | FileWriter:
    path = file_path(options.to)
    if path is not None:
        return FileWriter(path)
    return KinesisWriter(
        kinesis_client_factory(),
        urlsplit(options.to).netloc,
        sleep=time.sleep,  # a stop doesn't cut the pauses between attempts short
        monotonic=time.monotonic,
        rng=random.Random(options.seed),
        pack=aggregate if options.kpl else None,
    )


def _hand_on(
    options: ProduceOptions,
    source: str,
    writer: KinesisWriter | FileWriter,
    clock: Clock,
    out: Callable[[Progress], None],
) -> ProduceReport:
    """Write events that others made; there is nothing to find that we would know of."""
    began, start_us = time.monotonic(), clock.now_us()
    try:
        if is_url(source):
            follower = Follower(
                source,
                writer,
                Position(options.position),
                clock=clock,
                rng=random.Random(options.seed),
                user_agent=options.user_agent or USER_AGENT,
                keep_canaries=not options.drop_canaries,
                most=options.events,
                tell=lambda events: out(Progress(events, options.events, time.monotonic() - began)),
            )
            events = follower.run().events
        else:
            events = 0
            records = islice(read_file(Path(source.removeprefix("file://"))), options.events)
            while (batch := list(islice(records, _STEP_RECORDS))) and not clock.stopped():
                writer.write(batch)
                events += len(batch)
    finally:
        writer.close()
    report = ProduceReport(
        domain=options.domain,
        to=options.to,
        seed=options.seed,
        start=_iso(start_us),
        live=is_url(source),
        records=events,
        events=events,
        late=0,
        malformed={},
        incidents=[],
        retried=writer.retried if isinstance(writer, KinesisWriter) else 0,
        stopped=clock.stopped(),
        elapsed_seconds=round(time.monotonic() - began, 3),
    )
    if options.truth is not None:
        write_truth(options.truth, report)
    return report


def write_truth(path: Path, report: ProduceReport) -> None:
    """Write a report where a test or a person can read it; never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    draft.replace(path)


# ---- how options become a run -----------------------------------------------------------------


def _start_us(options: ProduceOptions, clock: Clock, *, live: bool) -> int:
    """Return when the run starts, in event time."""
    if live:
        return clock.now_us()
    return (_utc(options.start or _FILE_START) - _EPOCH) // timedelta(microseconds=1)


def _feed(options: ProduceOptions, start_us: int, *, live: bool) -> tuple[Feed, int | None]:
    """Make the feed, and say how many events it will give, where that is known."""
    rate, events, seconds = rate_of(options), options.events, options.seconds
    if options.from_csv is not None:
        rows = events
        if seconds is not None:
            within = int(seconds * rate)
            rows = within if rows is None else min(rows, within)
        replay = CsvReplay(options.from_csv, rate, start_us, pretty=options.pretty, rows=rows)
        return replay, rows
    if events is None and seconds is not None:
        events = max(round(seconds * rate), 1)
    if events is None and not live:
        events = EVENTS_IN_A_FILE
    traffic = Traffic(
        start_us=start_us,
        duration_us=None if events is None else max(int(events / rate * 1e6), 1),
        rate=rate,
        events=events,
        users=options.users or max(USERS, round(rate * _USERS_PER_RATE.get(options.domain, 0))),
        attackers=options.attackers,
        disorder_us=options.disorder // timedelta(microseconds=1),
        late_share=options.late_share,
        malformed_share=options.malformed_share,
    )
    if options.template is not None or options.domain == "clickstream":
        path = options.template or templates.FOLDER / "clickstream.json"
        keyed = options.domain == "clickstream"
        return Clicks(templates.read(path), traffic, options.seed, keyed=keyed), events
    if options.domain == "access_logs":
        return Website(traffic, options.seed, newline=options.newline), events
    if options.domain == "wiki":
        return Changes(traffic, options.seed), events
    return Shop(traffic, options.seed), events


def _raising(feed: Feed) -> int:
    """Return which event of an attack opens its incident."""
    return clickstream.RAISING_EVENT if isinstance(feed, Clicks) else RAISING_EVENT


def _planted(made: Made, sender: _Sender) -> PlantedAll:
    """List the incidents that the run really held."""
    if isinstance(made, Clicks):
        return [
            PlantedBurst(
                burst.customer_id,
                burst.window_start,
                burst.window_start_us,
                burst.count,
                *sender.raised.get(number, (None, None)),
            )
            for number, burst in made.attacks.items()
            if burst.count >= clickstream.RAISING_EVENT
        ]
    if isinstance(made, Changes):
        return [
            PlantedEdits(
                burst.user,
                burst.wiki,
                burst.window_start,
                burst.window_start_us,
                burst.count,
                *sender.raised.get(number, (None, None)),
            )
            for number, burst in made.bursts.items()
            if burst.count >= RAISING_EVENT
        ]
    if isinstance(made, Website):
        return [
            PlantedAttack(
                attack.kind,
                attack.client,
                attack.clients,
                attack.start,
                attack.start_us,
                attack.end,
                attack.end_us,
                attack.count,
                *sender.raised.get(number, (None, None)),
            )
            for number, attack in made.attacks.items()
            if attack.count >= RAISING_EVENT
        ]
    return [
        Planted(
            attack.user_id,
            attack.window_start,
            attack.window_start_us,
            attack.count,
            *sender.raised.get(number, (None, None)),
        )
        for number, attack in made.attacks.items()
        if attack.count >= RAISING_EVENT
    ]


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")
