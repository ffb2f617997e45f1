"""The questions: one SQL file each, whose first lines say what it asks and how to draw the answer.

    -- 3. Carts that nobody paid for                            place among its domain's, title
    -- How often something was put into a cart and not bought.  a sentence or more
    -- reads: ecommerce_events                                  the views that it reads
    -- chart: bars label=counted_by value=without_purchase      optional; see charts.py

A file in `sql/insights/<domain>/events/` asks archived events, one in `aggregates/` the rows that
kinewax has written; files of one name answer the same question with the same columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "sql" / "insights"
"""Beside this package, in a checkout as in an installation."""

_COMMENT = "-- "
_TITLE = re.compile(r"(?P<place>\d+)\. (?P<title>.+)")
_FIELD = re.compile(r"(?P<name>reads|chart): (?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Chart:
    """How an answer is drawn.

    Attributes:
        kind: bars, line or movers.
        columns: The columns that it draws, by their part in the drawing.
    """

    kind: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Question:
    """One SQL file.

    Attributes:
        name: The file's name.
        domain: Whose data it asks.
        asks: `events` or `aggregates`.
        place: Among its domain's questions.
        title: In a few words.
        text: In a sentence.
        reads: The views that it reads.
        chart: How the answer is drawn; None for a table only.
        sql: The query.
    """

    name: str
    domain: str
    asks: str
    place: int
    title: str
    text: str
    reads: tuple[str, ...]
    chart: Chart | None
    sql: str


def questions(folder: Path = FOLDER) -> list[Question]:
    """Return all questions, in the order in which they are told."""
    found = [parse(path) for path in folder.glob("*/*/*.sql")]
    return sorted(found, key=lambda one: (one.domain, one.place, one.asks))


def parse(path: Path) -> Question:
    """Read one file.

    Raises:
        ValueError: Its first lines don't say what they should.
    """
    sql = path.read_text(encoding="utf-8")
    head = [line.removeprefix(_COMMENT) for line in sql.splitlines() if line.startswith(_COMMENT)]
    title = _TITLE.fullmatch(head[0]) if head else None
    fields = {match["name"]: match["value"] for line in head if (match := _FIELD.fullmatch(line))}
    text = " ".join(line for line in head[1:] if not _FIELD.fullmatch(line))
    if title is None or not text or "reads" not in fields:
        msg = f"{path}: its first lines must be a numbered title, a text, and `reads:`"
        raise ValueError(msg)
    return Question(
        name=path.stem,
        domain=path.parts[-3],
        asks=path.parts[-2],
        place=int(title["place"]),
        title=title["title"],
        text=text,
        reads=tuple(fields["reads"].split(", ")),
        chart=_chart(fields["chart"]) if "chart" in fields else None,
        sql=sql,
    )


def _chart(text: str) -> Chart:
    kind, *columns = text.split()
    return Chart(kind, dict(column.split("=", 1) for column in columns))
