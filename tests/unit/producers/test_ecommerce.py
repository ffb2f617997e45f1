"""The shop's events: their shape, their order, their attacks, and what is spoilt among them."""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from errors import SettingsError
from producers.crowd import Traffic
from producers.ecommerce import Shop
from producers.malformed import KINDS, LARGEST_BYTES
from producers.records import NO_ATTACK, Record

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = 1_767_225_600_000_000
COLUMNS = [
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
    "txn_timestamp",
]


def all_records(traffic: Traffic, seed: int = 1, step_us: int = 3_000_000) -> list[Record]:
    shop, records, until_us = Shop(traffic, seed), [], traffic.start_us
    while not shop.done:
        until_us += step_us
        records += shop.advance(until_us)
    return records


def traffic(**changes) -> Traffic:
    given = {"start_us": START_US, "duration_us": 60_000_000, "rate": 200, "users": 2_000}
    return Traffic(**(given | changes))


def time_us(event: dict[str, str]) -> int:
    moment = datetime.fromisoformat(event["txn_timestamp"]).replace(tzinfo=UTC)
    return round((moment - START).total_seconds() * 1e6) + START_US


def test_an_event_has_the_originals_columns_in_order_and_every_value_is_a_string():
    for record in all_records(traffic()):
        event = json.loads(record.payload)
        assert list(event) == COLUMNS
        assert all(isinstance(value, str) for value in event.values())
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", event["event_time"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?", event["txn_timestamp"])
        assert event["event_time"].replace(" UTC", "") == event["txn_timestamp"][:19].replace(
            "T", " "
        )
        assert int(event["user_id"]) > 0
        assert float(event["price"]) >= 0
        assert len(event["user_session"]) == 36
        assert record.partition_key == event["category_id"]


def test_an_event_is_compact_json_of_the_originals_size():
    records = all_records(traffic())
    assert 300 <= sum(len(record.payload) for record in records) / len(records) <= 318
    assert all(
        json.dumps(json.loads(r.payload), separators=(",", ":")).encode() == r.payload
        for r in records
    )


def test_a_run_has_exactly_as_many_events_as_asked_for():
    records = all_records(traffic(events=7_321, attackers=9))
    assert len(records) == 7_321


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    assert all_records(traffic(disorder_us=2_000_000), 5) == all_records(
        traffic(disorder_us=2_000_000), 5
    )
    assert all_records(traffic(), 5) != all_records(traffic(), 6)


