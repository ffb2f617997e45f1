"""`kinewax positions`: where a recovery store reads on, and moving it to another place or store.

`show` may look at a store in use; the others take the store's lock, and so need the run stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dataflows.clock import now_us
from errors import SettingsError
from operators.event_time import iso_time
from service import exports, layout, positions, snapshots
from service.positions import Positions
from service.recovery import open_store
from service.setting_values import format_duration, parse_start
from sources.kinesis.source import slot_names

_US_PER_SECOND = 1_000_000

app = typer.Typer(
    name="positions",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Show, reset, export and import the positions of a recovery store.",
)

Recovery = Annotated[Path, typer.Option(help="The recovery store's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before anything is replaced.")]


@app.command()
def show(recovery: Recovery, as_json: AsJson = False) -> None:
    """Show where each shard is read on, as last committed; a run may go on meanwhile.

    Example: kinewax positions show --recovery /var/lib/kinewax/ecommerce
    """
    found, epoch = positions.look(recovery)
    if as_json:
        _print(_facts(found) | {"epoch": epoch, "shards": _rows(found)})
    else:
        _show(found, epoch, Console(highlight=False))


@app.command()
def reset(
    recovery: Recovery,
    to: Annotated[str, typer.Option(help="TRIM_HORIZON, LATEST or an ISO time.")],
    shard: Annotated[
        list[str] | None, typer.Option(help="Only this shard; repeat for several. [all]")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make the next start read from another moment; the run must be stopped.

    Of all shards: as a first start, open windows are dropped. Of named shards: windows stay.

    Example: kinewax positions reset --recovery /var/lib/kinewax/ecommerce --to 2026-11-01T00:00:00Z
    """
    to_us = _moment(to)
    with _existing(recovery) as directory:
        before = positions.read(directory)
        if shard:
            after = positions.reset_shards(before, to_us, shard)
        else:
            after = positions.reset_all(before, to_us)
        _tell(_meaning(before, to, shard or ()), as_json=as_json)
        _confirm(f"Reset the positions in {directory}?", yes=yes)
        stamp = datetime.now(UTC)
        saved = directory / f"before-reset-{stamp:%Y%m%dT%H%M%S%f}Z.json"
        exports.save(saved, before, exported_at=stamp.isoformat())
        positions.write(directory, after, slots=before.slots, files=before.files)
    outcome = {"reset": shard or "all", "to_us": to_us, "saved": str(saved)}
    _done(outcome, f"reset; what was there is kept in {saved}", as_json=as_json)


