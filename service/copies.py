"""Copies of a recovery store, for places whose disk goes with the task: made while a run goes on.

    NUMBER-TOKEN/part-0.sqlite3 ...     the store's files as of one epoch, and its layout record
    NUMBER.json                         the manifest, written last: without it there is no copy

Guarantee: a copy is the whole state at the end of one committed epoch. The epoch is asked for
before the first file is copied, so each file holds all of it; what is beyond it is removed from the
copies; and the engine keeps what is older for `backup_interval`, which is checked in each file
rather than believed. A copy that was cut off has no manifest, and the one before it serves. Two
runs that copy to one place are told: a manifest's number can be claimed once.

Nothing is lost with what came after a copy: the stream still has it, and is read again from there.
What was written to destinations since is written again under the same ids.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import metrics
from errors import KinewaxError, LayoutError
from operators.event_time import iso_time
from service import layout, snapshots
from service.shelves import Shelf

logger = logging.getLogger(__name__)

KEPT = 3
"""How many copies are kept."""

_VERSION = 1
_ATTEMPTS = 3  # a copy during which the workers were started again is made anew


@dataclass(frozen=True)
class File:
    """One file of a copy."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Copy:
    """One copy of a store.

    Attributes:
        number: Ascending; the greatest is the latest.
        folder: Where its files are.
        epoch: The epoch that a start from it resumes at.
        made_at: When it was made, UTC.
        files: Its files.
    """

    number: int
    folder: str
    epoch: int
    made_at: str
    files: tuple[File, ...]

    @property
    def manifest(self) -> str:
        """The name of its manifest."""
        return f"{self.number:010d}.json"


