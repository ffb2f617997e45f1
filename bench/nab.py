"""How well anomalies are found on the Numenta Anomaly Benchmark (NAB), beside simple detectors.

`make bench CASE=nab` takes NAB's data where it is at hand; `NAB_FOLDER` names another folder of
series, `NAB_LABELS` their windows:

    make bench CASE=nab NAB_FOLDER=data NAB_LABELS=labels/combined_windows.json
    python -m bench.nab data labels/combined_windows.json     # prints, and writes no result

Series are CSV files with the columns `timestamp` and `value`, in folders below the named one (or
in itself), each folder a category. Labels: {"category/file.csv": [[begin, end], ...]}, times in
UTC, both ends included; a series without an entry is an error. The rules are in `nab_score`, one
threshold for everything that is read; the detectors, with their one configuration each, are in
`nab_detectors`.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from bench.nab_detectors import DETECTORS, ForestOfNab
from bench.nab_score import PROFILES, Labels, judge
from messages import Floats, Int64s
from operators.forest import prepare

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "nab"
SEEDS = (11, 12, 13, 14, 15)
PEERS = {
    # NAB's scoreboard; all of its 58 series, so not the same as the categories here.
    "kda_random_cut_forest_on_all_of_nab": {
        "standard": 51.7,
        "reward_low_fp": 38.4,
        "reward_low_fn": 59.7,
    }
}
_LABELS = "combined_windows.json"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Series:
    """A series and its labels."""

    category: str
    times_us: Int64s
    values: Floats
    labels: Labels


def run() -> dict[str, Any]:
    """Score every detector; folder and labels come from `NAB_FOLDER` and `NAB_LABELS`."""
    folder = Path(os.environ.get("NAB_FOLDER", FOLDER))
    labels = Path(os.environ.get("NAB_LABELS", folder / _LABELS))
    return measure(read(folder, labels))


def read(folder: Path, labels: Path) -> list[Series]:
    """Read every series in or below a folder.

    Args:
        folder: Holds CSV files, or folders of them.
        labels: The windows, by category and file.

    Raises:
        ValueError: There are no labels, or no series, or one has no entry in `labels`, or one has
            a window in which it has no row.
        OSError: A file can't be read.
    """
    if not labels.is_file():
        msg = f"{labels} is no file: name a folder in NAB_FOLDER, and its labels in NAB_LABELS"
        raise ValueError(msg)
    windows = json.loads(labels.read_text(encoding="utf-8"))
    found = [_series(path, windows) for path in sorted(folder.rglob("*.csv"))]
    if not found:
        msg = f"{folder} holds no series: name a folder of CSV files in NAB_FOLDER"
        raise ValueError(msg)
    return found


def _series(path: Path, windows: dict[str, list[list[str]]]) -> Series:
    category = path.resolve().parent.name
    name = f"{category}/{path.name}"
    if name not in windows:
        msg = f"there are no windows of {name} in the labels; for none, they must say []"
        raise ValueError(msg)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    times_us = np.array([_time_us(row["timestamp"]) for row in rows], np.int64)
    values = np.array([float(row["value"]) for row in rows])
    bounds = []
    for begin, end in windows[name]:
        inside = np.flatnonzero((times_us >= _time_us(begin)) & (times_us <= _time_us(end)))
        if not inside.size:
            msg = f"{name} has no row from {begin} to {end}"
            raise ValueError(msg)
        bounds.append((int(inside[0]), int(inside[-1])))
    return Series(category, times_us, values, Labels.of(len(rows), bounds))


def _time_us(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def measure(corpus: Sequence[Series], seeds: Sequence[int] = SEEDS) -> dict[str, Any]:
    """Score every detector over the corpus, once a seed.

    Returns:
        Metrics: mean and spread (standard deviation over the seeds) by detector, category and
        profile. Runs: each score, with the threshold it was reached at.
    """
    prepare()
    runs = []
    for name, detector in DETECTORS.items():
        for seed in seeds:
            by_category: dict[str, list[tuple[Labels, Floats]]] = {}
            for series in corpus:
                scores = detector(series.times_us, series.values, seed)
                by_category.setdefault(series.category, []).append((series.labels, scores))
            for profile in PROFILES:
                threshold, found = judge(by_category, profile)
                runs.append(
                    {
                        "detector": name,
                        "seed": seed,
                        "profile": profile.name,
                        # Infinite, where it is best to find nothing, isn't JSON.
                        "threshold": threshold if np.isfinite(threshold) else None,
                        "scores": {part: _rounded(score) for part, score in found.items()},
                    }
                )
    return {
        "metrics": _metrics(runs),
        "runs": [{"seeds": list(seeds), "forest": asdict(ForestOfNab()), "peers": PEERS}, *runs],
    }


def _rounded(score: float) -> float | None:
    """Round a score; of a category without any window there is none."""
    return None if np.isnan(score) else round(score, 2)


def _metrics(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return mean and spread over the seeds."""
    found: dict[str, list[float]] = {}
    for each in runs:
        for part, score in each["scores"].items():
            if score is not None:
                name = f"{each['detector']}_{part}_{each['profile']}"
                found.setdefault(name, []).append(score)
    metrics = {}
    for name, scores in found.items():
        metrics[name] = round(statistics.mean(scores), 1)
        if len(set(scores)) > 1:  # not of a detector without chance
            metrics[f"{name}_spread"] = round(statistics.stdev(scores), 2)
    return metrics


def main(arguments: Sequence[str]) -> int:
    """Print the scores of a folder and its labels."""
    if not 1 <= len(arguments) <= 2:
        print("usage: python -m bench.nab FOLDER [LABELS]", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    labels = Path(arguments[1]) if len(arguments) == 2 else folder / _LABELS
    print(json.dumps(measure(read(folder, labels))["metrics"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
