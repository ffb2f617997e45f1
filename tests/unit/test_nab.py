"""The bench of NAB: its detectors look only back, and a small folder goes through it whole."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import numpy as np
import pytest

from bench import nab
from bench.nab_detectors import DETECTORS, rarity, records, time_of_day

BEGIN = datetime.fromisoformat("2020-01-01")
MINUTES_5 = 300_000_000


def values_of(rows, spikes=(), seed=1):
    values = np.random.default_rng(seed).normal(50, 2, rows)
    values[list(spikes)] += 60
    return values


def write(folder, name, values):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    lines = [f"{BEGIN + timedelta(minutes=5 * row)},{value}" for row, value in enumerate(values)]
    path.write_text("\n".join(["timestamp,value", *lines, ""]))


def window(first, last):
    return [f"{BEGIN + timedelta(minutes=5 * row)}.000000" for row in (first, last)]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "first/a.csv", values_of(900, spikes=[700]))
    write(tmp_path, "first/b.csv", values_of(800, spikes=[600], seed=2))
    write(tmp_path, "second/c.csv", values_of(700, seed=3))
    labels = {
        "first/a.csv": [window(690, 730)],
        "first/b.csv": [window(595, 640)],
        "second/c.csv": [],
        "elsewhere/of-no-concern.csv": [],
    }
    (tmp_path / "combined_windows.json").write_text(json.dumps(labels))
    return tmp_path


def test_a_folder_is_scored_from_its_files_to_mean_and_spread(folder, monkeypatch):
    monkeypatch.setenv("NAB_FOLDER", str(folder))
    monkeypatch.delenv("NAB_LABELS", raising=False)
    measured = nab.run()
    metrics = measured["metrics"]
    assert metrics["forest_first_standard"] > 85  # two spikes that can't be overlooked
    assert metrics["forest_all_standard"] > metrics["random_all_standard"] + 30
    assert metrics["random_first_standard_spread"] > 0
    assert "windowed_gaussian_first_standard_spread" not in metrics
    assert not any("second" in name for name in metrics)  # there is nothing to find
    settings, *runs = measured["runs"]
    assert len(settings["seeds"]) >= 5
    assert len(runs) == len(DETECTORS) * len(settings["seeds"]) * 3
    json.dumps(measured, allow_nan=False)


def test_a_single_category_and_labels_elsewhere_can_be_named(folder, tmp_path, capsys):
    labels = folder / "combined_windows.json"
    labels.rename(folder / "other.json")
    assert nab.main([str(folder / "first"), str(folder / "other.json")]) == 0
    assert "forest_first_reward_low_fn" in json.loads(capsys.readouterr().out)


def test_without_a_folder_it_says_how_it_is_called(capsys):
    assert nab.main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_windows_are_rows_of_the_labelled_times(folder):
    first, *_ = nab.read(folder, folder / "combined_windows.json")
    assert first.category == "first"
    assert np.flatnonzero(first.labels.window == 0).tolist() == list(range(690, 731))
    assert np.diff(first.times_us).tolist() == [MINUTES_5] * 899


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"first/a.csv": []}, "no windows of first/b.csv"),
        ({"first/a.csv": [["2019-01-01", "2019-01-02"]]}, "a.csv has no row from 2019"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder, labels, reason):
    path = folder / "wrong.json"
    path.write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=reason):
        nab.read(folder, path)


def test_a_folder_without_labels_or_without_series_is_refused(tmp_path):
    labels = tmp_path / "combined_windows.json"
    with pytest.raises(ValueError, match="is no file"):
        nab.read(tmp_path, labels)
    labels.write_text("{}")
    with pytest.raises(ValueError, match="holds no series"):
        nab.read(tmp_path, labels)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_row_is_scored_by_nothing_that_comes_after_it(name):
    values = values_of(1_200, spikes=[700, 900])
    times_us = np.arange(len(values)) * MINUTES_5
    whole = DETECTORS[name](times_us, values, 1)
    part = DETECTORS[name](times_us[:800], values[:800], 1)
    assert part.tolist() == whole[:800].tolist()
    assert whole.min() >= 0
    assert whole.max() <= 1


def test_the_gaussian_moves_its_window_on_by_steps():
    values = values_of(6_750)
    scores = DETECTORS["windowed_gaussian"](np.arange(6_750), values, 0)
    for row, past in ((5, values[:5]), (6_450, values[:6_400]), (6_649, values[200:6_600])):
        far = abs(values[row] - past.mean()) / past.std()
        normal = np.random.default_rng(1).normal(size=1_000_000)
        assert scores[row] == pytest.approx(float((normal < far).mean()), abs=0.003)


def test_only_scores_above_all_of_the_last_rows_stay():
    scores = np.array([0.0, 0.5, 0.4, 0.6, 0.6, 0.1, 0.2, 0.3, 0.4])
    assert records(scores, 3).tolist() == [0.0, 0.5, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.4]


def test_rarity_is_the_logarithm_of_the_rate():
    grades = np.array([0.0, 0.9, 0.999, 1.0, np.nan])
    assert rarity(grades) == pytest.approx([0, 1 / 12, 3 / 12, 1, 0])


def test_times_of_day_just_around_midnight_are_close():
    sines, cosines = time_of_day(np.array([0, 86_399, 6 * 3_600]) * 1_000_000)
    assert sines == pytest.approx([0, 0, 1], abs=1e-4)
    assert cosines == pytest.approx([1, 1, 0], abs=1e-4)
