"""Write docs/reference/ from the declarations in the code: `make docs`.

Settings, metrics, errors, domains and the command line are each declared once, in the code, and
benchmarks are what was measured last; these pages repeat them for people. tests/unit/test_docs.py
fails while a page differs from what this would write.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

import errors
from dataflows.domain import Domain
from dataflows.registry import DOMAINS
from metrics import METRICS
from operators.decode import REASONS
from operators.feature_spec import DetectorSpec, KeyForest, RecordForest, StreamForest
from operators.filter_spec import Known, Where
from operators.session_spec import AnyWindow, SessionValue
from operators.spec import Level, Ratio
from operators.value_spec import Top, Value, Without
from service import settings
from service.cli import app
from service.emf import EMITTED
from sources.archive import stores

REFERENCE = Path(__file__).resolve().parent / "reference"
BENCHMARKS = REFERENCE.parents[1] / "bench" / "results"
_NOTE = "<!-- Written by `make docs` from {source}: change that instead. -->\n"

# Commands of the command line come from Typer's own copy of Click, which has no public types.
Command = Any


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in pages().items():
        (REFERENCE / name).write_text(page, encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


def pages() -> dict[str, str]:
    """Return each page's text by its file name."""
    makers: dict[str, tuple[str, Callable[[], Iterable[str]]]] = {
        "command-line.md": ("service/commands/", _command_line),
        "settings.md": ("service/settings.py", _settings),
        "domains.md": ("dataflows/", _domains),
        "metrics.md": ("metrics.py", _metrics),
        "errors.md": ("errors.py", _errors),
        "benchmarks.md": ("bench/results/", _benchmarks),
    }
    return {
        name: _NOTE.format(source=source) + "\n".join(make()) + "\n"
        for name, (source, make) in makers.items()
    }


# ---- settings -----------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Four layers, each over the one before: defaults, then a TOML file (`--config FILE` or"
    yield f"`{settings.CONFIG_VARIABLE}`), then variables, then flags of the command line."
    yield '`section.key` is `key = "value"` below `[section]` in the file. Durations have a unit:'
    yield "`250ms`, `10s`, `1h30m`. `/config` of the admin port shows each effective value and"
    yield "where it came from."
    section = ""
    for path, variable, default, description in settings.declared():
        if section != (section := path.partition(".")[0]):
            yield f"\n## {section}\n"
            yield from _head("Setting", "Variable", "Default", "What it does")
        yield _row(f"`{path}`", f"`{variable}`", f"`{default}`" if default else "", description)
    for domain in DOMAINS.values():
        if own := list(domain.destinations.settings):
            yield f"\n## Defaults of the domain `{domain.name}`\n"
            yield from _head("Setting", "Default")
            yield from (_row(f"`{path}`", f"`{value}`") for path, value in own)


# ---- metrics ------------------------------------------------------------------------------------


def _metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "Served on `/metrics` of the admin port, merged over all processes. They are for rates:"
    yield "the exact account of every record is the ledger in `summary.json`."
    yield ""
    yield from _head("Metric", "Type", "Labels", "What it says")
    for metric in METRICS:
        # prometheus_client offers what a metric was declared with under private names only.
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        suffix = "_total" if metric._type == "counter" else ""
        name = f"`{metric._name}{suffix}`"
        yield _row(name, metric._type, labels, metric._documentation)
    yield ""
    yield "## In CloudWatch"
    yield ""
    yield "With `log.emf_interval`, each interval, for CloudWatch Logs to make metrics of. Names in"
    yield "bold are Flink's, and mean the same. All have the dimension `Domain`."
    yield ""
    yield from _head("Metric", "Unit", "Further dimensions", "Made of")
    for one in EMITTED:
        name = f"**`{one.name}`**" if one.flink else f"`{one.name}`"
        dimensions = ", ".join(f"`{label.capitalize()}`" for label in one.by)
        conditions = ", ".join(f'{label}="{value}"' for label, value in one.where.items())
        made_of = f"`{one.sample}{f'{{{conditions}}}' if conditions else ''}`"
        yield _row(name, one.unit, dimensions, f"{_EMITTED_AS[one.kind]} {made_of}")


_EMITTED_AS = {
    "greatest": "the greatest",
    "sum": "the sum of",
    "increase": "since the last line:",
    "rate": "a second, since the last line:",
    "moment": "now minus",
}


# ---- errors -------------------------------------------------------------------------------------


def _errors() -> Iterator[str]:
    yield "# Errors and exit codes"
    yield ""
    yield "An error is one line and a hint on standard error; `-v` adds the traceback."
    yield ""
    yield from _head("Error", "Exit code", "What it means")
    for error in error_classes():
        summary = (inspect.getdoc(error) or "").splitlines()[0]
        yield _row(f"`{error.__name__}`", str(error.exit_code), summary)
    yield ""
    yield "A run that ends by itself or by a drain exits 0; a crash exits 1."


