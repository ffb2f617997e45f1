"""How many points a CPU-second the forest scores, beside krcf: AWS's own forest, in Rust.

100 trees of 256 points, one thread. Both see the same normally distributed points, and take turns
every 500 points, so that a neighbour on the machine slows both: a ratio is the median of the
ratios of the turns, and the rates are those of the same turns. Ours takes 500 points a call; krcf
has no call for several points, so it is called twice a point (`score`, then `update`).

Beside it, at one column: 1,000 keys in micro-batches of 16, against one key in the same batches;
two forests in two threads, against one after the other; the size of a snapshot, and the time to
dump and to load it; the start of a process whose compiled loops lie in numba's cache.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import krcf
import numpy as np

from messages import Floats
from operators.detector import DetectorConfig
from operators.forest import Forest, ForestConfig, prepare
from operators.forest_pool import ForestPool

COLUMNS = {1: 10_000, 8: 8_000, 32: 5_000}
"""How many columns, and how many points of each."""
_TURN = 500
_KEYS = 1_000
_MICRO_BATCH = 16
_ROUNDS = 5

_START = """
import time
begun = time.perf_counter()
from operators.forest import prepare
prepare()
print(time.perf_counter() - begun)
"""


def run() -> dict[str, Any]:
    """Measure all of it."""
    prepare()
    runs: list[dict[str, int]] = []
    metrics: dict[str, float] = {}
    for columns, points in COLUMNS.items():
        turns = _turns(columns, points)
        runs += turns
        ours = statistics.median(turn["points_per_cpu_second"] for turn in turns)
        theirs = statistics.median(turn["krcf_points_per_cpu_second"] for turn in turns)
        ratio = statistics.median(
            turn["points_per_cpu_second"] / turn["krcf_points_per_cpu_second"] for turn in turns
        )
        metrics[f"points_per_cpu_second_{columns}_columns"] = round(ours)
        metrics[f"krcf_points_per_cpu_second_{columns}_columns"] = round(theirs)
        metrics[f"times_krcf_{columns}_columns"] = round(ratio, 2)
    metrics |= _many_keys() | _two_threads() | _snapshot()
    metrics["start_seconds_with_a_warm_cache"] = round(_start(), 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    metrics["peak_rss_mb"] = round(peak / 1024, 1)
    return {"metrics": metrics, "runs": runs}


def _points(count: int, columns: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, columns))


def _timed(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    begun = clock()
    work()
    return clock() - begun


def _turns(columns: int, count: int) -> list[dict[str, int]]:
    points = _points(count, columns)
    ours = Forest(ForestConfig(columns), seed=1)
    options: Any = {  # its own type takes no keyword `lambda`
        "dimensions": columns,
        "shingle_size": 1,
        "num_trees": 100,
        "sample_size": 256,
        "output_after": 256,
        "random_seed": 1,
        "lambda": 1e-5,
        "parallel_execution_enabled": False,
    }
    theirs = krcf.RandomCutForest(options)

    def of_krcf(some: Floats) -> None:
        for point in some:
            theirs.score(point)
            theirs.update(point)

    turns = []
    for begin in range(0, count, _TURN):
        some = points[begin : begin + _TURN]
        seconds = _timed(lambda some=some: ours.score(some))  # type: ignore[misc]
        krcf_seconds = _timed(lambda some=some: of_krcf(some))  # type: ignore[misc]
        if begin:  # in the first turn forests don't score yet
            turns.append(
                {
                    "columns": columns,
                    "points_per_cpu_second": round(_TURN / seconds),
                    "krcf_points_per_cpu_second": round(_TURN / krcf_seconds),
                }
            )
    return turns


def _grown(points: int = 5_000) -> tuple[ForestConfig, Forest]:
    config = ForestConfig(1)
    forest = Forest(config, seed=1)
    forest.score(_points(points, 1))
    return config, forest


def _many_keys() -> dict[str, float]:
    """Give 1,000 forests of the same age 16 points each, and one forest as many in such batches."""
    config, forest = _grown()
    state = forest.dump()
    forests = [Forest.load(config, state) for _ in range(_KEYS)]
    ratios, rates = [], []
    for turn in range(_ROUNDS):
        batches = _points(_KEYS * _MICRO_BATCH, 1, turn).reshape(_KEYS, _MICRO_BATCH, 1)
        one = _scoring([forest] * _KEYS, batches)
        many = _scoring(forests, batches)
        ratios.append(one / many)
        rates.append(_KEYS * _MICRO_BATCH / many)
    del forests

    pool = ForestPool(DetectorConfig(config), "bench", "one", max_keys=_KEYS)
    keys = [str(key) for key in range(_KEYS)]
    times_us = np.zeros(_KEYS * 300, np.int64)
    pool.take(np.repeat(keys, 300).tolist(), times_us, _points(_KEYS * 300, 1))
    rows = np.repeat(keys, _MICRO_BATCH).tolist()
    fresh = _points(_KEYS * _MICRO_BATCH, 1)
    seconds = _timed(lambda: pool.take(rows, times_us[: len(rows)], fresh))
    return {
        "points_per_cpu_second_1000_keys": round(statistics.median(rates)),
        "share_of_one_key": round(statistics.median(ratios), 2),
        "points_per_cpu_second_1000_young_keys_graded": round(len(rows) / seconds),
    }


def _scoring(forests: list[Forest], batches: Floats) -> float:
    """Return the CPU seconds in which each forest scores its batch."""
    begun = time.process_time()
    for forest, batch in zip(forests, batches, strict=True):
        forest.score(batch)
    return time.process_time() - begun


def _two_threads() -> dict[str, float]:
    _, one = _grown()
    _, other = _grown()
    points = _points(5_000, 1, 2)
    gains = []  # the best counts: others on the machine only take away
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2 * _ROUNDS):
            after = _timed(lambda: [one.score(points), other.score(points)], time.perf_counter)
            beside = _timed(
                lambda: list(threads.map(lambda forest: forest.score(points), (one, other))),
                time.perf_counter,
            )
            gains.append(after / beside)
    return {"two_threads_times_one": round(max(gains), 2)}


def _snapshot() -> dict[str, float]:
    config, forest = _grown()
    state = forest.dump()
    dumps = [_timed(forest.dump) for _ in range(100)]
    loads = [_timed(lambda: Forest.load(config, state)) for _ in range(100)]
    return {
        "snapshot_kb": round(len(state) / 1_000, 1),
        "dump_cpu_ms": round(statistics.median(dumps) * 1_000, 2),
        "load_cpu_ms": round(statistics.median(loads) * 1_000, 2),
    }


def _start() -> float:
    starts = []
    for _ in range(_ROUNDS):
        found = subprocess.run(
            [sys.executable, "-c", _START], capture_output=True, text=True, check=True
        )
        starts.append(float(found.stdout))
    return statistics.median(starts)


if __name__ == "__main__":
    print(json.dumps(run()["metrics"], indent=2))
