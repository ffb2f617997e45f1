"""From Parquet to JSON objects, one a row.

Guarantee: a damaged object ends in `ObjectError`, whatever the library makes of it. A whole one is
read whole: a value that Python's types or JSON can't hold (a year beyond 9999) is null, and the
rest of its row stands; one of text that isn't UTF-8 stays so, and its row is rejected. Times are
cut to microseconds, which is where Python's end.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import IO, Any

import orjson

from sources.archive.stores import CORRUPT, TRUNCATED, ObjectError

PARQUET_MAGIC = b"PAR1"
_ROWS = 4096
_UNFIT = (ValueError, OverflowError, TypeError)  # what values raise that don't fit


def parquet_rows(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the rows of a file, some thousands at a time.

    Raises:
        ObjectError: It is damaged, or ends too early.
    """
    import pyarrow  # half a second to load, which few archives need
    from pyarrow import parquet

    file.seek(-len(PARQUET_MAGIC), io.SEEK_END)
    if file.read() != PARQUET_MAGIC:
        raise ObjectError(TRUNCATED, "the Parquet data ends before its end")
    try:
        table = parquet.ParquetFile(pyarrow.PythonFile(file, "r"))
        for batch in table.iter_batches(_ROWS):
            fields = [field.with_type(_readable(field.type)) for field in batch.schema]
            records = _records(batch.cast(pyarrow.schema(fields), safe=False))
            if records:
                yield records
    except Exception as error:  # damage shows as any: UnicodeDecodeError, MemoryError, ...
        raise ObjectError(CORRUPT, f"not whole Parquet: {error}") from error


def _readable(kind: Any) -> Any:  # pyarrow's, which has no types
    """Return the type nearest to one whose values are values of Python, too."""
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(kind):
        unit = "us" if kind.unit == "ns" else kind.unit
        return pyarrow.timestamp(unit, kind.tz and _zone(kind.tz))
    if types.is_time64(kind):
        return pyarrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    if types.is_struct(kind):
        return pyarrow.struct([field.with_type(_readable(field.type)) for field in kind])
    if types.is_map(kind):
        return pyarrow.map_(_readable(kind.key_type), _readable(kind.item_type))
    if types.is_dictionary(kind):
        return _readable(kind.value_type)
    if types.is_fixed_size_list(kind):
        return pyarrow.list_(_readable(kind.value_type), kind.list_size)
    if types.is_large_list(kind):
        return pyarrow.large_list(_readable(kind.value_type))
    return pyarrow.list_(_readable(kind.value_type)) if types.is_list(kind) else kind


def _zone(name: str) -> str:
    """Return a time zone that is known here: the moment is the same in each."""
    from pyarrow.lib import string_to_tzinfo

    try:
        string_to_tzinfo(name)
    except (*_UNFIT, LookupError):
        return "UTC"
    return name


def _records(batch: Any) -> list[bytes]:
    try:
        return [_json(row) for row in batch.to_pylist()]
    except _UNFIT:  # one value is enough, so each is looked at
        names = batch.schema.names
        columns = [[_fitting(value) for value in column] for column in batch.columns]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return [_as_it_is(row) for row in rows]


def _fitting(scalar: Any) -> object:
    """Return a value as Python has it; None where Python or JSON can't hold it."""
    try:
        value = scalar.as_py()
        _json(value)
    except UnicodeDecodeError:
        if not hasattr(scalar, "as_buffer"):  # text within a list or a struct
            return None
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
    except _UNFIT:
        return None
    return value


def _json(value: object) -> bytes:
    return orjson.dumps(value, default=_plain)


def _as_it_is(row: dict[str, object]) -> bytes:
    try:
        return _json(row)
    except orjson.JSONEncodeError:  # bytes that aren't UTF-8: rejected as such, further on
        text = json.dumps(row, default=_plain, ensure_ascii=False)
        return text.encode("utf-8", "surrogateescape")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)  # decimals
