"""A real Prometheus watches services in trouble: every panel and every rule has something to
show, and every counter has counted. A wrong name would still be answered with success, and nothing.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import generate
from metrics import METRICS
from tests.deploy.prometheus import (
    Prometheus,
    alerts,
    filled_in,
    program,
    prometheus_server,
    recorded,
)
from tests.deploy.traffic import OldEvents, Shoppers, Trouble, write_table
from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.rig import Aws, Feeder, Names, Service, wait_until
from tests.servers import Clients, clients, free_port, ministack_server, moto_server

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = Path(__file__).with_name("watched_domain.py")
PATIENCE_SECONDS = 120.0
ASKED_WHEN_IT_IS_GONE = {"KinewaxDown"}
MAY_BE_NOTHING = ("1 - ",)  # the part of points with high scores
TABLE = "makers.csv"
EPOCHS = ("--epoch-interval", "500ms")


@dataclass
class Watched:
    """What the tests look at.

    Attributes:
        prometheus: Asked for what it has scraped.
        shop: The service that can be ended.
        market: Where the one that shows figures writes its rows.
    """

    prometheus: Prometheus
    shop: Service
    market: Path

    def figure(self, aggregate: str, value: str, of: str = "") -> float | None:
        """Return what a figure is now; None where it isn't."""
        labels = f'job="market", aggregate="{aggregate}", value="{value}", of="{of}"'
        found = self.prometheus.query(f"kinewax_aggregate_value{{{labels}}}")
        return found[0]["value"] if found else None

    def rows(self, aggregate: str) -> list[dict[str, Any]]:
        """Return the rows that were written of an aggregate."""
        path = self.market / "aggregates" / f"{aggregate}.jsonl"
        whole = path.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    program("prometheus")
    folder = tmp_path_factory.mktemp("watched")
    with ExitStack() as stack:
        moto = stack.enter_context(clients(stack.enter_context(moto_server())))
        ministack = stack.enter_context(clients(stack.enter_context(ministack_server())))
        proxy = stack.enter_context(fault_proxy(moto.endpoint))
        aws = Aws(moto, Names.made_by(lambda kind: f"{kind}-watched"), shards=2)
        ministack("kinesis").create_stream(StreamName="old-events", ShardCount=2)

        shop, shop_address = shop_service(folder, aws, proxy)
        forests, forests_address = forest_service(folder, ministack)
        ministack("kinesis").create_stream(StreamName="shoppers", ShardCount=1)
        market, market_address = market_service(folder, ministack)
        targets = [("shop", shop_address), ("forests", forests_address), ("market", market_address)]
        for service in (shop, forests, market):
            stack.callback(service.kill)
            service.start()
        prometheus = stack.enter_context(prometheus_server(folder, targets))
        feeds = [
            Feeder(aws, attackers=30),
            Trouble(proxy, aws),
            OldEvents(ministack("kinesis"), "old-events", folder / TABLE),
            Shoppers(ministack("kinesis"), "shoppers"),
        ]
        for feed in feeds:
            feed.start()
            stack.callback(feed.stop)
        lose_a_worker_and_its_position(prometheus, shop, proxy)
        subscribe_again(prometheus, forests)
        yield Watched(prometheus, shop, folder / "market")


def shop_service(folder: Path, aws: Aws, proxy: FaultProxy) -> tuple[Service, str]:
    port = free_port()
    arguments = [
        "run",
        "ecommerce",
        *("--source", f"kinesis://{aws.names.stream}"),
        *("--sinks", "aws"),
        *("--start", "TRIM_HORIZON"),
        *("--processes", "2"),
        *("--recovery", str(folder / "recovery")),
        *("--admin-port", str(port)),
        *("--endpoint-url", proxy.url),
        *EPOCHS,
    ]
    environment = aws.names.settings() | {
        "KINEWAX_RULES__COOLDOWN": "1m",
        "KINEWAX_RUNTIME__SNAPSHOTS": f"file://{folder / 'copies'}",
        "KINEWAX_RUNTIME__SNAPSHOT_INTERVAL": "2s",
    }
    return Service(arguments, environment, folder / "shop.log"), f"127.0.0.1:{port}"


