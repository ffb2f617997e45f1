"""`kinewax replay`: the same dataflow over archived data."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import orjson
import typer
from rich.console import Console

from errors import (
    DifferenceError,
    MissingResourceError,
    SettingsError,
    StoppedError,
    UnreadableInputError,
)
from service import archives, endpoints, ledger
from service.archives import Replay
from service.aws import Aws
from service.commands.run import load, set_up_logs, show
from service.comparison import Comparison, compare
from service.job import Job
from service.ledger import Summary
from service.outputs import Outputs
from service.run import run as run_job
from service.settings import Loaded
from sources.archive.listing import Listing

_LOST_ORDER = timedelta(minutes=15)
_SHOWN = 20


def replay(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help="What the events are, or a domain's own file.")],
    url: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX or file:///DIRECTORY/.")],
    begin: Annotated[
        str | None, typer.Option("--from", help="Write windows that begin at this time or later.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Write windows that end by this time.")
    ] = None,
    speed: Annotated[
        str, typer.Option(help="max, or 10x for ten times as fast as events happened.")
    ] = "max",
    sinks: Annotated[
        list[str] | None,
        typer.Option(help="aws, stdout, file:///DIR; repeat or separate by commas. [stdout]"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be read, and write nothing.")
    ] = False,
    processes: Annotated[int | None, typer.Option(help="Worker processes. [1]")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with what a live run wrote to file:///DIR or s3://BUCKET/PREFIX."
        ),
    ] = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Tell people of incidents, as a live run does.")
    ] = False,
    processing_time: Annotated[
        bool,
        typer.Option(
            "--processing-time", help="Stamp events as they are read, 4 a second, from now on."
        ),
    ] = False,
    time: Annotated[str | None, typer.Option(help="The event time, as event_time.")] = None,
    disorder: Annotated[
        str | None, typer.Option(help="Allowed disorder. [the live one and 15 min]")
    ] = None,
    windows: Annotated[list[str] | None, typer.Option(help="Windows to run. [all]")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="A table, as products=s3://BUCKET/KEY or =file:///PATH."),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="Another limit, as high_volume.warning=1.")
    ] = None,
    recovery: Annotated[
        Path | None, typer.Option(help="Recovery store on a local disk. [a temporary one]")
    ] = None,
    epoch_interval: Annotated[str | None, typer.Option(help="Between snapshots. [5s]")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run a domain over archived events; repeated, it changes nothing. Nobody is notified.

    Exit 4 means that it is done, but that the objects named in the summary could not be read; exit
    5 that it differs from the live run (--against) by more than that run's late events; exit 75
    that it was told to stop before its end.
    """
    given = {
        "sinks.to": ("--sinks", _joined(sinks)),
        "runtime.processes": ("--processes", processes),
        "runtime.recovery": ("--recovery", recovery),
        "runtime.epoch_interval": ("--epoch-interval", epoch_interval),
        "aws.endpoint_url": ("--endpoint-url", endpoint_url),
        "event_time.field": ("--time", time),
        "event_time.disorder": ("--disorder", disorder),
        "windows.run": ("--windows", _joined(windows)),
        "rules.limits": ("--limit", _joined(limit)),
        "references.tables": ("--reference", _joined(reference)),
    }
    loaded = _for_replay(load(domain, config, given), notify=notify)
    chosen = Replay(
        from_us=_moment("--from", begin),
        to_us=_moment("--to", end),
        speed=_speed(speed),
        notify=notify,
        processing_time=processing_time,
    )
    if against is not None and processing_time:
        msg = "--against: no live run gave events the times of --processing-time"
        raise SettingsError(msg, hint="leave one of the two out")
    if processing_time and (chosen.from_us, chosen.to_us) != (None, None):
        msg = "--from and --to: with --processing-time all events happen from now on"
        raise SettingsError(msg, hint="leave one of the two out")
    if chosen.from_us is not None and chosen.to_us is not None and chosen.from_us >= chosen.to_us:
        msg = f"--from {begin} is not before --to {end}"
        raise SettingsError(msg)
    verbosity = context.obj or 0
    set_up_logs(loaded, domain, verbosity)
    console = Console(stderr=True, highlight=False, no_color="NO_COLOR" in os.environ)
    if dry_run:
        _show_listing(_listing(domain, url, chosen, loaded), as_json=as_json)
        return
    quiet = verbosity < 0
    if processing_time and not quiet:
        console.print(
            "processing time: events count when they are read, 4 a second from now on; "
            "what is found says nothing about when things happened, and differs from run to run",
            soft_wrap=True,
        )
    comparison = None
    with _somewhere(loaded, wanted=against is not None) as loaded:
        live = None if against is None else _outputs_of(against, loaded)
        summary = run_job(
            domain,
            url,
            loaded,
            verbose=verbosity > 0,
            replay=chosen,
            console=None if quiet else console,
        )
        if live is not None and not _unread(summary):
            job = Job(domain, url, loaded.settings, replay=chosen)
            comparison, summary = _compared(job, live, summary)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(summary.as_json(), option=orjson.OPT_APPEND_NEWLINE))
    elif not quiet:
        show(summary, console)
        for line in comparison.lines() if comparison else ():
            console.print(line, highlight=False, soft_wrap=True)
    _judge(summary, goes_on=recovery is not None)
    if comparison is not None and comparison.total.unexplained:
        msg = f"{comparison.total.unexplained:,} rows and incidents differ from the live run's"
        raise DifferenceError(msg, hint="`run.replay.against` of the summary has examples")


