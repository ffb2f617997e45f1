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
