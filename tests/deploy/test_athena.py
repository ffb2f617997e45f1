"""Athena's tables, views and queries on DuckDB, over what a run has delivered.

Nothing here ran on Athena; tests/deploy/athena_shim.py says what stands in for what.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest
import sqlglot
from sqlglot import exp

from operators.event_time import parse_times
from service.insights.queries import questions
from tests.deploy.athena_shim import create, location_of, on_duckdb, partitions_of
from tests.deploy.expectations import answers_of
from tests.deploy.test_redshift import CLICKS, TIMES

CLICKED = ("clickstream", "events")

ATHENA = Path(__file__).resolve().parents[2] / "deploy" / "athena"
TABLES, VIEWS = (ATHENA / "tables.sql").read_text(), (ATHENA / "views.sql").read_text()
PERIOD = (ATHENA / "period.sql").read_text()
HOUR = "2026/11/23/04"

Asker = Callable[[str], list[dict[str, Any]]]


def deliver(bucket: Path, stream: str, *objects: bytes, hour: str = HOUR) -> None:
    """Put objects where Firehose would."""
    folder = bucket / stream / hour
    folder.mkdir(parents=True, exist_ok=True)
    for content in objects:
        (folder / f"{stream}-1-{len(list(folder.iterdir()))}").write_bytes(content)


@pytest.fixture
def athena(tmp_path: Path) -> Asker:
    """Asks Athena's views over `tmp_path`, which stands for the bucket."""

    def ask(sql: str) -> list[dict[str, Any]]:
        with duckdb.connect() as connection:
            create(connection, TABLES, VIEWS, tmp_path)
            (text,) = on_duckdb(sql)
            found = connection.execute(text)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    return ask