@contextmanager
def _somewhere(loaded: Loaded, *, wanted: bool) -> Iterator[Loaded]:
    """Have a replay write files, which a comparison reads: to where none would be kept, if need be.

    Raises:
        SettingsError: Sinks are named, but no directory.
    """
    if not wanted or endpoints.file_directory(loaded.settings.sinks) is not None:
        yield loaded
        return
    if "sinks.to" in loaded.origins or loaded.settings.runtime.recovery is not None:
        msg = "--against compares files, and this replay writes none"
        raise SettingsError(msg, hint="add file:///DIR to --sinks")
    with tempfile.TemporaryDirectory(prefix="kinewax-replay-") as folder:
        files = loaded.settings.sinks.model_copy(update={"to": (Path(folder).as_uri(),)})
        yield Loaded(loaded.settings.model_copy(update={"sinks": files}), loaded.origins)


def _outputs_of(against: str, loaded: Loaded) -> Outputs:
    """Return what a live run wrote, once it is clear that there is something."""
    url = against if "://" in against else Path(against).absolute().as_uri()
    own = endpoints.file_directory(loaded.settings.sinks)
    if own is not None and _is_in(own, url):
        msg = f"the replay would write over what it is compared with, in {own}"
        raise SettingsError(msg, hint="name another directory in --sinks")
    outputs = Outputs(url, loaded.settings, Aws(loaded.settings.aws))
    if next(outputs.read(), None) is None:
        msg = f"{url} holds no rows and no incidents of a run"
        raise MissingResourceError(msg, hint="name what the live run's sinks wrote to")
    return outputs


def _is_in(directory: Path, url: str) -> bool:
    if not url.startswith(archives.FILE):
        return False
    return Path(unquote(url.removeprefix(archives.FILE))).resolve() == directory.resolve()


def _compared(job: Job, live: Outputs, summary: Summary) -> tuple[Comparison, Summary]:
    """Compare, and say what it came to in the summary, too."""
    directory = endpoints.file_directory(job.settings.sinks)
    assert directory is not None, "`_somewhere` saw to it"
    replayed = Outputs(directory.as_uri(), job.settings, Aws(job.settings.aws))
    comparison = compare(job, live, replayed)
    facts = {**summary.run["replay"], "against": comparison.as_json()}
    summary = dataclasses.replace(summary, run={**summary.run, "replay": facts})
    ledger.write(summary, directory)
    return comparison, summary


