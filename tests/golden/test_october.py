"""The first 4,999 events of October 2019 through the shop's domain, against answers found apart."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Service

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """The final rows of each aggregate."""
    folder = tmp_path_factory.mktemp("october")
    with (shared_data / "ecommerce" / "2019-Oct-sample-5000.csv").open(encoding="utf-8") as table:
        lines = [json.dumps(row) for row in csv.DictReader(table)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    service = Service(
        arguments=[
            *("run", "ecommerce", "--source", f"file://{folder / 'events.jsonl'}"),
            *("--sinks", f"file://{folder / 'out'}", "--time", "event_time"),
        ],
        environment={},
        log=folder / "service.log",
    )
    service.start()
    assert service.process is not None
    assert service.process.wait(120) == 0, service.log.read_text()[-3000:]
    assert json.loads((folder / "out" / "summary.json").read_text())["balanced"]
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in (folder / "out" / "aggregates").glob("*.jsonl")
    }


@pytest.fixture(scope="module")
def expected(shared_data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (shared_data / "ecommerce" / "expected-5000.json").read_text(encoding="utf-8")
    )
    return found


def test_visitors_of_a_day_are_exact_and_by_hyperloglog_within_three_errors(
    rows: Rows, expected: dict[str, Any]
) -> None:
    days = expected["unique_visitors_per_day"]
    found = {row["window_start"][:10]: row for row in rows["visitors_daily"]}
    assert {day: row["visitors"] for day, row in found.items()} == days
    for day, visitors in days.items():
        assert abs(found[day]["visitors_approx"] / visitors - 1) < 3 * 0.0081
    assert sum(row["events"] for row in rows["visitors_daily"]) == expected["rows"]


def test_carts_without_a_purchase_by_product_user_and_visit(
    rows: Rows, expected: dict[str, Any]
) -> None:
    carts = [row for row in rows["carts_daily"] if row["carts"]]
    users: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows["carts_daily"]:
        users[row["user_id"]].update(carts=row["carts"], purchases=row["purchases"])
    cart_users = [counts for counts in users.values() if counts["carts"]]
    visits = [row for row in rows["journeys"] if row["carts"]]
    assert {
        "by_user_product": sum(row["abandoned"] for row in carts),
        "by_session": sum(row["abandoned"] for row in visits),
        "by_user": sum(not counts["purchases"] for counts in cart_users),
        "carts_user_product": len(carts),
        "cart_sessions": len(visits),
        "cart_users": len(cart_users),
    } == expected["cart_without_purchase"]


def test_the_top_categories_of_each_hour_and_weekday(rows: Rows, expected: dict[str, Any]) -> None:
    hours: dict[str, Counter[str]] = defaultdict(Counter)
    weekdays: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows["categories_hourly"]:
        start = datetime.fromisoformat(row["window_start"])
        hours[str(start.hour)][row["category_code"]] += row["events"]
        weekdays[f"{start:%a}"][row["category_code"]] += row["events"]
    assert _top(hours) == expected["top5_categories_per_hour"]
    assert _top(weekdays) == expected["top5_categories_per_weekday"]


def _top(counts: dict[str, Counter[str]]) -> dict[str, list[list[Any]]]:
    return {
        name: [
            [key, count] for key, count in sorted(of.items(), key=lambda one: (-one[1], one[0]))
        ][:5]
        for name, of in counts.items()
    }


def test_brands_with_views_and_few_purchases(rows: Rows, expected: dict[str, Any]) -> None:
    brands = [row for row in rows["brands_daily"] if row["views"] >= 30]
    brands.sort(key=lambda row: (row["purchases"] / row["views"], -row["views"], row["brand"]))
    found = [[row["brand"], row["views"], row["carts"], row["purchases"]] for row in brands]
    answers = expected["brands_views>=30_lowest_purchase_per_view"]
    assert found[: len(answers)] == answers


def test_each_event_belongs_to_one_visit_and_one_product(
    rows: Rows, expected: dict[str, Any]
) -> None:
    assert sum(row["events"] for row in rows["journeys"]) == expected["rows"]
    acted = ("views", "carts", "purchases")
    assert sum(row[name] for row in rows["products_daily"] for name in acted) == expected["rows"]
    revenue = {
        name: round(sum(row["revenue"] for row in rows[name]), 2)
        for name in ("journeys", "products_daily", "trade", "carts_daily")
    }
    assert len(set(revenue.values())) == 1, revenue
