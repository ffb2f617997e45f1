"""Objects of every kind that an archive may hold, and what lies beside them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow
from aws_kinesis_agg.aggregator import RecordAggregator
from pyarrow import parquet

Payload = Callable[[int], bytes]
"""Makes the record of a number: `number` and `padding` are its fields, both texts."""

AGGREGATES = 4
AGGREGATED = 120
DAMAGED = "c_damaged.parquet"


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    for key, content in contents.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_mixed(folder: Path, payload: Payload, records: int) -> Path:
    """Write one object of each kind, what is no part of an archive, and one that is damaged.

    Returns:
        The archive's directory. By its objects' names, the records' numbers ascend.
    """
    padding = "x" * 40
    csv = "".join(f'"{number}","{padding}"\r\n' for number in range(100))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as members:
        members.writestr("__MACOSX/._a.json", b"Mac")
        members.writestr("empty.json", b"")
        members.writestr("a.json", b"\r\n".join(map(payload, range(100, 150))) + b"\r\n\r\n")
    table = io.BytesIO()
    numbers = [str(number) for number in range(150, 200)]
    parquet.write_table(pyarrow.table({"number": numbers, "padding": [padding] * 50}), table)
    packed = [aggregate(map(payload, range(first, first + 30))) for first in range(200, 320, 30)]
    lines = b"\n".join(map(payload, range(320, records)))
    contents = {
        "a.csv": b"\xef\xbb\xbf" + f'"number","padding"\r\n{csv}'.encode(),
        "b.zip": zipped.getvalue(),
        "c.parquet": table.getvalue(),
        DAMAGED: table.getvalue()[:40] + b"?" * 200 + b"PAR1",
        "d": b"\n".join(packed),
        "_temporary/0/e.json": lines,
        "f_$folder$": b"",
    }
    write(folder / "archive", contents)
    write(folder, {"elsewhere/e.json": lines})
    (folder / "archive/linked").symlink_to(folder / "elsewhere")
    (folder / "elsewhere/back").symlink_to(folder / "archive")
    return folder / "archive"


def aggregate(payloads: Iterable[bytes]) -> bytes:
    found = RecordAggregator()
    for payload in payloads:
        found.add_user_record("key", payload)
    contents: bytes = found.clear_and_get().get_contents()[2]
    return contents
