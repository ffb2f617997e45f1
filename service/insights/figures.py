"""Figures: which chart an answer gets, and what is said above it about how it was drawn.

Each is drawn twice, for a page and for a phone, and the page shows one of them. A caption names
what is measured; where a line isn't simply the rows of the table, it says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TypeAlias

from service.insights.answers import Answer, Plain
from service.insights.charts import NARROW, WIDE, Bar, Frame, Line, bars, lines, movers
from service.insights.queries import Chart
from service.insights.scales import span_text
from service.insights.series import Series, series

_NOTHING = '<p class="nothing">Nothing to show: {}</p>'
_WHY_NOTHING = {"movers": "it takes two days in a row."}
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_LAST_MINUTE = "23:59"

Row: TypeAlias = Mapping[str, Plain]
Draw: TypeAlias = Callable[[Frame], str]


@dataclass(frozen=True, slots=True)
class Until:
    """How far the data go.

    Attributes:
        newest: The newest time that is known of; empty for none.
        today: The day on which the page is made.
    """

    newest: str
    today: str

    def so_far(self, day: str) -> str:
        """Return up to when a day was seen, for people; empty if it was seen to its end."""
        newest_day, _, clock = self.newest.partition(" ")
        if day == newest_day and clock:
            return "" if clock >= _LAST_MINUTE else clock
        return "now" if day == self.today else ""


def until(answers: Sequence[Answer], domain: str, today: str) -> Until:
    """Find out from the lines of a domain how far its data go."""
    times = [
        str(value)
        for answer in answers
        if answer.question.domain == domain
        and answer.question.chart
        and answer.question.chart.kind == "line"
        for value in _column(answer, answer.question.chart.columns["x"])
        if value is not None
    ]
    return Until(max(times, default=""), today)


def _column(answer: Answer, name: str) -> list[Plain]:
    at = answer.columns.index(name)
    return [row[at] for row in answer.rows]


def figure(answer: Answer, key: str, end: Until) -> str:
    """Draw an answer, or say why there is nothing to draw; nothing for one that is only a table.

    Args:
        answer: What was found.
        key: Its name on the page.
        end: How far the data go.
    """
    chart = answer.question.chart
    if not answer.rows:
        kind = chart.kind if chart else ""
        return _NOTHING.format(_WHY_NOTHING.get(kind, "there is no such data."))
    if chart is None:
        return ""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    frame = Frame(key, answer.question.title)
    if chart.kind == "movers":
        return _movers(chart, rows, frame, end)
    return _CHARTS[chart.kind](chart, rows, frame)


def words(name: str) -> str:
    """Write a column's name for people."""
    return name.replace("_", " ")


def named(column: str, value: Plain) -> Plain:
    """Name a weekday or an hour that is told as a number; leave all else as it is."""
    if column == "weekday" and isinstance(value, int) and 0 <= value < len(_WEEKDAYS):
        return _WEEKDAYS[value]
    return f"{value:02d}:00" if column == "hour_of_day" and isinstance(value, int) else value


def is_share(column: str, columns: Sequence[str]) -> bool:
    """Tell whether a column is what one of the others is of another: `purchases_per_view`."""
    part, _, whole = column.partition("_per_")
    return bool(whole) and part in columns and (whole in columns or f"{whole}s" in columns)


def _bars(chart: Chart, rows: Sequence[Row], frame: Frame) -> str:
    value, by, of = (chart.columns.get(part) for part in ("value", "by", "of"))
    said = f"{words(value or '')}, of {words(of)}" if of else words(value or "")
    if by is None:
        found = _bars_of(chart, rows)
        return _both(lambda one: bars(found, one), frame, said)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(named(by, row[by])), []).append(row)
    charts = {group: _bars_of(chart, of_group) for group, of_group in groups.items()}
    every = [bar for found in charts.values() for bar in found]
    drawn = (
        _figure(
            bars(found, Frame(f"{frame.key}-{at}", f"{frame.title}, {group}", NARROW), every),
            f"<b>{escape(group)}</b>",
        )
        for at, (group, found) in enumerate(charts.items())
    )
    return (
        f'<p class="said">{escape(said)}, all on one scale</p>'
        f'<div class="many">{"".join(drawn)}</div>'
    )


def _lines(chart: Chart, rows: Sequence[Row], frame: Frame) -> str:
    """Draw lines over times; of one time alone, which makes no line, bars."""
    x, columns = chart.columns["x"], chart.columns["y"].split(",")
    rows = sorted((row for row in rows if row[x] is not None), key=lambda row: str(row[x]))
    if not rows:
        return _NOTHING.format("no time is known.")
    if len(rows) == 1:
        values = [Bar(words(column), _number(rows[0][column]) or 0) for column in columns]
        return _both(lambda one: bars(values, one), frame, str(rows[0][x]))
    at = [int(datetime.fromisoformat(str(row[x])).replace(tzinfo=UTC).timestamp()) for row in rows]
    found = series(at, [[_number(row[column]) for row in rows] for column in columns], x)
    drawn = [
        Line(f"{words(column)} per {words(x)}", values)
        for column, values in zip(columns, found.lines, strict=True)
    ]
    said = _how_lines_are(found, x, len(columns))
    return _both(
        lambda one: lines(found.at, drawn, one, whole=found.whole, mean_of=found.mean_of),
        frame,
        said,
    )


def _how_lines_are(found: Series, x: str, count: int) -> str:
    said = []
    if found.mean_of:
        said.append(f"Each point is the mean of {span_text(found.mean_of)}.")
    if found.filled:
        said.append(f"A {words(x)} without a row is drawn as 0.")
    if found.broken:
        said.append("A line breaks where there are no rows.")
    if count > 1:
        said.append("Each line has a scale of its own.")
    return " ".join(said)


def _movers(chart: Chart, rows: Sequence[Row], frame: Frame, end: Until) -> str:
    """Draw the newest group that is whole; if there is none, say how far the newest goes."""
    by = chart.columns["by"]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(row[by]), []).append(row)
    days = list(groups)
    day, said = days[-1], f"{words(chart.columns['value'])}, {days[-1]}"
    clock = end.so_far(day)
    if clock and len(days) > 1:
        day = days[-2]
        said = (
            f"{words(chart.columns['value'])}, {day}: the newest {words(by)} that is over. "
            f"{days[-1]} goes up to {clock}."
        )
    elif clock:
        said += f" so far: it goes up to {clock}, the {words(by)} before is whole."
    found = _bars_of(chart, groups[day])
    return _both(lambda one: movers(found, one), frame, said)


_CHARTS: Mapping[str, Callable[[Chart, Sequence[Row], Frame], str]] = {
    "bars": _bars,
    "line": _lines,
}


def _bars_of(chart: Chart, rows: Sequence[Row]) -> list[Bar]:
    label, value, of = (chart.columns.get(part, "") for part in ("label", "value", "of"))
    return [
        Bar(
            str(named(label, row[label])),
            _number(row[value]) or 0,
            (_number(row[of]) or 0) if of else 0,
            share=is_share(value, list(row)),
        )
        for row in rows
    ]


def _number(value: Plain) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _both(draw: Draw, frame: Frame, said: str) -> str:
    """Draw something for a page and for a phone."""
    frames = (
        Frame(f"{frame.key}-wide", frame.title, WIDE, "wide"),
        Frame(f"{frame.key}-narrow", frame.title, NARROW, "narrow"),
    )
    return _figure("".join(map(draw, frames)), escape(said))


def _figure(svg: str, caption: str) -> str:
    above = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{above}{svg}</figure>"
