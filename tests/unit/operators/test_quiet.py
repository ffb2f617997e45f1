"""An episode is told of once."""

from __future__ import annotations

import numpy as np
import pytest

from operators.quiet import Quiet


def first(quiet: Quiet, alarming: list[int], times: list[int]) -> list[int]:
    return quiet.first(np.array(alarming, bool), np.array(times)).astype(int).tolist()


def test_an_anomaly_that_goes_on_is_one_episode_and_after_the_quiet_period_comes_another():
    times = [0, 5, 10, 19, 25, 35, 44]

    assert first(Quiet(10), [0, 1, 1, 1, 0, 1, 1], times) == [0, 1, 0, 0, 0, 1, 0]


def test_the_quiet_period_counts_from_the_last_alarming_point_not_from_the_first():
    assert first(Quiet(10), [1, 1, 1, 1], [0, 9, 18, 27]) == [1, 0, 0, 0]


def test_batches_dont_matter():
    rng = np.random.default_rng(0)
    alarming, times = rng.random(200) < 0.2, np.cumsum(rng.integers(0, 9, 200))
    quiet = Quiet(12)
    found = [quiet.first(alarming[at : at + 7], times[at : at + 7]) for at in range(0, 200, 7)]

    assert (np.concatenate(found) == Quiet(12).first(alarming, times)).all()


def test_an_event_from_the_past_neither_begins_nor_prolongs_an_episode():
    assert first(Quiet(10), [1, 1, 1], [100, 20, 111]) == [1, 0, 1]


def test_a_quiet_period_of_0_tells_of_every_alarming_point():
    assert first(Quiet(0), [1, 0, 1, 1, 1], [-5, 0, 1, 1, 0]) == [1, 0, 1, 1, 1]


def test_a_negative_quiet_period_is_refused():
    with pytest.raises(ValueError, match="quiet_us"):
        Quiet(-1)
