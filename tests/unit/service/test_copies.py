"""Copies of a recovery store that a run is writing are whole, and one that was cut off is none."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from errors import KinewaxError
from service import layout, snapshots
from service.aws import Aws
from service.copies import KEPT, Copies
from service.layout import Layout
from service.settings import Settings
from service.shelves import DirectoryShelf, S3Shelf, Shelf, open_shelf
from tests.rig import wait_until

# A source that counts, and three sums that take turns: a state in which they fit together is one
# of a single epoch. Keys fall on all files; each epoch changes every key.
RUN = """
import sys, time
from datetime import timedelta
from pathlib import Path
import bytewax.operators as op
from bytewax._bytewax import run_main
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import TestingSink, TestingSource

def slowly(number):
    time.sleep(0.002)
    return str(number % 7), number

flow = Dataflow("run")
numbers = op.input("numbers", flow, TestingSource(range(1, 1_000_000), batch_size=3))
keyed = op.map("keyed", numbers, slowly)
summed = op.stateful_map("sums", keyed, lambda state, number: ((state or 0) + number, number))
op.output("out", summed, TestingSink([]))
run_main(
    flow,
    epoch_interval=timedelta(milliseconds=50),
    recovery_config=RecoveryConfig(Path(sys.argv[1]), timedelta(seconds=float(sys.argv[2]))),
)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    snapshots.create(directory, 4)
    layout.write(directory, Layout({"domain": "sums"}, 1))
    return directory


@pytest.fixture
def start(store: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a run on the store that keeps older states for so many seconds."""
    started: list[subprocess.Popen[bytes]] = []

    def run(kept_seconds: float = 2.0) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", RUN, store, str(kept_seconds)]))
        wait_until(lambda: snapshots.resume_epoch(store) > 2, "something is committed")
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(params=["directory", "s3"])
def shelf(request: pytest.FixtureRequest, moto, tmp_path: Path, unique_name) -> Shelf:
    if request.param == "directory":
        return DirectoryShelf(tmp_path / "shelf")
    s3 = moto("s3")
    bucket = unique_name("copies")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return S3Shelf(s3, bucket, "kinewax/run/")


@pytest.fixture
def copies(shelf: Shelf) -> Copies:
    moments = itertools.count(1_760_000_000_000_000, 1_000_000)
    return Copies(shelf, lambda: next(moments))


def totals(directory: Path) -> tuple[int, int]:
    """Return how many numbers were read, and the sum of the sums."""
    read, summed = 0, 0
    for one in snapshots.latest(directory):
        state: Any = one.state["state"]
        if one.step.endswith("numbers"):
            read = state
        else:
            summed += state
    return read, summed


def restored(copies: Copies, copy: Any, directory: Path) -> Path:
    directory.mkdir()
    copies.restore(copy, directory)
    return directory


def test_each_copy_of_a_store_in_use_is_the_state_of_one_epoch(
    copies: Copies, store: Path, start, tmp_path: Path
) -> None:
    start()
    made = []
    for number in range(12):
        copy = copies.make(store)
        assert copy is not None
        found = restored(copies, copy, tmp_path / f"restored-{number}")
        read, summed = totals(found)
        assert summed == read * (read + 1) // 2 > 0
        assert snapshots.resume_epoch(found) == copy.epoch
        assert layout.read(found) == layout.read(store)
        made.append(copy.epoch)
    assert made == sorted(made)
    assert made[-1] > made[0]


def test_a_run_goes_on_from_a_copy_as_if_nothing_had_been(
    copies: Copies, store: Path, start, tmp_path: Path
) -> None:
    process = start()
    copy = copies.make(store)
    assert copy is not None
    process.kill()
    process.wait()
    for path in store.iterdir():
        path.unlink()
    copies.restore(copy, store)
    before, _ = totals(store)

    start()
    wait_until(lambda: snapshots.resume_epoch(store) > copy.epoch + 2, "the run goes on")

    later = copies.make(store)
    assert later is not None
    read, summed = totals(restored(copies, later, tmp_path / "later"))
    assert read > before
    assert summed == read * (read + 1) // 2


def test_a_copy_during_which_older_states_went_is_made_anew_and_then_refused(
    copies: Copies, store: Path, start, monkeypatch
) -> None:
    """Without `backup_interval` the engine removes states that a slow copy still needs."""
    start(kept_seconds=0)
    reached = snapshots.resume_epoch

    def slow(directory: Path) -> int:
        epoch = reached(directory)
        if directory == store:
            wait_until(lambda: reached(store) > epoch + 2, "the store moves on")
        return epoch

    monkeypatch.setattr(snapshots, "resume_epoch", slow)
    with pytest.raises(KinewaxError, match="were started again"):
        copies.make(store)
    assert copies.listed() == []


def test_only_the_last_copies_are_kept(copies: Copies, shelf: Shelf, store: Path, start) -> None:
    start()
    made = [copies.make(store) for _ in range(KEPT + 2)]

    assert copies.listed() == made[-KEPT:]
    folders = {name.partition("/")[0] for name in shelf.names() if "/" in name}
    assert folders == {copy.folder for copy in made[-KEPT:] if copy}


def test_a_copy_that_was_cut_off_is_none_and_is_cleared_away(
    copies: Copies, shelf: Shelf, store: Path, start, monkeypatch
) -> None:
    start()
    first = copies.make(store)
    put = type(shelf).put

    def dies(self: Shelf, name: str, path: Path) -> None:
        put(self, name, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(shelf), "put", dies)
        with pytest.raises(KeyboardInterrupt):
            copies.make(store)
    assert copies.listed() == [first]
    left = {name.partition("/")[0] for name in shelf.names() if "/" in name}
    assert len(left) == 2

    second = copies.make(store)

    assert copies.listed() == [first, second]
    left = {name.partition("/")[0] for name in shelf.names() if "/" in name}
    assert left == {copy.folder for copy in (first, second) if copy}


def test_a_damaged_copy_is_refused_and_leaves_no_store(
    copies: Copies, shelf: Shelf, store: Path, start, tmp_path: Path
) -> None:
    start()
    copy = copies.make(store)
    assert copy is not None
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    shelf.put(f"{copy.folder}/part-1.sqlite3", other)
    target = tmp_path / "target"
    target.mkdir()

    with pytest.raises(KinewaxError, match=r"part-1\.sqlite3 is not what its manifest says"):
        copies.restore(copy, target)
    assert layout.read(target) is None


def test_two_runs_that_copy_to_one_place_are_told(
    copies: Copies, shelf: Shelf, store: Path, start, monkeypatch
) -> None:
    start()
    claim = type(shelf).claim

    def after_another(self: Shelf, name: str, content: bytes) -> bool:
        assert claim(self, name, b'{"version": 1}')
        return claim(self, name, content)

    monkeypatch.setattr(type(shelf), "claim", after_another)
    with pytest.raises(KinewaxError, match="another run"):
        copies.make(store)


def test_an_empty_store_is_not_copied(copies: Copies, store: Path) -> None:
    assert copies.make(store) is None
    assert copies.listed() == []


@pytest.mark.parametrize("url", ["https://bucket/x", "s3://", "bucket/x"])
def test_another_place_is_refused(url: str) -> None:
    with pytest.raises(KinewaxError, match="no place for snapshots"):
        open_shelf(url, Aws(Settings().aws))
