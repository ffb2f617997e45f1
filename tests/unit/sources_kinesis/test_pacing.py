"""Quotas, budget, backoff."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.kinesis.pacing import Backoff, Pacing


@pytest.mark.parametrize(
    ("shards", "seconds"),
    [(0, 0.25), (1, 0.25), (100, 0.25), (200, 0.5), (400, 1.0), (500, 1.0)],
)
def test_quiet_shards_are_asked_less_often_when_there_are_many(shards: int, seconds: float) -> None:
    assert Pacing().at_tip_seconds(shards) == seconds


def test_an_interval_longer_than_the_stretch_stands() -> None:
    assert Pacing(poll_interval_seconds=3.0).at_tip_seconds(1) == 3.0


@given(st.integers(0, 10 << 20))
def test_catching_up_keeps_to_the_quotas_of_a_shard(reply_bytes: int) -> None:
    pause = Pacing().behind_seconds(reply_bytes)
    assert pause >= 0.2
    assert reply_bytes / pause <= 2 << 20


def test_backoff_is_uniform_below_a_doubling_ceiling() -> None:
    backoff = Backoff(random.Random(3), base_seconds=1.0, most_seconds=8.0)
    pauses: list[list[float]] = [[] for _ in range(6)]
    for _ in range(2000):
        backoff.reset()
        for failures in pauses:
            failures.append(backoff.next_seconds())
    for ceiling, drawn in zip((1, 2, 4, 8, 8, 8), pauses, strict=True):
        assert 0 <= min(drawn) < 0.02 * ceiling
        assert 0.98 * ceiling < max(drawn) <= ceiling
        assert 0.45 * ceiling < sum(drawn) / len(drawn) < 0.55 * ceiling
