"""The recovery store, read from outside the engine: what is committed, and what each step held.

Bytewax keeps a recovery store as SQLite files. `fronts` says up to which epoch each worker of an
execution has committed, and the lowest of them is the epoch that the next execution resumes at;
`snaps` holds the pickled state of each (step, key) at the end of the epochs in which it changed.
What is committed are the newest rows before the resume epoch.
Where a store's files lie on several pods, each knows a share of the fronts only (`marks`), and the
resume epoch is that of all of them together (`resume_of`).

Bytewax 0.21.1 leaves the snapshots of an epoch that was never committed in the store. Most are
overwritten when the epoch is run again, but that of a key which first appeared in the lost epoch is
not, and a later start loads it although its input is read once more: a double count.
`discard_uncommitted` removes them, and the supervisor calls it before every start.

Everything here expects that no worker is running, except `resume_epoch`, which may be asked at any
time. A store is unpickled: like code, it must come from a place one trusts.
"""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytewax.recovery import init_db_dir

from errors import KinewaxError

_FIRST_EPOCH = 1
_COUNT = "SELECT part_count FROM parts"
BUSY_SECONDS = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The committed state of one key of one step.

    Attributes:
        step: The engine's step id, as `ecommerce.source`.
        key: The state key: a slot, key group, merge or sink part.
        epoch: The epoch at whose end it was taken.
        state: What the step stored; each step family has its own keys, and all have `ledger`.
    """

    step: str
    key: str
    epoch: int
    state: dict[str, Any]


@dataclass(frozen=True)
class Marks:
    """What some of a store's files know.

    Attributes:
        executions: How many workers each execution had, and where it began, by its number.
        fronts: Up to where each worker committed, by execution.
        used: Whether a dataflow has ever written to these files.
    """

    executions: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    fronts: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    used: bool = False


@dataclass(frozen=True)
class Stored:
    """A `Snapshot` whose state is still what the engine stored: pickled."""

    step: str
    key: str
    epoch: int
    change: bytes


def create(directory: Path, files: int, pod: int = 0, pods: int = 1) -> None:
    """Make an empty store of `files` files, in place of what an interrupted `create` left.

    Of several pods each keeps its share: those whose number leaves `pod` when divided by `pods`.
    """
    fresh = directory / ".new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True, mode=0o700)
    try:
        init_db_dir(fresh, files)  # type: ignore[no-untyped-call]
    except BaseException as error:
        if isinstance(error, Exception | KeyboardInterrupt | SystemExit):
            raise
        msg = f"can't make a recovery store in {directory}"  # the engine's panic is none of these
        raise KinewaxError(msg, hint="see that its disk has room and can be written") from error
    for path in part_files(directory):
        path.unlink()
    for path in part_files(fresh):
        if number_of(path) % pods == pod:
            path.rename(directory / path.name)
    shutil.rmtree(fresh)


def exists(directory: Path) -> bool:
    """Tell whether a store is there that a dataflow has used."""
    return any(_rows(path, "SELECT 1 FROM exs LIMIT 1") for path in part_files(directory))


def number_of(path: Path) -> int:
    """Return a part file's number."""
    return int(path.stem.partition("-")[2])


def whole_count(directory: Path) -> int:
    """Return how many files the store has of which some are here; 0 where none is."""
    return max(
        (count for path in part_files(directory) for (count,) in _rows(path, _COUNT)), default=0
    )


def file_count(directory: Path) -> int:
    """Count the files, which bound how many workers can share the store."""
    return len(part_files(directory))


def marks(directory: Path) -> Marks:
    """Return what the files in a directory know of executions and how far they got."""
    executions: dict[int, tuple[int, int]] = {}
    fronts: dict[int, dict[int, int]] = {}
    used = False
    for path in part_files(directory):
        for number, workers, resumed in _rows(
            path, "SELECT ex_num, worker_count, resume_epoch FROM exs"
        ):
            executions[number] = (workers, resumed)
        for number, worker, front in _rows(
            path, "SELECT ex_num, worker_index, worker_frontier FROM fronts"
        ):
            fronts.setdefault(number, {})[worker] = front
        used = used or bool(_rows(path, "SELECT 1 FROM snaps LIMIT 1"))
    return Marks(executions, fronts, used or bool(executions or fronts))


