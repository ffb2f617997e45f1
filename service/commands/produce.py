"""`kinewax produce`: puts events on a stream or into a file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from producers.clock import SystemClock
from producers.options import DOMAINS, ProduceOptions, new_seed
from producers.run import ProduceReport, Progress
from producers.run import produce as run_producer
from producers.wiki_stream import RECENT_CHANGES
from service import settings
from service.aws import Aws
from service.setting_values import parse_duration

_PLAIN_LINE_SECONDS = 5.0


def _moment(text: str) -> datetime:
    """Read an ISO time, UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        msg = f"must be a time as 2026-11-01T00:00:00, is {text!r}"
        raise typer.BadParameter(msg) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def produce(
    domain: Annotated[str, typer.Argument(help=f"Whose events: {' or '.join(DOMAINS)}.")],
    to: Annotated[str, typer.Option(help="kinesis://STREAM, or file:///PATH (.gz: gzip).")],
    events: Annotated[
        int | None, typer.Option(help="How many events; a file has 100,000 by default.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Events a second of event time: 500 by default, 4 rows of a CSV."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="How much event time; a stream goes on until stopped.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeats a run; by default a new one.")] = None,
    users: Annotated[
        int | None, typer.Option(help="Honest users: 10,000 by default, more for a high rate.")
    ] = None,
    attackers: Annotated[
        int,
        typer.Option(
            help="Users who attack: once each, 12 events or more in one window. Of access_logs: "
            "attacks, of four kinds in turn; of clickstream: customers who burst, 45 to 80 events."
        ),
    ] = 0,
    disorder: Annotated[
        timedelta,
        typer.Option(
            parser=_duration,
            metavar="DURATION",
            show_default="0s",
            help="Events arrive up to this much after their time.",
        ),
    ] = timedelta(0),
    late_share: Annotated[
        float, typer.Option(help="Share of honest events beyond the disorder and a window.")
    ] = 0.0,
    malformed_share: Annotated[
        float, typer.Option(help="Malformed records for each good one.")
    ] = 0.0,
    from_csv: Annotated[
        Path | None, typer.Option(help="Replay this CSV (.gz: gzip) instead of generating.")
    ] = None,
    template: Annotated[
        Path | None,
        typer.Option(
            help="Make events from this template of the Kinesis Data Generator, for any domain; "
            "clickstream has one of its own."
        ),
    ] = None,
    pretty: Annotated[
        bool, typer.Option("--pretty", help="Pretty-print a CSV's rows, as the original did.")
    ] = False,
    start: Annotated[
        datetime | None,
        typer.Option(
            parser=_moment,
            metavar="TIME",
            help="Event time of the first event, UTC; a stream is then written at full speed.",
        ),
    ] = None,
    kpl: Annotated[bool, typer.Option("--kpl", help="Aggregate records as KPL does.")] = False,
    newline: Annotated[
        bool, typer.Option("--newline", help="End each line of an access log with a line's end.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option(help="Write what the run held to this JSON file.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Take events that others made, of wiki: the URL of a stream of server-sent "
            f"events, as {RECENT_CHANGES}, or a file (.sse: as they came; else one a line).",
        ),
    ] = None,
    position: Annotated[
        Path | None,
        typer.Option(help="Keep the id of the last event written in this file, and go on from it."),
    ] = None,
    user_agent: Annotated[
        str | None,
        typer.Option(help="What the server is told of you; Wikimedia wants a way to reach you."),
    ] = None,
    drop_canaries: Annotated[
        bool,
        typer.Option(
            "--drop-canaries",
            help="Leave the stream's test events out; otherwise the domain drops and counts them.",
        ),
    ] = False,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Report as JSON.")] = False,
) -> None:
    """Put events on a stream or into a file: generated ones, a CSV's rows, or others' events."""
    options = ProduceOptions(
        domain=domain,
        to=to,
        events=events,
        rate=rate,
        seconds=seconds,
        seed=new_seed() if seed is None else seed,
        users=users,
        attackers=attackers,
        disorder=disorder,
        late_share=late_share,
        malformed_share=malformed_share,
        from_csv=from_csv,
        template=template,
        pretty=pretty,
        start=start,
        kpl=kpl,
        newline=newline,
        truth=truth,
        source=source,
        position=position,
        user_agent=user_agent,
        drop_canaries=drop_canaries,
    )
    given = {} if endpoint_url is None else {"aws.endpoint_url": endpoint_url}
    loaded = settings.load(
        flags={path: settings.Given(value, "--endpoint-url") for path, value in given.items()},
        environment=os.environ,
    )
    clock = SystemClock()
    console = Console(stderr=True)
    if source is not None:
        console.print(f"handing {source} on to {to}", highlight=False, soft_wrap=True)
    elif from_csv is None:
        console.print(
            f"producing {domain} events to {to}, seed {options.seed}",
            highlight=False,
            soft_wrap=True,
        )
    else:
        console.print(f"replaying {from_csv} to {to}", highlight=False, soft_wrap=True)
    with _stopped_by_signals(clock), _shown(console) as show:
        report = run_producer(
            options,
            kinesis_client_factory=lambda: Aws(loaded.settings.aws)("kinesis"),
            clock=clock,
            out=show,
        )
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE))
    else:
        sys.stdout.write(describe(report) + "\n")


def describe(report: ProduceReport) -> str:
    """Say in one line what a run held."""
    parts = [f"{report.events:,} events in {report.records:,} records"]
    if report.late:
        parts.append(f"{report.late:,} late")
    if malformed := sum(report.malformed.values()):
        parts.append(f"{malformed:,} malformed")
    if report.incidents:
        parts.append(f"{len(report.incidents):,} attacks")
    if report.retried:
        parts.append(f"{report.retried:,} sent again")
    end = "stopped after" if report.stopped else "in"
    return f"{', '.join(parts)}, {end} {report.elapsed_seconds:.1f} s, seed {report.seed}"


@contextmanager
def _stopped_by_signals(clock: SystemClock) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the run in order: what was sent is reported."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: clock.stop()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show progress: a bar on a terminal, a line every few seconds elsewhere."""
    if console.is_terminal:
        columns = (TextColumn("{task.fields[rate]}"), BarColumn(), MofNCompleteColumn())
        with Bar(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task("", total=None, rate="")

            def move(progress: Progress) -> None:
                rate = f"{progress.events / progress.elapsed_seconds:,.0f} events/s"
                bar.update(task, completed=progress.events, total=progress.total, rate=rate)

            yield move
    else:
        last = 0.0

        def tell(progress: Progress) -> None:
            nonlocal last
            if progress.elapsed_seconds - last >= _PLAIN_LINE_SECONDS:
                last = progress.elapsed_seconds
                of = f" of {progress.total:,}" if progress.total else ""
                console.print(f"{progress.events:,}{of} events, {last:.0f} s", highlight=False)

        yield tell
