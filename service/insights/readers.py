"""How DuckDB reads files of one shape into columns of text: SQL, from texts to text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from service.insights.archive import Shape

Columns = Sequence[tuple[str, tuple[str, ...]]]
"""Names of columns, and where in a record each one is."""

BROKEN_LINES = "reject_errors"
"""Where DuckDB notes the lines of a CSV that don't fit, one maybe more than once."""

_LARGEST_OBJECT_BYTES = 64 * 1024 * 1024


def selected(shape: Shape, files: Sequence[str], columns: Columns) -> str:
    """Return a SELECT that reads files of a shape; what a record lacks is null.

    A line that is no JSON gives a row of nulls, so that it can be counted.
    """
    listed = f"[{', '.join(map(text, files))}]"
    compression = f"compression = '{'gzip' if shape.gzipped else 'none'}'"
    match shape.format:
        case "json_lines":
            source = _json(f"{listed}, {compression}", "newline_delimited, ignore_errors = true")
        case "json":
            source = _json(f"{listed}, {compression}", "unstructured")
        case "csv":
            types = ", ".join(f"{text(column)}: 'VARCHAR'" for column in shape.header)
            source = (
                f"read_csv({listed}, {compression}, header = true, auto_detect = false, "
                f"columns = {{{types}}}, delim = ',', quote = '\"', escape = '\"', "
                "store_rejects = true)"
            )
        case "parquet":
            source = f"read_parquet({listed})"
    values = (f"{_value(shape, path)} AS {name(column)}" for column, path in columns)
    return f"SELECT {', '.join(values)} FROM {source}"


def text(value: str) -> str:
    """Write a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Write a name as SQL."""
    return '"' + value.replace('"', '""') + '"'


def _json(files: str, arranged: str) -> str:
    largest = f"maximum_object_size = {_LARGEST_OBJECT_BYTES}"
    return f"read_json_objects({files}, {largest}, format = {arranged})"


def _value(shape: Shape, path: Sequence[str]) -> str:
    if shape.format in ("json_lines", "json"):
        where = "$" + "".join(f'."{part}"' for part in path)
        return f"json_extract_string(json, {text(where)})"
    if path[0] not in shape.header:
        return "CAST(NULL AS VARCHAR)"
    return f"CAST({'.'.join(map(name, path))} AS VARCHAR)"
