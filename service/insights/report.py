"""The report: one HTML page that holds everything, charts among it, and asks nobody for anything.

No script, no font, no address: it can be mailed, archived, and opened without a network. Its
Content-Security-Policy says so to the browser. Whoever gets it by mail has no archive to ask: what
was left out, and why, is in it.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template
from typing import TypeGuard

from errors import SettingsError
from service.insights.answers import Answer, Insights, Plain
from service.insights.charts import shown
from service.insights.figures import Until, figure, is_share, named, until, words

_TEMPLATE = Path(__file__).with_name("report.html")
_OPEN_UP_TO = 12
_NAMED_UP_TO = 20
_TIME = re.compile(r"\d{4}-\d\d-\d\d")


def page(insights: Insights, made_at: str) -> str:
    """Write the page.

    Args:
        insights: What it tells.
        made_at: When it was made, for people: a day and a time.
    """
    today = made_at.split(" ")[0]
    ends = {
        domain: until(insights.answers, domain, today)
        for domain in {answer.question.domain for answer in insights.answers}
    }
    read = "".join(f"<li>{escape(text)}</li>" for text in _readings(insights))
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        place=escape(insights.place),
        made_at=escape(made_at),
        read=read + _left(insights.others),
        sections="".join(
            _section(answer, ends[answer.question.domain]) for answer in insights.answers
        ),
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
    """Say in a sentence each what was read, and what wasn't, to who can ask again."""
    texts = _readings(insights)
    if insights.others:
        texts.append(f"{_counted(len(insights.others), 'file')} left: --json says why")
    return texts


def _readings(insights: Insights) -> list[str]:
    return [
        f"{_counted(one.records, 'record')} of {one.table} in {_counted(one.files, 'file')}"
        + (f", {one.rejected:,} of them rejected" if one.rejected else "")
        for one in insights.readings
    ]


def _left(others: Mapping[Path, str]) -> str:
    """Say which files were left, reason by reason, below the folder that they have in common."""
    if not others:
        return ""
    common = os.path.commonpath([path.parent for path in others])
    reasons: dict[str, list[str]] = {}
    for path, why in others.items():
        reasons.setdefault(why, []).append(path.relative_to(common).as_posix())
    told = []
    for why, names in reasons.items():
        more = len(names) - _NAMED_UP_TO
        listed = ", ".join(f"<code>{escape(name)}</code>" for name in names[:_NAMED_UP_TO])
        told.append(f"<li>{escape(why)}: {listed}{f' and {more:,} more' if more > 0 else ''}</li>")
    return (
        f"<li><details><summary>{_counted(len(others), 'file')} left</summary>"
        f"<ul>{''.join(told)}</ul></details></li>"
    )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _section(answer: Answer, end: Until) -> str:
    question = answer.question
    source = "archived events" if question.asks == "events" else "rows of aggregates"
    key = f"{question.domain}-{question.name}"
    return (
        f'<section id="{escape(key)}"><h2>{escape(question.title)}</h2>'
        f'<p>{escape(question.text)} <span class="from">From {source}.</span></p>'
        f"{figure(answer, key, end)}{_table(answer)}</section>"
    )


# ---- tables -------------------------------------------------------------------------------------


def _table(answer: Answer) -> str:
    if not answer.rows:
        return ""
    columns = [
        _column(name, [row[at] for row in answer.rows], answer.columns)
        for at, name in enumerate(answer.columns)
    ]
    head = "".join(
        f'<th scope="col"{kind}>{escape(words(name))}</th>'
        for name, (kind, _) in zip(answer.columns, columns, strict=True)
    )
    cells = zip(
        *([f"<td{kind}>{text}</td>" for text in texts] for kind, texts in columns), strict=True
    )
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    opened = " open" if len(answer.rows) <= _OPEN_UP_TO else ""
    return (
        f"<details{opened}><summary>{_counted(len(answer.rows), 'row')}</summary>"
        f'<div class="table"><table aria-label="{escape(answer.question.title)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _column(name: str, values: Sequence[Plain], columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return the class of a column and its cells, whose numbers have their points in a row."""
    values = [named(name, value) for value in values]
    numbers = [value for value in values if _is_number(value)]
    known = [value for value in values if value is not None]
    kind = ""
    if len(numbers) == len(known):
        kind = ' class="number"'
    elif all(_TIME.match(str(value)) for value in known):
        kind = ' class="time"'
    share = is_share(name, columns)
    cents = any(abs(one) >= 1 and not float(one).is_integer() for one in numbers)
    return kind, [escape(_text(value, share=share, cents=cents)) for value in values]


def _text(value: Plain, *, share: bool, cents: bool) -> str:
    if value is None:
        return "-"
    if not _is_number(value):
        return str(value)
    if share:
        return f"{value:.2%}"
    return f"{value:,.2f}" if cents else shown(value)


def _is_number(value: Plain) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
