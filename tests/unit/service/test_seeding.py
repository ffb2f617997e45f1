"""A seeded store is one that the engine itself wrote: it resumes from it and keeps it current."""

from __future__ import annotations

import pickle
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax._bytewax import cluster_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink

from service import snapshots
from service.seeding import seed

FILES = 4
KEYS = [f"key-{number}" for number in range(40)]
SLOTS = [f"slot-{number:02d}" for number in range(40)]
STATES: dict[tuple[str, str], Any] = {
    **{("kinewax.read", slot): {"emitted": number} for number, slot in enumerate(SLOTS)},
    **{("kinewax.groups", key): pickle.dumps({"count": 100}) for key in KEYS},
}


class _Part(StatefulSourcePartition[str, dict[str, int]]):
    def __init__(self, state: dict[str, int]) -> None:
        self._emitted = state["emitted"]
        self._items = list(KEYS)

    def next_batch(self) -> list[str]:
        if not self._items:
            raise StopIteration
        items, self._items = self._items, []
        self._emitted += len(items)
        return items

    def snapshot(self) -> dict[str, int]:
        return {"emitted": self._emitted}


class _Source(FixedPartitionedSource[str, dict[str, int]]):
    def list_parts(self) -> list[str]:
        return SLOTS

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        return _Part(resume_state)  # None would fail: each slot must find its state


class _Count(StatefulBatchLogic[str, int, bytes]):
    def __init__(self, state: bytes | None) -> None:
        assert state is not None, "a key didn't find its state"
        self._count: int = pickle.loads(state)["count"]

    def on_batch(self, values: list[str]) -> tuple[list[int], bool]:
        self._count += len(values)
        return [self._count], False

    def snapshot(self) -> bytes:
        return pickle.dumps({"count": self._count})


def run(store: Path, workers: int) -> None:
    flow = Dataflow("kinewax")
    keyed = op.key_on("key", op.input("read", flow, _Source()), str)
    op.output("out", op.stateful_batch("groups", keyed, _Count), TestingSink([]))
    cluster_main(  # type: ignore[no-untyped-call]
        flow,
        [],
        0,
        epoch_interval=timedelta(0),
        recovery_config=RecoveryConfig(store),  # type: ignore[no-untyped-call]
        worker_count_per_proc=workers,
    )


def held(store: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one.step, one.key): one.state for one in snapshots.latest(store)}


def test_a_seeded_store_holds_the_states_and_nothing_else(tmp_path: Path) -> None:
    seed(tmp_path, FILES, STATES)

    expected = {
        key: pickle.loads(state) if isinstance(state, bytes) else state
        for key, state in STATES.items()
    }
    assert held(tmp_path) == expected
    assert snapshots.discard_uncommitted(tmp_path) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        f"part-{number}.sqlite3" for number in range(FILES)
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_the_engine_goes_on_from_it_again_and_again(tmp_path: Path, workers: int) -> None:
    seed(tmp_path, FILES, STATES)

    for _ in range(3):
        run(tmp_path, workers)

    found = held(tmp_path)
    for number, slot in enumerate(SLOTS):
        assert found["kinewax.read", slot] == {"emitted": number + 3 * len(KEYS)}
    for key in KEYS:
        assert found["kinewax.groups", key] == {"count": 100 + 3 * len(SLOTS)}


def test_each_key_stays_in_the_one_file_in_which_the_engine_looks_for_it(tmp_path: Path) -> None:
    """With a key in two files the older state would stay, and might be the one that is loaded."""
    seed(tmp_path, FILES, STATES)
    run(tmp_path, 2)

    files: Counter[tuple[str, str]] = Counter()
    for path in tmp_path.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(path)) as connection:
            files.update(connection.execute("SELECT DISTINCT step_id, state_key FROM snaps"))
    assert set(files) == set(STATES)
    assert set(files.values()) == {1}


def test_states_of_two_flows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not of \['a', 'b'\]"):
        seed(tmp_path, 1, {("a.read", "x"): 1, ("b.read", "x"): 1})