def forest_service(folder: Path, ministack: Clients) -> tuple[Service, str]:
    port = free_port()
    table = folder / TABLE
    write_table(table, 0)
    arguments = [
        "run",
        f"{DOMAIN}:DOMAIN",
        *("--source", "kinesis://old-events"),
        *("--sinks", f"file://{folder / 'forests'}"),
        *("--start", "TRIM_HORIZON"),
        *("--reference", f"makers=file://{table}"),
        *("--admin-port", str(port)),
        *("--endpoint-url", ministack.endpoint),
        *EPOCHS,
    ]
    environment = {
        "KINEWAX_SOURCE__CONSUMER": "enhanced",
        "KINEWAX_EVENT_TIME__IDLE": "hold",
        "KINEWAX_REFERENCES__INTERVAL": "1s",
        "PYTHONPATH": str(ROOT),
    }
    return Service(arguments, environment, folder / "forests.log"), f"127.0.0.1:{port}"


def market_service(folder: Path, ministack: Clients) -> tuple[Service, str]:
    port = free_port()
    arguments = [
        "run",
        "ecommerce",
        *("--source", "kinesis://shoppers"),
        *("--sinks", f"file://{folder / 'market'}"),
        *("--start", "TRIM_HORIZON"),
        *("--admin-port", str(port)),
        *("--endpoint-url", ministack.endpoint),
        *EPOCHS,
    ]
    environment = {"KINEWAX_EVENT_TIME__IDLE": "hold"}
    return Service(arguments, environment, folder / "market.log"), f"127.0.0.1:{port}"


def lose_a_worker_and_its_position(
    prometheus: Prometheus, shop: Service, proxy: FaultProxy
) -> None:
    """Kill a worker once an epoch is committed, and have the position refused that it had."""

    def has(expression: str) -> Callable[[], bool]:
        return lambda: bool(prometheus.query(expression))

    wait_until(has("kinewax_snapshot_copies_total > 1"), "epochs are committed and copied")
    wait_until(has("kinewax_sink_records_total > 0"), "something is written")

    def goes_on(request: dict[str, Any]) -> bool:
        return request.get("ShardIteratorType") == "AFTER_SEQUENCE_NUMBER"

    proxy.refuse("GetShardIterator", 400, "InvalidArgumentException", times=1, only=goes_on)
    os.kill(shop.workers()[0], signal.SIGKILL)
    wait_until(has("kinewax_restarts_total > 0"), "the workers are started again")
    wait_until(lambda: len(shop.workers()) == 2, "both run")


def subscribe_again(prometheus: Prometheus, forests: Service) -> None:
    """Kill the worker that subscribed to the shards."""
    os.kill(forests.workers()[0], signal.SIGKILL)

    def again() -> bool:
        return bool(prometheus.query("sum(kinewax_source_subscriptions_total) > 2"))

    wait_until(again, "the shards are subscribed to again")


def until_all_show(
    watched: Watched, questions: dict[str, str], has_counted: Callable[[str], bool]
) -> dict[str, str]:
    """Ask until each question had an answer once; return those that never had.

    Args:
        watched: Whom to ask.
        questions: Expressions, by who asks.
        has_counted: Tells of which of them 0 is no answer.
    """
    left = dict(questions)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left and time.monotonic() < deadline:
        for who, expression in list(left.items()):
            values = [one["value"] for one in watched.prometheus.query(expression)]
            numbers = [value for value in values if not math.isnan(value)]
            if any(numbers) or (numbers and not has_counted(expression)):
                del left[who]
        time.sleep(0.5)
    return left


def lines(left: dict[str, str]) -> str:
    return "\n".join(f"{who}: {expression}" for who, expression in left.items())


def counts(expression: str) -> bool:
    """Return whether it is a rate, a number of what happened, or a figure of the shop."""
    happens = re.search(
        r"rate\(|increase\(|:rate|:increase|:ratio|aggregate_value|mover_change", expression
    )
    return bool(happens) and not expression.startswith(MAY_BE_NOTHING)


