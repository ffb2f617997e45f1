"""Puts a feed's records on a stream or into a file, live or on a simulated clock.

Live: events are generated when they happen, stamped with the moment they are due, and sent at once
(or later, as far as disorder is asked for). Simulated: the clock runs as fast as records can be
written. Stopping is orderly in both: what was sent is reported, and the truth file holds it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import orjson

from errors import SettingsError
from producers.csv_replay import CsvReplay
from producers.ecommerce import Shop, Traffic
from producers.file_writer import FileWriter
from producers.kinesis_writer import MAX_RECORDS_PER_CALL, KinesisClient, KinesisWriter
from producers.kpl import aggregate
from producers.records import NO_ATTACK, Feed, Record, Writer

DOMAINS = ("ecommerce",)
CSV_ROWS_PER_SECOND = 4.0
EVENTS_PER_SECOND = 500.0
EVENTS_IN_A_FILE = 100_000
USERS = 10_000
_USERS_PER_RATE = 10
"""Honest users make at most 2 events in 10 s on average: 5 for each event a second would do."""

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


def new_seed() -> int:
    """Draw a seed."""
    return secrets.randbelow(2**31)


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """What `kinewax produce` is asked for.

    Attributes:
        domain: Whose events: one of `DOMAINS`.
        to: `kinesis://STREAM` or `file:///PATH`.
        events: How many events; None for as many as `seconds` hold.
        rate: Events a second of event time; None for the domain's own, 4 rows for a CSV.
        seconds: How much event time; None for ever on a live stream.
        seed: Where chance comes from; the report names it, so that a run can be repeated.
        users: Honest users; None for 10,000, or as many as the rate needs and as many again.
        attackers: Users who attack, once each.
        disorder: Events arrive up to this much after their time.
        late_share: Share of honest events beyond the disorder and a window.
        malformed_share: Malformed records for each good one.
        from_csv: Replay this CSV instead of generating.
        pretty: Pretty-print a CSV's rows, as the original did.
        start: Event time of the first event: puts a stream on the simulated clock too.
        kpl: Aggregate records.
        truth: Where to write what the run held.
    """

    domain: str
    to: str
    events: int | None = None
    rate: float | None = None
    seconds: float | None = None
    seed: int = field(default_factory=new_seed)
    users: int | None = None
    attackers: int = 0
    disorder: timedelta = timedelta(0)
    late_share: float = 0.0
    malformed_share: float = 0.0
    from_csv: Path | None = None
    pretty: bool = False
    start: datetime | None = None
    kpl: bool = False
    truth: Path | None = None


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
    incidents: list[Planted]
    retried: int
    stopped: bool
    elapsed_seconds: float


class _Sender:
    """Hands records to the writer, and notes when the sixth event of each attack was written."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._seen: Counter[int] = Counter()
        self.records = 0
        self.sixth: dict[int, tuple[int, int]] = {}

    def send(self, records: Sequence[Record]) -> None:
        # A call at a time, so that an attack's sixth event is written when its own call returns.
        for first in range(0, len(records), MAX_RECORDS_PER_CALL):
            call = records[first : first + MAX_RECORDS_PER_CALL]
            sent_us = self._clock.now_us()
            self._writer.write(call)
            written_us = self._clock.now_us()
            self.records += len(call)
            for attack in [record.attack for record in call if record.attack != NO_ATTACK]:
                self._seen[attack] += 1
                if self._seen[attack] == RAISING_EVENT:
                    self.sixth[attack] = (sent_us, written_us)


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
    _check(options)
    path = _file_path(options.to)
    live = path is None and options.start is None
    start_us = _start_us(options, clock, live=live)
    feed, total = _feed(options, start_us, live=live)
    writer: KinesisWriter | FileWriter
    if path is None:
        writer = KinesisWriter(
            kinesis_client_factory(),
            urlsplit(options.to).netloc,
            sleep=time.sleep,  # a stop doesn't cut the pauses between attempts short
            monotonic=time.monotonic,
            rng=random.Random(options.seed),
            pack=aggregate if options.kpl else None,
        )
    else:
        writer = FileWriter(path)
    sender = _Sender(writer, clock)
    step_us = max(int(_STEP_RECORDS / _rate(options) * 1e6), 1)
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
    shop = feed if isinstance(feed, Shop) else None
    report = ProduceReport(
        domain=options.domain,
        to=options.to,
        seed=options.seed,
        start=_iso(start_us),
        live=live,
        records=sender.records,
        events=feed.events,
        late=shop.late if shop else 0,
        malformed=shop.malformed if shop else {},
        incidents=_planted(shop, sender) if shop else [],
        retried=writer.retried if isinstance(writer, KinesisWriter) else 0,
        stopped=not feed.done,
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


def _check(options: ProduceOptions) -> None:
    """Raise one error that names every problem."""
    problems: list[str] = []
    url = urlsplit(options.to)
    to_stream = url.scheme == "kinesis"
    if options.domain not in DOMAINS:
        problems.append(f"DOMAIN: there is no producer for {options.domain!r}, only for ecommerce")
    if not (to_stream and url.netloc) and not (url.scheme == "file" and url.path.strip("/")):
        problems.append(f"--to: must be kinesis://STREAM or file:///PATH, is {options.to!r}")
    for flag, number in (
        ("--events", options.events),
        ("--rate", options.rate),
        ("--seconds", options.seconds),
        ("--users", options.users),
    ):
        if number is not None and not number > 0:
            problems.append(f"{flag}: must be above 0, is {number:g}")
    for flag, share in (
        ("--late-share", options.late_share),
        ("--malformed-share", options.malformed_share),
    ):
        if not 0 <= share < 1:
            problems.append(f"{flag}: must be at least 0 and below 1, is {share:g}")
    if options.attackers < 0:
        problems.append(f"--attackers: must be at least 0, is {options.attackers}")
    if options.disorder < timedelta(0):
        problems.append("--disorder: must not be negative")
    if not to_stream and options.kpl:
        problems.append("--kpl: only a stream takes aggregates")
    if not to_stream and options.pretty:
        problems.append("--pretty: a line of a file holds no line breaks")
    if options.pretty and options.from_csv is None:
        problems.append("--pretty: goes with --from-csv")
    if options.from_csv is not None:
        unfit = {
            "--attackers": options.attackers,
            "--late-share": options.late_share,
            "--malformed-share": options.malformed_share,
            "--disorder": options.disorder,
        }
        problems += [
            f"{flag}: a replayed CSV has its own" for flag, value in unfit.items() if value
        ]
    if options.events and options.seconds and options.rate and options.from_csv is None:
        problems.append("--events, --seconds, --rate: two of them say it all")
    if problems:
        msg = "; ".join(problems)
        raise SettingsError(msg, problems=tuple(problems))


def _rate(options: ProduceOptions) -> float:
    """Return events a second of event time."""
    if options.rate is not None:
        return options.rate
    if options.from_csv is not None:
        return CSV_ROWS_PER_SECOND
    if options.events and options.seconds:
        return options.events / options.seconds
    return EVENTS_PER_SECOND


def _start_us(options: ProduceOptions, clock: Clock, *, live: bool) -> int:
    """Return when the run starts, in event time."""
    if live:
        return clock.now_us()
    return (_utc(options.start or _FILE_START) - _EPOCH) // timedelta(microseconds=1)


def _feed(options: ProduceOptions, start_us: int, *, live: bool) -> tuple[Feed, int | None]:
    """Make the feed, and say how many events it will give, where that is known."""
    rate, events, seconds = _rate(options), options.events, options.seconds
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
    shop = Shop(
        Traffic(
            start_us=start_us,
            duration_us=None if events is None else max(int(events / rate * 1e6), 1),
            rate=rate,
            events=events,
            users=options.users or max(USERS, round(rate * _USERS_PER_RATE)),
            attackers=options.attackers,
            disorder_us=options.disorder // timedelta(microseconds=1),
            late_share=options.late_share,
            malformed_share=options.malformed_share,
        ),
        options.seed,
    )
    return shop, events


def _planted(shop: Shop, sender: _Sender) -> list[Planted]:
    """List the incidents that the run really held."""
    return [
        Planted(
            attack.user_id,
            attack.window_start,
            attack.window_start_us,
            attack.count,
            *sender.sixth.get(number, (None, None)),
        )
        for number, attack in shop.attacks.items()
        if attack.count >= RAISING_EVENT
    ]


def _file_path(to: str) -> Path | None:
    """Return the file that a URL names; None for a stream."""
    url = urlsplit(to)
    return Path(url.path) if url.scheme == "file" else None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")