def error_classes() -> list[type[errors.KinewaxError]]:
    """Return the error tree's classes, the root first."""
    found = [value for value in vars(errors).values() if inspect.isclass(value)]
    return [value for value in found if issubclass(value, errors.KinewaxError)]


# ---- domains ------------------------------------------------------------------------------------


def _domains() -> Iterator[str]:
    yield "# Domains"
    for domain in DOMAINS.values():
        yield from _domain(domain)
    yield "\n## Why an object is rejected\n"
    yield from _head("Reason", "What it means")
    reasons = {**REASONS, **stores.REASONS}
    yield from (_row(f"`{reason}`", meaning) for reason, meaning in reasons.items())


def _domain(domain: Domain) -> Iterator[str]:
    times = ", ".join(f"`{time}`" for time in domain.time_choices)
    yield f"\n## `{domain.name}`\n"
    yield domain.summary
    yield ""
    yield f"Event time is one of {times}; the first is the default. An event may come"
    yield f"{domain.disorder_seconds:g} s behind its shard's newest one."
    if domain.event_id:
        yield f"An event whose `{domain.event_id}` its shard has shown lately is dropped."
    yield "\n### Fields\n"
    yield from _head("Field", "Type", "Required", "What it is")
    for field in domain.fields:
        kind = f"{field.kind}, {field.scale} places" if field.scale else field.kind
        name = f"`{field.name}`, in JSON `{field.path}`" if field.path else f"`{field.name}`"
        yield _row(name, kind, "yes" if field.required else "no", field.doc)
    for derived in domain.derived:
        kind = f"`{derived.of}` - `{derived.less}`"
        yield _row(f"`{derived.name}`", kind, "no", derived.doc)
    for drop in domain.drops:
        where = " or ".join(f"`{choice}`" for choice in drop.where.choices)
        yield f"\nEvents whose `{drop.where.field}` is {where} are dropped on purpose."
    if domain.written:
        names = ", ".join(f"`{part.name}`" for part in domain.written.parts)
        yield f"\nSingle events are written out as {names}, to Firehose as {domain.written.lines}."
    if domain.references:
        yield "\n### Reference data\n"
        yield from _references(domain)
    yield "\n### Windows\n"
    yield from _head("Window", "Length", "By", "Values", "Written", "What it is")
    for window in domain.windows:
        yield _row(
            f"`{window.name}`",
            f"{window.length_seconds} s",
            _by(window),
            ", ".join([*map(_value, window.values), *map(_top, window.evidence)]),
            _written(window.interim_seconds) if window.emit else "no",
            window.doc,
        )
    if domain.sessions:
        yield "\n### Sessions\n"
        yield from _head("Session", "Gap", "By", "Values", "Written", "What it is")
    for session in domain.sessions:
        yield _row(
            f"`{session.name}`",
            f"{session.gap_seconds} s",
            _by(session),
            ", ".join(_value(value) for value in session.values),
            _written(session.interim_seconds),
            session.doc,
        )
    if domain.figures or domain.movers:
        yield "\n### Figures\n"
        yield from _figures(domain)
    if domain.rules:
        yield "\n### Rules\n"
        yield from _rules(domain)
    if domain.detectors:
        yield "\n### Detectors\n"
        yield from _detectors(domain)


def _figures(domain: Domain) -> Iterator[str]:
    yield from _head("Metric", "Aggregate", "What it shows")
    for figure in domain.figures:
        by = f", where {_where(figure.by)}, each" if figure.by else ""
        values = ", ".join(f"`{name}`" for name in figure.values)
        yield _row("`kinewax_aggregate_value`", f"`{figure.window}`", f"{values}{by}")
    for one in domain.movers:
        shown = f"`{one.value}` of the {one.most} keys that gained most and lost most"
        yield _row("`kinewax_mover_change`", f"`{one.window}`", shown)


def _references(domain: Domain) -> Iterator[str]:
    yield from _head("Table", "Joined by", "Fields", "A key that isn't in it", "What it is")
    for one in domain.references:
        column = f", there `{one.column}`" if one.column else ""
        fields = ", ".join(f"`{field.name}` ({field.kind})" for field in one.fields)
        if one.missing == "drop":
            missing = f"dropped, as `dropped.not_in_{one.name}`"
        else:
            given = one.missing or ["" if field.is_text else 0 for field in one.fields]
            missing = ", ".join(f"`{json.dumps(value)}`" for value in given)
        yield _row(f"`{one.name}`", f"`{one.key}`{column}", fields, missing, one.doc)