class Copies:
    """The copies of one store.

    Args:
        shelf: Where they are kept.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(self, shelf: Shelf, clock: Callable[[], int]) -> None:
        self._shelf = shelf
        self._clock = clock

    def listed(self) -> list[Copy]:
        """Return the copies, the oldest first."""
        return [self._read(name) for name in self._shelf.names() if _is_manifest(name)]

    def make(self, store: Path) -> Copy | None:
        """Copy a store; None while nothing is committed in it. A run may go on meanwhile.

        Raises:
            KinewaxError: It can't be written, or another run copies to the same place.
        """
        with tempfile.TemporaryDirectory(prefix="kinewax-copy-") as scratch:
            epoch = _settled(store, Path(scratch))
            if epoch is None:
                return None
            return self._keep(Path(scratch), epoch)

    def restore(self, copy: Copy, store: Path) -> None:
        """Write a copy's files into a directory that holds no store; its layout record last.

        Raises:
            KinewaxError: A file is gone or damaged.
        """
        for file in sorted(copy.files, key=lambda file: file.name == layout.FILE_NAME):
            draft = store / f"{file.name}.fetched"
            self._shelf.fetch(f"{copy.folder}/{file.name}", draft)
            if _file_of(draft, file.name) != file:
                draft.unlink()
                msg = f"snapshot {copy.number}: {file.name} is not what its manifest says"
                raise KinewaxError(msg, hint="import an older one: kinewax snapshots list")
            draft.replace(store / file.name)

    def _keep(self, scratch: Path, epoch: int) -> Copy:
        before = self.listed()
        number = before[-1].number + 1 if before else 1
        paths = [*snapshots.part_files(scratch), scratch / layout.FILE_NAME]
        copy = Copy(
            number=number,
            folder=f"{number:010d}-{secrets.token_hex(4)}",
            epoch=epoch,
            made_at=iso_time(self._clock()),
            files=tuple(_file_of(path, path.name) for path in paths),
        )
        for path in paths:
            self._shelf.put(f"{copy.folder}/{path.name}", path)
        content = json.dumps({"version": _VERSION, **asdict(copy)}, indent=2).encode()
        if not self._shelf.claim(copy.manifest, content):
            msg = f"another run has just written snapshot {number} to the same place"
            raise KinewaxError(msg, hint="stop one of them, or give each a place of its own")
        self._tidy([*before, copy][-KEPT:])
        return copy

    def _tidy(self, kept: list[Copy]) -> None:
        """Remove older copies, their manifests first, and what was cut off before the newest."""
        names = self._shelf.names()
        manifests = {copy.manifest for copy in kept}
        old = [name for name in names if _is_manifest(name) and name not in manifests]
        self._shelf.remove(name for name in old if name < min(manifests))
        folders = {copy.folder for copy in kept}
        self._shelf.remove(
            name
            for name in names
            if "/" in name
            and (folder := name.partition("/")[0]) not in folders
            and folder.partition("-")[0] <= f"{kept[-1].number:010d}"
        )

    def _read(self, name: str) -> Copy:
        try:
            content = json.loads(self._shelf.read(name))
            version = content.pop("version")
            if version == _VERSION:
                return Copy(**{**content, "files": tuple(File(**one) for one in content["files"])})
        except (ValueError, KeyError, TypeError) as error:
            msg = f"snapshot {name} can't be read: {error}"
            raise KinewaxError(msg, hint="remove it by hand; the one before it serves") from error
        msg = f"snapshot {name} is of version {version}, this kinewax reads version {_VERSION}"
        raise LayoutError(msg, hint="run the kinewax that wrote it")


class Copier:
    """Copies a store every now and then while the block runs, and once more at its end.

    A copy that fails is told and counted, and the run goes on; it is tried again at the next turn.

    Args:
        copies: Where to.
        store: The store.
        interval_seconds: Between copies.
    """

    def __init__(self, copies: Copies, store: Path, interval_seconds: float) -> None:
        self._copies = copies
        self._store = store
        self._interval_seconds = interval_seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="copies", daemon=True)
        self._epoch = 0

    def __enter__(self) -> Copier:
        metrics.snapshot_copied_timestamp.set_to_current_time()  # nothing is older than the start
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Copy what the run has committed last.

        Raises:
            KinewaxError: That failed, and nothing else did.
        """
        self._ending.set()
        self._thread.join()
        try:
            self._copy()
        except Exception as failed:
            self._tell(failed)
            if error is None:
                raise

    def _run(self) -> None:
        while not self._ending.wait(self._interval_seconds):
            try:
                self._copy()
            except Exception as error:
                self._tell(error)

    def _copy(self) -> None:
        if snapshots.resume_epoch(self._store) == self._epoch:
            metrics.snapshot_copied_timestamp.set_to_current_time()
            return
        began = time.monotonic()
        copy = self._copies.make(self._store)
        if copy is None:
            return
        self._epoch = copy.epoch
        metrics.snapshot_copied_timestamp.set_to_current_time()
        metrics.snapshot_copies.labels("made").inc()
        logger.debug(
            "snapshot %d of epoch %d, %d bytes, in %.1f s",
            copy.number,
            copy.epoch,
            sum(file.size for file in copy.files),
            time.monotonic() - began,
            extra={"event": "copied"},
        )

    def _tell(self, error: Exception) -> None:
        metrics.snapshot_copies.labels("failed").inc()
        logger.warning(
            "no snapshot was written: %s",
            error,
            extra={"event": "copy_failed", "error_type": type(error).__name__},
        )


def _settled(store: Path, scratch: Path) -> int | None:
    """Copy a store's files as of one committed epoch; return that, None while there is none."""
    for _ in range(_ATTEMPTS):
        if not snapshots.exists(store):
            return None
        epoch = snapshots.resume_epoch(store)
        for path in snapshots.part_files(store):
            with (
                closing(sqlite3.connect(path, timeout=snapshots.BUSY_SECONDS)) as source,
                closing(sqlite3.connect(scratch / path.name)) as target,
            ):
                source.backup(target)
        if snapshots.cut_back(scratch, epoch):
            (scratch / layout.FILE_NAME).write_bytes((store / layout.FILE_NAME).read_bytes())
            return epoch
        for path in scratch.iterdir():
            path.unlink()
    msg = f"{store}: the workers were started again during each of {_ATTEMPTS} copies"
    raise KinewaxError(msg, hint="it is tried again at the next turn")


def _is_manifest(name: str) -> bool:
    return name.endswith(".json") and "/" not in name


def _file_of(path: Path, name: str) -> File:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return File(name, path.stat().st_size, digest.hexdigest())
