"""Everything to a directory: a file a kind, a part a file, exact after kill -9.

    alerts.jsonl    aggregates/<name>.jsonl    events.jsonl    late.jsonl    dead-letters.jsonl

A part's state is its file's length. Opening a part cuts the file back to the length in the last
snapshot, so what a dead process wrote beyond it is written again, once. `flush` ends with fsync:
what a snapshot counts is on the disk. The directory must be on a local disk, and all processes of a
run on its machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import metrics
from errors import DeliveryError, MissingResourceError
from messages import AggregateRows, Alert, Events, Late, Output, Reject
from sinks.base import PartState
from sinks.batched import VERSION, ledger_of
from sinks.lines import lines_of
from sinks.tally import Tally

ALERTS = "alerts"
EVENTS = "events"
LATE = "late"
DEAD_LETTERS = "dead-letters"

_BUFFER_BYTES = 1024 * 1024


def prepare(directory: Path, aggregates: Iterable[str], *, events: bool = False) -> None:
    """Create the directory and all of its files, each empty: before a run without a snapshot.

    Args:
        directory: Where the files are.
        aggregates: The names of all aggregates that the domain emits.
        events: Whether single events are written, too.

    Raises:
        DeliveryError: The directory can't be written to.
    """
    for part in _parts(aggregates, events):
        path = _path(directory, part)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
        except OSError as error:
            raise _error(path, error) from error


class FilesSink:
    """A directory on a local disk.

    Args:
        directory: Where the files are.
        aggregates: The names of all aggregates that the domain emits.
        events: Whether single events are written, too.
        name: Step id, metric label and ledger prefix.
    """

    accepts: tuple[type, ...] = (Alert, AggregateRows, Events, Late, Reject)

    def __init__(
        self,
        directory: Path,
        aggregates: Iterable[str],
        *,
        events: bool = False,
        name: str = "files",
    ) -> None:
        self._directory = directory
        self.name = name
        self.parts = _parts(aggregates, events)

    def wants(self, item: Output) -> bool:
        """Take all of the accepted types."""
        return isinstance(item, self.accepts)

    def part_of(self, item: Output) -> str:
        """Name the file of an item."""
        if isinstance(item, AggregateRows):
            return f"aggregates/{item.aggregate}"
        return {Alert: ALERTS, Events: EVENTS, Late: LATE, Reject: DEAD_LETTERS}[type(item)]

    def open(self, part: str, state: PartState | None) -> FilePart:
        """Open a part's file and cut it back to its state."""
        return FilePart(self.name, part, _path(self._directory, part), state)


class FilePart:
    """One file."""

    def __init__(self, sink: str, part: str, path: Path, state: PartState | None) -> None:
        self._sink = sink
        self._path = path
        kind = part.partition("/")[0].replace("-", "_")
        self._tally = Tally(f"{sink}.{kind}", ledger_of(state), label=sink)
        self._position = int(state["position"]) if state else 0
        self._unsynced_items = 0
        self._error: DeliveryError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            length = os.fstat(self._descriptor).st_size
            if length < self._position:
                os.close(self._descriptor)
                msg = f"{path} has {length} bytes, its snapshot says {self._position}"
                raise MissingResourceError(
                    msg, hint="put it back, or start afresh with a new recovery directory"
                )
            os.ftruncate(self._descriptor, self._position)
            os.lseek(self._descriptor, self._position, os.SEEK_SET)
            _sync_directory(path.parent)
        except OSError as error:
            raise _error(path, error) from error

    def write(self, items: Sequence[Output]) -> None:
        """Write the lines of items; they are visible at once, and durable at the next flush.

        Raises:
            DeliveryError: The file can't be written.
        """
        buffer = bytearray()
        for item in items:
            count = 0
            for text in lines_of(item):
                buffer += text
                count += 1
                if len(buffer) >= _BUFFER_BYTES:
                    self._write(buffer)
                    buffer.clear()
            self._tally.take(count)
            self._unsynced_items += count
        self._write(buffer)

    def flush(self) -> None:
        """Return once all lines are on the disk.

        Raises:
            DeliveryError: They aren't.
        """
        if self._error is not None:
            raise self._error
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            # After a failed fsync nobody knows what is on the disk, and a second one lies.
            self._error = _error(self._path, error)
            raise self._error from error
        self._tally.settle("acknowledged", self._unsynced_items)
        self._unsynced_items = 0

    def state(self) -> PartState:
        """Return the file's length and the account."""
        return {
            "version": VERSION,
            "position": self._position,
            "ledger": self._tally.ledger(),
        }

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _write(self, buffer: bytearray) -> None:
        if self._error is not None:
            raise self._error
        rest = memoryview(bytes(buffer))
        with metrics.sink_write_duration_seconds.labels(self._sink).time():
            while rest:
                try:
                    # A nearly full disk takes a part of it and refuses the rest.
                    written = os.write(self._descriptor, rest)
                except OSError as error:
                    self._error = _error(self._path, error)
                    raise self._error from error
                self._position += written
                rest = rest[written:]


def _parts(aggregates: Iterable[str], events: bool) -> tuple[str, ...]:
    names = (ALERTS, *([EVENTS] if events else []), LATE, DEAD_LETTERS)
    return (*names, *(f"aggregates/{name}" for name in aggregates))


def _path(directory: Path, part: str) -> Path:
    return directory / f"{part}.jsonl"


def _sync_directory(directory: Path) -> None:
    """Make a new file's name durable too."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _error(path: Path, error: OSError) -> DeliveryError:
    msg = f"cannot write {path}: {error.strerror or error}"
    return DeliveryError(
        msg, hint="make room or mend its permissions; the run goes on from its last snapshot"
    )
