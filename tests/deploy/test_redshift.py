"""Redshift's tables, views, users and queries on PostgreSQL, over what a run has delivered.

Nothing here ran on Redshift. The tables' own clauses are checked by Redshift's grammar, COPY is
replaced by what it does with such lines (tests/deploy/redshift_shim.py says what was dropped).
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import sqlglot
from sqlglot import exp

from messages import AggregateRows
from service.insights.queries import questions
from sinks import firehose
from tests.deploy.conftest import REDSHIFT, run
from tests.deploy.expectations import answers_of
from tests.deploy.redshift_shim import PLACEMENT, load, on_postgres
from tests.servers import REGION, Clients

Warehouse = psycopg.Connection[Any]
SHOP = [one for one in questions() if one.domain == "ecommerce"]
EVENTS = {one.name: one.sql for one in SHOP if one.asks == "events"}
AGGREGATES = {one.name: one.sql for one in SHOP if one.asks == "aggregates"}

CLICKED = ("clickstream", "events")

# What an event's time may look like, and which it is in UTC.
TIMES = [
    ("2019-11-01 00:00:00 UTC", "2019-11-01 00:00:00"),
    ("2019-11-01T00:00:00Z", "2019-11-01 00:00:00"),
    ("2019-11-01T00:00:00", "2019-11-01 00:00:00"),
    ("2019-11-01T00:00:00+02:00", "2019-10-31 22:00:00"),
    ("2019-11-01 00:00:00.250-05:30", "2019-11-01 05:30:00.250000"),
    ("2019-11-01", "2019-11-01 00:00:00"),
]


def asked(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    found = warehouse.execute(sql)
    names = [column.name for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_every_table_is_placed_and_sorted_by_columns_that_it_has():
    tables = [
        one
        for one in sqlglot.parse((REDSHIFT / "tables.sql").read_text(), read="redshift")
        if isinstance(one, exp.Create) and one.kind == "TABLE"
    ]

    assert tables
    for table in tables:
        columns = {column.name for column in table.find_all(exp.ColumnDef)}
        by = table.find(exp.DistKeyProperty)
        assert by is not None
        assert by.this.name in columns
        sort = table.find(exp.SortKeyProperty)
        for one in sort.find_all(exp.Identifier) if sort else ():
            assert one.name in columns


def test_every_table_has_a_copy_that_redshifts_grammar_knows():
    tables = {
        one.this.this.sql("redshift")
        for one in sqlglot.parse((REDSHIFT / "tables.sql").read_text(), read="redshift")
        if isinstance(one, exp.Create) and one.kind == "TABLE"
    }
    copies = sqlglot.parse((REDSHIFT / "copy.sql").read_text(), read="redshift")

    assert {one.this.sql("redshift") for one in copies if isinstance(one, exp.Copy)} == tables
    for one in copies:
        options = " ".join(parameter.sql("redshift") for parameter in one.args["params"])
        assert options == (
            "FORMAT AS JSON 'auto ignorecase' TIMEFORMAT 'auto' "
            "TRUNCATECOLUMNS ACCEPTINVCHARS MAXERROR 100000 GZIP"
        )


def test_the_shim_says_what_it_dropped(capsys: pytest.CaptureFixture[str]):
    script = on_postgres((REDSHIFT / "tables.sql").read_text())

    told = capsys.readouterr().out
    for clause in ("DISTKEY(row_id)", "SORTKEY(aggregate, window_start)", "SUPER of event"):
        assert clause in told
    left = [sqlglot.parse_one(one, read="postgres") for one in script.statements]
    assert not [clause for one in left for clause in one.find_all(*PLACEMENT)]


def test_the_sample_gives_every_expected_number(
    warehouse: Warehouse, sample_lines: bytes, expected: dict[str, Any]
):
    load(warehouse, "kinewax.ecommerce_raw", [sample_lines])

    found = {name: asked(warehouse, sql) for name, sql in EVENTS.items()}

    assert answers_of(found) == expected


@pytest.mark.parametrize("name", AGGREGATES)
def test_aggregates_give_the_answer_that_events_give(
    warehouse: Warehouse, delivered: Path, sample_lines: bytes, name: str
):
    load(warehouse, "kinewax.ecommerce_raw", [sample_lines])
    for file in (delivered / "aggregates").iterdir():
        load(warehouse, "kinewax.ecommerce_rows", [file.read_bytes()])

    found = asked(warehouse, AGGREGATES[name])

    assert found == asked(warehouse, EVENTS[name])
    # The sample is of one day: nothing has moved since the day before.
    assert found or name == "movers"


@pytest.mark.parametrize(("written", "read"), TIMES)
def test_a_time_is_read_in_utc_whatever_its_offset(warehouse: Warehouse, written: str, read: str):
    event = {"event_time": written, "event_type": "view", "price": "1", "user_id": "1"}
    load(warehouse, "kinewax.ecommerce_raw", [orjson.dumps(event)])

    found = asked(warehouse, "SELECT event_at FROM ecommerce_events")

    assert [str(row["event_at"]) for row in found] == [read]


@pytest.mark.parametrize("written", ["", "  ", "x", "2019-99-99 00:00:00 UTC", None])
def test_an_event_without_a_time_is_left_out_and_stops_nothing(
    warehouse: Warehouse, written: str | None
):
    event = {"event_type": "view", "price": "1", "user_id": "1"}
    times = "2019-10-06 00:00:00 UTC", written
    lines = [orjson.dumps({**event, "event_time": one}) for one in times]
    load(warehouse, "kinewax.ecommerce_raw", lines)

    found = asked(warehouse, "SELECT day, weekday FROM ecommerce_events")

    assert [(str(row["day"]), row["weekday"]) for row in found] == [("2019-10-06", 0)]


def test_movers_are_told_for_days_that_follow_each_other(warehouse: Warehouse):
    sales = [
        ("2019-10-01", "sony", "5.00"),
        ("2019-10-01", "nokia", "7.00"),
        ("2019-10-01", "bosch", "1.00"),
        ("2019-10-02", "sony", "8.00"),
        ("2019-10-02", "acer", "2.50"),
        ("2019-10-02", "bosch", "1.00"),
        ("2019-10-04", "sony", "100.00"),
    ]
    event = {"event_type": "purchase", "user_id": "1"}
    lines = [
        orjson.dumps({**event, "event_time": f"{day} 12:00:00 UTC", "brand": brand, "price": price})
        for day, brand, price in sales
    ]
    load(warehouse, "kinewax.ecommerce_raw", [b"\n".join(lines)])

    found = asked(warehouse, EVENTS["movers"])

    assert [(str(row["day"]), row["brand"], str(row["change"])) for row in found] == [
        ("2019-10-02", "sony", "3.00"),
        ("2019-10-02", "acer", "2.50"),
        ("2019-10-02", "nokia", "-7.00"),
    ]


def test_a_view_has_the_columns_that_its_aggregates_rows_have(
    warehouse: Warehouse, delivered: Path
):
    files = list((delivered / "aggregates").iterdir())

    assert files
    for file in files:
        found = warehouse.execute(f"SELECT * FROM ecommerce_{file.stem}")
        columns = [column.name for column in found.description or ()]
        first = orjson.loads(file.read_bytes().partition(b"\n")[0])
        # A row says that it is partial only if it is.
        assert sorted(columns) == sorted([*first, "partial"])


def test_delivered_rows_are_read_as_they_were_written(warehouse: Warehouse, delivered: Path):
    content = (delivered / "aggregates" / "trade.jsonl").read_bytes()
    load(warehouse, "kinewax.ecommerce_rows", [content])
    written = [orjson.loads(line) for line in content.splitlines()]

    found = asked(warehouse, "SELECT * FROM ecommerce_trade")

    assert len(found) == len(written) > 0
    by_id = {row["row_id"]: row for row in found}
    for row in written:
        read = by_id[row["row_id"]]
        assert read["window_start"].isoformat() + "Z" == row["window_start"]
        assert read["revenue"] == Decimal(str(row["revenue"]))
        for name in ("event_type", "category_code", "brand", "events", "users"):
            assert read[name] == row[name]


def test_rows_that_firehose_has_delivered_are_loaded_as_those_of_files(
    warehouse: Warehouse,
    delivered: Path,
    moto: Clients,
    unique_name: Callable[[str], str],
):
    bucket, stream = unique_name("bucket"), unique_name("stream")
    moto("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    moto("firehose").create_delivery_stream(
        DeliveryStreamName=stream,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/firehose",
            "BucketARN": f"arn:aws:s3:::{bucket}",
        },
    )
    files = sorted((delivered / "aggregates").iterdir())
    rows = [
        AggregateRows(file.stem, tuple(map(orjson.loads, file.read_bytes().splitlines())))
        for file in files
    ]
    # Twice: whoever sends at least once may send all of it again.
    for _ in range(2):
        firehose.put(moto("firehose"), stream, [entry.body for entry in firehose.encode(rows)])
    objects = [
        moto("s3").get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in moto("s3").list_objects_v2(Bucket=bucket)["Contents"]
    ]

    load(warehouse, "kinewax.ecommerce_rows", objects)

    for one in rows:
        (found,) = asked(warehouse, f"SELECT COUNT(*) AS rows FROM ecommerce_{one.aggregate}")
        assert found["rows"] == len(one.rows)
    found = asked(warehouse, AGGREGATES["cart_without_purchase"])
    assert [row["without_purchase"] for row in found] == [25, 24, 24]


def test_of_rows_with_one_id_the_one_emitted_last_is_seen(warehouse: Warehouse, delivered: Path):
    lines = (delivered / "aggregates" / "trade.jsonl").read_bytes().splitlines()
    row = orjson.loads(lines[0])
    later = {**row, "events": 999, "emitted_at": "2099-01-01T00:00:00.000002Z"}
    earlier = {**row, "events": 998, "emitted_at": "2099-01-01T00:00:00.000001Z"}
    load(
        warehouse,
        "kinewax.ecommerce_rows",
        [orjson.dumps(later) + b"\n" + orjson.dumps(earlier), lines[0], lines[0]],
    )

    seen = asked(warehouse, "SELECT row_id, events FROM ecommerce_trade")

    assert seen == [{"row_id": row["row_id"], "events": 999}]


def test_rows_whose_ids_are_cut_to_one_are_never_taken_for_one(warehouse: Warehouse):
    long = "é" * 40_000
    rows = [
        {
            "row_id": f"ecommerce/trade/category_code={long}{number}/2026-11-22T00:00:00Z",
            "domain": "ecommerce",
            "aggregate": "trade",
            "window_start": "2026-11-22T00:00:00Z",
            "window_end": "2026-11-22T00:01:00Z",
            "category_code": f"{long}{number}",
            "events": number,
            "emitted_at": f"2026-11-22T00:02:0{number}Z",
        }
        for number in (1, 2)
    ]
    load(warehouse, "kinewax.ecommerce_rows", map(orjson.dumps, rows))
    (ids,) = asked(warehouse, "SELECT COUNT(DISTINCT row_id) AS cut FROM ecommerce_rows")
    assert ids == {"cut": 1}

    for _ in range(2):
        found = asked(warehouse, "SELECT events, category_code FROM ecommerce_trade ORDER BY 1")
        assert [row["events"] for row in found] == [1, 2]
        assert {row["category_code"] for row in found} == {"é" * 128}
        run(warehouse, "compact.sql")


def test_compaction_takes_out_only_what_was_superseded(warehouse: Warehouse, delivered: Path):
    content = (delivered / "aggregates" / "trade.jsonl").read_bytes()
    again = b"\n".join(
        orjson.dumps({**orjson.loads(line), "emitted_at": "2099-01-01T00:00:00Z"})
        for line in content.splitlines()
    )
    load(warehouse, "kinewax.ecommerce_rows", [content, again])
    before = asked(warehouse, "SELECT * FROM ecommerce_trade ORDER BY row_id")

    run(warehouse, "compact.sql")

    assert asked(warehouse, "SELECT * FROM ecommerce_trade ORDER BY row_id") == before
    (left,) = asked(warehouse, "SELECT COUNT(*) AS rows FROM ecommerce_rows")
    assert left["rows"] == len(before)


def test_nested_events_answer_the_questions_of_clicks(warehouse: Warehouse):
    load(warehouse, "kinewax.clickstream_raw", [CLICKS])

    found = {
        one.name: asked(warehouse, one.sql)
        for one in questions()
        if (one.domain, one.asks) == CLICKED
    }

    assert found == {
        "total": [{"events": 5}],
        "customers_by_gender": [
            {"gender": "F", "customers": 2, "events": 2},
            {"gender": "M", "customers": 1, "events": 2},
        ],
        "purchases_by_product": [
            {"product": "bags", "purchases": 2, "amount": Decimal("150.00")},
            {"product": "shoes", "purchases": 1, "amount": Decimal("50.00")},
        ],
    }


def click(customer: str, country: str, gender: str, kind: str, product: str, amount: int) -> bytes:
    event = {"type": kind, "product": product, "amount": amount}
    return orjson.dumps(
        {"customerId": customer, "countryCode": country, "gender": gender, "event": event}
    )


CLICKS = b"\n".join(
    [
        click("1", "US", "F", "checkout", "shoes", 50),
        click("2", "US", "F", "search", "", 60),
        click("3", "US", "M", "checkout", "bags", 70),
        click("3", "US", "M", "viewDetail", "bags", 80),
        click("4", "SG", "M", "checkout", "bags", 80),
    ]
)
