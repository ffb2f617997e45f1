"""Who may do what in Redshift, at first and after an upgrade; on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from psycopg import errors

from tests.deploy.conftest import REDSHIFT, run
from tests.deploy.redshift_shim import load, on_postgres
from tests.deploy.test_redshift import Warehouse, asked


def test_the_loader_can_load_and_nothing_else(warehouse: Warehouse):
    warehouse.execute("SET ROLE firehose_loader")
    warehouse.execute(
        "INSERT INTO ecommerce_rows (row_id, domain, aggregate, window_start, window_end, "
        "emitted_at) VALUES ('a', 'ecommerce', 'trade', NOW(), NOW(), NOW())"
    )

    for refused in (
        "SELECT * FROM ecommerce_rows",
        "SELECT * FROM ecommerce_trade",
        "DELETE FROM ecommerce_rows",
        "CREATE TABLE kinewax.own (a int)",
    ):
        with pytest.raises(errors.InsufficientPrivilege), warehouse.transaction():
            warehouse.execute(refused)


def test_the_reader_can_read_views_and_nothing_else(warehouse: Warehouse):
    warehouse.execute("SET ROLE insights_reader")

    assert asked(warehouse, "SELECT * FROM ecommerce_trade") == []
    assert asked(warehouse, "SELECT * FROM ecommerce_events") == []
    for refused in (
        "SELECT * FROM ecommerce_rows",
        "INSERT INTO ecommerce_rows (row_id) VALUES ('a')",
        "CREATE TABLE kinewax.own (a int)",
    ):
        with pytest.raises(errors.InsufficientPrivilege), warehouse.transaction():
            warehouse.execute(refused)


def test_a_new_column_comes_by_the_documented_steps_and_nobody_loses_a_right(
    warehouse: Warehouse, delivered: Path
):
    content = (delivered / "aggregates" / "visitors_daily.jsonl").read_bytes()
    _as_before_there_were_approximate_visitors(warehouse)
    load(warehouse, "kinewax.ecommerce_rows", [content])

    # What docs/how-to/warehouse.md says; twice, as who isn't sure whether it was done would.
    warehouse.execute("ALTER TABLE kinewax.ecommerce_rows ADD COLUMN visitors_approx BIGINT")
    for _ in range(2):
        with warehouse.transaction():
            for file in ("tables.sql", "views.sql", "grants.sql"):
                run(warehouse, file)
    later = content.replace(b'"row_id":"', b'"row_id":"later/')
    load(warehouse, "kinewax.ecommerce_rows", [later])

    warehouse.execute("SET ROLE insights_reader")
    seen = asked(warehouse, "SELECT row_id, visitors_approx FROM ecommerce_visitors_daily")
    assert {row["row_id"].startswith("later/"): row["visitors_approx"] for row in seen} == {
        False: None,
        True: orjson.loads(content.splitlines()[0])["visitors_approx"],
    }
    with pytest.raises(errors.InsufficientPrivilege), warehouse.transaction():
        warehouse.execute("SELECT * FROM ecommerce_rows")
    warehouse.execute("SET ROLE firehose_loader")
    warehouse.execute(
        "INSERT INTO ecommerce_rows (row_id, domain, aggregate, window_start, window_end, "
        "emitted_at) VALUES ('a', 'ecommerce', 'trade', NOW(), NOW(), NOW())"
    )


def _as_before_there_were_approximate_visitors(warehouse: Warehouse) -> None:
    """Take a column out of the table and its view, which the reader may read."""
    view = "kinewax.ecommerce_visitors_daily"
    warehouse.execute(f"DROP VIEW {view}")
    warehouse.execute("ALTER TABLE kinewax.ecommerce_rows DROP COLUMN visitors_approx")
    (create,) = (
        one
        for one in on_postgres((REDSHIFT / "views.sql").read_text()).statements
        if f"CREATE VIEW {view} AS" in one
    )
    for text in (", visitors_approx DESC", ", visitors_approx"):
        create = create.replace(text, "")
    assert "visitors_approx" not in create
    warehouse.execute(create)
    warehouse.execute(f"GRANT SELECT ON {view} TO insights_reader")
    warehouse.commit()