def test_every_panel_of_every_board_has_something_to_show(watched: Watched):
    boards = {name: json.loads(text) for name, text in generate.boards().items()}
    questions = {
        f"{name}: {panel['title']}: {target['legendFormat']}": filled_in(target["expr"])
        for name, board in boards.items()
        for panel in board["panels"]
        for target in panel["targets"]
    }
    left = until_all_show(watched, questions, counts)

    assert len(questions) > 60
    assert not left, lines(left)


def test_every_recorded_series_and_all_that_alerts_compare_is_there(watched: Watched):
    questions = {
        alert.name: alert.measured for alert in alerts() if alert.name not in ASKED_WHEN_IT_IS_GONE
    } | {name: name for name in recorded()}
    left = until_all_show(watched, questions, lambda _: False)

    assert not left, lines(left)


def test_every_counter_has_counted_and_every_histogram_was_filled(watched: Watched):
    suffixes = {"counter": "_total", "histogram": "_count"}
    questions = {
        name: f"sum({name})"
        for metric in METRICS
        for family in metric.describe()
        if (name := family.name + suffixes.get(family.type, "")) != family.name
    }
    left = until_all_show(watched, questions, lambda _: True)

    assert len(questions) > 20
    assert not left, lines(left)


def test_figures_of_the_shop_are_what_its_rows_say(watched: Watched):
    def are_equal() -> bool:
        minutes = watched.rows("trade")
        start = max(row["window_start"] for row in minutes)
        last = [row for row in minutes if row["window_start"] == start]
        revenue = sum(row["revenue"] for row in last)
        return watched.figure("trade", "revenue") == pytest.approx(revenue) and all(
            watched.figure("trade", "events", kind)
            == sum(row["events"] for row in last if row["event_type"] == kind)
            for kind in ("view", "cart", "purchase")
        )

    def day_is_equal() -> bool:
        return (
            watched.figure("visitors_daily", "visitors")
            == (watched.rows("visitors_daily")[-1]["visitors"])
        )

    wait_until(are_equal, "the last minute is shown", PATIENCE_SECONDS)
    wait_until(day_is_equal, "the open day is shown", PATIENCE_SECONDS)


def test_movers_are_those_between_the_last_two_hours(watched: Watched):
    def changes() -> list[float]:
        hours: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in watched.rows("categories_hourly"):
            if row["phase"] == "final":
                hours[row["window_start"]][row["category_code"]] = row["views"]
        before, now = (hours[start] for start in sorted(hours)[-2:])
        moved = sorted(now[key] - before[key] for key in before.keys() | now.keys())
        return [change for change in (*moved[:5], *moved[-5:]) if change]

    def shown() -> list[float]:
        asked = 'kinewax_mover_change{job="market", aggregate="categories_hourly"}'
        return sorted(one["value"] for one in watched.prometheus.query(asked))

    wait_until(lambda: shown() == changes(), "the last hour's are shown", PATIENCE_SECONDS)


def test_prometheus_evaluates_all_rules_without_an_error(watched: Watched):
    groups = watched.prometheus.get("/api/v1/rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert len(rules) == len(alerts()) + len(recorded())
    assert not [rule for rule in rules if rule["health"] == "err"]


def test_alerts_fire_for_what_was_lost_and_what_was_refused(watched: Watched):
    firing = 'ALERTS{alertstate="firing", job="shop"}'

    def found() -> set[str]:
        return {one["metric"]["alertname"] for one in watched.prometheus.query(firing)}

    wait_until(lambda: {"KinewaxDataLost", "KinewaxDeadLetters"} <= found(), "both fire")


def test_a_job_that_is_gone_is_missed(watched: Watched):
    (down,) = [alert for alert in alerts() if alert.name in ASKED_WHEN_IT_IS_GONE]
    assert not watched.prometheus.query(down.measured)
    watched.shop.kill()

    def missed() -> list[str]:
        return [one["metric"]["job"] for one in watched.prometheus.query(down.measured)]

    wait_until(lambda: missed() == ["shop"], "it is missed")
