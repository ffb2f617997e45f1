"""What access logs are watched for: planted attacks are all found, honest traffic is left alone.

The limits were chosen on other logs; see docs/explanation/access-logs.md.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from dataflows.access_logs import ACCESS_LOGS
from messages import AggregateRows, Alert, Late, Output, Reject
from operators.spec import Level, Ratio
from producers.access_log_attacks import DISTRIBUTED_CLIENTS, KINDS, LogAttack
from producers.access_logs import Website
from producers.crowd import Traffic
from sinks.lines import alert_fields
from tests.conftest import ROOT
from tests.flow import outputs_of

PAGE = ROOT / "docs" / "explanation" / "access-logs.md"
SECOND = 1_000_000
START_US = 1_767_600_000 * SECOND  # 08:00 UTC, when traffic grows fastest
HOUR_SECONDS = 3_600
RULE_OF = {
    "flood": "client_flood",
    "distributed_flood": "unusual_traffic",
    "scan": "scan",
    "slow_errors": "errors",
}
OF_CLIENTS = ("client_flood", "scan", "honeypot")
OF_MANY = ("requests_a_second", "clients", "new_clients", "client_entropy")
OF_ERRORS = ("error_share_4xx", "error_share_5xx")

Watched = tuple[list[Alert], list[LogAttack]]


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Watched]:
    """A function that generates a log and returns its alerts and its attacks."""

    @cache
    def run(seed: int, rate: float, seconds: int, attacks: int = 0) -> Watched:
        log = tmp_path_factory.mktemp("log") / "access.log"
        site = write_log(log, seed, rate, seconds, attacks)
        found = alerts_of(outputs_of(ACCESS_LOGS, log))
        log.unlink()
        return found, list(site.attacks.values())

    return run


def write_log(log: Path, seed: int, rate: float, seconds: int, attacks: int) -> Website:
    traffic = Traffic(
        START_US,
        seconds * SECOND,
        rate,
        users=max(10_000, round(40 * rate)),
        attackers=attacks,
        disorder_us=2 * SECOND,
    )
    site = Website(traffic, seed)
    until_us = START_US
    with log.open("wb") as file:
        while not site.done:
            until_us += 60 * SECOND
            file.writelines(record.payload + b"\n" for record in site.advance(until_us))
    return site


def alerts_of(outputs: Sequence[Output]) -> list[Alert]:
    return [item for item in outputs if isinstance(item, Alert)]


def during(attack: LogAttack, alerts: Sequence[Alert]) -> list[Alert]:
    """Return the alerts of windows that an attack touches."""
    return [
        alert
        for alert in alerts
        if alert.window_end_us > attack.start_us - SECOND and alert.window_start_us < attack.end_us
    ]


# ---- attacks ------------------------------------------------------------------------------------

HOURS = [(101, 10, 4), (102, 25, 8), (103, 60, 4)]
LONG_HOURS = [
    *((seed, rate, 4) for rate in (5, 20, 200) for seed in range(111, 117)),
    *((seed, 40, 12) for seed in range(117, 121)),
]


@pytest.mark.parametrize(("seed", "rate", "count"), HOURS)
def test_every_planted_attack_is_found_and_nobody_else_is_accused(
    watch: Callable[..., Watched], seed: int, rate: int, count: int
) -> None:
    alerts, attacks = watch(seed, rate, HOUR_SECONDS, count)
    assert [attack.kind for attack in attacks] == list(islice(cycle(KINDS), count))
    check_all_found(alerts, attacks)


@pytest.mark.parametrize("rule", ["unusual_traffic", "client_flood"])
def test_the_page_shows_an_incident_of_the_first_log(
    watch: Callable[..., Watched], rule: str
) -> None:
    shown = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.S)
    ]
    [example] = [one for one in shown if one["rule"] == rule]
    seed, rate, count = HOURS[0]
    alerts, _ = watch(seed, rate, HOUR_SECONDS, count)
    [alert] = [alert for alert in alerts if alert.id == example["id"]]
    found = leaves(alert_fields(alert))
    assert list(leaves(example)) == [name for name in found if name != "detected_at"]
    for name, value in leaves(example).items():
        assert found[name] == (pytest.approx(value, abs=1e-3) if type(value) is float else value)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """Return what stands in a JSON value, by its place."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, one in items for k, v in leaves(one, f"{name}.{key}").items()}
    return {name[1:]: value}


@pytest.mark.soak
@pytest.mark.parametrize(("seed", "rate", "count"), LONG_HOURS)
def test_every_planted_attack_of_many_hours_is_found(
    watch: Callable[..., Watched], seed: int, rate: int, count: int
) -> None:
    check_all_found(*watch(seed, rate, HOUR_SECONDS, count))


@pytest.mark.soak
@pytest.mark.parametrize("seed", [121, 122])
def test_attack_upon_attack_is_found(watch: Callable[..., Watched], seed: int) -> None:
    check_all_found(*watch(seed, 20, 6 * HOUR_SECONDS, 24))


