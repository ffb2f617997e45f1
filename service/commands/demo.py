"""`kinewax demo`: watch a real pipeline catch an attack, on this machine alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from errors import SettingsError
from producers.demo_plans import PLANS
from producers.options import new_seed
from service.demo import run_demo
from service.demo_commands import DemoOptions
from service.panel import shown, summarise
from service.signals import ended_by_sigterm


def demo(
    domain: Annotated[str, typer.Argument(help=f"What to run: {', '.join(PLANS)}.")] = next(
        iter(PLANS)
    ),
    seconds: Annotated[float, typer.Option(min=5, help="How long live events come.")] = 20,
    rate: Annotated[
        float | None,
        typer.Option(min=1, max=5_000, help="Live events a second; by default the domain's."),
    ] = None,
    attackers: Annotated[
        int | None, typer.Option(min=1, max=20, help="Who attack; by default the domain's.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, max=8, help="Worker processes.")] = 2,
    seed: Annotated[int | None, typer.Option(help="Repeats a run; by default a new one.")] = None,
    out: Annotated[
        Path, typer.Option(help="Where files go; those of an older demo are replaced.")
    ] = Path("out/demo"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Watch a pipeline catch an attack: everything runs on this machine, about half a minute.

    A local AWS server, a producer and the service run as child processes. At the end, what was
    found is compared with what was planted, and the raw archive is replayed; the exit code is 0
    when all of it was found, nobody else was accused, the ledger balances, and the replay gave the
    same again.
    """
    if domain not in PLANS:
        msg = f"there is no demo of {domain!r}"
        raise SettingsError(msg, hint=f"there is one of {', '.join(PLANS)}; of yours, use `run`")
    plan = PLANS[domain]
    options = DemoOptions(
        domain=domain,
        plan=plan,
        out=out,
        seconds=seconds,
        rate=plan.rate if rate is None else rate,
        attackers=plan.attackers if attackers is None else attackers,
        processes=processes,
        seed=new_seed() if seed is None else seed,
    )
    # With --json the report alone goes to standard output.
    console = Console(stderr=as_json, no_color="NO_COLOR" in os.environ)
    with ended_by_sigterm():
        try:
            with shown(console) as view:
                report = run_demo(options, view)
        except KeyboardInterrupt:
            console.print("stopped; no process is left behind")
            raise typer.Exit(130) from None
    if as_json:
        sys.stdout.buffer.write(orjson.dumps(report, option=orjson.OPT_APPEND_NEWLINE))
    else:
        summarise(report, console)
    if not report.ok:
        raise typer.Exit(1)
