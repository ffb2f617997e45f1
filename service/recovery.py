"""Opening a recovery directory: one user at a time, the right layout, nothing uncommitted.

Without `--recovery` a run has a temporary directory, since the ledger is read from the store; it is
removed when the run ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from errors import KinewaxError, LayoutError, SettingsError
from service import layout, snapshots
from service.layout import Fields, Layout

_LOCK_NAME = ".lock"


@contextmanager
def open_store(directory: Path | None) -> Iterator[Path]:
    """Hold a recovery directory, and remove it afterwards where it is a temporary one.

    Raises:
        SettingsError: It can't be made or written, or another kinewax runs on it.
    """
    temporary = directory is None
    path = Path(tempfile.mkdtemp(prefix="kinewax-recovery-")) if directory is None else directory
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        msg = f"{path}: {error.strerror or error} (recovery directory)"
        raise SettingsError(msg, hint="name a directory on a local disk that can be written") from (
            error
        )
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            msg = f"{path}: another kinewax runs on this recovery directory"
            hint = "stop it, or give each run a --recovery directory of its own"
            raise SettingsError(msg, hint=hint) from error
        with _in_words(path):
            yield path
    finally:
        os.close(descriptor)
        if temporary:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Say which store it is that SQLite can't read or write."""
    try:
        yield
    except sqlite3.Error as error:
        msg = f"{path}: {error} (recovery store)"
        raise KinewaxError(msg, hint="see that its disk has room and is sound") from error


def prepare(
    directory: Path,
    current: Fields,
    *,
    processes: int,
    files: int,
    now_us: int,
    first: Callable[[], None] = lambda: None,
) -> Layout:
    """Make a new store, or check an old one against the layout of this start.

    Args:
        directory: A directory held by `open_store`.
        current: The layout fields of this start.
        processes: How many workers will share the store.
        files: How many files a new store gets.
        now_us: The moment that a new store keeps as its first start.
        first: Called for a new store, before it counts as started.

    Raises:
        LayoutError: The store is another layout's, or has too few files.
    """
    stored = layout.read(directory)
    if stored is None:
        if snapshots.exists(directory):
            msg = f"{directory} holds a recovery store without {layout.FILE_NAME}"
            raise LayoutError(msg, hint="restore that file, or name an empty --recovery directory")
        snapshots.create(directory, max(files, processes))
        stored = Layout(dict(current), now_us)
        first()
        layout.write(directory, stored)
        return stored
    layout.check(stored.fields, current, directory)
    available = snapshots.file_count(directory)
    if available == 0:
        msg = f"{directory} holds {layout.FILE_NAME} but no recovery store"
        raise LayoutError(msg, hint="restore its files, or name an empty --recovery directory")
    if available < processes:
        msg = f"{directory} was made for at most {available} processes, {processes} are asked for"
        raise LayoutError(msg, hint=f"use --processes {available} or fewer, or a new --recovery")
    return stored


# ---- files that move between pods ---------------------------------------------------------------


@contextmanager
def settled_part(part: Path) -> Iterator[Path]:
    """Copy a file that no worker uses, with what its log holds, for as long as the block runs."""
    whole = part.with_suffix(".leaving")
    try:
        with closing(sqlite3.connect(part)) as source, closing(sqlite3.connect(whole)) as target:
            source.backup(target)
        yield whole
    finally:
        whole.unlink(missing_ok=True)


def take_part(directory: Path, number: int, draft: Path, *, in_use: bool) -> str:
    """Put a file that came from another pod in its place; return why not, empty when it is there.

    Of two files with one number that is kept in which more is committed: the other was left behind
    when its pod died between sending and removing it.

    Args:
        directory: The recovery directory.
        number: The file's number.
        draft: What came, in the same directory; moved where it is taken.
        in_use: Whether workers run on the directory.
    """
    part = directory / f"part-{number}.sqlite3"
    if part.exists() and snapshots.commit_of(part) >= snapshots.commit_of(draft):
        return ""
    if in_use:
        return "workers run here"
    remove_part(part)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(part)
    layout.settle(directory)
    return ""


def remove_part(part: Path) -> None:
    """Remove a file and its log; nothing where there is none."""
    for ending in ("", "-wal", "-shm"):
        part.with_name(part.name + ending).unlink(missing_ok=True)
    layout.settle(part.parent)
