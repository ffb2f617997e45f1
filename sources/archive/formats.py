"""From the bytes of an object to its records.

What an object is packed in shows in its first bytes, what it holds in its name (`.csv`) or its
first line: JSON lines or lines of text, else JSON objects, pretty-printed or back to back.
Firehose puts records behind each other as they are, so all of these occur under one prefix.

A generator yields None when nothing is there yet. What is yielded depends on the object alone, not
on how its bytes came: a record's number is the same each time.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO

import orjson

from payloads import Lines
from sources.archive.aggregates import Aggregated, taken_apart
from sources.archive.compression import (
    GZIP_MAGIC,
    ZIP_MAGIC,
    ZSTD_MAGIC,
    Pieces,
    gathered,
    gunzip,
    members,
    spool,
    unzstd,
)
from sources.archive.layouts import is_hidden
from sources.archive.parquet import PARQUET_MAGIC, parquet_rows
from sources.archive.stores import CORRUPT, EMPTY, ObjectError
from sources.files import csv_record, csv_rows

MAXIMUM_RECORD_BYTES = 16 * 1024 * 1024
_MAGIC_BYTES = 4
_FIRST_LINE_BYTES = 1024 * 1024
_WHITE_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PACKINGS = {
    ".gz": GZIP_MAGIC,
    ".gzip": GZIP_MAGIC,
    ".zip": ZIP_MAGIC,
    ".zst": ZSTD_MAGIC,
    ".zstd": ZSTD_MAGIC,
    ".parquet": PARQUET_MAGIC,
}

# Where one object ends and the next begins. Within a string the first quote after `}{` would close
# it, and then no colon follows the next one. It looks at its neighbourhood only, so one bad object
# costs no others.
_BETWEEN_OBJECTS = re.compile(rb'\}[ \t\r\n]*(?=\{[ \t\r\n]*"[^"\\\n]{0,255}"[ \t\r\n]*:)')


@dataclass(frozen=True, slots=True)
class Batch:
    """The next records of an object.

    Attributes:
        payloads: At least one.
        aggregates: How many KPL aggregates begin with them; None for plain records, which come from
            none.
    """

    payloads: Sequence[bytes]
    aggregates: int | None = None


Batches = Iterator[Batch | None]


def batches(name: str, chunks: Pieces) -> Batches:
    """Yield an object's records.

    Args:
        name: The object's key.
        chunks: Its bytes, an empty chunk where nothing is there yet.

    Raises:
        ObjectError: It isn't what it says that it is, is damaged, or ends too early.
    """
    first = b""
    for chunk in chunks:
        first += chunk
        if len(first) >= _MAGIC_BYTES:
            break
        if not chunk:
            yield None
    inner, magic = _unpacked_name(name)
    if not first:
        raise ObjectError(EMPTY, "it has no bytes")
    if magic and not first.startswith(magic):
        raise ObjectError(CORRUPT, f"it doesn't begin as {name[len(inner) :]} does")
    chunks = chain((first,), chunks)
    if first.startswith(GZIP_MAGIC):
        yield from _text(inner, gunzip(chunks))
    elif first.startswith(PARQUET_MAGIC):
        with spool() as file:
            yield from gathered(chunks, file)
            yield from map(Batch, parquet_rows(file))
    elif first.startswith(ZSTD_MAGIC):
        with spool() as file:
            yield from gathered(chunks, file)
            yield from _text(inner, unzstd(file))
    elif first.startswith(ZIP_MAGIC):
        with spool() as file:
            yield from gathered(chunks, file)
            yield from _members(file)
    else:
        yield from _text(inner, chunks)


def _members(file: IO[bytes]) -> Batches:
    """Yield the records of the files in a zip archive, but for hidden ones (`__MACOSX/`).

    A file without records costs none behind it.
    """
    holds_records = False
    for name, content in members(file):
        if is_hidden(name):
            continue
        try:
            for batch in batches(name, content):
                holds_records |= batch is not None
                yield batch
        except ObjectError as error:
            if error.reason != EMPTY:
                raise
    if not holds_records:
        raise ObjectError(EMPTY, "no file in it has records")


def _unpacked_name(name: str) -> tuple[str, bytes]:
    """Return the name of what is packed, and what the object must begin with."""
    for suffix, magic in _PACKINGS.items():
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], magic
    return name, b""


def _text(name: str, pieces: Pieces) -> Batches:
    if name.lower().endswith(".csv"):
        yield from _csv(pieces)
        return
    items = taken_apart(pieces)
    head = b""
    for item in items:
        if isinstance(item, list):
            items = chain((item,), items)
            break
        head += item
        if b"\n" in head.lstrip(_WHITE_SPACE) or len(head) >= _FIRST_LINE_BYTES:
            break
        if not item:
            yield None
    head = head.removeprefix(_BYTE_ORDER_MARK)
    items = chain((head,), items) if head else items
    yield from _lines(items) if _is_lines(head) else _objects(items)


def _is_lines(head: bytes) -> bool:
    """Tell whether an object is read line by line: by its first line, as far as it is there."""
    text = head.lstrip(_WHITE_SPACE)
    end = text.find(b"\n")
    line = (text if end < 0 else text[:end]).strip()
    if not line.startswith(b"{"):
        return True
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _lines(items: Iterator[bytes | Aggregated]) -> Batches:
    """Yield whole lines that aren't blank; a line that is too long is cut, and so rejected."""
    rest = b""
    for item in items:
        if isinstance(item, list):
            yield from _batch_of(rest)
            rest = b""
            if item:
                yield Batch(item, aggregates=1)
            continue
        if not item:
            yield None
            continue
        whole, rest = _whole_lines(rest, item)
        yield from _batch_of(whole)
        while len(rest) > MAXIMUM_RECORD_BYTES:
            yield from _batch_of(rest[:MAXIMUM_RECORD_BYTES])
            rest = rest[MAXIMUM_RECORD_BYTES:]
    yield from _batch_of(rest)


