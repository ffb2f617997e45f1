"""Files: JSON lines, gzip, CSV with a header, and standard input. Finite, one slot, one shard.

Position: the line behind the last one that was emitted, so a resumed run reads on exactly there. A
plain file is sought by byte offset; a gzip file is read through from its start. Standard input
gives what is there, and never waits for more; it can't be read twice, and is refused with a
recovery store.

A file knows no arrival times. CSV rows become JSON objects with every value a string, as the
original producer made them.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import select
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import orjson

import metrics
from errors import MissingResourceError, SettingsError
from messages import Adopted, Block, Ended, EndOfInput, Hello, Mark
from payloads import Lines
from sources.base import SlotState

_READ_BYTES = 1024 * 1024  # so that a block's lines stay in the processor's cache
_CSV_ROWS = 8192
MAXIMUM_LINE_BYTES = 16 * 1024 * 1024
STATE_VERSION = 1
STANDARD_INPUT = "-"
_SLOT = "slot-00"
_WAIT = timedelta(milliseconds=50)
_Blocks = Iterator[tuple[Sequence[bytes], int] | None]  # None: nothing is there now
_END = object()


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
        self._waits = False
        self.finished = False
        self._stream = _open(path)
        self._blocks: _Blocks = (
            _csv_blocks(self._stream, skip=self._lines)
            if _is_csv(path)
            else _line_blocks(self._stream, skip=self._bytes)
        )

    def poll(self) -> list[Block | Mark]:
        """Return the next lines; the marks of a finite shard around them."""
        items: list[Block | Mark] = []
        if not self._greeted:
            self._greeted = True
            items += [Hello(self._slot, (self._path,)), Adopted(self._path)]
        found = _END if self._ended else self._read()
        self._waits = found is None
        if found is None:
            return items
        if not isinstance(found, tuple):
            self._ended = self.finished = True
            return [*items, EndOfInput(self._slot), Ended(self._path)]
        lines, read_bytes = found
        first, size = self._lines + 1, len(lines)
        self._lines += size
        self._bytes += read_bytes
        for count in ("records", "plain", "user_records"):
            self._ledger[count] += size
        metrics.source_records.labels(self._path, self._path).inc(size)
        metrics.source_bytes.labels(self._path, self._path).inc(read_bytes)
        return [*items, Block(self._path, lines, range(first, first + size))]

    def _read(self) -> tuple[Sequence[bytes], int] | object | None:
        try:
            return next(self._blocks, _END)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            msg = f"{self._path} is not a whole gzip file, behind line {self._lines}: {error}"
            raise SettingsError(msg, hint="a name that ends in .gz means gzip") from error

    def next_awake(self) -> datetime | None:
        """Poll at once, as a file always has more, or ends; in a moment where a pipe is empty."""
        return datetime.now(UTC) + _WAIT if self._waits else None

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


def _is_csv(path: str) -> bool:
    return path.removesuffix(".gz").endswith(".csv")


def _open(path: str) -> IO[bytes]:
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a GzipFile reads bytes
    return Path(path).open("rb")


def _line_blocks(stream: IO[bytes], skip: int) -> Iterator[tuple[Lines, int] | None]:
    """Yield whole lines without their ends, and how many bytes of the file they are with them.

    None where nothing is there now.

    A line that is too long is cut, and so rejected, at the same places wherever reading began.
    """
    if skip:
        stream.seek(skip)  # an archive reads through what it skips; a pipe can't, and fails
    rest = b""
    for chunk in _chunks(stream):
        if chunk is None:
            yield None
            continue
        if len(rest) + len(chunk) > MAXIMUM_LINE_BYTES:
            chunk, rest = rest + chunk, b""
            while _first_line_bytes(chunk) > MAXIMUM_LINE_BYTES:
                yield Lines(chunk[:MAXIMUM_LINE_BYTES]), MAXIMUM_LINE_BYTES
                chunk = chunk[MAXIMUM_LINE_BYTES:]
        end = chunk.rfind(b"\n")
        if end < 0:
            rest += chunk
            continue
        whole = b"".join((rest, memoryview(chunk)[:end]))
        yield Lines(whole), len(whole) + 1
        rest = chunk[end + 1 :]
    if rest:
        yield Lines(rest), len(rest)


def _chunks(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Yield a file's next bytes, a block full; of standard input what is there now, or None.

    Who waits for more holds up all that goes on between two polls: alerts, snapshots, a drain.
    """
    if isinstance(stream, io.BufferedReader) and stream is sys.stdin.buffer:
        while True:
            if not select.select([stream], [], [], 0)[0]:
                yield None
            elif chunk := stream.read1(_READ_BYTES):
                yield chunk
            else:
                return
    while chunk := stream.read(_READ_BYTES):
        yield chunk


def _first_line_bytes(chunk: bytes) -> int:
    end = chunk.find(b"\n")
    return len(chunk) if end < 0 else end


def _csv_blocks(stream: IO[bytes], skip: int) -> Iterator[tuple[list[bytes], int]]:
    """Yield CSV rows as JSON objects whose values are all strings, and their size in bytes."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = (row for row, _ in csv_rows(text))
    header = next(rows, [])
    numbered = itertools.islice(rows, skip, None)
    while block := [csv_record(header, row) for row in itertools.islice(numbered, _CSV_ROWS)]:
        yield block, sum(map(len, block))


def csv_rows(text: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield rows and their lines; where a quote isn't closed within 128 KiB, those as one field."""
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    rows = csv.reader(remembered())
    while True:
        try:
            row = next(rows, None)
        except csv.Error:
            row = ["".join(lines)]
        if row is None:
            return
        yield row, lines
        lines = []


def csv_record(header: list[str], row: list[str]) -> bytes:
    """Return a row as a JSON object; one that doesn't fit its header as it is, to be rejected."""
    if len(row) == len(header):
        try:
            return orjson.dumps(dict(zip(header, row, strict=True)))
        except orjson.JSONEncodeError:
            pass  # bytes that aren't UTF-8: rejected as such, below
    return ",".join(row).encode("utf-8", "surrogateescape")
