"""Whatever the seed, rate, disorder and steps: honest users are slow, attackers are not."""

from collections import Counter, defaultdict
from datetime import UTC, datetime

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.crowd import Traffic
from producers.ecommerce import Shop
from tests.effort import examples

START_US = 1_767_225_600_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moments(traffic: Traffic, seed: int, step_us: int) -> dict[int, list[int]]:
    """Return every user's event times, in order."""
    shop, until_us = Shop(traffic, seed), traffic.start_us
    found: dict[int, list[int]] = defaultdict(list)
    while not shop.done:
        until_us += step_us
        for record in shop.advance(until_us):
            event = orjson.loads(record.payload)
            moment = datetime.fromisoformat(event["txn_timestamp"]).replace(tzinfo=UTC) - EPOCH
            found[int(event["user_id"])].append(
                (moment.days * 86_400 + moment.seconds) * 1_000_000 + moment.microseconds
            )
    return {user: sorted(times) for user, times in found.items()}


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    offset_us=st.integers(0, 20_000_000),
    users=st.integers(400, 3_000),
    rate=st.floats(5, 60),
    zipf=st.floats(0.5, 2.5),
    attackers=st.integers(0, 8),
    disorder_us=st.integers(0, 12_000_000),
    late_share=st.sampled_from([0.0, 0.1]),
    step_us=st.integers(50_000, 40_000_000),
)
def test_no_honest_user_makes_more_than_four_events_in_any_ten_seconds(
    seed, offset_us, users, rate, zipf, attackers, disorder_us, late_share, step_us
):
    traffic = Traffic(
        start_us=START_US + offset_us,
        duration_us=45_000_000,
        rate=rate,
        users=users,
        attackers=attackers,
        zipf=zipf,
        disorder_us=disorder_us,
        late_share=late_share,
    )
    shop = Shop(traffic, seed)
    shop.advance(traffic.start_us + 200_000_000)
    attacking = {attack.user_id: attack for attack in shop.attacks.values()}
    assert len(attacking) == attackers

    for user, times in moments(traffic, seed, step_us).items():
        if user in attacking:
            continue
        # The fifth event after any event must lie at least 10 s behind it.
        for first, fifth in zip(times, times[4:], strict=False):
            assert fifth - first > 10_000_000


@settings(max_examples=examples(30), deadline=None)
@given(seed=st.integers(0, 2**32), offset_us=st.integers(0, 20_000_000))
def test_an_attacker_does_all_it_does_in_one_window_and_at_least_twelve_times(seed, offset_us):
    traffic = Traffic(
        start_us=START_US + offset_us,
        duration_us=35_000_000,
        rate=20,
        users=500,
        attackers=6,
        disorder_us=3_000_000,
    )
    truth = {}
    shop = Shop(traffic, seed)
    shop.advance(traffic.start_us + 100_000_000)
    for attack in shop.attacks.values():
        truth[attack.user_id] = {attack.window_start_us: attack.count}
    found = moments(traffic, seed, 100_000_000)
    for user, windows in truth.items():
        assert Counter(t // 10_000_000 * 10_000_000 for t in found[user]) == windows
        assert sum(windows.values()) >= 12
