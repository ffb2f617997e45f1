"""Athena's tables of archives in Hive's folders, on DuckDB: Parquet of `convert`, the shop's CSV.

Nothing here ran on Athena: DuckDB's readers of Parquet and CSV stand in for its own, with the
declared columns; the locations are computed by the documented rule of projected partitions.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from string import Template
from typing import Any

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from service.aws import Aws
from service.convert import Converting
from service.insights.queries import questions
from service.settings import Settings
from tests.deploy.athena_shim import BUCKET, location_of, on_duckdb, properties_of
from tests.deploy.expectations import answers_of
from tests.deploy.test_redshift import CLICKS

SCRIPT = (Path(__file__).resolve().parents[2] / "deploy" / "athena" / "hive.sql").read_text()
STATEMENTS = [one for one in sqlglot.parse(SCRIPT, read="athena") if isinstance(one, exp.Create)]
TABLES = {one.this.this.name: one for one in STATEMENTS if one.kind == "TABLE"}


def locations(table: exp.Create) -> set[str]:
    """Return where Athena looks for partitions, by its rule for numbers."""
    properties = properties_of(table)
    template = properties["storage.location.template"]
    names = re.findall(r"\$\{(\w+)\}", template)
    choices = []
    for name in names:
        assert properties[f"projection.{name}.type"] == "integer"
        first, last = map(int, properties[f"projection.{name}.range"].split(","))
        digits = int(properties.get(f"projection.{name}.digits", "0"))
        choices.append([f"{number:0{digits}d}" for number in range(first, last + 1)])
    return {
        Template(template).substitute(dict(zip(names, values, strict=True)))
        for values in product(*choices)
    }


def columns_of(table: exp.Create) -> dict[str, str]:
    own, partitions = table.this, table.find(exp.PartitionedByProperty)
    assert partitions is not None
    folders = {one.name for one in partitions.find_all(exp.ColumnDef)}
    return {
        column.name: column.args["kind"].sql("duckdb")
        for column in own.find_all(exp.ColumnDef)
        if isinstance(column.parent, exp.Schema) and column.name not in folders
    }


def asked(bucket: Path, table: str, sql: str) -> list[dict[str, Any]]:
    """Ask the view of a table over `bucket`."""
    create = TABLES[table]
    folder = bucket / location_of(create).removeprefix(BUCKET)
    columns = columns_of(create)
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [str(one) for one in found if not one.name.startswith(("_", "."))]
    if (skipped := properties_of(create).get("skip.header.line.count")) is not None:
        typed = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
        read = (
            f"read_csv({files}, auto_detect = false, skip = {skipped}, header = false, "
            f"delim = ',', quote = '\"', escape = '\"', "
            f"columns = {{{typed}}}, hive_partitioning = true)"
        )
    else:
        read = f"read_parquet({files}, hive_partitioning = true)"
    (view,) = (
        one for one in STATEMENTS
        if one.kind == "VIEW" and any(name.name == table for name in one.find_all(exp.Table))
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE SCHEMA kinewax")
        connection.execute(f"CREATE VIEW kinewax.{table} AS SELECT * FROM {read}")
        connection.execute(view.sql("duckdb"))
        connection.execute("SET schema = 'kinewax'")
        (text,) = on_duckdb(sql)
        found_rows = connection.execute(text)
        names = [column[0] for column in found_rows.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found_rows.fetchall()]


def converted(bucket: Path, domain: str, name: str, content: bytes) -> None:
    """Convert an object that arrived in an hour, to where the domain's table is."""
    raw = bucket / "raw/2026/03/05/04" / name
    raw.parent.mkdir(parents=True)
    raw.write_bytes(content)
    time = {"ecommerce": "event_time", "clickstream": "timestamp"}[domain]
    target = f"file://{bucket}/{domain}-parquet/"
    settings = Settings()
    one = Converting(domain, time, f"file://{bucket}/raw/", target, settings, Aws(settings.aws))
    one.run(lambda _: None)


def put_csv(bucket: Path, content: bytes) -> None:
    path = bucket / "ecommerce-csv/p_year=2019/p_month=10/2019-Oct.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("table", "view"),
    [("ecommerce_parquet", "ecommerce_converted"), ("ecommerce_csv", "ecommerce_from_csv")],
)
def test_the_sample_gives_every_expected_number(
    table: str, view: str, sample: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    if table == "ecommerce_csv":
        put_csv(tmp_path, sample.read_bytes())
    else:
        converted(tmp_path, "ecommerce", "x.csv", sample.read_bytes())

    found = {
        one.name: asked(tmp_path, table, one.sql.replace("ecommerce_events", view))
        for one in questions()
        if one.domain == "ecommerce" and one.asks == "events"
    }

    assert answers_of(found) == expected


def test_nested_events_are_structs_and_folders_are_columns(tmp_path: Path) -> None:
    timed = b"\n".join(
        line[:-1] + b', "timestamp": "2026-11-22T10:00:00Z"}' for line in CLICKS.splitlines()
    )
    converted(tmp_path, "clickstream", "x.json", timed)

    rows = asked(
        tmp_path,
        "clickstream_parquet",
        "SELECT event_type, COUNT(*) AS clicks FROM clickstream_converted "
        "WHERE p_year = 2026 AND p_month = 3 AND p_hour = 4 GROUP BY event_type",
    )

    assert sum(row["clicks"] for row in rows) == 5
    assert "checkout" in {row["event_type"] for row in rows}


def test_what_convert_writes_lies_in_one_projected_partition(tmp_path: Path) -> None:
    event = (
        b'{"event_time": "2026-11-22 10:00:00 UTC", "user_id": 1, "event_type": "view", "price": 1}'
    )
    converted(tmp_path, "ecommerce", "x.json", event)
    (path,) = (tmp_path / "ecommerce-parquet").rglob("*.parquet")

    assert f"{BUCKET}{path.parent.relative_to(tmp_path)}/" in locations(TABLES["ecommerce_parquet"])


def test_the_shops_months_are_projected_partitions(tmp_path: Path) -> None:
    put_csv(tmp_path, b"")
    (path,) = tmp_path.rglob("*.csv")

    assert f"{BUCKET}{path.parent.relative_to(tmp_path)}/" in locations(TABLES["ecommerce_csv"])
