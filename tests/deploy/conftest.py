"""What tests of the warehouse share: PostgreSQL, the shop's sample, what a run makes of it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from tests.deploy.postgres import postgres_server
from tests.deploy.redshift_shim import on_postgres

REDSHIFT = Path(__file__).resolve().parents[2] / "deploy" / "redshift"


@pytest.fixture(scope="session")
def sample(shared_data: Path) -> Path:
    """4,999 real events of a shop, as CSV."""
    return shared_data / "ecommerce" / "2019-Oct-sample-5000.csv"


@pytest.fixture(scope="session")
def expected(shared_data: Path) -> dict[str, Any]:
    """Answers on the sample that others computed."""
    return json.loads((shared_data / "ecommerce" / "expected-5000.json").read_text())


@pytest.fixture(scope="session")
def sample_lines(sample: Path) -> bytes:
    """The sample as producers put it on a stream: JSON lines, every value a string."""
    with sample.open(newline="") as file:
        return b"".join(
            orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in csv.DictReader(file)
        )


@pytest.fixture(scope="session")
def delivered(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that a run of the service over the sample has written its files to."""
    folder = tmp_path_factory.mktemp("delivered")
    subprocess.run(
        [
            *(Path(sys.executable).with_name("kinewax"), "run", "ecommerce", "--time"),
            *("event_time", "--source", f"file://{sample}", "--sinks", f"file://{folder}"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The connection string of a PostgreSQL server."""
    with postgres_server() as address:
        yield address


def run(connection: psycopg.Connection[Any], file: str) -> None:
    """Run a script of deploy/redshift/."""
    for statement in on_postgres((REDSHIFT / file).read_text()).statements:
        connection.execute(statement)


@pytest.fixture
def warehouse(postgres: str, request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database of the test's own, with Redshift's tables, views and users."""
    name = f"of_{abs(hash(request.node.nodeid))}"
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        with psycopg.connect(postgres, dbname=name) as connection:
            for file in ("users.sql", "tables.sql", "views.sql", "grants.sql"):
                run(connection, file)
            connection.execute("SET search_path TO kinewax")
            connection.commit()
            yield connection
        server.execute(f"DROP DATABASE {name}")
        for user in ("firehose_loader", "insights_reader"):
            server.execute(f"DROP USER {user}")
