"""What a person sees of the demo: a live panel on a terminal, plain lines elsewhere, a summary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from producers.demo_plans import Plan
from service.demo import Moment, View
from service.outside import IncidentKey, SeenRow
from service.verdict import INSIGHTS_NAME, Verdict

_PLAIN_LINE_SECONDS = 2.0
_FRAMES_PER_SECOND = 4
_ALERT_LINES = 12
_BAR_CELLS = 24
_BAR_SECONDS = 5.0
_STYLES = {"open": "yellow", "raised": "red", "final": "green"}
_FEWEST_COLUMNS = 60


class PlainView:
    """A line for each step, each phase of each alert, and every two seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told_at = 0.0
        self._phases: dict[IncidentKey, str] = {}

    def step(self, text: str) -> None:
        """Say what begins."""
        self._print(text)

    def show(self, moment: Moment) -> None:
        """Write what is new."""
        for row in moment.rows:
            if self._phases.get(row.key) != row.phase:
                self._phases[row.key] = row.phase
                self._print(f"  alert {row.phase:6} {_alert(row, moment.plan)}")
        now = time.monotonic()
        if now - self._told_at >= _PLAIN_LINE_SECONDS:
            self._told_at = now
            self._print("  " + _line(moment))

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class LiveView:
    """A panel that is drawn anew four times a second."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._step = ""

    def step(self, text: str) -> None:
        """Say what begins: above the panel it stays readable."""
        self._console.print(Text(text, style="dim"))
        self._step = text

    def show(self, moment: Moment) -> None:
        """Draw."""
        self._live.update(draw(moment, self._step))


@contextmanager
def shown(console: Console) -> Iterator[View]:
    """Give the view that fits where the output goes."""
    if console.is_terminal and console.width >= _FEWEST_COLUMNS:
        with Live(console=console, refresh_per_second=_FRAMES_PER_SECOND, transient=True) as live:
            yield LiveView(console, live)
    else:
        yield PlainView(console)


def draw(moment: Moment, step: str) -> Panel:
    """Draw one moment as a panel."""
    vitals = moment.vitals
    figures = Table.grid(padding=(0, 3))
    figures.add_row(
        _figure("events/s", f"{moment.events_per_second:,.0f}"),
        _figure("events", f"{vitals.events:,}"),
        _figure("dead letters", f"{vitals.rejected:,}"),
        _figure("watermark", _watermark(moment)),
        _figure("open windows", _windows(moment)),
        _figure("notices", f"{moment.notices:,}"),
    )
    shards = Table.grid(padding=(0, 2))
    for shard, behind in vitals.behind_seconds.items():
        shards.add_row(Text(shard, style="dim"), _bar(behind), f"{behind:.1f} s behind its tip")
    alerts = Table.grid(padding=(0, 2))
    for row in list(reversed(moment.rows))[:_ALERT_LINES]:
        phase = Text(row.phase, style=_STYLES.get(row.phase, ""))
        alerts.add_row(_clock(row.first_seen_us), phase, _alert(row, moment.plan))
    if not moment.rows:
        alerts.add_row(Text("no alerts yet", style="dim"))
    heading = Text("alerts, as a bystander sees them in DynamoDB")
    return Panel(
        Group(figures, Text(), shards, Text(), heading, alerts),
        title=f"kinewax demo, {moment.elapsed_seconds:.0f} s",
        subtitle=step,
        title_align="left",
        subtitle_align="left",
    )


def summarise(report: Verdict, console: Console) -> None:
    """Tell what a demo came to."""

    def tell(good: bool, text: str) -> None:
        mark = Text("  ok   " if good else "  FAIL ", style="green" if good else "bold red")
        console.print(mark + Text(text), soft_wrap=True, highlight=False)

    console.print()
    found = f"{report.found} of {report.planted} planted attacks found"
    tell(report.planted > 0 and not report.missing, found + _which(report.missing))
    others = f"{len(report.unexpected)} others" if report.unexpected else "nobody else"
    tell(not report.unexpected, f"{others} accused" + _which(report.unexpected))
    wrong = f"{len(report.wrong)} final counts differ from" if report.wrong else "final counts are"
    tell(not report.wrong, f"{wrong} what was sent" + _which(report.wrong))
    counts = report.ledger
    tell(
        report.balanced,
        f"ledger {'balances' if report.balanced else 'does not balance'}: "
        f"{counts.get('events', 0):,} events and {_rejected(counts):,} dead letters read, "
        f"{report.produced:,} and {report.malformed:,} sent" + _which(report.unbalanced),
    )
    if report.unread:
        tell(good=False, text=f"{report.unread:,} of the records that were sent were not read")
    notices = f"{report.notices} of {report.notices_due} notices reached the topic's subscriber"
    tell(report.notices >= report.notices_due, notices)
    tell(
        not report.replayed_otherwise,
        f"the raw archive, replayed, gives {report.replayed_same:,} rows and incidents as they "
        f"were, {report.replayed_otherwise:,} otherwise",
    )
    if report.latency_p50_ms is not None:
        console.print(
            f"       alert latency, PutRecords of one event too many to the row in DynamoDB: "
            f"p50 {report.latency_p50_ms:.0f} ms, p99 {report.latency_p99_ms:.0f} ms "
            f"(the slowest {report.latency_worst_ms:.0f} ms of {report.found})",
            highlight=False,
            soft_wrap=True,
        )
    rows = ", ".join(f"{count:,} in {name}" for name, count in report.rows_in_bucket.items())
    console.print(f"       rows in S3: {rows or 'none'}", highlight=False, soft_wrap=True)
    if report.notice is not None:
        body = orjson.dumps(report.notice.body, option=orjson.OPT_INDENT_2).decode()
        console.print()
        console.print("One notice, as a person receives it:", highlight=False)
        console.print(
            f"  Subject: {report.notice.subject}", highlight=False, markup=False, soft_wrap=True
        )
        for line in body.splitlines():
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print()
    console.print(
        f"Insights, as a page with charts: {Path(report.out) / INSIGHTS_NAME}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"{report.seconds:.0f} s in all; alerts, aggregates, dead letters, summary, logs and the "
        f"raw archive are in {report.out}",
        highlight=False,
        soft_wrap=True,
    )


def _which(names: list[str]) -> str:
    return f": {'; '.join(names)}" if names else ""


def _rejected(counts: dict[str, int]) -> int:
    return sum(count for name, count in counts.items() if name.startswith("rejected."))


def _figure(name: str, value: str) -> Text:
    return Text.assemble((value, "bold"), "\n", (name, "dim"))


def _bar(seconds: float) -> Text:
    filled = min(round(seconds / _BAR_SECONDS * _BAR_CELLS), _BAR_CELLS)
    style = "red" if filled == _BAR_CELLS else "yellow" if filled > _BAR_CELLS // 4 else "green"
    return Text.assemble(("█" * filled, style), ("·" * (_BAR_CELLS - filled), "dim"))


def _watermark(moment: Moment) -> str:
    lag = moment.vitals.watermark_lag_seconds
    return "none yet" if lag is None else f"{lag:,.1f} s behind"


def _windows(moment: Moment) -> str:
    return ", ".join(f"{count} {name}" for name, count in moment.open_windows.items()) or "none"


def _alert(row: SeenRow, plan: Plan) -> str:
    return (
        f"{row.severity:8} {plan.who} {row.who}: {row.value} {plan.does} in the 10 s "
        f"from {datetime.fromtimestamp(row.window_start, UTC):%H:%M:%S}"
    )


def _line(moment: Moment) -> str:
    behind = max(moment.vitals.behind_seconds.values(), default=0.0)
    return (
        f"{moment.elapsed_seconds:3.0f} s  {moment.events_per_second:,.0f} events/s, "
        f"watermark {_watermark(moment)}, slowest shard {behind:.1f} s behind its tip, "
        f"open windows: {_windows(moment)}, {len(moment.rows)} alerts, {moment.notices} notices"
    )


def _clock(time_us: int) -> str:
    moment = datetime.fromtimestamp(time_us / 1_000_000, UTC)
    return f"{moment:%H:%M:%S}.{moment.microsecond // 100_000}"
