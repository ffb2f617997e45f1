"""Reading a recovery store that the real engine wrote, and the engine's own reading as oracle."""

import pickle
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink, cluster_main

from service import snapshots

BATCHES = 5


class _Part(StatefulSourcePartition):
    """Emits one batch a poll and ends after a few; remembers how many it ever emitted."""

    def __init__(self, name: str, items: list[str], state: dict[str, Any] | None) -> None:
        self._name = name
        self._items = items
        self._emitted = state["emitted"] if state else 0
        self._left = BATCHES

    def next_batch(self) -> list[str]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        self._emitted += 1
        return self._items

    def snapshot(self) -> dict[str, Any]:
        return {"emitted": self._emitted, "ledger": {"records": self._emitted}}


class _Source(FixedPartitionedSource):
    def __init__(self, items: list[str]) -> None:
        self._items = items

    def list_parts(self) -> list[str]:
        return ["slot-00", "slot-01"]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        return _Part(for_part, self._items, resume_state)


class _Count(StatefulBatchLogic):
    """Counts its key's items; its state is pickled by itself, as the key groups' is."""

    def __init__(self, state: bytes | None) -> None:
        self._count = pickle.loads(state)["ledger"]["counted"] if state else 0

    def on_batch(self, values: list[str]) -> tuple[list[int], bool]:
        self._count += len(values)
        return [self._count], False

    def snapshot(self) -> bytes:
        return pickle.dumps({"ledger": {"counted": self._count}})


def run(store: Path, items: list[str]) -> dict[str, int]:
    """Run the flow once and return the last count of each key."""
    seen: list[tuple[str, int]] = []
    flow = Dataflow("kinewax")
    keyed = op.key_on("key", op.input("read", flow, _Source(items)), str)
    op.output("out", op.stateful_batch("groups", keyed, _Count), TestingSink(seen))
    cluster_main(
        flow,
        [],
        0,
        epoch_interval=timedelta(0),
        recovery_config=RecoveryConfig(store),
    )
    return dict(seen)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    snapshots.create(tmp_path, 3)
    return tmp_path


def executed_from(store: Path) -> int:
    """The epoch at which the engine itself resumed its last execution."""
    found = []
    for path in store.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(path)) as connection:
            found += connection.execute("SELECT ex_num, resume_epoch FROM exs").fetchall()
    return max(found)[1]


def plant(store: Path, step: str, key: str, epoch: int, state: object) -> None:
    path = sorted(store.glob("part-*.sqlite3"))[0]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)",
            (step, key, epoch, pickle.dumps(pickle.dumps(state))),
        )


def test_a_new_store_has_its_files_and_nothing_in_them(store: Path) -> None:
    assert snapshots.file_count(store) == 3
    assert not snapshots.exists(store)
    assert snapshots.resume_epoch(store) == 1
    assert list(snapshots.latest(store)) == []
    assert {path.suffix for path in store.iterdir()} == {".sqlite3"}


def test_making_a_store_again_replaces_what_an_interrupted_attempt_left(tmp_path: Path) -> None:
    (tmp_path / ".new").mkdir()
    (tmp_path / ".new" / "part-0.sqlite3").write_bytes(b"half")
    (tmp_path / "part-7.sqlite3").write_bytes(b"left over")

    snapshots.create(tmp_path, 2)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "part-0.sqlite3",
        "part-1.sqlite3",
    ]


def test_the_latest_committed_states_are_read(store: Path) -> None:
    run(store, ["a", "b"])

    found = {(one.step, one.key): one.state for one in snapshots.latest(store)}

    assert snapshots.exists(store)
    assert found == {
        ("kinewax.read", "slot-00"): {"emitted": 5, "ledger": {"records": 5}},
        ("kinewax.read", "slot-01"): {"emitted": 5, "ledger": {"records": 5}},
        ("kinewax.groups", "a"): {"ledger": {"counted": 10}},
        ("kinewax.groups", "b"): {"ledger": {"counted": 10}},
    }


def test_we_and_the_engine_agree_on_the_epoch_to_resume_at(store: Path) -> None:
    for _ in range(3):
        expected = snapshots.resume_epoch(store)
        run(store, ["a"])
        assert executed_from(store) == expected
        assert snapshots.resume_epoch(store) > expected


def test_what_was_never_committed_is_not_read(store: Path) -> None:
    run(store, ["a"])
    plant(store, "kinewax.groups", "z", snapshots.resume_epoch(store), {"ledger": {"counted": 9}})

    assert "z" not in {one.key for one in snapshots.latest(store)}


def test_the_engine_would_resurrect_an_uncommitted_key(store: Path) -> None:
    """If this fails, the engine mends itself and `discard_uncommitted` can go."""
    run(store, ["a"])
    plant(store, "kinewax.groups", "z", snapshots.resume_epoch(store), {"ledger": {"counted": 9}})

    run(store, ["a"])

    assert run(store, ["z"])["z"] == 9 + 2 * BATCHES


def test_a_discarded_uncommitted_key_counts_nothing_twice(store: Path) -> None:
    run(store, ["a"])
    plant(store, "kinewax.groups", "z", snapshots.resume_epoch(store), {"ledger": {"counted": 9}})

    assert snapshots.discard_uncommitted(store) == 1
    run(store, ["a"])

    assert run(store, ["z"])["z"] == 2 * BATCHES


def test_discarding_leaves_what_is_committed(store: Path) -> None:
    run(store, ["a"])
    before = list(snapshots.latest(store))

    assert snapshots.discard_uncommitted(store) == 0
    assert list(snapshots.latest(store)) == before
