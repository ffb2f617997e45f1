"""Each idiom of docs/how-to/migrate.md: the page's kinewax form against the page's SQL.

The SQL is run by DuckDB, its windows put into DuckDB's words here; where there is no SQL, by a
plain count. The kinewax form is run through the whole flow.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dataflows.domain import Domain
from messages import AggregateRows, Alert, Output, Reject
from operators import (
    feature_spec,
    filter_spec,
    reference_spec,
    session_spec,
    spec,
    value_spec,
)
from operators.reference import Table, table_of
from tests.flow import outputs_of

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/migrate.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
IDIOMS = PAGE.partition("## Idioms of SQL")[2]
FRAME = BLOCK.findall(IDIOMS)[0][1]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BEGIN = datetime(2026, 11, 1, 10, tzinfo=UTC)
COMPANIES = {"AAA": "Chile", "BBB": "Ghana", "CCC": "Chile"}
Trade = dict[str, Any]


def idiom(title: str) -> tuple[str, str]:
    """Return the SQL of a section ("" where there is none) and its last block of Python."""
    (text,) = re.findall(rf"^### {re.escape(title)}.*?\n(.*?)(?=^### |\Z)", IDIOMS, re.M | re.S)
    blocks = BLOCK.findall(text)
    sql = [block for kind, block in blocks if kind == "sql"]
    return (sql or [""])[0], [block for kind, block in blocks if kind == "python"][-1]


def domain_of(python: str) -> Domain:
    """Make a domain of what the page declares."""
    vocabulary = (spec, value_spec, filter_spec, session_spec, feature_spec, reference_spec)
    names = {name: value for part in vocabulary for name, value in vars(part).items()}
    declared: dict[str, Any] = {"windows": (), "rules": ()}
    exec(FRAME + python, names, declared)
    return Domain(name="trades", summary="Trades.", **declared)


def trades(count: int = 600, *, disorder_seconds: int = 0) -> list[Trade]:
    """Return trades of 10 minutes, some companies busier than others, in bursts."""
    rng = random.Random(7)
    made = []
    for _ in range(count):
        second = rng.choice((rng.uniform(0, 600), rng.gauss(300, 20)))
        made.append(
            {
                "ticker_symbol": rng.choice(("AAA", "AAA", "BBB", "CCC", "DDD")),
                "sector": rng.choice(("TECH", "ENERGY")),
                "price": round(rng.uniform(10, 12), 2),
                "change": round(rng.gauss(0, 0.1), 2),
                "traded_at": BEGIN + timedelta(milliseconds=int(max(second, 0) * 1000)),
            }
        )
    made.sort(
        key=lambda one: one["traded_at"] + timedelta(seconds=rng.uniform(0, disorder_seconds))
    )
    return made


def lines_of(rows: Sequence[Trade]) -> list[str]:
    return [json.dumps({**row, "traded_at": row["traded_at"].isoformat()}) for row in rows]


def run(domain: Domain, lines: Sequence[str], folder: Path) -> list[Output]:
    log = folder / "trades.jsonl"
    log.write_text("".join(f"{line}\n" for line in lines))
    tables: dict[str, Table] = {}
    for reference in domain.references:
        rows = [{"ticker_symbol": one, "country": country} for one, country in COMPANIES.items()]
        tables[reference.name] = table_of(reference, domain.field_by_name[reference.key], rows)
    return outputs_of(domain, log, tables={name: lambda t=t: t for name, t in tables.items()})


def rows_of(outputs: Sequence[Output], columns: Sequence[str]) -> Counter[tuple[Any, ...]]:
    found = [row for one in outputs if isinstance(one, AggregateRows) for row in one.rows]
    return Counter(tuple(_plain(row[name]) for name in columns) for row in found)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S")  # all are UTC
    if isinstance(value, str):
        return re.sub(r"(:\d\d)(\.\d+)?Z$", r"\1", value)
    return round(float(value), 6) if value is not None else ""


# ---- the SQL, run by DuckDB ---------------------------------------------------------------------

_SECONDS = r"INTERVAL '(\d+)' (SECOND|MINUTE)"


def for_duckdb(sql: str) -> str:
    """Put the windows of KDA's and Flink's SQL into DuckDB's words; the rest stays as it is."""
    sql = sql.strip().rstrip(";")
    sql = re.sub(r"CREATE OR REPLACE PUMP .*? AS INSERT INTO \S+", "", sql)
    sql = sql.replace("SELECT STREAM", "SELECT").replace('"SOURCE_SQL_STREAM_001"', "trades")
    sql = re.sub(rf"STEP\((\S+) BY {_SECONDS}\)", r"time_bucket(INTERVAL '\2' \3, \1)", sql)
    sql = re.sub(r"FLOOR\((\S+) TO MINUTE\)", r"date_trunc('minute', \1)", sql)
    sql = re.sub(
        rf"WINDOWED BY STAGGER \(\s*PARTITION BY (.*?) RANGE {_SECONDS}\)", r"GROUP BY \1", sql
    )
    sql = re.sub(
        rf"TABLE\(TUMBLE\(TABLE (\w+), DESCRIPTOR\((\w+)\), {_SECONDS}\)\)",
        r"(SELECT *, time_bucket(INTERVAL '\3' \4, \2) AS window_start,"
        r" time_bucket(INTERVAL '\3' \4, \2) + INTERVAL '\3' \4 AS window_end FROM \1)",
        sql,
    )
    return re.sub(
        rf"TABLE\(SESSION\(TABLE (\w+) PARTITION BY (\w+), DESCRIPTOR\((\w+)\), {_SECONDS}\)\)",
        r"(SELECT *, min(\3) OVER (PARTITION BY \2, session) AS session_start,"
        r" max(\3) OVER (PARTITION BY \2, session) AS session_end FROM ("
        r"SELECT *, sum(CASE WHEN begins THEN 1 ELSE 0 END) OVER (PARTITION BY \2 ORDER BY \3)"
        r" AS session FROM (SELECT *, coalesce(\3 - lag(\3) OVER (PARTITION BY \2 ORDER BY \3)"
        r" >= INTERVAL '\4' \5, true) AS begins FROM \1)))",
        sql,
    )


