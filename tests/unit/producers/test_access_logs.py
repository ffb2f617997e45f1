"""The web site's log: its form, its day, its visitors, its attacks, and what is spoilt among it."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from errors import SettingsError
from operators.access_log import FIELDS, TIME, AccessLogFormat
from operators.access_log_decode import AccessLogDecoder
from operators.codes import TextCodes
from producers.access_log_attacks import DISTRIBUTED_CLIENTS, KINDS
from producers.access_log_pages import PAGES
from producers.access_logs import Website
from producers.crowd import Traffic
from producers.malformed import LINES
from producers.options import ProduceOptions
from producers.records import NO_ATTACK, Record
from producers.run import produce

START_US = 1_767_225_600_000_000
SEED_LINE = re.compile(
    r"(\d+\.\d+\.\d+\.\d+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "
    r'"(GET|POST|DELETE|PUT) (/\S*) HTTP/1\.0" (200|404|500|301) (\d+) "-" "([^"]+)"'
)


def traffic(**changes) -> Traffic:
    given = {"start_us": START_US, "duration_us": 120_000_000, "rate": 100, "users": 3_000}
    return Traffic(**(given | changes))


def all_records(site: Website, step_us: int = 7_000_000) -> list[Record]:
    records, until_us = [], START_US
    while not site.done:
        until_us += step_us
        records += site.advance(until_us)
    return records


def second_of(match: re.Match[str]) -> int:
    return round(datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z").timestamp())


def lines_of(records: list[Record]) -> list[re.Match[str]]:
    found = [SEED_LINE.fullmatch(record.payload.decode()) for record in records]
    assert all(found)
    return found


def test_a_line_is_the_originals_without_a_lines_end():
    records = all_records(Website(traffic(), 1))
    lines = lines_of(records)
    assert len(lines) == 12_000
    assert {line[4] for line in lines} == set(PAGES)
    sizes = np.array([int(line[6]) for line in lines])
    assert abs(sizes.mean() - 5_000) < 3
    assert 45 < sizes.std() < 55
    assert all(record.partition_key == line[1] for record, line in zip(records, lines, strict=True))
    assert {second_of(line) - START_US // 10**6 for line in lines} == set(range(120))


def test_a_line_can_end_with_a_lines_end():
    plain = all_records(Website(traffic(), 1))
    ended = all_records(Website(traffic(), 1, newline=True))
    assert [record.payload + b"\n" for record in plain] == [record.payload for record in ended]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    plan = {"disorder_us": 2_000_000, "late_share": 0.01, "malformed_share": 0.01, "attackers": 3}
    first, again, other = (
        all_records(Website(traffic(rate=500, users=20_000, **plan), seed)) for seed in (5, 5, 6)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(("rate", "users"), [(0.5, 20), (30, 1_000), (400, 6_100)])
def test_an_honest_client_asks_for_at_most_3_pages_in_any_10_seconds(rate: float, users: int):
    seconds: dict[str, list[int]] = {}
    site = Website(traffic(rate=rate, users=users, start_us=START_US + 15 * 3_600_000_000), 2)
    until_us = START_US + 16 * 3_600_000_000
    for line in lines_of(site.advance(until_us)):
        seconds.setdefault(line[1], []).append(second_of(line))
    assert site.done
    for times in seconds.values():
        times.sort()
        assert all(later - time >= 10 for time, later in zip(times, times[3:], strict=False))


def test_people_come_for_visits_and_some_come_often():
    site = Website(traffic(duration_us=3_600_000_000, rate=50, users=15_000), 3)
    lines = lines_of(all_records(site, 60_000_000))
    counts = sorted(Counter(line[1] for line in lines).values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > sum(counts) / 5
    agents: dict[str, set[str]] = {}
    for line in lines:
        agents.setdefault(line[1], set()).add(line[7])
    assert all(len(used) == 1 for used in agents.values())


def test_a_day_is_busiest_in_the_afternoon():
    site = Website(traffic(duration_us=86_400_000_000, rate=1, users=100), 1)
    hours = Counter(second_of(line) // 3600 % 24 for line in lines_of(all_records(site, 10**10)))
    assert sum(hours.values()) == 86_400
    assert hours[15] == pytest.approx(3 * hours[3], rel=0.05)


def test_attacks_are_what_the_truth_says():
    site = Website(
        traffic(rate=500, users=20_000, attackers=4, duration_us=480_000_000, disorder_us=10**6), 4
    )
    records = all_records(site)
    assert len(records) == 240_000
    attacks = site.attacks
    assert [attack.kind for attack in attacks.values()] == list(KINDS)
    ends = [START_US]
    for number, attack in attacks.items():
        own = lines_of([record for record in records if record.attack == number])
        assert len(own) == attack.count
        assert ends[-1] <= attack.start_us < attack.end_us <= START_US + 480_000_000
        ends.append(attack.end_us)
        times = [second_of(line) * 10**6 for line in own]
        assert attack.start_us - 10**6 < min(times) <= max(times) < attack.end_us
        clients = Counter(line[1] for line in own)
        if attack.kind == "distributed_flood":
            assert len(clients) == attack.clients == DISTRIBUTED_CLIENTS
            assert set(clients.values()) == {1, 2}
        elif attack.kind == "slow_errors":
            assert {line[5] for line in own} == {"500"}
            middle = (attack.start_us + attack.end_us) / 2
            assert sum(time > middle for time in times) > 2 * sum(time < middle for time in times)
        else:
            assert set(clients) == {attack.client}
            elsewhere = [r for r in records if r.attack != number and r.partition_key in clients]
            assert not elsewhere
            if attack.kind == "scan":
                assert {line[5] for line in own} == {"404"}
                assert len({line[4] for line in own}) == min(len(own), 300)


def test_honest_traffic_holds_no_attack():
    assert {r.attack for r in all_records(Website(traffic(), 1))} == {NO_ATTACK}


def late_lines(site: Website, disorder_seconds: int) -> int:
    newest, late = 0, 0
    for line in lines_of(all_records(site)):
        second = second_of(line)
        late += (second // 10 + 1) * 10 <= newest - disorder_seconds
        newest = max(newest, second)
    return late


def test_no_line_is_later_than_the_disorder_and_the_second_that_the_log_cuts_off():
    plan = traffic(disorder_us=13_000_000, attackers=1)
    assert late_lines(Website(plan, 1), 14) == 0
    assert late_lines(Website(plan, 1), 2) > 1_000


def test_late_lines_are_counted():
    site = Website(traffic(disorder_us=3_000_000, late_share=0.02), 1)
    late = late_lines(site, 3)
    assert site.late == pytest.approx(0.02 * 12_000, rel=0.25)
    assert site.late * 0.85 < late <= site.late  # behind the last line there is nothing newer


def test_each_malformed_record_is_one_reject_of_the_parser():
    site = Website(traffic(malformed_share=0.003), 1)
    payloads = [record.payload for record in all_records(site)]
    decoder = AccessLogDecoder(FIELDS, TIME, TextCodes(), AccessLogFormat())
    decoded = decoder.decode(payloads, None)
    assert set(site.malformed) == set(LINES)
    assert min(site.malformed.values()) >= 6
    assert len(decoded.rejected) == sum(site.malformed.values()) == 36
    assert len(decoded.times_us) == site.events == 12_000
    assert not any(b"\n" in payload for payload in payloads)


def test_too_much_for_a_run_is_said():
    with pytest.raises(SettingsError, match="too few"):
        Website(traffic(users=100), 1)
    with pytest.raises(SettingsError, match="too short"):
        Website(traffic(attackers=40), 1)
    with pytest.raises(SettingsError, match="more than"):
        Website(traffic(events=6_000, attackers=2), 1)


def test_a_run_writes_lines_and_the_truth_about_them(tmp_path):
    class Clock:
        def now_us(self) -> int:
            return START_US

        def sleep(self, seconds: float) -> None:
            pytest.fail("a file is written at once")

        def stopped(self) -> bool:
            return False

    options = ProduceOptions(
        "access_logs",
        f"file://{tmp_path}/access.log",
        events=60_000,
        seed=9,
        attackers=4,
        disorder=timedelta(seconds=1),
        start=datetime(2026, 3, 1, tzinfo=UTC),
        truth=tmp_path / "truth.json",
    )
    report = produce(
        options, kinesis_client_factory=pytest.fail, clock=Clock(), out=lambda progress: None
    )
    lines = (tmp_path / "access.log").read_bytes().splitlines()
    truth = json.loads((tmp_path / "truth.json").read_bytes())
    assert len(lines) == report.records == report.events == truth["events"] == 60_000
    assert [planted["kind"] for planted in truth["incidents"]] == list(KINDS)
    flood = truth["incidents"][0]
    assert sum(line.startswith(flood["client"].encode() + b" ") for line in lines) == flood["count"]
    assert flood["start"].startswith("2026-03-01T00:0")
    assert all(planted["sixth_written_us"] == START_US for planted in truth["incidents"])


def test_options_of_other_domains_are_refused(tmp_path):
    for options, flag in (
        (ProduceOptions("access_logs", "kinesis://s", from_csv=tmp_path / "x.csv"), "--from-csv"),
        (ProduceOptions("ecommerce", "kinesis://s", newline=True), "--newline"),
        (ProduceOptions("access_logs", f"file://{tmp_path}/x", newline=True), "--newline"),
    ):
        with pytest.raises(SettingsError, match=flag):
            produce(options, kinesis_client_factory=pytest.fail, clock=None, out=print)