def test_activity_is_uneven():
    counts = Counter(json.loads(r.payload)["user_id"] for r in all_records(traffic(users=20_000)))
    ranked = [count for _, count in counts.most_common()]
    assert ranked[0] >= 5 * ranked[len(ranked) // 2]


def test_attackers_attack_once_and_the_truth_is_what_a_plain_count_finds():
    plan = traffic(attackers=25, disorder_us=5_000_000, malformed_share=0.01)
    shop = Shop(plan, 3)
    counts: Counter[tuple[int, int]] = Counter()
    while not shop.done:
        for record in shop.advance(START_US + 200_000_000):
            for event in good_events(record.payload):
                window_us = time_us(event) // 10_000_000 * 10_000_000
                counts[int(event["user_id"]), window_us] += 1
    found = {key: count for key, count in counts.items() if count > 5}
    assert found == {
        (attack.user_id, attack.window_start_us): attack.count for attack in shop.attacks.values()
    }
    assert len(found) == 25
    assert min(found.values()) >= 12


def test_a_record_of_an_attack_says_which():
    records = all_records(traffic(attackers=3, malformed_share=0.2))
    by_attack: dict[int, set[str]] = {}
    for record in records:
        if record.attack != NO_ATTACK:
            event = json.loads(record.payload)
            by_attack.setdefault(record.attack, set()).add(event["user_id"])
    assert sorted(by_attack) == [0, 1, 2]
    assert all(len(users) == 1 for users in by_attack.values())


def test_no_event_arrives_beyond_the_disorder_and_many_arrive_out_of_order():
    times = [time_us(json.loads(r.payload)) for r in all_records(traffic(disorder_us=5_000_000))]
    newest, behind = 0, 0
    for moment in times:
        newest = max(newest, moment)
        behind = max(behind, newest - moment)
    assert 4_000_000 < behind < 5_000_000
    assert sum(after < before for before, after in pairwise(times)) > len(times) / 4


def test_late_events_come_beyond_the_disorder_and_their_window():
    plan = traffic(duration_us=300_000_000, disorder_us=2_000_000, late_share=0.05)
    shop, newest, late = Shop(plan, 1), 0, 0
    while not shop.done:
        for record in shop.advance(START_US + 900_000_000):
            moment = time_us(json.loads(record.payload))
            window_end = (moment // 10_000_000 + 1) * 10_000_000
            late += window_end <= newest - 2_000_000
            newest = max(newest, moment)
    assert shop.late == pytest.approx(0.05 * shop.events, rel=0.2)
    # Only those sent after the last honest event of the run can still be in time.
    assert late == pytest.approx(shop.late, rel=0.1)


def good_events(payload: bytes) -> list[dict[str, str]]:
    """Read a record slowly and without the product's decoder: only events of the shop count."""
    try:
        text, found = payload.decode(), []
    except UnicodeDecodeError:
        return []
    while text:
        try:
            event, end = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError:
            return found
        text = text[end:]
        try:
            int(event["user_id"])
            if datetime.fromisoformat(event["txn_timestamp"]).year < 9999:
                found.append(event)
        except (KeyError, TypeError, ValueError):
            pass
    return found


def test_malformed_records_come_in_every_kind_and_cost_no_event():
    shop = Shop(traffic(malformed_share=0.01), 1)
    records = []
    while not shop.done:
        records += shop.advance(START_US + 100_000_000)
    assert shop.events == 12_000
    assert sum(len(good_events(record.payload)) for record in records) == 12_000
    assert sum(shop.malformed.values()) == 120
    assert list(shop.malformed) == list(KINDS)
    assert max(shop.malformed.values()) - min(shop.malformed.values()) <= 1
    # One bad object in each malformed record: those joined with two good ones hold three.
    joined = shop.malformed["one_bad_of_three"]
    assert len(records) == 12_000 + 120 - 2 * joined
    assert sum(len(good_events(record.payload)) == 2 for record in records) == joined


def test_the_first_rubbish_is_as_large_as_a_record_may_be_and_holds_no_line_break():
    payloads = [r.payload for r in all_records(traffic(malformed_share=0.01))]
    sizes = sorted(len(payload) for payload in payloads)
    assert sizes[-1] == LARGEST_BYTES
    assert sizes[-2] < 20_000
    assert b"" in payloads
    assert not any(b"\n" in payload for payload in payloads)


def test_a_share_of_malformed_records_does_not_depend_on_the_steps():
    plan = traffic(malformed_share=0.013)
    for step_us in (100_000, 7_000_000, 90_000_000):
        shop, until_us = Shop(plan, 1), START_US
        while not shop.done:
            until_us += step_us
            shop.advance(until_us)
        assert sum(shop.malformed.values()) == int(12_000 * 0.013)


def test_a_window_sees_up_to_four_events_of_an_honest_user_and_never_more():
    counts: Counter[tuple[str, int]] = Counter()
    for record in all_records(traffic(users=1_100)):
        event = json.loads(record.payload)
        counts[event["user_id"], time_us(event) // 10_000_000] += 1
    assert set(counts.values()) == {1, 2, 3, 4}


def test_too_few_users_for_the_rate_is_said_before_an_honest_user_is_made_a_bot():
    with pytest.raises(SettingsError, match="too few") as caught:
        Shop(traffic(users=10, rate=100), 1)
    assert "501 users" in caught.value.hint
    assert len(all_records(traffic(users=501, rate=100))) == 6_000


def test_a_run_too_short_to_attack_in_is_refused():
    with pytest.raises(SettingsError, match="too short"):
        Shop(traffic(duration_us=500_000, attackers=1), 1)


def test_more_attacks_than_events_are_refused():
    with pytest.raises(SettingsError, match="attackers make"):
        Shop(traffic(events=100, attackers=50), 1)


def test_an_endless_shop_goes_on_and_its_attacks_fall_into_the_first_minute():
    shop = Shop(traffic(duration_us=None, attackers=5), 1)
    shop.advance(START_US + 60_000_000)
    assert len(shop.attacks) == 5
    before = shop.events
    shop.advance(START_US + 70_000_000)
    assert not shop.done
    assert shop.events - before == 2_000