def check_all_found(alerts: Sequence[Alert], attacks: Sequence[LogAttack]) -> None:
    for attack in attacks:
        found = [alert for alert in during(attack, alerts) if alert.rule == RULE_OF[attack.kind]]
        assert found, attack
        CHECKS[attack.kind](attack, found)
    accused = {alert.key["client"] for alert in alerts if alert.rule in OF_CLIENTS}
    assert accused == {attack.client for attack in attacks if attack.client}
    deserved = {id(alert) for attack in attacks for alert in during(attack, alerts)}
    assert [alert for alert in alerts if id(alert) not in deserved] == []


def check_client(attack: LogAttack, found: Sequence[Alert]) -> None:
    """Check what is said of one client: high, and when it was first and last seen."""
    found = [alert for alert in found if alert.key == {"client": attack.client}]
    assert "high" in {alert.severity for alert in found}
    seen: Any = [
        moment(alert.evidence[name]) for alert in found for name in ("first_seen", "last_seen")
    ]
    assert attack.start_us - SECOND <= min(seen) < max(seen) < attack.end_us
    for alert in found:
        shown: Any = [alert.evidence["top_paths"], alert.evidence["top_agents"]]
        assert all(1 <= len(entries) <= 5 for entries in shown)
    if attack.kind == "flood":
        assert {alert.evidence["paths"] for alert in found} == {1}
        assert sum(int(alert.value) for alert in found) >= 0.7 * attack.count
    else:
        assert all(alert.evidence["errors_4xx"] >= alert.value for alert in found)


def check_flood_of_many(attack: LogAttack, found: Sequence[Alert]) -> None:
    """Check that it is told at once, with what is unusual, and with the greatest of the window."""
    first = next(alert for alert in found if alert.severity == "high")
    assert first.key == {"scope": "stream"}
    assert first.window_start_us - attack.start_us < 20 * SECOND
    evidence: Any = first.evidence
    assert evidence["score"] == first.value
    assert attack.clients == DISTRIBUTED_CLIENTS
    assert evidence["features"]["new_clients"] > 100
    parts = {name: part["ATTRIBUTION_SCORE"] for name, part in evidence["attribution"].items()}
    assert sum(parts.values()) == pytest.approx(first.value, abs=1e-4)
    assert sum(parts[name] for name in OF_ERRORS) < 0.1 * float(first.value)
    assert all(evidence["attribution"][name]["DIRECTION"] == "HIGH" for name in OF_MANY)
    for name, field in (("top_clients", "client"), ("top_paths", "path"), ("top_agents", "agent")):
        counts = [entry["requests"] for entry in evidence[name]]
        assert len({entry[field] for entry in evidence[name]}) == 5
        assert counts == sorted(counts, reverse=True)
    assert evidence["top_clients"][0]["requests"] < 10, "no client of it does much"


def check_errors(attack: LogAttack, found: Sequence[Alert]) -> None:
    """Check that it is told while it still grows, and told again when it is high."""
    assert "high" in {alert.severity for alert in found}
    # The limit is passed at 0.3 of the attack; the minute must have ended, and be above it whole.
    length_us = attack.end_us - attack.start_us
    assert found[0].window_end_us < attack.start_us + 0.3 * length_us + 120 * SECOND
    for alert in found:
        requests, errors = alert.evidence["requests"], alert.evidence["errors_5xx"]
        assert alert.value == pytest.approx(errors / requests, abs=1e-6)


CHECKS: dict[str, Callable[[LogAttack, Sequence[Alert]], None]] = {
    "flood": check_client,
    "scan": check_client,
    "distributed_flood": check_flood_of_many,
    "slow_errors": check_errors,
}


# ---- honest traffic -----------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "rate"), [(131, 4), (132, 40)])
def test_an_hour_of_honest_traffic_brings_no_alert(
    watch: Callable[..., Watched], seed: int, rate: int
) -> None:
    assert watch(seed, rate, HOUR_SECONDS) == ([], [])


@pytest.mark.soak
@pytest.mark.parametrize(("seed", "rate"), [(n, r) for r in (2, 15, 150) for n in range(141, 147)])
def test_many_hours_of_honest_traffic_bring_no_alert(
    watch: Callable[..., Watched], seed: int, rate: int
) -> None:
    assert watch(seed, rate, HOUR_SECONDS) == ([], [])


@pytest.mark.soak
@pytest.mark.parametrize("seed", [151, 152, 153])
def test_a_day_of_honest_traffic_brings_no_alert(watch: Callable[..., Watched], seed: int) -> None:
    assert watch(seed, 8, 24 * HOUR_SECONDS) == ([], [])


# ---- a real log ---------------------------------------------------------------------------------

# It is a sample: all of its lines lie in the fifth minute of an hour, in no order within it.
REAL_LINE = re.compile(
    r'(?P<client>\S+) - \S+ \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<target>\S+) '
    r'HTTP/1\.[01]" (?P<status>\d{3}) (?P<bytes>\d+|-) ".*?" "(?P<agent>.*?)"?'
)
DISORDER_SECONDS = 60
DESERVED: list[str] = []
"""The incidents that its bursts deserve. Its busiest client, 75.97.9.59, makes 25 requests in 10 s:
what a browser makes that loads a page with its pictures.
"""

