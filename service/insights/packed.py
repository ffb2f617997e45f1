"""Files that DuckDB can't read as they are: zip archives, and JSON with KPL aggregates in it.

They are read as a replay reads them, and written as JSON lines into a temporary directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sources.archive.compression import PIECE_BYTES, ZIP_MAGIC
from sources.archive.formats import batches
from sources.kinesis.kpl import MAGIC


def is_packed(head: bytes) -> bool:
    """Tell by a file's first bytes, unpacked from gzip or zstd, whether it is such a one."""
    return head.startswith(ZIP_MAGIC) or MAGIC in head


def records(path: Path) -> Iterator[bytes]:
    """Yield a file's records.

    Raises:
        ObjectError: It is damaged, empty, or ends too early.
    """
    for batch in batches(path.name, _pieces(path)):
        yield from batch.payloads if batch else ()


def unpacked(path: Path, to: Path) -> None:
    """Write a file's records as lines.

    Raises:
        ObjectError: It is damaged, empty, or ends too early.
    """
    with to.open("wb") as lines:
        for record in records(path):
            # Within JSON a line end is white space: one in a string is written as \n.
            lines.write(record.replace(b"\n", b" ") + b"\n")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
