"""Grades are calibrated: on a stream that stays as it is, 1 - p is reached once in 1/p scores."""

from __future__ import annotations

import numpy as np
import pytest

from errors import LayoutError, SettingsError
from operators.forest import Forest, ForestConfig
from operators.grade import Grade, GradeConfig

POINTS = 30_000
SETTLED = 2_000


def normal(rng):
    return rng.normal(size=(POINTS, 2)), 1


def heavy_tailed(rng):
    return rng.standard_t(3, size=(POINTS, 1)), 1


def counts(rng):
    return rng.poisson(20, size=(POINTS, 2)).astype(float), 1


def periodic(rng):
    return (np.sin(np.arange(POINTS) / 30) + 0.1 * rng.normal(size=POINTS))[:, None], 8


@pytest.mark.parametrize("stream", [normal, heavy_tailed, counts, periodic])
def test_the_rate_of_false_alarms_on_a_stationary_stream_is_the_one_asked_for(stream):
    points, shingle_size = stream(np.random.default_rng(3))
    config = ForestConfig(points.shape[1], number_of_trees=30, shingle_size=shingle_size)
    scores = Forest(config, 3).score(points)
    grades = Grade(GradeConfig(), config.most).grade(scores)[SETTLED:]

    for rate, least, most in ((0.05, 0.85, 1.15), (0.01, 0.75, 1.3), (0.001, 0.3, 2.0)):
        assert least <= (grades >= 1 - rate).mean() / rate <= most


def test_an_anomaly_has_a_grade_near_1():
    points = np.random.default_rng(0).normal(size=(5_000, 2))
    points[4_000] = 9
    config = ForestConfig(2, number_of_trees=30)
    grades = Grade(GradeConfig(), config.most).grade(Forest(config, 1).score(points))

    assert grades[4_000] > 0.99999


def test_a_lasting_change_stops_being_rare():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.uniform(0.5, 1, 10_000), rng.uniform(2, 2.5, 10_000)])
    grades = Grade(GradeConfig(decay=2_000), 8.0).grade(scores)

    assert grades[10_000] > 0.999
    assert np.median(grades[15_000:]) < 0.6


def test_where_all_scores_are_the_same_none_is_rare():
    grades = Grade(GradeConfig(), 8.0).grade(np.full(5_000, 0.7))

    assert (grades == 0).all()


def test_a_higher_score_never_has_a_lower_grade():
    scores = np.random.default_rng(0).lognormal(size=20_000).clip(0.01, 7)
    grade = Grade(GradeConfig(), 8.0)
    grade.grade(scores[: 64 * 300])
    probes = np.linspace(0.001, 8, 60)
    found = [Grade.load(grade.config, 8.0, grade.dump()).grade(np.array([s]))[0] for s in probes]

    assert (np.diff(found) >= 0).all()
    assert found[0] < 0.01
    assert found[-1] > 0.999


def test_the_first_scores_have_the_grade_0_and_so_have_points_that_were_not_scored_yet():
    scores = np.concatenate([np.zeros(256), np.full(1_000, 0.7), [5.0]])
    scores[400] = 5.0
    grades = Grade(GradeConfig(warm_up=1_000), 8.0).grade(scores)

    assert (grades[:1_256] == 0).all()
    assert grades[1_256] > 0.99


def test_a_refused_point_has_no_grade_and_doesnt_count():
    scores = np.random.default_rng(0).uniform(0.1, 2, 3_000)
    spoilt = np.insert(scores, [5, 1_500, 1_500], np.nan)
    grades = Grade(GradeConfig(), 8.0).grade(spoilt)

    assert np.isnan(grades[np.isnan(spoilt)]).all()
    kept = grades[~np.isnan(spoilt)]
    assert (kept == Grade(GradeConfig(), 8.0).grade(scores)).all()


@pytest.mark.parametrize("step", [1, 63, 64, 65, 1_000])
def test_batches_and_snapshots_dont_matter(step):
    scores = np.random.default_rng(0).uniform(0, 2, 2_500)
    scores[::10] = 0
    config = GradeConfig(warm_up=200)
    whole, grade = Grade(config, 8.0), Grade(config, 8.0)
    found = []
    for at in range(0, len(scores), step):
        found.append(grade.grade(scores[at : at + step]))
        grade = Grade.load(config, 8.0, grade.dump())

    assert (np.concatenate(found) == whole.grade(scores)).all()
    assert grade.dump() == whole.dump()


@pytest.mark.parametrize(
    "parameters", [{"decay": 999}, {"decay": 2**31}, {"warm_up": 199}, {"warm_up": 20_001}]
)
def test_a_parameter_out_of_its_range_is_refused(parameters):
    with pytest.raises(SettingsError, match=next(iter(parameters))):
        GradeConfig(**parameters)


def test_a_snapshot_that_isnt_whole_is_refused():
    grade = Grade(GradeConfig(), 8.0)
    grade.grade(np.random.default_rng(0).uniform(0.1, 2, 100))
    state = grade.dump()

    for spoilt in (b"", state[:3], state[:10], state[:-1], state + b"\0", b"kwrf" + state[4:]):
        with pytest.raises(LayoutError, match="a grade can't be used"):
            Grade.load(GradeConfig(), 8.0, spoilt)
