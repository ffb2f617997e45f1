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

    A line that is no JSON gives a row of nulls, so that it can be counted. Of packed files these
    are the unpacked ones.
    """
    listed = f"[{', '.join(map(text, files))}]"
    packing = "none" if shape.compression == "packed" else shape.compression
    compression = f"compression = '{packing}'"
    match shape.format:
        case "json_lines":
            return _of_json(f"{listed}, {compression}, {_LINES}", columns)
        case "json":
            return _of_json(f"{listed}, {compression}, {_ANYHOW}", columns)
        case "csv":
            types = ", ".join(f"{text(column)}: 'VARCHAR'" for column in shape.header)
            return _of_table(
                f"read_csv({listed}, {compression}, header = true, auto_detect = false, "
                f"columns = {{{types}}}, delim = ',', quote = '\"', escape = '\"', "
                "store_rejects = true)",
                shape.header,
                columns,
            )
        case "parquet":
            return _of_table(f"read_parquet({listed})", shape.header, columns)


def text(value: str) -> str:
    """Write a text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """Write a name as SQL."""
    return '"' + value.replace('"', '""') + '"'


_LINES = "format = newline_delimited, ignore_errors = true"
_ANYHOW = "format = unstructured"


def _of_json(files: str, columns: Columns) -> str:
    """Take all values of an object at once: one by one, each would parse it anew."""
    paths = ", ".join(text("$" + "".join(f'."{part}"' for part in path)) for _, path in columns)
    values = (f"found[{at}] AS {name(column)}" for at, (column, _) in enumerate(columns, 1))
    return (
        f"SELECT {', '.join(values)} FROM (SELECT json_extract_string(json, [{paths}]) AS found "
        f"FROM read_json_objects({files}, maximum_object_size = {_LARGEST_OBJECT_BYTES}))"
    )


def _of_table(source: str, header: Sequence[str], columns: Columns) -> str:
    values = (
        f"CAST({'.'.join(map(name, path)) if path[0] in header else 'NULL'} AS VARCHAR) "
        f"AS {name(column)}"
        for column, path in columns
    )
    return f"SELECT {', '.join(values)} FROM {source}"
