"""`kinewax run`: reads a source, finds incidents and aggregates, writes them to sinks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from dataflows.registry import DOMAINS, find_domain
from service import logs, settings
from service.ledger import Summary
from service.run import run as run_job
from service.settings import Given, Loaded

DOMAIN_HELP = f"What the events are: {', '.join(DOMAINS)}, or a file as ./my_domain.py:DOMAIN."


def run(
    context: typer.Context,
    domain: Annotated[str, typer.Argument(help=DOMAIN_HELP)],
    source: Annotated[
        str, typer.Option(help="kinesis://STREAM, file:///PATH (JSON lines, .gz, .csv), or -.")
    ],
    sinks: Annotated[
        list[str] | None,
        typer.Option(help="aws, stdout, file:///DIR; repeat or separate by commas. [stdout]"),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Worker processes. [1]")] = None,
    recovery: Annotated[
        Path | None, typer.Option(help="Recovery store on a local disk. [a temporary one]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    start: Annotated[
        str | None,
        typer.Option(help="Where a first start begins: LATEST, TRIM_HORIZON, ISO time. [LATEST]"),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="The event time: txn_timestamp, event_time, arrival.")
    ] = None,
    disorder: Annotated[str | None, typer.Option(help="Allowed disorder, as 10s. [10s]")] = None,
    windows: Annotated[
        list[str] | None, typer.Option(help="Windows to run, as user_actions. [all]")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="Another limit, as high_volume.warning=1.")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="A table, as products=s3://BUCKET/KEY or =file:///PATH."),
    ] = None,
    final_only: Annotated[
        bool | None, typer.Option("--final-only", help="Raise incidents at window close only.")
    ] = None,
    epoch_interval: Annotated[str | None, typer.Option(help="Between snapshots. [5s]")] = None,
    admin_host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    admin_port: Annotated[
        int | None, typer.Option(help="Port for health and metrics. [a free one]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read events, find incidents, count aggregates; until the input ends or Ctrl-C.

    Example: kinewax run ecommerce --source file:///tmp/events.jsonl --sinks file:///tmp/out
    """
    given = {
        "sinks.to": ("--sinks", _joined(sinks)),
        "runtime.processes": ("--processes", processes),
        "runtime.recovery": ("--recovery", recovery),
        "runtime.epoch_interval": ("--epoch-interval", epoch_interval),
        "aws.endpoint_url": ("--endpoint-url", endpoint_url),
        "source.start": ("--start", start),
        "event_time.field": ("--time", time),
        "event_time.disorder": ("--disorder", disorder),
        "windows.run": ("--windows", _joined(windows)),
        "windows.early": ("--final-only", False if final_only else None),
        "rules.limits": ("--limit", _joined(limit)),
        "references.tables": ("--reference", _joined(reference)),
        "admin.host": ("--admin-host", admin_host),
        "admin.port": ("--admin-port", admin_port),
    }
    loaded = load(domain, config, given)
    verbosity = context.obj or 0
    set_up_logs(loaded, find_domain(domain).name, verbosity)
    summary = run_job(domain, source, loaded, verbose=verbosity > 0)
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(summary.as_json(), option=orjson.OPT_APPEND_NEWLINE))
    elif verbosity >= 0:
        show(summary, Console(stderr=True))
    if not summary.balanced:
        raise typer.Exit(1)


def load(domain: str, config: Path | None, given: Mapping[str, tuple[str, object]]) -> Loaded:
    """Load the settings of a command: what was given on its line wins.

    Args:
        domain: The name of the domain that runs; "" for none.
        config: The TOML file that was named.
        given: Flag and value by setting; None where the flag wasn't given.
    """
    return settings.load(
        flags={
            path: Given(value, flag) for path, (flag, value) in given.items() if value is not None
        },
        environment=os.environ,
        config=config,
        domain=find_domain(domain) if domain else None,
    )


def set_up_logs(loaded: Loaded, domain: str, verbosity: int) -> None:
    """Direct logs as the settings and -v or -q say."""
    log = loaded.settings.log
    level = {1: "debug", -1: "error"}.get(verbosity, log.level)
    logs.set_up(
        level=level,
        style=log.format,
        colour="NO_COLOR" not in os.environ,
        fields={"domain": domain},
    )


def show(summary: Summary, console: Console) -> None:
    """Print the ledger for people."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, count in summary.ledger.items():
        if count:
            table.add_row(name, f"{count:,}")
    console.print(table)
    counts = summary.ledger
    rejected = {name: n for name, n in counts.items() if name.startswith("rejected.") and n}
    if rejected and not counts.get("events"):
        most = max(rejected, key=lambda name: rejected[name])
        console.print(
            f"no record was an event, most for {most}: see the dead letters; is --time right?",
            style="yellow",
            soft_wrap=True,
        )
    for identity in summary.identities:
        if not identity.balanced:
            console.print(f"NOT BALANCED by {identity.difference:,}: {identity.name}", style="red")
    run_facts = summary.run
    usage = run_facts["usage"]
    console.print(
        f"{run_facts['seconds']:.1f} s, {run_facts['processes']} processes, "
        f"{run_facts['restarts']} restarts, "
        f"{sum(one.get('work_cpu_seconds', 0.0) for one in usage):.1f} CPU seconds of work; "
        + _verdict(summary),
        highlight=False,
    )


def _verdict(summary: Summary) -> str:
    if not summary.is_whole:
        return "the ledger is pod 0's"
    return "the ledger balances" if summary.balanced else "the ledger does NOT balance"


def _joined(values: list[str] | None) -> str | None:
    return None if values is None else ",".join(values)