def _whole_lines(rest: bytes, piece: bytes) -> tuple[bytes, bytes]:
    end = piece.rfind(b"\n")
    if end < 0:
        return b"", rest + piece
    return b"".join((rest, memoryview(piece)[:end])), piece[end + 1 :]


def _batch_of(text: bytes) -> Iterator[Batch]:
    """Yield lines as a batch, blank ones left out: a record's own line end and a delimiter."""
    if b"\r" in text:  # the last line end is cut off, but not what belongs to it
        text = (text + b"\n").replace(b"\r\n", b"\n")
    text = text.strip(b"\n")
    if not text or text.isspace():
        return
    lines = Lines(text)
    if lines.has_blank():
        lines = Lines(b"\n".join([line for line in lines if line]))
    yield Batch(lines)


def _objects(items: Iterator[bytes | Aggregated]) -> Batches:
    """Yield JSON objects that need no line ends between them."""
    rest = b""
    for item in items:
        if isinstance(item, list):
            yield from _payloads([rest])
            rest = b""
            if item:
                yield Batch(item, aggregates=1)
            continue
        if not item:
            yield None
            continue
        rest += item
        found: list[bytes] = []
        begin = 0
        for between in _BETWEEN_OBJECTS.finditer(rest):
            found.append(rest[begin : between.start() + 1])
            begin = between.end()
        rest = rest[begin:]
        while len(rest) > MAXIMUM_RECORD_BYTES:
            found.append(rest[:MAXIMUM_RECORD_BYTES])
            rest = rest[MAXIMUM_RECORD_BYTES:]
        yield from _payloads(found)
    yield from _payloads([rest])


def _payloads(texts: Sequence[bytes]) -> Iterator[Batch]:
    payloads = [stripped for text in texts if (stripped := text.strip(_WHITE_SPACE))]
    if payloads:
        yield Batch(payloads)


def _csv(pieces: Pieces) -> Batches:
    """Yield CSV rows as JSON objects whose values are all strings.

    A row may go on in the next piece, so the last one of each is held back and read again.
    """
    header: list[str] | None = None
    held = b""
    for piece in chain(pieces, (None,)):
        if piece == b"":
            yield None
            continue
        held += piece or b""
        if header is None:  # before it is parsed: it would hide that the first name is quoted
            held = held.removeprefix(_BYTE_ORDER_MARK)
        end = len(held) if piece is None else held.rfind(b"\n") + 1
        rows, last = _csv_rows(held[:end], at_end=piece is None)
        held = last + held[end:]
        while header is None and rows:
            first = rows.pop(0)
            header = first if any(map(str.strip, first)) else None  # blank lines may lead
        records = [csv_record(header or [], row) for row in rows if row]
        if records:
            yield Batch(records)


def _csv_rows(text: bytes, *, at_end: bool) -> tuple[list[list[str]], bytes]:
    """Return whole rows, and the text of the last one unless nothing follows."""
    source = io.StringIO(text.decode("utf-8", "surrogateescape"), newline="")
    found = list(csv_rows(source))
    if at_end or not found:
        return [row for row, _ in found], b""
    last = "".join(found[-1][1])
    return [row for row, _ in found[:-1]], last.encode("utf-8", "surrogateescape")
