"""The report: one HTML page that holds everything, charts among it, and asks nobody for anything.

No script, no font, no address: it can be mailed, archived, and opened without a network. Its
Content-Security-Policy says so to the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from errors import SettingsError
from service.insights.answers import Answer, Insights, Plain
from service.insights.charts import NARROW, Bar, Line, bars, lines, movers, shown
from service.insights.queries import Chart

_TEMPLATE = Path(__file__).with_name("report.html")
_OPEN_UP_TO = 12
_NOTHING = '<p class="nothing">Nothing to show: {}</p>'
_WHY_NOTHING = {"movers": "it takes two days in a row."}
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

Row = Mapping[str, Plain]


def page(insights: Insights, made_at: str) -> str:
    """Write the page.

    Args:
        insights: What it tells.
        made_at: When it was made, for people.
    """
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        place=escape(insights.place),
        made_at=escape(made_at),
        read="".join(f"<li>{escape(text)}</li>" for text in read_texts(insights)),
        sections="".join(map(_section, insights.answers)),
    )


def write(insights: Insights, path: Path, made_at: datetime) -> None:
    """Write the page to a file.

    Raises:
        SettingsError: It can't be written there.
    """
    try:
        path.write_text(page(insights, f"{made_at:%Y-%m-%d %H:%M}"), encoding="utf-8")
    except OSError as error:
        msg = f"can't write {path}: {error.strerror}"
        raise SettingsError(msg, hint="name another file") from error


def read_texts(insights: Insights) -> list[str]:
    """Say in a sentence each what was read, and what wasn't."""
    texts = [
        f"{_counted(one.records, 'record')} of {one.table} in {_counted(one.files, 'file')}"
        + (f", {one.rejected:,} of them rejected" if one.rejected else "")
        for one in insights.readings
    ]
    if insights.others:
        texts.append(f"{_counted(len(insights.others), 'file')} left: --json says why")
    return texts


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _section(answer: Answer) -> str:
    question = answer.question
    source = "archived events" if question.asks == "events" else "rows of aggregates"
    return (
        f'<section id="{escape(question.domain)}-{escape(question.name)}">'
        f"<h2>{escape(question.title)}</h2>"
        f'<p>{escape(question.text)} <span class="from">From {source}.</span></p>'
        f"{_drawn(answer)}{_table(answer)}</section>"
    )


# ---- charts -------------------------------------------------------------------------------------


def _drawn(answer: Answer) -> str:
    chart = answer.question.chart
    if not answer.rows:
        kind = chart.kind if chart else ""
        return _NOTHING.format(_WHY_NOTHING.get(kind, "there is no such data."))
    if chart is None:
        return ""
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return _CHARTS[chart.kind](chart, rows, answer.question.title)


def _bars(chart: Chart, rows: Sequence[Row], name: str) -> str:
    by = chart.columns.get("by")
    if by is None:
        return _figure(bars(list(_each_bar(chart, rows)), name))
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_group(by, row[by]), []).append(row)
    drawn = (
        _figure(bars(list(_each_bar(chart, of)), f"{name}, {group}", NARROW), group)
        for group, of in groups.items()
    )
    return f'<div class="many">{"".join(drawn)}</div>'


def _lines(chart: Chart, rows: Sequence[Row], name: str) -> str:
    """Draw lines over times; of one time alone, which makes no line, bars."""
    columns = chart.columns["y"].split(",")
    places = [_text(row[chart.columns["x"]]) for row in rows]
    if len(rows) == 1:
        values = [Bar(column, _number(rows[0][column])) for column in columns]
        return _figure(bars(values, name), places[0])
    at = [datetime.fromisoformat(place).timestamp() for place in places]
    found = [Line(column, [_number(row[column]) for row in rows]) for column in columns]
    return _figure(lines(places, at, found, name))


def _movers(chart: Chart, rows: Sequence[Row], name: str) -> str:
    """Draw the last group only: the newest day."""
    by = chart.columns["by"]
    last = rows[-1][by]
    newest = [row for row in rows if row[by] == last]
    return _figure(movers(list(_each_bar(chart, newest)), name), _text(last))


_CHARTS: Mapping[str, Callable[[Chart, Sequence[Row], str], str]] = {
    "bars": _bars,
    "line": _lines,
    "movers": _movers,
}


def _each_bar(chart: Chart, rows: Iterable[Row]) -> Iterable[Bar]:
    of = chart.columns.get("of")
    for row in rows:
        whole = _number(row[of]) if of else 0.0
        yield Bar(_text(row[chart.columns["label"]]), _number(row[chart.columns["value"]]), whole)


def _figure(svg: str, caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{below}{svg}</figure>"


def _group(by: str, value: Plain) -> str:
    if by == "weekday" and isinstance(value, int):
        return _WEEKDAYS[value]
    if by == "hour_of_day" and isinstance(value, int):
        return f"{value:02d}:00"
    return _text(value)


# ---- tables -------------------------------------------------------------------------------------


def _table(answer: Answer) -> str:
    if not answer.rows:
        return ""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in answer.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in answer.rows)
    opened = " open" if len(answer.rows) <= _OPEN_UP_TO else ""
    return (
        f"<details{opened}><summary>{_counted(len(answer.rows), 'row')}</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def _cell(value: Plain) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if is_number else ''}>{escape(_text(value))}</td>"


def _text(value: Plain) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return shown(value)


def _number(value: Plain) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
