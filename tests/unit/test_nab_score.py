"""The rules of NAB: cases computed by hand, what must always hold, and a slow second scorer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.nab_score import PROFILES, Labels, judge, probation, tally

STANDARD, LOW_FP, LOW_FN = PROFILES
ROWS = 100
WINDOW = (40, 49)


def detected(*rows, length=ROWS):
    scores = np.zeros(length)
    scores[list(rows)] = 1.0
    return scores


def score(profile, scores, windows=(WINDOW,)):
    """Score one series at the threshold 1."""
    labels = Labels.of(len(scores), windows)
    return float(tally(labels, scores, np.array([1.0])).scores(profile)[0])


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_detector_that_finds_each_window_at_once_and_nothing_else_has_100(profile):
    windows = [(20, 29), (60, 79)]
    assert score(profile, detected(20, 60), windows) == pytest.approx(100)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_detector_that_finds_nothing_has_0(profile):
    assert score(profile, detected()) == 0


def test_a_late_detection_is_worth_less():
    # The last of ten rows, at -0.1: (2 / (1 + e^-0.5) - 1) / (2 / (1 + e^-5) - 1) = 0.248241.
    assert score(STANDARD, detected(49)) == pytest.approx(100 * (0.248241 + 1) / 2, abs=1e-3)
    assert score(LOW_FN, detected(49)) == pytest.approx(100 * (0.248241 + 2) / 3, abs=1e-3)


def test_a_false_detection_right_behind_a_window_costs_little():
    # One row behind, at 1/9 of the width: 2 / (1 + e^(5/9)) - 1 = -0.270852.
    assert score(STANDARD, detected(40, 50)) == pytest.approx(100 - 50 * 0.11 * 0.270852, abs=1e-3)
    assert score(LOW_FP, detected(40, 50)) == pytest.approx(100 - 50 * 0.22 * 0.270852, abs=1e-3)


@pytest.mark.parametrize("row", [20, 39, 49 + 27, 99])
def test_a_false_detection_before_the_first_window_or_far_behind_one_costs_all(row):
    assert score(STANDARD, detected(40, row)) == pytest.approx(100 - 50 * 0.11)


def test_two_detections_in_a_window_count_once_by_the_earlier():
    assert score(STANDARD, detected(44, 47)) == score(STANDARD, detected(44))
    assert score(STANDARD, detected(44, 47)) > score(STANDARD, detected(47))


def test_an_earlier_but_weaker_detection_counts_from_its_own_threshold_on():
    scores = detected(47)
    scores[42] = 0.5
    found = tally(Labels.of(ROWS, [WINDOW]), scores, np.array([1.0, 0.5])).scores(STANDARD)
    assert found.tolist() == [score(STANDARD, detected(47)), score(STANDARD, detected(42))]


def test_probation_is_15_percent_and_at_most_750_rows():
    assert [probation(rows) for rows in (0, 100, 1_883, 5_000, 22_695)] == [0, 15, 282, 750, 750]


def test_detections_in_probation_count_for_nothing():
    assert score(STANDARD, detected(0, 14, 40)) == pytest.approx(100)
    assert score(STANDARD, detected(15, 40)) < 100


def test_a_window_within_probation_is_neither_found_nor_missed():
    windows = [(5, 14), WINDOW]
    assert score(STANDARD, detected(), windows) == 0
    assert score(STANDARD, detected(5, 40), windows) == pytest.approx(100)


def test_one_threshold_serves_all_series():
    labels = Labels.of(ROWS, [WINDOW])
    clear, faint = detected(40), 0.4 * detected(40)
    faint[60:90] = 0.7  # thirty false ones cost more than a window is worth
    threshold, found = judge({"a": [(labels, clear)], "b": [(labels, faint)]}, STANDARD)
    assert threshold == 1.0
    assert found == pytest.approx({"a": 100.0, "b": 0.0, "all": 50.0})


def test_where_every_detection_is_false_it_is_best_to_detect_nothing():
    threshold, found = judge({"a": [(Labels.of(ROWS, [WINDOW]), 0.5 * np.ones(ROWS))]}, LOW_FP)
    assert threshold == math.inf
    assert found["all"] == 0


def test_a_category_without_any_window_has_no_score():
    quiet, other = Labels.of(ROWS, []), Labels.of(ROWS, [WINDOW])
    _, found = judge({"quiet": [(quiet, detected())], "other": [(other, detected(40))]}, STANDARD)
    assert math.isnan(found["quiet"])
    assert found["all"] == pytest.approx(100)


SERIES = st.tuples(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=60, max_size=60),
    st.lists(st.integers(0, 59), max_size=6, unique=True).map(
        lambda ends: list(zip(*[iter(sorted(ends))] * 2, strict=False))
    ),
)


def plain_score(series, profile, threshold):
    """Return the raw score, row by row, as the rules are told."""

    def sigmoid(position):
        return -1.0 if position >= 3 else 2 / (1 + math.exp(5 * position)) - 1

    total = 0.0
    for scores, windows in series:
        first = int(0.15 * len(scores))
        for begin, end in windows:
            width = end - begin + 1
            hits = [row for row in range(max(begin, first), end + 1) if scores[row] >= threshold]
            if hits:
                total += profile.true * sigmoid((hits[0] - end - 1) / width) / sigmoid(-1)
            elif end >= first:
                total -= profile.missed
        for row in range(first, len(scores)):
            if scores[row] < threshold or any(begin <= row <= end for begin, end in windows):
                continue
            before = [(begin, end) for begin, end in windows if end < row]
            if before:
                begin, end = before[-1]
                total += profile.false * sigmoid((row - end) / max(end - begin, 1))
            else:
                total -= profile.false
    return total


@given(st.lists(SERIES, min_size=1, max_size=3), st.sampled_from(PROFILES))
def test_scores_equal_those_of_a_plain_scorer(series, profile):
    count = sum(end >= 9 for _, windows in series for _, end in windows)
    labelled = [(Labels.of(60, windows), np.array(scores)) for scores, windows in series]
    threshold, found = judge({"all of it": labelled}, profile)
    if not count:
        assert math.isnan(found["all"])
        return
    raws = [plain_score(series, profile, cut) for cut in (2.0, 1.0, 0.75, 0.5, 0.25, 0.0)]
    least = -profile.missed * count
    scale = 100 / (profile.true * count - least)
    assert found["all"] == pytest.approx(scale * (max(raws) - least), abs=1e-9)
    at = plain_score(series, profile, threshold)
    assert at == pytest.approx(max(raws), abs=1e-9)


@given(SERIES)
def test_dear_false_detections_lower_a_score_and_dear_misses_raise_it(series):
    # The latter since scores are scaled: dear misses make false detections, and late ones, cheap.
    scores, windows = series
    labels = Labels.of(60, windows)
    counted = tally(labels, np.array(scores), np.array([1.0, 0.75, 0.5, 0.25, 0.0]))
    standard, low_fp, low_fn = (counted.scores(profile) for profile in PROFILES)
    if labels.windows:
        assert (low_fp <= standard + 1e-9).all()
        assert (standard <= low_fn + 1e-9).all()
        assert (low_fn <= 100 + 1e-9).all()
