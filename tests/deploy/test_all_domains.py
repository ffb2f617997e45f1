"""Questions about every domain's rows: what Redshift, Athena and `insights` answer is the same.

Redshift's SQL runs on PostgreSQL and Athena's on DuckDB, as in test_redshift.py and test_athena.py,
over the files of a run on generated events; a plain count of these events says what is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from producers.templates import FOLDER
from service.cli import run_command
from service.insights.answers import answer
from service.insights.queries import Question, questions
from tests.deploy.redshift_shim import load
from tests.deploy.test_athena import Asker, athena, deliver  # noqa: F401
from tests.deploy.test_redshift import asked

DOMAINS = ("access_logs", "clickstream", "wiki")
"""The shop apart, whose answers are held against those that others computed."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Run:
    """Generated events and the rows that a run made of them."""

    events: list[bytes]
    folder: Path

    def rows(self) -> Iterable[bytes]:
        return (file.read_bytes() for file in sorted((self.folder / "aggregates").iterdir()))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Run a domain over five minutes of events, when it is first asked for."""
    made: dict[str, Run] = {}

    def run_of(domain: str) -> Run:
        if domain not in made:
            folder = tmp_path_factory.mktemp(domain)
            path, out = folder / "events", folder / "out"
            produce, run = ["produce", domain, "--to", f"file://{path}"], ["run", domain]
            if domain == "clickstream":
                produce += ["--template", str(FOLDER / "clickstream_timed.json")]
                run += ["--time", "timestamp"]
            produce += ["--seconds", "300", "--rate", "20", "--seed", "3"]
            assert run_command([*produce, "--start", "2026-01-05T08:00:00"]) == 0
            run += ["--source", f"file://{path}", "--sinks", f"file://{out}"]
            assert run_command(run) == 0
            made[domain] = Run(path.read_bytes().splitlines(), out)
        return made[domain]

    return run_of


def plain(rows: Rows) -> Rows:
    """Return answers in the types of JSON, however an engine gives them."""

    def value(one: Any) -> Any:
        if isinstance(one, Decimal | float):
            return round(float(one), 2)
        if isinstance(one, datetime):
            return f"{one:%Y-%m-%d %H:%M}"  # as `insights` writes it
        return one

    return [{name: value(one) for name, one in row.items()} for row in rows]


@pytest.mark.parametrize("domain", DOMAINS)
def test_redshift_athena_and_insights_give_one_answer(
    domain: str,
    runs: Callable[[str], Run],
    warehouse: psycopg.Connection[Any],
    athena: Asker,  # noqa: F811
    tmp_path: Path,
) -> None:
    run = runs(domain)
    load(warehouse, f"kinewax.{domain}_rows", run.rows())
    deliver(tmp_path, f"{domain}-aggregates", *run.rows())
    here = {one.question.name: one for one in answer(run.folder, "here").answers}
    own = [one for one in questions() if one.domain == domain and one.asks == "aggregates"]

    assert own
    for one in own:
        on_redshift = plain(asked(warehouse, one.sql))
        told = here[one.name]
        assert plain(athena(one.sql)) == on_redshift, one.name
        rows = [dict(zip(told.columns, row, strict=True)) for row in told.rows]
        assert plain(rows) == on_redshift, one.name
        assert right(one, run, on_redshift), one.name


def right(one: Question, run: Run, rows: Rows) -> bool:
    """Hold an answer against a plain count of the events."""
    events = [] if one.domain == "access_logs" else [json.loads(event) for event in run.events]

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    match one.domain, one.name:
        case "access_logs", "pages":  # of the top twenty paths a minute; there are fewer
            paths = Counter(
                event.split(b'"')[1].split(b" ")[1].split(b"?")[0].decode() for event in run.events
            )
            return {row["path"]: row["requests"] for row in rows} == paths
        case "access_logs", "statuses":
            found = Counter(int(event.split(b'" ')[1].split(b" ")[0]) for event in run.events)
            return {row["status"]: row["requests"] for row in rows} == found
        case "access_logs", "traffic":
            return total("requests") == len(run.events)
        case "clickstream", "funnel":
            carts = sum(event["event"]["type"] == "addToCart" for event in events)
            return total("carts") == carts
        case "clickstream", "amounts_by_country":
            amounts: Counter[str] = Counter()
            for event in events:
                bought = event["event"]["type"] == "checkout"
                amounts[event["countryCode"]] += event["event"]["amount"] if bought else 0
            return {row["country_code"]: row["amount"] for row in rows} == amounts
        case "clickstream", "purchases_by_product":
            bought = Counter(
                event["event"]["product"] or "(unknown)"
                for event in events
                if event["event"]["type"] == "checkout"
            )
            return {row["product"]: row["purchases"] for row in rows} == bought
        case "wiki", "changes":
            own = [event for event in events if event["meta"]["domain"] != "canary"]
            bots = sum(bool(event.get("bot")) for event in own)
            return (total("changes"), total("bot_changes")) == (len(own), bots)
        case "wiki", name:
            column = {"types": "type", "wikis": "wiki"}[name]
            own = [event for event in events if event["meta"]["domain"] != "canary"]
            found = Counter(event[column] for event in own)
            return {row[column]: row["changes"] for row in rows} == found
    return False


def test_clicks_give_the_answer_that_their_rows_give(
    runs: Callable[[str], Run], warehouse: psycopg.Connection[Any]
) -> None:
    run = runs("clickstream")
    load(warehouse, "kinewax.clickstream_rows", run.rows())
    load(warehouse, "kinewax.clickstream_raw", [b"\n".join(run.events)])
    both = [
        one.sql
        for one in questions()
        if one.domain == "clickstream" and one.name == "purchases_by_product"
    ]

    of_events, of_rows = (asked(warehouse, sql) for sql in both)

    assert of_events == of_rows != []


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_view_has_the_columns_that_its_rows_have(
    domain: str, runs: Callable[[str], Run], warehouse: psycopg.Connection[Any]
) -> None:
    files = list((runs(domain).folder / "aggregates").iterdir())

    assert files
    for file in files:
        found = warehouse.execute(f"SELECT * FROM {domain}_{file.stem}")
        columns = {column.name for column in found.description or ()}
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
        assert rows
        # A row says that it is partial only if it is.
        assert columns - {"partial"} == {name for row in rows for name in row} - {"partial"}
