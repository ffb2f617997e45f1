"""`kinewax snapshots`: copies of a recovery store in S3 or another directory."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dataflows.clock import now_us
from errors import MissingResourceError, SettingsError
from service import layout, snapshots
from service.aws import Aws
from service.commands.run import load
from service.copies import Copies, Copy
from service.recovery import open_store
from service.shelves import open_shelf

app = typer.Typer(
    name="snapshots",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List, export and import copies of a recovery store. A run makes them with "
    "KINEWAX_RUNTIME__SNAPSHOTS.",
)

Url = Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX, or file:///DIRECTORY.")]
Endpoint = Annotated[str | None, typer.Option(help="Address of a local AWS server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]


@app.command("list")
def list_(url: Url, endpoint_url: Endpoint = None, as_json: AsJson = False) -> None:
    """List the copies in a place, the oldest first.

    Example: kinewax snapshots list s3://my-bucket/kinewax/ecommerce
    """
    found = _copies(url, endpoint_url).listed()
    if as_json:
        _print([asdict(copy) for copy in found])
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("number", "made at", "epoch", "bytes"):
        table.add_column(heading, justify="left" if heading == "made at" else "right")
    for copy in found:
        table.add_row(str(copy.number), copy.made_at, str(copy.epoch), f"{_bytes_of(copy):,}")
    Console(highlight=False).print(table if found else "no snapshot is there yet")


@app.command()
def export(
    url: Url,
    recovery: Annotated[Path, typer.Option(help="The recovery store's directory.")],
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Copy a store now; a run may go on meanwhile.

    Example: kinewax snapshots export s3://my-bucket/kinewax/ecommerce --recovery /var/lib/kinewax
    """
    if layout.read(recovery) is None:
        msg = f"{recovery} holds no recovery store"
        raise MissingResourceError(msg, hint="name the --recovery directory of a run")
    copy = _copies(url, endpoint_url).make(recovery)
    if copy is None:
        msg = f"nothing is committed in {recovery} yet"
        raise MissingResourceError(msg, hint="wait for an epoch")
    _done(copy, f"snapshot {copy.number} of epoch {copy.epoch} is in {url}", as_json=as_json)


@app.command("import")
def import_(
    url: Url,
    recovery: Annotated[Path, typer.Option(help="The directory of the new recovery store.")],
    number: Annotated[int | None, typer.Option(help="Which copy. [the latest]")] = None,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Make a recovery store from a copy, in a directory that holds none.

    Example: kinewax snapshots import s3://my-bucket/kinewax/ecommerce --recovery /var/lib/kinewax
    """
    copies = _copies(url, endpoint_url)
    listed = {copy.number: copy for copy in copies.listed()}
    wanted = number if number is not None else max(listed, default=None)
    if wanted is None or wanted not in listed:
        msg = f"{url} holds no snapshot" + ("" if wanted is None else f" {wanted}")
        raise MissingResourceError(msg, hint=f"kinewax snapshots list {url}")
    with open_store(recovery) as store:
        if layout.read(store) is not None or snapshots.file_count(store):
            msg = f"{recovery} holds a recovery store already"
            raise SettingsError(msg, hint="name an empty directory")
        copies.restore(listed[wanted], store)
    _done(listed[wanted], f"snapshot {wanted} is in {recovery}", as_json=as_json)


def _copies(url: str, endpoint_url: str | None) -> Copies:
    loaded = load("", None, {"aws.endpoint_url": ("--endpoint-url", endpoint_url)})
    return Copies(open_shelf(url, Aws(loaded.settings.aws)), now_us)


def _bytes_of(copy: Copy) -> int:
    return sum(file.size for file in copy.files)


def _done(copy: Copy, text: str, *, as_json: bool) -> None:
    if as_json:
        _print(asdict(copy))
    else:
        typer.echo(text)


def _print(content: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