def asked(
    sql: str, tables: Mapping[str, Sequence[Trade]]
) -> tuple[list[str], Counter[tuple[Any, ...]]]:
    """Return the columns and the rows of an answer."""
    with duckdb.connect() as base:
        for name, rows in tables.items():
            columns = ", ".join(f"{one} {_type(value)}" for one, value in rows[0].items())
            base.execute(f"CREATE TABLE {name} ({columns})")
            places = ", ".join("?" for _ in rows[0])
            values = [[_naive(value) for value in row.values()] for row in rows]
            base.executemany(f"INSERT INTO {name} VALUES ({places})", values)
        answer = base.execute(for_duckdb(sql))
        names = [one[0] for one in answer.description or ()]
        return names, Counter(tuple(map(_plain, row)) for row in answer.fetchall())


def _naive(value: object) -> object:
    """Return a time without its zone, UTC: as DuckDB's own times are."""
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def _type(value: object) -> str:
    if isinstance(value, datetime):
        return "TIMESTAMP"
    return "DECIMAL(12, 2)" if isinstance(value, float) else "VARCHAR"


@pytest.mark.parametrize(
    "title",
    ["A tumbling window (KDA SQL)", "A stagger window", "A session window", "Reference data"],
)
def test_rows_of_windows_are_those_of_the_sql(title: str, tmp_path: Path) -> None:
    sql, python = idiom(title)
    made = trades(disorder_seconds=8)
    companies = [{"ticker_symbol": one, "country": where} for one, where in COMPANIES.items()]

    columns, expected = asked(sql, {"trades": made, "companies": companies})
    outputs = run(domain_of(python), lines_of(made), tmp_path)

    found = rows_of(
        outputs, ["window_start" if name == "session_start" else name for name in columns]
    )
    assert len(expected) > 20
    assert found == expected


def test_incidents_above_a_limit_are_the_rows_of_the_sql(tmp_path: Path) -> None:
    sql, python = idiom("A tumbling window with a limit (Flink SQL)")
    made = trades()

    _, expected = asked(sql, {"trades": made})
    outputs = run(domain_of(python), lines_of(made), tmp_path)

    found = Counter(
        (
            _plain(_EPOCH + timedelta(microseconds=one.window_start_us)),
            one.key["ticker_symbol"],
            one.value,
        )
        for one in outputs
        if isinstance(one, Alert)
    )
    assert len(expected) > 10
    assert found == expected


def test_short_windows_add_up_to_sliding_ones(tmp_path: Path) -> None:
    sql, python = idiom("A sliding window")
    made = trades()
    outputs = run(domain_of(python), lines_of(made), tmp_path)
    short = [
        {
            "window_start": datetime.fromisoformat(row["window_start"]),
            "ticker_symbol": row["ticker_symbol"],
            "trades": float(row["trades"]),
        }
        for one in outputs
        if isinstance(one, AggregateRows)
        for row in one.rows
    ]

    _, found = asked(sql, {"short_windows": short})

    assert len(found) > 100
    for start, ticker, count in found:
        end = datetime.fromisoformat(start).replace(tzinfo=UTC) + timedelta(seconds=10)
        inside = [
            one
            for one in made
            if one["ticker_symbol"] == ticker
            and end - timedelta(seconds=60) <= one["traded_at"] < end
        ]
        assert count == len(inside)


