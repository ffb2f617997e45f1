"""The rows of a table in a file: CSV with a header, JSON (an array, or a line each), or Parquet.

The name's ending says which. All of it is in memory; who reads it bounds its size.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping

import orjson

from operators.reference import TableError

Row = Mapping[str, object]


def rows_of(name: str, content: bytes) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        name: Its name, for its ending.
        content: Its bytes.

    Raises:
        TableError: It isn't what its name says.
    """
    ending = name.rpartition(".")[2].lower()
    read = _READERS.get(ending)
    if read is None:
        msg = f"a name ends in {', '.join(f'.{one}' for one in _READERS)}, not in .{ending}"
        raise TableError(msg)
    yield from read(content)


def _csv(content: bytes) -> Iterator[Row]:
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        for row in reader:
            if None in row or None in row.values():
                msg = f"line {reader.line_num} has another number of values than the header"
                raise TableError(msg)
            yield row
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"it is no CSV: {error}"
        raise TableError(msg) from None


def _json(content: bytes) -> Iterator[Row]:
    is_array = content.lstrip()[:1] == b"["
    try:
        values = (
            orjson.loads(content)
            if is_array
            else (orjson.loads(line) for line in content.splitlines() if line.strip())
        )
        for value in values:
            if not isinstance(value, dict):
                msg = "it holds something else than objects"
                raise TableError(msg)
            yield value
    except orjson.JSONDecodeError as error:
        msg = f"it is no JSON: {error}"
        raise TableError(msg) from None


def _parquet(content: bytes) -> Iterator[Row]:
    # Loaded for this alone: other runs start faster without.
    import pyarrow as pa
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        for batch in file.iter_batches(batch_size=4_096):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        msg = f"it is no Parquet: {error}"
        raise TableError(msg) from None


_READERS: dict[str, Callable[[bytes], Iterator[Row]]] = {
    "csv": _csv,
    "json": _json,
    "jsonl": _json,
    "parquet": _parquet,
}
