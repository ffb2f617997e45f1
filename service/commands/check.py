"""`kinewax check`: domain, settings, resources and permissions, before anything runs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from dataflows.domain import Domain
from dataflows.registry import find_domain
from service.aws import Aws
from service.check import Finding, probes_of, run_probe
from service.commands.run import DOMAIN_HELP, load
from service.job import Job

_COLOURS = {"ok": "green", "missing": "red", "denied": "red", "failed": "red", "untried": "yellow"}
_MISSING_EXIT = 3


def check(
    domain: Annotated[str, typer.Argument(help=DOMAIN_HELP)],
    source: Annotated[
        str | None,
        typer.Option(help="kinesis://STREAM, file:///PATH, or -; without it, only the domain."),
    ] = None,
    sinks: Annotated[list[str] | None, typer.Option(help="aws, stdout, file:///DIR. [aws]")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(help="A table, as products=s3://BUCKET/KEY or =file:///PATH."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Address of a local AWS server.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try each call that a run needs, in its least harmful form, and say what is missing.

    All that is wrong with a domain of one's own is told first, line by line of its file; without
    --source nothing else is looked at.

    Example: kinewax check ecommerce --source kinesis://ecommerce-raw-user-activity-stream-1
    """
    if source is None:
        _tell(find_domain(domain), as_json=as_json)
        return
    given = {
        "sinks.to": ("--sinks", ",".join(sinks) if sinks else "aws"),
        "references.tables": ("--reference", ",".join(reference) if reference else None),
        "aws.endpoint_url": ("--endpoint-url", endpoint_url),
    }
    loaded = load(domain, config, given)
    job = Job(domain, source, loaded.settings)
    job.options()
    findings = [run_probe(probe) for probe in probes_of(job, Aws(loaded.settings.aws))]
    if as_json:
        content = {
            "settings": loaded.effective(),
            "findings": [asdict(finding) for finding in findings],
        }
        sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
    else:
        _show(findings)
    outcomes = {finding.outcome for finding in findings}
    if "missing" in outcomes:
        raise typer.Exit(_MISSING_EXIT)
    if outcomes - {"ok"}:
        raise typer.Exit(1)


def _tell(domain: Domain, *, as_json: bool) -> None:
    """Say what a sound domain declares."""
    declared = {
        "fields": [field.name for field in domain.fields],
        "times": list(domain.times),
        "windows": [window.name for window in domain.windows],
        "sessions": [session.name for session in domain.sessions],
        "rules": [rule.name for rule in domain.rules],
        "detectors": [detector.name for detector in domain.detectors],
    }
    if as_json:
        content = {"domain": domain.name, **declared}
        sys.stdout.buffer.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
        return
    console = Console(highlight=False)
    console.print(f"domain {domain.name} is sound", markup=False, soft_wrap=True)
    for what, names in declared.items():
        if names:
            console.print(f"{what:<10}{', '.join(names)}", markup=False, soft_wrap=True)


def _show(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    widest = max((len(finding.action) for finding in findings), default=0)
    for finding in findings:
        console.print(f"{finding.outcome:<8}", style=_COLOURS[finding.outcome], end="")
        line = f"{finding.action:<{widest}}  {finding.resource}"
        detail = f": {finding.detail}" if finding.detail else ""
        console.print(line + detail, markup=False, soft_wrap=True)
    bad = sum(finding.outcome != "ok" for finding in findings)
    console.print(f"{len(findings)} calls tried, {bad} to mend" if bad else "all is there")
