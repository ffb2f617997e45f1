"""Asks all questions that an archive can answer.

A question with two ways is asked of events where there are any, since they also hold what no closed
window has counted yet; else of the rows that kinewax wrote.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from dataflows.registry import DOMAINS
from errors import MissingResourceError
from service.insights import archive
from service.insights.database import Cell, Database, Reading
from service.insights.queries import Question, questions
from service.warehouse.tables import Events, Rows, events_of, rows_of

Plain: TypeAlias = "int | float | str | bool | None"


@dataclass(frozen=True, slots=True)
class Answer:
    """A question and what was found.

    Attributes:
        question: What was asked, and in which way.
        columns: The names of the columns.
        rows: The rows, ready for JSON.
    """

    question: Question
    columns: Sequence[str]
    rows: Sequence[tuple[Plain, ...]]

    def as_json(self) -> Mapping[str, object]:
        """Return it as JSON says it."""
        return {
            "name": self.question.name,
            "domain": self.question.domain,
            "title": self.question.title,
            "text": self.question.text,
            "from": self.question.asks,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Insights:
    """All that an archive says.

    Attributes:
        place: Where it is, as it was given.
        readings: What was read.
        others: Files that were left, and why.
        answers: In the order of the questions.
    """

    place: str
    readings: Sequence[Reading]
    others: Mapping[Path, str]
    answers: Sequence[Answer]

    def as_json(self) -> Mapping[str, object]:
        """Return it as JSON says it."""
        return {
            "place": self.place,
            "read": [
                {
                    "table": one.table,
                    "files": one.files,
                    "records": one.records,
                    "rejected": one.rejected,
                }
                for one in self.readings
            ],
            "left": {str(path): why for path, why in self.others.items()},
            "insights": [one.as_json() for one in self.answers],
        }


def tables() -> list[Rows | Events]:
    """Return all tables that records can belong to."""
    known: list[Rows | Events] = [rows_of(domain) for domain in DOMAINS.values()]
    known += [events_of(domain) for domain in DOMAINS.values() if domain.format is None]
    return known


def answer(path: Path, place: str) -> Insights:
    """Read an archive and ask it everything that it can answer.

    Args:
        path: Where it is on this machine.
        place: Where it is for people.

    Raises:
        MissingResourceError: There is nothing that a question is asked of.
    """
    found = archive.look(path, tables())
    if not found.files:
        msg = f"{place} holds neither rows of aggregates nor events of a domain"
        why = next(iter(found.others.items()), None)
        hint = f"{why[0].name} {why[1]}" if why else "it is empty"
        raise MissingResourceError(msg, hint=hint)
    with (
        tempfile.TemporaryDirectory(prefix="kinewax-insights-") as folder,
        Database(Path(folder)) as database,
    ):
        readings = database.load(found, tables())
        answers = [_ask(database, one) for one in _asked(database)]
    if not answers:
        held = ", ".join(one.table for one in readings)
        msg = f"{place} holds nothing that a question is asked of, only {held}"
        raise MissingResourceError(msg, hint=_why_nothing(readings))
    others = {**found.others, **{path: why for one in readings for path, why in one.broken.items()}}
    return Insights(place, readings, others, answers)


def _why_nothing(readings: Sequence[Reading]) -> str:
    for one in readings:
        for path, why in one.broken.items():
            return f"{path.name} {why}"
        if one.records and one.rejected == one.records:
            return f"all {one.records:,} records of {one.table} lack a field or have a wrong one"
    return "questions are files of sql/insights/"


def _asked(database: Database) -> list[Question]:
    chosen: dict[tuple[str, str], Question] = {}
    for one in questions():
        if not all(map(database.has, one.reads)):
            continue
        known = chosen.get((one.domain, one.name))
        if known is None or one.asks == "events":
            chosen[one.domain, one.name] = one
    return list(chosen.values())


def _ask(database: Database, question: Question) -> Answer:
    columns, rows = database.ask(question.sql)
    return Answer(question, columns, [tuple(map(_plain, row)) for row in rows])


def _plain(cell: Cell) -> Plain:
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    if isinstance(cell, datetime):
        return cell.isoformat(sep=" ", timespec="minutes" if not cell.second else "seconds")
    if isinstance(cell, date):
        return cell.isoformat()
    plain: Plain = cell  # as is the rest of what DuckDB gives out
    return plain
