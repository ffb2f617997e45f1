"""What a run of a producer can be asked for, and what goes together."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from errors import SettingsError

DOMAINS = ("ecommerce", "access_logs", "clickstream", "wiki")
CSV_ROWS_PER_SECOND = 4.0
EVENTS_PER_SECOND = 500.0
_RATES = {"wiki": 50.0}


def new_seed() -> int:
    """Draw a seed."""
    return secrets.randbelow(2**31)


@dataclass(frozen=True, slots=True)
class ProduceOptions:
    """What `kinewax produce` is asked for.

    Attributes:
        domain: Whose events: one of `DOMAINS`, or any with a template.
        to: `kinesis://STREAM` or `file:///PATH`.
        events: How many events; None for as many as `seconds` hold.
        rate: Events a second of event time; None for 500, 50 of a wiki, or 4 rows of a CSV.
        seconds: How much event time; None for ever on a live stream.
        seed: Where chance comes from; the report names it, so that a run can be repeated.
        users: Honest users; None for 10,000, or as many as the rate needs and as many again.
        attackers: Users who attack, once each; for access logs the number of attacks, for clicks
            that of customers who burst.
        disorder: Events arrive up to this much after their time.
        late_share: Share of honest events beyond the disorder and a window.
        malformed_share: Malformed records for each good one.
        from_csv: Replay this CSV instead of generating.
        template: Make events from this template of the Kinesis Data Generator.
        pretty: Pretty-print a CSV's rows, as the original did.
        start: Event time of the first event: puts a stream on the simulated clock too.
        kpl: Aggregate records.
        newline: End each record of an access log with a line's end.
        truth: Where to write what the run held.
        source: Events that others made, instead of generated ones: the URL of a stream of
            server-sent events, or a file of captured ones.
        position: Where the id of the last event written is kept, to go on from.
        user_agent: What the stream's server is told of us.
        drop_canaries: Whether its test events are left out.
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
    template: Path | None = None
    pretty: bool = False
    start: datetime | None = None
    kpl: bool = False
    newline: bool = False
    truth: Path | None = None
    source: str | None = None
    position: Path | None = None
    user_agent: str | None = None
    drop_canaries: bool = False


def check(options: ProduceOptions) -> None:
    """Raise one error that names every problem."""
    problems: list[str] = []
    url = urlsplit(options.to)
    to_stream = url.scheme == "kinesis"
    if options.domain not in DOMAINS and options.template is None:
        known = f"{', '.join(DOMAINS[:-1])} and {DOMAINS[-1]}"
        problems.append(
            f"DOMAIN: there is no producer for {options.domain!r}, only for {known}; "
            "others need a --template"
        )
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
    if not to_stream and options.newline:
        problems.append("--newline: a file's lines end with one by themselves")
    if options.domain != "access_logs" and options.newline:
        problems.append("--newline: only goes with access_logs")
    if options.domain != "ecommerce" and options.from_csv is not None:
        problems.append("--from-csv: only goes with ecommerce")
    if options.template is not None and options.from_csv is not None:
        problems.append("--template, --from-csv: only one of them")
    if options.template is not None and options.domain != "clickstream":
        planted = {"--attackers": options.attackers, "--malformed-share": options.malformed_share}
        problems += [
            f"{flag}: with a template only for clickstream"
            for flag, value in planted.items()
            if value
        ]
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
    problems += _source_problems(options)
    if options.events and options.seconds and options.rate and options.from_csv is None:
        problems.append("--events, --seconds, --rate: two of them say it all")
    if problems:
        msg = "; ".join(problems)
        raise SettingsError(msg, problems=tuple(problems))


def _source_problems(options: ProduceOptions) -> list[str]:
    problems = []
    of_stream = {
        "--position": options.position,
        "--user-agent": options.user_agent,
        "--drop-canaries": options.drop_canaries,
    }
    if options.source is None or not is_url(options.source):
        problems += [
            f"{flag}: only goes with --from URL" for flag, value in of_stream.items() if value
        ]
    if options.source is None:
        return problems
    if options.domain != "wiki":
        problems.append("--from: only goes with wiki")
    made = {
        "--rate": options.rate,
        "--seconds": options.seconds,
        "--users": options.users,
        "--attackers": options.attackers,
        "--disorder": options.disorder,
        "--late-share": options.late_share,
        "--malformed-share": options.malformed_share,
        "--start": options.start,
        "--template": options.template,
    }
    problems += [
        f"{flag}: only goes with generated events" for flag, value in made.items() if value
    ]
    if options.position is not None and file_path(options.to) is not None:
        problems.append("--position: only goes with a stream; a file is written anew each time")
    return problems


def is_url(source: str) -> bool:
    """Tell whether events come from a server, not from a file."""
    return source.startswith(("https://", "http://"))


def rate_of(options: ProduceOptions) -> float:
    """Return events a second of event time."""
    if options.rate is not None:
        return options.rate
    if options.from_csv is not None:
        return CSV_ROWS_PER_SECOND
    if options.events and options.seconds:
        return options.events / options.seconds
    return _RATES.get(options.domain, EVENTS_PER_SECOND)


def file_path(to: str) -> Path | None:
    """Return the file that a URL names; None for a stream."""
    url = urlsplit(to)
    return Path(url.path) if url.scheme == "file" else None
