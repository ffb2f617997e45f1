"""`kinewax convert`: an archive of JSON or CSV as partitioned Parquet."""

from __future__ import annotations

import os
import sys
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from errors import UnreadableInputError
from service.aws import Aws
from service.commands.run import load
from service.convert import Converted, Converting
from sources.archive.listing import Listing

_LINE_SECONDS = 5.0
_SHOWN = 20


def convert(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help="What the events are, or a domain's own file.")],
    source: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX or file:///DIRECTORY/.")],
    target: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX or file:///DIRECTORY/.")],
    time: Annotated[str | None, typer.Option(help="The event time, as event_time.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Turn an archive of JSON or CSV into Parquet by the hour; repeated, it changes nothing.

    Exit 4 means that it is done, but that the objects named could not be read and have no Parquet.
    Records that are no events are kept in files beside it whose names begin with `_`.

    Example: kinewax convert ecommerce s3://my-archive/raw/ s3://my-archive/parquet/
    """
    given = {
        "aws.endpoint_url": ("--endpoint-url", endpoint_url),
        "event_time.field": ("--time", time),
    }
    settings = load(domain, config, given).settings
    converting = Converting(
        domain, settings.event_time.field, source, target, settings, Aws(settings.aws)
    )
    quiet = (context.obj or 0) < 0
    console = Console(stderr=True, highlight=False, no_color="NO_COLOR" in os.environ, quiet=quiet)
    with _shown(converting.listing, console) as progress:
        found = converting.run(progress)
    if as_json:
        facts = {"source": source, "target": target, **_facts(found)}
        sys.stdout.buffer.write(orjson.dumps(facts, option=orjson.OPT_APPEND_NEWLINE))
    else:
        console.print(_line(found, converting.listing), soft_wrap=True)
        for reason, count in sorted(found.rejected.items()):
            console.print(f"rejected.{reason:22} {count:,}", soft_wrap=True)
    _judge(found)


@contextmanager
def _shown(listing: Listing, console: Console) -> Iterator[Callable[[Converted], None]]:
    """Show how it gets on: a bar on a terminal, a plain line every few seconds elsewhere."""
    if console.is_terminal:
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=max(1, listing.total_bytes))
            yield lambda found: bar.update(
                task, completed=found.bytes_read, description=_line(found, listing)
            )
        return
    told_at = clock.monotonic()

    def tell(found: Converted) -> None:
        nonlocal told_at
        if clock.monotonic() - told_at >= _LINE_SECONDS:
            told_at = clock.monotonic()
            console.print(_line(found, listing), soft_wrap=True)

    yield tell


def _line(found: Converted, listing: Listing) -> str:
    return (
        f"{found.objects:,} of {len(listing.objects):,} objects, {found.records:,} records, "
        f"{found.events:,} events in {found.written:,} Parquet objects, "
        f"{found.bytes_read / 1e6:,.1f} MB read, {found.bytes_written / 1e6:,.1f} MB written, "
        f"{found.rejected.total():,} rejected"
    )


def _facts(found: Converted) -> dict[str, Any]:
    return {
        "objects": found.objects,
        "written": found.written,
        "records": found.records,
        "events": found.events,
        "rejected": dict(sorted(found.rejected.items())),
        "bytes_read": found.bytes_read,
        "bytes_written": found.bytes_written,
        "unreadable": [
            {"object": key, "reason": reason, "detail": detail}
            for key, reason, detail in found.unreadable
        ],
    }


def _judge(found: Converted) -> None:
    """Say by the exit code whether all objects could be read."""
    count = len(found.unreadable)
    if count:
        named = "; ".join(
            f"{key} ({reason.removeprefix('object_')}: {detail})"
            for key, reason, detail in found.unreadable[:_SHOWN]
        )
        more = f"; and {count - _SHOWN:,} more" if count > _SHOWN else ""
        msg = f"{count:,} objects could not be read to their ends, and were left: {named}{more}"
        raise UnreadableInputError(msg, hint="all else was converted; mend them and convert again")