def test_the_sample_gives_every_expected_number(
    athena: Asker, tmp_path: Path, sample_lines: bytes, expected: dict[str, Any]
):
    half = sample_lines.index(b"\n", len(sample_lines) // 2) + 1
    deliver(tmp_path, "ecommerce-raw", sample_lines[:half], sample_lines[half:])

    found = {
        one.name: athena(one.sql)
        for one in questions()
        if one.domain == "ecommerce" and one.asks == "events"
    }

    assert answers_of(found) == expected


def test_an_event_that_is_none_is_left_out_and_stops_nothing(athena: Asker, tmp_path: Path):
    good = {"event_time": "2019-10-06 00:00:00 UTC", "event_type": "view", "price": "1.005e1"}
    lines = [
        {**good, "user_id": "1"},
        {**good, "user_id": "x"},
        {**good, "user_id": "2", "event_time": "2019-99-99 00:00:00 UTC"},
        {**good, "user_id": "3", "price": "?"},
    ]
    content = b"\n".join(map(orjson.dumps, lines)) + b"\n{not json\n"
    deliver(tmp_path, "ecommerce-raw", content)

    found = athena("SELECT user_id, day, weekday, price, delivered_on FROM ecommerce_events")

    # In DuckDB, as in Redshift, Sunday is 0; Trino's 7 becomes 0 by MOD.
    (event,) = found
    assert (event["user_id"], str(event["day"]), event["weekday"]) == (1, "2019-10-06", 0)
    assert str(event["price"]) == "10.05"
    assert event["delivered_on"] == "2026/11/23"


@pytest.mark.parametrize(("written", "read"), TIMES)
def test_a_time_is_read_in_utc_whatever_its_offset(
    athena: Asker, tmp_path: Path, written: str, read: str
):
    event = {"event_time": written, "event_type": "view", "price": "1", "user_id": "1"}
    deliver(tmp_path, "ecommerce-raw", orjson.dumps(event))

    (found,) = athena("SELECT event_at FROM ecommerce_events")

    assert str(found["event_at"]) == read
    # What the view says is what the service makes of such a text.
    ((time_us,), (good,)) = parse_times([written])
    assert good
    assert datetime.fromtimestamp(time_us / 1e6, UTC).replace(tzinfo=None) == found["event_at"]


def test_of_rows_with_one_id_the_one_emitted_last_is_seen(
    athena: Asker, tmp_path: Path, delivered: Path
):
    lines = (delivered / "aggregates" / "trade.jsonl").read_bytes().splitlines()
    row = orjson.loads(lines[0])
    # By their texts as they stand, Z and all, the first would come last.
    told = [
        {**row, "events": 1, "emitted_at": "2099-01-01T00:00:00Z"},
        {**row, "events": 3, "emitted_at": "2099-01-01T00:00:00.000002Z"},
        {**row, "events": 2, "emitted_at": "2099-01-01T00:00:00.000001Z"},
    ]
    deliver(
        tmp_path, "ecommerce-aggregates", b"\n".join(lines), b"\n".join(map(orjson.dumps, told))
    )

    found = {one["row_id"]: one for one in athena("SELECT * FROM ecommerce_trade")}

    assert len(found) == len(lines)
    assert found[row["row_id"]]["events"] == 3
    for line in map(orjson.loads, lines[1:]):
        seen = found[line["row_id"]]
        assert seen["window_start"].isoformat() + "Z" == line["window_start"]
        assert float(seen["revenue"]) == line["revenue"]


def of_days(first: str, last: str) -> str:
    """Return period.sql as who wants these days would run it."""
    return PERIOD.replace("FIRST_DAY", first).replace("LAST_DAY", last)


@pytest.mark.parametrize(
    ("first", "last", "seen"),
    [
        ("2026/11/22", "2026/11/23", {"final": 3}),
        ("2026/11/22", "2026/11/22", {"interim": 2}),
        ("2026/11/24", "2026/11/30", {}),
    ],
)
def test_of_some_days_the_latest_row_delivered_in_them_is_seen(
    tmp_path: Path, first: str, last: str, seen: dict[str, int]
):
    row = {
        "row_id": "a",
        "domain": "ecommerce",
        "aggregate": "visitors_daily",
        "window_start": "2026-11-22T00:00:00Z",
        "window_end": "2026-11-23T00:00:00Z",
    }
    interim = {**row, "events": 2, "phase": "interim", "emitted_at": "2026-11-22T23:59:00Z"}
    final = {**row, "events": 3, "phase": "final", "emitted_at": "2026-11-23T00:00:05Z"}
    event = {"event_time": "2026-11-22T00:00:00Z", "event_type": "view", "price": 1, "user_id": 1}
    for hour, told in ("2026/11/22/23", interim), ("2026/11/23/00", final):
        deliver(tmp_path, "ecommerce-aggregates", orjson.dumps(told), hour=hour)
        deliver(tmp_path, "ecommerce-raw", orjson.dumps(event), hour=hour)

    with duckdb.connect() as connection:
        create(connection, TABLES, VIEWS, tmp_path)
        for statement in on_duckdb(of_days(first, last)):
            connection.execute(statement)
        every = connection.execute("SELECT phase, events FROM ecommerce_visitors_daily").fetchall()
        connection.execute("SET schema = 'period_of_kinewax'")
        found = connection.execute("SELECT phase, events FROM ecommerce_visitors_daily").fetchall()
        days = connection.execute("SELECT delivered_on FROM ecommerce_events").fetchall()

    assert dict(found) == seen
    assert every == [("final", 3)]
    assert all(first <= day <= last for (day,) in days)


def test_days_that_move_along_are_seen_as_the_page_says(tmp_path: Path):
    page = (ATHENA.parents[1] / "docs" / "how-to" / "warehouse.md").read_text()
    (first,) = re.findall(r"`(date_format\(.*?\))`", page)
    (last,) = re.findall(r"`(\d{4}/12/31)`", page)
    event = {"event_time": "2026-11-22T00:00:00Z", "event_type": "view", "price": 1, "user_id": 1}
    today = datetime.now(UTC)
    for days in 0, 4, 30:
        hour = (today - timedelta(days=days)).strftime("%Y/%m/%d/%H")
        deliver(tmp_path, "ecommerce-raw", orjson.dumps({**event, "user_id": days}), hour=hour)

    with duckdb.connect() as connection:
        create(connection, TABLES, VIEWS, tmp_path)
        moving = PERIOD.replace("'FIRST_DAY'", first).replace("LAST_DAY", last)
        for statement in on_duckdb(moving):
            connection.execute(statement)
        connection.execute("SET schema = 'period_of_kinewax'")
        found = connection.execute("SELECT user_id FROM ecommerce_events ORDER BY 1").fetchall()

    assert found == [(0,), (4,)]


def test_the_pages_command_gives_the_days_and_the_database_that_it_names():
    page = (ATHENA.parents[1] / "docs" / "how-to" / "warehouse.md").read_text()
    (command,) = re.findall(r"^sed .*period\.sql$", page, re.MULTILINE)
    done = subprocess.run(
        shlex.split(command), cwd=ATHENA.parents[1], capture_output=True, text=True, check=True
    )

    expected = of_days("2026/11/01", "2026/12/02").replace("period_of_kinewax", "november")
    assert on_duckdb(done.stdout) == on_duckdb(expected)


def test_the_days_stand_where_the_table_is_read_so_that_others_are_not():
    views = [one for one in sqlglot.parse(PERIOD, read="trino") if one and one.kind == "VIEW"]
    every = [one for one in sqlglot.parse(VIEWS, read="trino") if one]

    assert [one.this.name for one in views] == [one.this.name for one in every]
    for view in views:
        (table,) = view.expression.find_all(exp.Table)
        read = table.find_ancestor(exp.Select)
        assert [one.this.name for one in read.args["where"].find_all(exp.Between)] == [
            "delivered_on"
        ]


def test_nested_events_answer_the_questions_of_clicks(athena: Asker, tmp_path: Path):
    deliver(tmp_path, "clickstream-raw", CLICKS)

    found = {one.name: athena(one.sql) for one in questions() if (one.domain, one.asks) == CLICKED}

    assert found["total"] == [{"events": 5}]
    assert [row["customers"] for row in found["customers_by_gender"]] == [2, 1]
    assert [(row["product"], row["purchases"]) for row in found["purchases_by_product"]] == [
        ("bags", 2),
        ("shoes", 1),
    ]


def test_projected_partitions_are_the_days_of_firehoses_own_layout():
    tables = [
        one
        for one in sqlglot.parse(TABLES, read="athena")
        if isinstance(one, exp.Create) and one.kind == "TABLE"
    ]

    assert tables
    for table in tables:
        found = partitions_of(table, datetime(2026, 11, 23, 4, tzinfo=UTC))
        assert found[-1] == f"{location_of(table)}2026/11/23/"
        assert found[0] == f"{location_of(table)}2026/01/01/"
        assert len(found) == 327


def test_every_file_that_is_delivered_lies_in_a_projected_partition(tmp_path: Path):
    deliver(tmp_path, "ecommerce-raw", b"{}")
    (path,) = (one for one in tmp_path.rglob("*") if one.is_file())
    table = next(
        one
        for one in sqlglot.parse(TABLES, read="athena")
        if isinstance(one, exp.Create) and one.this.this.name == "ecommerce_raw"
    )
    key = f"s3://BUCKET/{path.relative_to(tmp_path)}"

    inside = partitions_of(table, datetime(2026, 11, 23, 4, tzinfo=UTC))

    assert [key.startswith(partition) for partition in inside].count(True) == 1