def resume_of(all_marks: Iterable[Marks]) -> int:
    """Return the epoch that the next start resumes at, from what all files know.

    It is the lowest worker frontier of the last execution; a worker that committed nothing stands
    where its execution began.
    """
    executions: dict[int, tuple[int, int]] = {}
    fronts: dict[int, dict[int, int]] = {}
    for one in all_marks:
        executions.update(one.executions)
        for number, reached in one.fronts.items():
            fronts.setdefault(number, {}).update(reached)
    if not executions:
        return _FIRST_EPOCH
    last = max(executions)
    workers, resumed = executions[last]
    return min(fronts.get(last, {}).get(worker, resumed) for worker in range(workers))


def resume_epoch(directory: Path) -> int:
    """Return the epoch that the next start on a whole store resumes at; all before is committed."""
    return resume_of([marks(directory)])


def committed_epoch(directory: Path) -> int:
    """Return the last epoch that a directory's own files call committed; 0 before the first.

    After an end in order that is all there is. After a crash it may be one behind.
    """
    return max(map(commit_of, part_files(directory)), default=0)


def commit_of(path: Path) -> int:
    """Return the last epoch that one file calls committed; 0 before the first."""
    ((epoch,),) = _rows(path, "SELECT MAX(commit_epoch) FROM commits")
    return epoch or 0


def discard_uncommitted(directory: Path, resume: int | None = None) -> int:
    """Remove the snapshots that the next start must not see; return how many there were.

    Args:
        directory: The store, or a share of one.
        resume: Where the next start resumes; needed for a share, which doesn't know.
    """
    resume = resume_epoch(directory) if resume is None else resume
    removed = 0
    for path in part_files(directory):
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection, connection:
            cursor = connection.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (resume,))
            removed += cursor.rowcount
    return removed


def cut_back(directory: Path, epoch: int) -> bool:
    """Make a copied store end before an epoch that was committed before it was copied.

    Returns:
        False where that can't be: another execution has begun, or older states are gone already.
    """
    ok = True
    for path in part_files(directory):
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection, connection:
            (last,) = connection.execute("SELECT MAX(commit_epoch) FROM commits").fetchone()
            (begun,) = connection.execute("SELECT MAX(resume_epoch) FROM exs").fetchone()
            ok = ok and (last or 0) < epoch and (begun or 0) <= epoch
            connection.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,))
            connection.execute(
                "UPDATE fronts SET worker_frontier = ? WHERE worker_frontier > ?", (epoch, epoch)
            )
    return ok and resume_epoch(directory) == epoch


def latest(directory: Path, resume: int | None = None) -> Iterator[Snapshot]:
    """Yield the committed state of every key, ordered by step and key.

    Args:
        directory: The store, or a share of one.
        resume: Where the next start resumes; needed for a share, which doesn't know.
    """
    for stored in latest_stored(directory, resume):
        yield Snapshot(stored.step, stored.key, stored.epoch, state_of(stored.change))


def latest_stored(directory: Path, resume: int | None = None) -> Iterator[Stored]:
    """Yield the committed state of every key as the engine stored it, ordered by step and key."""
    resume = resume_epoch(directory) if resume is None else resume
    newest: dict[tuple[str, str], tuple[int, bytes | None]] = {}
    for path in part_files(directory):
        for step, key, epoch, change in _rows(
            path,
            "SELECT step_id, state_key, MAX(snap_epoch), ser_change FROM snaps"
            f" WHERE snap_epoch < {resume:d} GROUP BY step_id, state_key",
        ):
            held = newest.get((step, key))
            if held is None or held[0] < epoch:
                newest[step, key] = (epoch, change)
    for (step, key), (epoch, change) in sorted(newest.items()):
        if change is not None:  # None: the key was discarded
            yield Stored(step, key, epoch, change)


def state_of(change: bytes) -> dict[str, Any]:
    """Unpickle what the engine stored of one key."""
    state = pickle.loads(change)
    if isinstance(state, bytes):  # steps with much state pickle it themselves, once a change
        state = pickle.loads(state)
    return state if isinstance(state, dict) else {"state": state}


def part_files(directory: Path) -> list[Path]:
    """Return a store's files."""
    return sorted(directory.glob("part-*.sqlite3"))


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    # Read-write, since the log that a killed process left can only be read with its index rebuilt.
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        return connection.execute(query).fetchall()