@app.command("export")
def export_(
    recovery: Recovery,
    to: Annotated[Path, typer.Option(help="The JSON file to write.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Write all that a store holds into a file; the run must be stopped.

    Example: kinewax positions export --recovery /var/lib/kinewax/ecommerce --to positions.json
    """
    if to.exists():
        _confirm(f"Replace {to}?", yes=yes)
    with _existing(recovery) as directory:
        found = positions.read(directory)
    exports.save(to, found, exported_at=datetime.now(UTC).isoformat())
    text = f"{len(found.shards)} shards of {found.slots} slots are in {to}; keep the old store"
    _done(_facts(found) | {"file": str(to)}, f"{text} unused from now on", as_json=as_json)


@app.command("import")
def import_(
    recovery: Annotated[Path, typer.Option(help="The directory of the new recovery store.")],
    source: Annotated[Path, typer.Option("--from", help="A file that `export` wrote.")],
    slots: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Slots of the new store. [as exported]")
    ] = None,
    files: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Its files: the most processes. [as exported]"),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a recovery store from a file, with another number of slots if need be.

    Example: kinewax positions import --recovery /var/lib/kinewax/b --from a.json --slots 128
    """
    found = exports.load(source)
    slots, files = slots or found.slots, files or found.files
    with open_store(recovery) as directory:
        if (directory / layout.FILE_NAME).exists() or snapshots.file_count(directory):
            _confirm(f"Replace the recovery store in {directory}?", yes=yes)
        positions.write(directory, found, slots=slots, files=files)
    outcome = _facts(found) | {"slots": slots, "files": files, "recovery": str(recovery)}
    text = (
        f"{len(found.shards)} shards are in {slots} slots; run with KINEWAX_SOURCE__SLOTS={slots}"
    )
    _done(outcome, text, as_json=as_json)


# ---- what to show -----------------------------------------------------------------------------


def _rows(found: Positions) -> list[dict[str, Any]]:
    names = slot_names(found.slots)
    rows = [
        {
            "slot": names[shard.slot_among(name, found.slots)],
            "shard": name,
            "state": shard.read["state"],
            "sequence_number": shard.read["sequence"],
            "sub_sequence": shard.read["sub_sequence"],
            "start_us": shard.read["start_us"],
            "read_until_us": shard.read["read_until_us"],
            "event_maximum_us": shard.maximum_us,
            "waiting": len(shard.waiting),
        }
        for name, shard in found.shards.items()
    ]
    return sorted(rows, key=lambda row: (row["slot"], row["shard"]))


def _facts(found: Positions) -> dict[str, Any]:
    return {
        "source": found.layout.fields["source"],
        "slots": found.slots,
        "files": found.files,
        "open_windows": found.open_windows(),
        "ledger": found.source_ledger | found.intake_ledger,
    }


def _show(found: Positions, epoch: int, console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("slot", "shard", "state", "read up to", "last read", "newest event"):
        table.add_column(title, overflow="fold")
    now = now_us()
    for row in _rows(found):
        table.add_row(
            row["slot"],
            row["shard"],
            row["state"],
            _position(row),
            _ago(row["read_until_us"], now),
            "" if row["event_maximum_us"] is None else iso_time(row["event_maximum_us"]),
        )
    console.print(table)
    counts = found.source_ledger | found.intake_ledger
    console.print(", ".join(f"{name} {count:,}" for name, count in counts.items() if count))
    windows = ", ".join(f"{name} {len(open_)}" for name, open_ in found.open_windows().items())
    console.print(f"open windows: {windows or 'none'}")
    console.print(
        f"{len(found.shards)} shards in {found.slots} slots of {found.layout.fields['source']}, "
        f"as committed before epoch {epoch}",
        soft_wrap=True,
    )


def _position(row: Mapping[str, Any]) -> str:
    if row["sequence_number"] is not None:
        part = "" if row["sub_sequence"] is None else f" part {row['sub_sequence']}"
        return f"{row['sequence_number']}{part}"
    start_us = row["start_us"]
    return "from its oldest record" if start_us is None else f"from {iso_time(start_us)}"


def _ago(time_us: int | None, now_us_: int) -> str:
    if time_us is None:
        return "never"
    seconds = max(0, now_us_ - time_us) // _US_PER_SECOND
    return f"{format_duration(timedelta(seconds=seconds))} ago"


# ---- what to do -------------------------------------------------------------------------------


def _moment(text: str) -> int | None:
    """Return a start position as microseconds; None for the oldest record."""
    try:
        start = parse_start(text)
    except ValueError as error:
        msg = f"--to {error}"
        raise SettingsError(msg) from error
    if start == "TRIM_HORIZON":
        return None
    if start == "LATEST":
        return now_us()
    return round(datetime.fromisoformat(start).timestamp() * _US_PER_SECOND)


def _meaning(found: Positions, to: str, shards: Sequence[str]) -> str:
    windows = sum(map(len, found.open_windows().values()))
    if shards:
        return (
            f"{len(shards)} of {len(found.shards)} shards will be read from {to}. {windows} open "
            "windows stay: events read again are counted again where their window is open, and "
            "late where it has closed; events passed over are missing."
        )
    return (
        f"All shards will be read from {to}, as by a first start. {windows} open windows are "
        "dropped, unfinished and unwritten; windows read again are written again under their ids."
    )


@contextmanager
def _existing(directory: Path) -> Iterator[Path]:
    """Hold a directory that is there: opening a store would make a missing one."""
    if not directory.is_dir():
        msg = f"there is no recovery directory {directory}"
        raise SettingsError(msg, hint="name the --recovery directory of a run")
    with open_store(directory) as held:
        yield held


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        msg = f"{question} Nobody is there to answer"
        raise SettingsError(msg, hint="say --yes")
    typer.confirm(question, abort=True, err=True)


def _tell(text: str, *, as_json: bool) -> None:
    typer.echo(text, err=as_json)


def _done(outcome: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        _print(outcome)
    else:
        typer.echo(text)


def _print(content: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