def _rules(domain: Domain) -> Iterator[str]:
    yield from _head("Rule", "Watches", "Levels", "What it finds")
    for rule in domain.rules:
        part = f" as a part of `{rule.of}`" if isinstance(rule, Ratio) else ""
        watched = f"`{rule.value}`{part} of `{rule.window}`"
        yield _row(f"`{rule.name}`", watched, _levels(rule.levels), rule.doc)


def _detectors(domain: Domain) -> Iterator[str]:
    yield from _head("Detector", "Its forest sees", "Levels", "What it finds")
    for detector in domain.detectors:
        levels = f"of the {detector.levels_of}: {_levels(detector.levels)}"
        yield _row(f"`{detector.name}`", _seen(detector), levels, detector.doc)


def _seen(detector: DetectorSpec) -> str:
    columns = ", ".join(f"`{name}`" for name in detector.columns)
    match detector:
        case StreamForest():
            return ", ".join(f"`{one.name}` of `{one.window}`" for one in detector.features)
        case KeyForest():
            return f"each key's {columns} of `{detector.window}`"
        case RecordForest():
            return f"each event's {columns}"


def _by(window: AnyWindow) -> str:
    key = ", ".join(f"`{key}`" for key in window.key) or "everything"
    match window.where:
        case Known(field=field):
            return f"{key} where `{field}` isn't empty"
        case Where() as where:
            return f"{key} where {_where(where)}"
        case _:
            return key


def _written(interim_seconds: int) -> str:
    return f"yes, and each {interim_seconds} s while open" if interim_seconds else "yes"


def _levels(levels: Sequence[Level]) -> str:
    return ", ".join(
        f"`{level.severity}` above {level.above:g}" + (" (notice)" if level.notify else "")
        for level in levels
    )


_KINDS = {
    "ApproxDistinct": "distinct, approximately",
    "FirstText": "first known",
    "LastText": "last known",
}


def _where(where: Where) -> str:
    return f"`{where.field}` is {' or '.join(f'`{choice}`' for choice in where.choices)}"


def _value(value: Value | SessionValue) -> str:
    if isinstance(value, Without):
        return f"`{value.name}`: whether there are `{value.some}` and no `{value.none}`"
    kind = _KINDS.get(type(value).__name__, type(value).__name__.lower())
    of = getattr(value, "of", None)
    where = getattr(value, "where", None)
    return (
        f"`{value.name}`: {kind}"
        + (f" of `{of}`" if of else "")
        + (f" where {_where(where)}" if where else "")
    )


def _top(top: Top) -> str:
    where = f" where {_where(top.where)}" if top.where else ""
    return f"for incidents `{top.name}`: the {top.most} most frequent of `{top.of}`{where}"


# ---- the command line ---------------------------------------------------------------------------


def _command_line() -> Iterator[str]:
    yield "# Command line"
    for path, command in commands():
        yield f"\n## `{' '.join(path)}`\n"
        yield inspect.cleandoc(command.help or "")
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option"]
        if arguments:
            yield ""
            yield from _head("Argument", "What it is")
            yield from (_row(f"`{one.name.upper()}`", one.help or "") for one in arguments)
        shown = [one for one in options if not one.hidden]
        if shown:
            yield ""
            yield from _head("Option", "What it does")
            yield from (_row(_flags(one), one.help or "") for one in shown)


def commands() -> Iterator[tuple[tuple[str, ...], Command]]:
    """Yield every command with its path, as `("kinewax", "run")`; groups before their commands."""
    pending: list[tuple[tuple[str, ...], Command]] = [(("kinewax",), typer.main.get_command(app))]
    while pending:
        path, command = pending.pop(0)
        yield path, command
        below = getattr(command, "commands", {})
        pending = [((*path, name), one) for name, one in below.items()] + pending


def _flags(option: Any) -> str:  # of Typer's own Click, as above
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    return f"{names} (required)" if option.required else names


# ---- benchmarks ---------------------------------------------------------------------------------


def _benchmarks() -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "How each case is measured, and what bounds it: [bench/](../../bench/README.md). Load is"
    yield "how many processes wanted a core when it began."
    for path in sorted(BENCHMARKS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        machine = result["machine"]
        yield f"\n## `{result['case']}`\n"
        yield from _head("Figure", "Value")
        yield from (_row(f"`{name}`", f"{value:,}") for name, value in result["metrics"].items())
        yield ""
        yield f"`{result['command']}` on {result['date'][:10]} at commit `{result['commit'][:12]}`:"
        yield f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,"
        yield f"Python {machine['python']}, load {machine['load_before']}."


# ---- tables -------------------------------------------------------------------------------------


def _head(*titles: str) -> Sequence[str]:
    return _row(*titles), "|".join(["", *["---"] * len(titles), ""])


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    main()
