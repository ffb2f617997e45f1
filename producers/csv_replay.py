"""Replays a CSV as the original producer did: one JSON object a row, stamped as it is sent.

Every value is a string; `txn_timestamp` is added, the ISO time (UTC, no zone, fraction absent
where it is 0) at which the row is due at so many rows a second. The partition key is the row's
`category_id`. The original sent its JSON pretty-printed, with line breaks inside; so does `pretty`.
"""

from __future__ import annotations

import csv
import gzip
import itertools
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from errors import MissingResourceError, SettingsError
from producers.records import Record

PARTITION_KEY = "category_id"
STAMP = "txn_timestamp"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CsvReplay:
    """A feed of a CSV's rows.

    Args:
        path: The CSV, with a header; gzip where it ends in `.gz`.
        rows_per_second: How fast the clock that stamps them runs.
        start_us: The stamp of the first row.
        pretty: Whether the JSON has line breaks and indentation.
        rows: How many rows to replay at most; None for all.

    Raises:
        MissingResourceError: The file doesn't exist.
        SettingsError: It is not a CSV with a `category_id`.
    """

    def __init__(
        self,
        path: Path,
        rows_per_second: float,
        start_us: int,
        *,
        pretty: bool = False,
        rows: int | None = None,
    ) -> None:
        self._path = path
        self._us_per_row = 1e6 / rows_per_second
        self._start_us = start_us
        self._option = orjson.OPT_INDENT_2 if pretty else None
        self._rows = itertools.islice(self._read(), rows)
        self._next = next(self._rows, None)
        self._events = 0

    @property
    def done(self) -> bool:
        """True when every row was given out."""
        return self._next is None

    @property
    def events(self) -> int:
        """How many rows were given out."""
        return self._events

    def advance(self, until_us: int) -> list[Record]:
        """Return the rows that are due before `until_us`."""
        due: list[Record] = []
        while self._next is not None:
            stamp_us = self._start_us + round(self._events * self._us_per_row)
            if stamp_us >= until_us:
                break
            row = self._next
            row[STAMP] = stamp(stamp_us)
            due.append(Record(orjson.dumps(row, option=self._option), row[PARTITION_KEY]))
            self._events += 1
            self._next = next(self._rows, None)
        return due

    def _read(self) -> Iterator[dict[str, str]]:
        """Read rows; one with other columns than the header is an error with its line."""
        if not self._path.is_file():
            msg = f"there is no file {self._path}"
            raise MissingResourceError(msg)
        unpack = gzip.open if self._path.suffix == ".gz" else open
        try:
            with unpack(self._path, "rt", encoding="utf-8", newline="") as text:
                yield from self._rows_of(text)
        except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
            msg = f"can't read {self._path} as CSV: {error}"
            raise SettingsError(msg) from error

    def _rows_of(self, text: Iterable[str]) -> Iterator[dict[str, str]]:
        lines = csv.reader(text)
        header = next(lines, [])
        if PARTITION_KEY not in header:
            msg = f"{self._path} has no column {PARTITION_KEY}: its rows need a partition key"
            raise SettingsError(msg)
        for fields in lines:
            if len(fields) != len(header):
                msg = (
                    f"{self._path}, line {lines.line_num}: {len(fields)} fields, "
                    f"but the header has {len(header)}"
                )
                raise SettingsError(msg)
            yield dict(zip(header, fields, strict=True))


def stamp(time_us: int) -> str:
    """Write a time as the original did: ISO, UTC without a zone, no fraction where it is 0."""
    return (_EPOCH + timedelta(microseconds=time_us)).replace(tzinfo=None).isoformat()