def _unread(summary: Summary) -> int:
    """Return how many objects a replay that was told to stop has not read to their ends."""
    if not summary.run["drained"]:
        return 0
    read = ("objects", "objects_unreadable")
    listed: int = summary.run["replay"]["objects"]
    return listed - sum(summary.ledger.get(name, 0) for name in read)


def _judge(summary: Summary, *, goes_on: bool) -> None:
    """Say by the exit code whether all was read and all is accounted for."""
    if not summary.balanced:
        raise typer.Exit(1)
    if unread := _unread(summary):
        msg = f"stopped with {unread:,} of {summary.run['replay']['objects']:,} objects unread"
        hint = "the same command goes on" if goes_on else "with --recovery DIR it could go on"
        raise StoppedError(msg, hint=hint)
    unreadable = summary.run["replay"]["unreadable"]
    count = summary.ledger.get("objects_unreadable", 0)
    if count:
        named = "; ".join(
            f"{one['object']} ({one['reason'].removeprefix('object_')}: {one['detail']})"
            for one in unreadable[:_SHOWN]
        )
        more = f"; and {count - _SHOWN:,} more" if count > _SHOWN else ""
        msg = f"{count:,} objects could not be read, or not to their ends: {named}{more}"
        raise UnreadableInputError(msg, hint="all else was replayed; mend them and replay again")


def _for_replay(loaded: Loaded, *, notify: bool) -> Loaded:
    """Return the settings with what a replay has by default.

    An archive has lost shards and order, hence the disorder. A stream and a metric would count what
    they got before again, so they get what a replay finds only with `--notify`.
    """
    settings = loaded.settings
    changed: dict[str, object] = {
        "windows": settings.windows.model_copy(update={"early": False}),
    }
    if loaded.origins.get("event_time.disorder") != "--disorder":
        disorder = settings.event_time.disorder + _LOST_ORDER
        changed["event_time"] = settings.event_time.model_copy(update={"disorder": disorder})
    if "source.max_drift" not in loaded.origins:
        drift = timedelta(hours=1)
        changed["source"] = settings.source.model_copy(update={"max_drift": drift})
    if not notify:
        changed["sinks"] = settings.sinks.model_copy(update={"stream": "", "metric": ""})
    return Loaded(settings.model_copy(update=changed), loaded.origins)


def _listing(domain: str, url: str, chosen: Replay, loaded: Loaded) -> Listing:
    job = Job(domain, url, loaded.settings, replay=chosen)
    job.options()  # refuses what is wrong
    return archives.list_archive(
        url, chosen, loaded.settings, Aws(loaded.settings.aws), job.scope()
    )


def _show_listing(listing: Listing, *, as_json: bool) -> None:
    told = [one.period.begin_us for one in listing.objects if one.period is not None]
    facts = {
        "url": listing.url,
        "objects": len(listing.objects),
        "bytes": listing.total_bytes,
        "lanes": listing.lanes,
        "left_out": listing.left_out,
        "folders_left_out": listing.folders_left_out,
        "ignored": listing.ignored,
        "first": listing.objects[0].key,
        "last": listing.objects[-1].key,
        "arrived_from": _iso(min(told)) if told else None,
        "arrived_to": _iso(max(told)) if told else None,
    }
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
        return
    for name, value in facts.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        typer.echo(f"{name.replace('_', ' '):17} {'unknown' if shown is None else shown}")


def _moment(flag: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return archives.moment_us(text)
    except ValueError:
        msg = f"{flag} must be a time as 2026-11-01T00:00:00, is {text!r}"
        raise SettingsError(msg) from None


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        msg = f"--speed must be max or as 10x, is {text!r}"
        raise SettingsError(msg)
    return speed


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat()


def _joined(values: list[str] | None) -> str | None:
    return None if values is None else ",".join(values)