def test_the_forest_takes_the_sqls_parameters_and_explains_what_was_planted(
    tmp_path: Path,
) -> None:
    sql, python = idiom("RANDOM_CUT_FOREST, without and with explanation")
    domain = domain_of(python)
    (forest,) = domain.detectors
    trees, sample, decay, shingle = map(int, re.findall(r"\), (\d+), (\d+), (\d+), (\d+)", sql)[0])
    assert (trees, sample) == (forest.number_of_trees, forest.sub_sample_size)
    assert (decay, shingle) == (forest.time_decay, forest.shingle_size)
    (limit,) = re.findall(r"ANOMALY_SCORE > ([\d.]+)", sql)
    assert forest.levels[0].above == float(limit)
    made = trades(800)
    planted = made[700]
    planted["price"] = 40.0

    outputs = run(domain, lines_of(made), tmp_path)

    rows = [row for one in outputs if isinstance(one, AggregateRows) for row in one.rows]
    assert len(rows) == len(made)
    best = max(rows, key=lambda row: row["score"])
    assert (best["price"], best["ticker_symbol"]) == (40.0, planted["ticker_symbol"])
    incidents = [one for one in outputs if isinstance(one, Alert)]
    assert len(incidents) == sum(row["score"] > float(limit) for row in rows)
    (of_it,) = [one for one in incidents if one.evidence["features"]["price"] == 40.0]
    parts = {
        name: part["ATTRIBUTION_SCORE"] for name, part in of_it.evidence["attribution"].items()
    }
    assert sum(parts.values()) == pytest.approx(of_it.value, abs=1e-4)
    assert parts["price"] > parts["change"]


def test_records_end_as_the_pre_processing_function_says(tmp_path: Path) -> None:
    _, python = idiom("A pre-processing function, and the error stream")
    (function,) = [block for kind, block in BLOCK.findall(IDIOMS) if block.startswith("def ")]
    names: dict[str, Any] = {"json": json}
    exec(function, names)
    lines = lines_of(trades(50))
    test = json.loads(lines[10])
    lines[10:10] = [
        json.dumps({**test, "sector": "TEST"}),
        json.dumps({**test, "sector": "TEST", "price": "10.00"}),
        json.dumps({**test, "price": "12.50"}),
        json.dumps({**test, "price": "much"}),
        json.dumps({name: value for name, value in test.items() if name != "ticker_symbol"}),
        "no JSON",
        "[1, 2]",
    ]
    expected = Counter(names["preprocess"](line) for line in lines)
    assert expected == {"Ok": 51, "Dropped": 2, "ProcessingFailed": 4}

    domain = domain_of(python)
    assert f"`dropped.{domain.drops[0].reason}`" in IDIOMS
    outputs = run(domain, lines, tmp_path)

    counted = rows_of(outputs, ["trades"])
    assert sum(count * times for (count,), times in counted.items()) == expected["Ok"]
    rejected = [one for one in outputs if isinstance(one, Reject)]
    assert len(rejected) == expected["ProcessingFailed"]
    assert {one.reason for one in rejected} == {
        "wrong_type", "missing_field", "not_json", "not_an_object",
    }  # fmt: skip
    assert {one.payload.decode() for one in rejected} <= set(lines)


def test_one_notice_a_key_and_minute_is_sent(tmp_path: Path) -> None:
    _, python = idiom("Throttled alerts")
    made = trades(2_000)
    outputs = run(domain_of(python), lines_of(made), tmp_path)

    counts: Counter[tuple[str, int]] = Counter()
    for one in made:
        second = int((one["traded_at"] - _EPOCH).total_seconds())
        counts[one["ticker_symbol"], second - second % 10] += 1
    busy: dict[str, list[int]] = defaultdict(list)
    for (ticker, start), count in sorted(counts.items()):
        if count > 3:
            busy[ticker].append(start)
    expected = set()
    for ticker, starts in busy.items():
        told = None
        for start in starts:
            if told is None or start - told >= 60:
                told = start
                expected.add((ticker, start))
    alerts = [one for one in outputs if isinstance(one, Alert)]
    assert len(alerts) == sum(map(len, busy.values()))
    found = {
        (one.key["ticker_symbol"], one.window_start_us // 1_000_000)
        for one in alerts
        if one.notice == "publish"
    }
    assert found == expected
    assert len(expected) < len(alerts) / 3


def test_every_idiom_of_the_page_is_run_here() -> None:
    titles = re.findall(r"^### (.+)$", IDIOMS, re.M)
    source = Path(__file__).read_text()
    with_example = [
        one
        for one in titles
        if BLOCK.search(IDIOMS.partition(f"### {one}")[2].partition("\n### ")[0])
    ]
    assert len(with_example) == 9
    assert [one for one in with_example if f'"{one}"' not in source] == []