VALUES: dict[str, Callable[[list[dict[str, Any]]], int]] = {
    "requests": len,
    "bytes": lambda lines: sum(line["bytes"] for line in lines),
    "errors_4xx": lambda lines: sum(line["status"] // 100 == 4 for line in lines),
    "errors_5xx": lambda lines: sum(line["status"] // 100 == 5 for line in lines),
    "clients": lambda lines: len({line["client"] for line in lines}),
    "paths": lambda lines: len({line["path"] for line in lines}),
}


def test_a_real_log_brings_no_alert_and_counts_as_a_plain_group_by(shared_data: Path) -> None:
    log = shared_data / "access_logs" / "elastic_apache_logs_10k.log"
    outputs = outputs_of(ACCESS_LOGS, log, disorder_seconds=DISORDER_SECONDS)
    assert [alert.id for alert in alerts_of(outputs)] == DESERVED
    assert [item for item in outputs if isinstance(item, Late | Reject)] == []
    lines = [plain(line) for line in log.read_text(errors="surrogateescape").splitlines()]
    assert len(lines) == 10_000
    for name, length, key, values in (
        ("traffic_10s", 10, (), tuple(VALUES)),
        ("traffic_60s", 60, (), tuple(VALUES)),
        ("statuses_60s", 60, ("status", "method"), ("requests", "bytes")),
    ):
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for line in lines:
            place = (line["second"] // length * length, *(line[part] for part in key))
            groups.setdefault(place, []).append(line)
        rows = rows_of(outputs, name)
        assert len(rows) == len(groups)
        assert {
            (moment(row["window_start"]) // SECOND, *(row[part] for part in key)): [
                row[value] for value in values
            ]
            for row in rows
        } == {place: [VALUES[value](group) for value in values] for place, group in groups.items()}


def test_incidents_of_a_real_log_name_what_a_plain_group_by_names(shared_data: Path) -> None:
    """With limits so low that there are many: clients with 4 requests, minutes with an error."""
    log = shared_data / "access_logs" / "elastic_apache_logs_10k.log"
    low = {"client_flood": 3, "errors": 1e-9}
    rules = tuple(
        replace(rule, levels=(Level("warning", above=low[rule.name]),))
        for rule in ACCESS_LOGS.rules
        if rule.name in low
    )
    rules = tuple(replace(rule, at_least=1) if isinstance(rule, Ratio) else rule for rule in rules)
    domain = replace(ACCESS_LOGS, rules=rules, detectors=())
    lines = [plain(line) for line in log.read_text(errors="surrogateescape").splitlines()]
    alerts = alerts_of(outputs_of(domain, log, disorder_seconds=DISORDER_SECONDS))
    finals = [alert for alert in alerts if alert.phase == "final"]
    for rule, length, key, of, counted_as, passes in (
        ("client_flood", 10, ("client",), "path", "requests", lambda _: True),
        ("client_flood", 10, ("client",), "agent", "requests", lambda _: True),
        ("errors", 60, (), "path", "errors_5xx", lambda line: line["status"] >= 500),
        ("errors", 60, (), "client", "errors_5xx", lambda line: line["status"] >= 500),
    ):
        groups: dict[tuple[Any, ...], Counter[str]] = {}
        for line in filter(passes, lines):
            place = (line["second"] // length * length, *(line[part] for part in key))
            groups.setdefault(place, Counter())[line[of]] += 1
        name = f"failing_{of}s" if rule == "errors" else f"top_{of}s"
        found = [alert for alert in finals if alert.rule == rule]
        assert len(found) == sum(
            rule == "errors" or counts.total() > low[rule] for counts in groups.values()
        )
        for alert in found:
            counts = groups[(alert.window_start_us // SECOND, *(alert.key[part] for part in key))]
            greatest = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:5]
            assert alert.evidence[name] == [{of: text, counted_as: n} for text, n in greatest]


def plain(text: str) -> dict[str, Any]:
    match = REAL_LINE.fullmatch(text)
    assert match is not None, text
    return {
        **match.groupdict(),
        "second": int(datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z").timestamp()),
        "status": int(match["status"]),
        "bytes": int(match["bytes"].replace("-", "0")),
        "path": match["target"].partition("?")[0],
        "agent": "" if match["agent"] == "-" else match["agent"],
    }


def rows_of(outputs: Sequence[Output], aggregate: str) -> list[dict[str, Any]]:
    return [
        row
        for item in outputs
        if isinstance(item, AggregateRows) and item.aggregate == aggregate
        for row in item.rows
    ]


def moment(text: Any) -> int:
    """Return a time of a row, in microseconds."""
    time = datetime.fromisoformat(text)
    return int(time.timestamp()) * SECOND + time.microsecond
