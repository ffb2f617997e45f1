"""A detector's scores, grades and alarms belong together, and so does its snapshot."""

from __future__ import annotations

import numpy as np
import pytest

from errors import LayoutError, SettingsError
from operators.detector import Detector, DetectorConfig
from operators.forest import Forest, ForestConfig
from operators.grade import GradeConfig

SECOND = 1_000_000
CONFIG = DetectorConfig(
    ForestConfig(2, number_of_trees=20, sub_sample_size=64),
    GradeConfig(decay=1_000, warm_up=200),
    alarm_grades=(0.99,),
    alarm_score=3.0,
    quiet_seconds=60,
)


def stream() -> tuple[np.ndarray, np.ndarray]:
    """Return points a second apart with three anomalies, the second right after the first."""
    given = np.random.default_rng(0).normal(size=(1_000, 2))
    given[[500, 530, 800]] = [[30.0, 30.0], [-30.0, 30.0], [40.0, -40.0]]
    return given, np.arange(1_000) * SECOND


def test_an_anomaly_alarms_once_an_episode():
    found = Detector(CONFIG, 1).take(*stream())

    assert np.flatnonzero(found.alarms).tolist() == [500, 800]
    assert found.grades[530] >= 0.99


def test_the_raw_score_stays_available():
    points, times = stream()

    assert (
        Detector(CONFIG, 1).take(points, times).scores == Forest(CONFIG.forest, 1).score(points)
    ).all()


def test_an_alarm_needs_the_score_too():
    points, times = stream()
    strict = DetectorConfig(CONFIG.forest, CONFIG.grade, alarm_grades=(0.9,), alarm_score=6.0)

    assert not Detector(strict, 1).take(points, times).alarms.any()


def test_limits_of_scores_need_no_warm_up():
    points, times = stream()
    points[100] = [50.0, -50.0]
    by_score = DetectorConfig(CONFIG.forest, CONFIG.grade, alarm_scores=(3.0, 5.9))

    found = Detector(by_score, 1).take(points, times)

    assert found.alarms[100] == 1
    assert found.grades[100] == 0, "it isn't warm yet"
    assert (np.flatnonzero(found.scores > 3.0) >= 64).all()


def attacked(points: int, *attacks: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return points of which some stretches are far away."""
    rng = np.random.default_rng(0)
    given = rng.normal(size=(points, 2))
    for begin, end in attacks:
        given[begin:end] += rng.normal(12, 0.5, size=(end - begin, 2))
    return given, np.arange(points) * SECOND


def unlearning(most: int) -> Detector:
    config = DetectorConfig(
        CONFIG.forest, CONFIG.grade, alarm_scores=(3.0,), unlearnt=most, quiet_seconds=20
    )
    return Detector(config, 1)


def test_an_attack_that_is_not_learnt_leaves_the_next_one_as_unusual():
    points, times = attacked(400, (200, 220), (300, 320))
    with_it, without = (unlearning(most).take(points, times).scores for most in (30, 0))

    assert with_it[200:220].min() > 3
    assert with_it[300:320].min() > 3
    assert without[300:320].max() < 3
    assert (with_it[:201] == without[:201]).all()


def test_what_lasts_is_learnt():
    points, times = attacked(600, (200, 600))
    found = unlearning(30).take(points, times)

    assert found.scores[200:230].min() > 3
    assert found.scores[300:].max() < 3
    assert np.flatnonzero(found.alarms).tolist() == [200]


def test_unlearnt_points_are_the_same_in_any_batches_and_after_a_restart():
    points, times = attacked(400, (200, 220), (300, 320))
    whole = unlearning(10).take(points, times, explain=True)
    one, found = unlearning(10), []
    for begin, end in ((0, 7), (7, 205), (205, 312), (312, 400)):
        one = Detector.load(one.config, one.dump())
        found.append(one.take(points[begin:end], times[begin:end]))

    assert (np.concatenate([part.scores for part in found]) == whole.scores).all()
    assert (np.concatenate([part.alarms for part in found]) == whole.alarms).all()
    assert whole.explanations.above.shape == points.shape


def test_a_refused_point_never_alarms():
    points, times = stream()
    points[500:] = np.nan

    found = Detector(CONFIG, 1).take(points, times, explain=True)

    assert not found.alarms.any()
    assert np.isnan(found.explanations.above[500:]).all()


def test_batches_and_snapshots_dont_matter():
    points, times = stream()
    whole = Detector(CONFIG, 1).take(points, times, explain=True)
    detector = Detector(CONFIG, 1)
    found = []
    for at in range(0, 1_000, 37):
        some = slice(at, at + 37)
        found.append(detector.take(points[some], times[some], explain=at % 2 == 0))
        detector = Detector.load(CONFIG, detector.dump())

    for name in ("scores", "grades", "alarms"):
        together = np.concatenate([getattr(one, name) for one in found])
        assert (together == getattr(whole, name)).all()


def test_times_must_be_as_many_as_points():
    with pytest.raises(ValueError, match="times"):
        Detector(CONFIG, 1).take(np.zeros((3, 2)), np.zeros(2, np.int64))


@pytest.mark.parametrize(
    "parameters",
    [
        {"alarm_grades": ()},
        {"alarm_grades": (-0.1,)},
        {"alarm_grades": (0.99, 0.9)},
        {"alarm_grades": (0.9, 1.0)},
        {"alarm_score": -1},
        {"alarm_score": 9},
        {"alarm_scores": (0.0, 2.0)},
        {"alarm_scores": (3.0, 2.0)},
        {"alarm_scores": (3.0, 8.0)},
        {"unlearnt": -1},
        {"unlearnt": 5},
        {"quiet_seconds": -1},
        {"quiet_seconds": float("nan")},
    ],
)
def test_a_parameter_out_of_its_range_is_refused(parameters):
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        DetectorConfig(ForestConfig(1), **parameters)


def test_a_snapshot_that_isnt_whole_is_refused():
    detector = Detector(CONFIG, 1)
    points, times = stream()
    detector.take(points[:100], times[:100])
    state = detector.dump()

    for spoilt in (b"", state[:9], state[:-1], state + b"\0"):
        with pytest.raises(LayoutError, match="a detector can't be used"):
            Detector.load(CONFIG, spoilt)
