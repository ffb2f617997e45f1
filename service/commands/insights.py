"""`kinewax insights`: what an archive says, as tables, JSON, or a page with charts."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from errors import KinewaxError
from service.aws import Aws, explain
from service.commands.run import load
from service.insights import places
from service.insights.charts import shown

if TYPE_CHECKING:
    from service.insights.answers import Answer

_SHOWN_ROWS = 30


def insights(
    place: Annotated[
        str, typer.Argument(help="A file, a directory, or s3://BUCKET/PREFIX.", metavar="PATH|URL")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts here, in place of tables.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
) -> None:
    """Answer the marketing team's questions from archived events, or from aggregates.

    Reads JSON, CSV and Parquet, plain or compressed, and what `kinewax run` has written to files or
    by Firehose to S3; it finds out by itself which is which.

    Example: kinewax insights s3://my-archive/raw/ --html report.html
    """
    # DuckDB is loaded for this command alone: the others start faster without.
    from service.insights.answers import answer
    from service.insights.report import read_texts, write

    with _here(place, config, endpoint_url) as path, _said(f"reading {place}"):
        found = answer(path, place)
    if html is not None:
        write(found, html, datetime.now(UTC))
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(found.as_json(), option=orjson.OPT_APPEND_NEWLINE))
    elif html is not None:
        typer.echo(f"wrote {html.absolute()}")
    else:
        console = Console(highlight=False, no_color="NO_COLOR" in os.environ)
        for text in read_texts(found):
            console.print(text, style="dim", markup=False, soft_wrap=True)
        for one in found.answers:
            _show(one, console)


def _said(text: str) -> AbstractContextManager[object]:
    """Say what goes on for as long as it does, where somebody is there to see it."""
    return Console(stderr=True).status(text) if sys.stderr.isatty() else nullcontext()


@contextmanager
def _here(place: str, config: Path | None, endpoint_url: str | None) -> Iterator[Path]:
    """Yield where a place is on this machine: objects are copied for as long as they are needed."""
    if not places.is_s3(place):
        yield places.local(place)
        return
    given = {"aws.endpoint_url": ("--endpoint-url", endpoint_url)}
    aws = Aws(load("", config, given).settings.aws)
    bar = Progress(
        TextColumn("reading {task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with tempfile.TemporaryDirectory(prefix="kinewax-objects-") as folder:
        with bar:
            task = bar.add_task(place, total=None)
            try:
                path = places.fetch(
                    # Nobody else tries again here, and there may be thousands of objects.
                    aws.fresh("s3", retries={"total_max_attempts": 8, "mode": "standard"}),
                    place,
                    Path(folder),
                    lambda done, total: bar.update(task, completed=done, total=total),
                )
            except (ClientError, BotoCoreError) as error:
                raise explain(error, place) from error
            except OSError as error:
                msg = f"can't copy {place} to {folder}: {error.strerror}"
                raise KinewaxError(msg, hint="see that TMPDIR has room") from error
        yield path


def _show(one: Answer, console: Console) -> None:
    console.print(f"\n{one.question.title}", style="bold", markup=False)
    console.print(one.question.text, markup=False)
    if not one.rows:
        console.print("(nothing)")
        return
    table = Table(box=None, pad_edge=False)
    cells = [
        [shown(cell) if isinstance(cell, int | float) else str(cell) for cell in row]
        for row in one.rows[:_SHOWN_ROWS]
    ]
    for at, (name, value) in enumerate(zip(one.columns, one.rows[0], strict=True)):
        if isinstance(value, int | float):  # texts give way on a narrow terminal: no digit may
            widest = max(len(row[at]) for row in cells)
            table.add_column(
                name.replace("_", " "), justify="right", min_width=widest, overflow="fold"
            )
        else:
            table.add_column(name.replace("_", " "), overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)
    if len(one.rows) > _SHOWN_ROWS:
        console.print(f"and {len(one.rows) - _SHOWN_ROWS:,} rows more: --json has them all")
