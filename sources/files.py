"""Files: JSON lines, gzip, CSV with a header, and standard input. Finite, one slot, one shard.

Position: the line behind the last one that was emitted, so a resumed run reads on exactly there. A
plain file is sought by byte offset; a gzip file is read through from its start. Standard input
can't be read twice and is refused with a recovery store.

A file knows no arrival times. CSV rows become JSON objects with every value a string, as the
original producer made them.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

import orjson

import metrics
from errors import MissingResourceError, SettingsError
from messages import Adopted, Block, Ended, EndOfInput, Hello, Lines, Mark
from sources.base import SlotState

_READ_BYTES = 1024 * 1024  # so that a block's lines stay in the processor's cache
_CSV_ROWS = 8192
MAXIMUM_LINE_BYTES = 16 * 1024 * 1024
STATE_VERSION = 1
STANDARD_INPUT = "-"
_SLOT = "slot-00"


class FileSource:
    """One file of records, a line each.

    Args:
        path: The file; `-` is standard input. Its name tells the format: `.gz`, `.csv`,
            `.csv.gz`; anything else is JSON lines.

    Raises:
        MissingResourceError: There is no such file.
        SettingsError: It is a directory.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self.finite = True
        self.slots: tuple[str, ...] = (_SLOT,)
        if path != STANDARD_INPUT:
            if not Path(path).exists():
                msg = f"there is no file {path}"
                raise MissingResourceError(msg, hint="check the path behind file://")
            if Path(path).is_dir():
                msg = f"{path} is a directory"
                raise SettingsError(msg, hint="name one file")

    def open(self, slot: str, state: SlotState | None) -> FileSlot:
        """Open the file at its start or where `state` left off."""
        return FileSlot(self.name, slot, state)


class FileSlot:
    """Reads one file in blocks of whole lines."""

    def __init__(self, path: str, slot: str, state: SlotState | None) -> None:
        self._path = path
        self._slot = slot
        self._lines = state["lines"] if state else 0
        self._bytes = state["bytes"] if state else 0
        self._greeted = False
        self._ended = bool(state and state["ended"])
        self._ledger: Counter[str] = Counter(state["ledger"] if state else {})
        self.finished = False
        self._stream = _open(path)
        self._blocks: Iterator[Sequence[bytes]]
        if _is_csv(path):
            self._blocks = _csv_blocks(self._stream, skip=self._lines)
        else:
            if self._bytes:
                _skip(self._stream, self._bytes)
            self._blocks = _line_blocks(self._stream)

    def poll(self) -> list[Block | Mark]:
        """Return the next lines; the marks of a finite shard around them."""
        items: list[Block | Mark] = []
        if not self._greeted:
            self._greeted = True
            items += [Hello(self._slot, (self._path,)), Adopted(self._path)]
        lines = next(self._blocks, None) if not self._ended else None
        if lines is None:
            self._ended = self.finished = True
            return [*items, EndOfInput(self._slot), Ended(self._path)]
        first, size, read_bytes = self._lines + 1, len(lines), _size_bytes(lines)
        self._lines += size
        self._bytes += read_bytes
        for count in ("records", "plain", "user_records"):
            self._ledger[count] += size
        metrics.source_records.labels(self._path, self._path).inc(size)
        metrics.source_bytes.labels(self._path, self._path).inc(read_bytes)
        return [*items, Block(self._path, lines, range(first, first + size))]

    def next_awake(self) -> datetime | None:
        """Poll at once: a file always has more, or ends."""
        return None

    def snapshot(self) -> SlotState:
        """Return how far the file was read."""
        return {
            "version": STATE_VERSION,
            "lines": self._lines,
            "bytes": self._bytes,
            "ended": self._ended,
            "ledger": dict(self._ledger),
        }

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def _size_bytes(lines: Sequence[bytes]) -> int:
    """Return how many bytes of the file these lines take, with their ends."""
    whole = len(lines.buffer) if isinstance(lines, Lines) else sum(map(len, lines)) + len(lines) - 1
    return whole + 1


def _is_csv(path: str) -> bool:
    return path.removesuffix(".gz").endswith(".csv")


def _open(path: str) -> IO[bytes]:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a GzipFile reads bytes
    return Path(path).open("rb")


def _skip(stream: IO[bytes], size: int) -> None:
    if stream.seekable() and not isinstance(stream, gzip.GzipFile):
        stream.seek(size)
        return
    while size > 0:
        skipped = len(stream.read(min(size, _READ_BYTES)))
        if skipped == 0:
            return
        size -= skipped


def _line_blocks(stream: IO[bytes]) -> Iterator[Lines]:
    """Yield whole lines, without their ends; a line that is too long is cut and so rejected."""
    # Standard input gives what is there at once; a file or an archive fills the whole block.
    read: Callable[[int], bytes] = stream.read
    if stream is sys.stdin.buffer and isinstance(stream, io.BufferedReader):
        read = stream.read1
    rest = b""
    while chunk := read(_READ_BYTES):
        end = chunk.rfind(b"\n")
        if end >= 0:
            yield Lines(b"".join((rest, memoryview(chunk)[:end])))
            rest = chunk[end + 1 :]
        else:
            rest += chunk
        if len(rest) > MAXIMUM_LINE_BYTES:
            yield Lines(rest)
            rest = b""
    if rest:
        yield Lines(rest)


def _csv_blocks(stream: IO[bytes], skip: int) -> Iterator[list[bytes]]:
    """Yield CSV rows as JSON objects whose values are all strings."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(text)
    header = next(rows, [])
    numbered = itertools.islice(rows, skip, None)
    while block := [_csv_record(header, row) for row in itertools.islice(numbered, _CSV_ROWS)]:
        yield block


def _csv_record(header: list[str], row: list[str]) -> bytes:
    """Return a row as a JSON object; one that doesn't fit its header as it is, to be rejected."""
    if len(row) == len(header):
        try:
            return orjson.dumps(dict(zip(header, row, strict=True)))
        except orjson.JSONEncodeError:
            pass  # bytes that aren't UTF-8: rejected as such, below
    return ",".join(row).encode("utf-8", "surrogateescape")
