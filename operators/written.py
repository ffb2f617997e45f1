"""What single events look like when they are written out: keys of JSON objects, columns of CSV.

A domain declares it as a `Written`; everything else follows from that: which fields are decoded for
it, the rows themselves, and the mapping of a search index. Texts are written out event by event,
2 us each and more: only for runs that are asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from messages import Block, Events, Int64s, Scalar
from operators.codes import TextCodes
from operators.decode import Column, Decoded

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US_PER_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Text:
    """A text field.

    Attributes:
        name: The key or column.
        of: The field.
        absent: What stands where it is empty.
        then: A second field, behind the first where it isn't empty.
        by: What stands between the two.
        index: How a search index holds it: whole, or as words.
    """

    name: str
    of: str
    absent: str = ""
    then: str = ""
    by: str = ""
    index: Literal["keyword", "text"] = "keyword"


@dataclass(frozen=True, slots=True)
class Digits:
    """An integer field, as a text.

    Attributes:
        name: The key or column.
        of: The field.
        at_least: How many digits are written, with zeros in front.
        absent: What stands for 0, which is also a number that isn't there; None for the 0 itself.
        index: How a search index holds it.
    """

    name: str
    of: str
    at_least: int = 1
    absent: str | None = None
    index: Literal["keyword", "text"] = "keyword"


@dataclass(frozen=True, slots=True)
class Moment:
    """The event time in UTC: ISO 8601 with its zone, or `2026-01-02 03:04:05` in whole seconds."""

    name: str
    layout: Literal["iso", "seconds"] = "iso"


@dataclass(frozen=True, slots=True)
class Epoch:
    """The event time as a number: whole seconds since the epoch."""

    name: str


Part = Text | Digits | Moment | Epoch


@dataclass(frozen=True, slots=True)
class Written:
    """A single event, written out.

    Attributes:
        parts: Its keys or columns, in order.
        lines: What Firehose gets: a JSON object a line, or the values as CSV without a header.
            Files, standard output and search indexes always get the keys, too.
    """

    parts: tuple[Part, ...]
    lines: Literal["json", "csv"] = "json"

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that must be decoded for it."""
        named = [name for one in self.parts for name in _fields_of(one)]
        return tuple(dict.fromkeys(named))

    @property
    def properties(self) -> dict[str, dict[str, str]]:
        """The mapping of a search index that holds such events."""
        return {one.name: _property(one) for one in self.parts}


class EventWriter:
    """Writes the events of one domain.

    Args:
        written: What they look like.
        texts: What they are decoded with.
        event_id: The field that tells each event from all others; "" for their place in the stream.
    """

    def __init__(self, written: Written, texts: TextCodes, event_id: str = "") -> None:
        self._written = written
        self._texts = texts
        self._event_id = event_id

    def events(self, block: Block, decoded: Decoded, rows: Int64s) -> Events:
        """Write out some rows of a decoded block."""
        columns = {name: decoded.columns[name][rows] for name in self._written.fields}
        times_us = decoded.times_us[rows]
        return Events(
            block.shard,
            tuple(self.rows(columns, times_us)),
            tuple(self._ids(block, decoded, rows)),
            tuple(times_us.tolist()),
        )

    def rows(self, columns: Mapping[str, Column], times_us: Int64s) -> Iterator[dict[str, Scalar]]:
        """Yield an object for each event, its keys in the declared order.

        Args:
            columns: At least `Written.fields`, of length n.
            times_us: int64[n], the event times.
        """
        names = [one.name for one in self._written.parts]
        found = [self._values(one, columns, times_us) for one in self._written.parts]
        for values in zip(*found, strict=True):
            yield dict(zip(names, values, strict=True))

    def _values(
        self, part: Part, columns: Mapping[str, Column], times_us: Int64s
    ) -> Sequence[Scalar]:
        match part:
            case Text(then=""):
                return [text or part.absent for text in self._texts_of(columns[part.of])]
            case Text():
                pairs = zip(
                    self._texts_of(columns[part.of]),
                    self._texts_of(columns[part.then]),
                    strict=True,
                )
                return [
                    f"{one}{part.by}{other}" if other else one or part.absent
                    for one, other in pairs
                ]
            case Digits(absent=None):
                return [f"{number:0{part.at_least}d}" for number in columns[part.of].tolist()]
            case Digits():
                absent = part.absent or ""
                return [
                    f"{number:0{part.at_least}d}" if number else absent
                    for number in columns[part.of].tolist()
                ]
            case Moment(layout="iso"):
                return [_moment(time_us).isoformat() for time_us in times_us.tolist()]
            case Moment():
                return [f"{_moment(time_us):%Y-%m-%d %H:%M:%S}" for time_us in times_us.tolist()]
            case Epoch():
                seconds: list[int] = (times_us // _US_PER_SECOND).tolist()
                return seconds

    def _texts_of(self, column: Column) -> list[str]:
        return [self._texts.text_of(code) for code in column.tolist()]

    def _ids(self, block: Block, decoded: Decoded, rows: Int64s) -> Iterator[str]:
        """Yield what tells each event from all others, the same whenever it is read."""
        own: Sequence[object] = ()
        if self._event_id:
            column = decoded.columns[self._event_id][rows]
            own = self._texts_of(column) if column.dtype.kind == "u" else column.tolist()
        for index, row in enumerate(rows.tolist()):
            known = own[index] if own else ""
            yield str(known) if known != "" else _place(block, decoded, row)


def _place(block: Block, decoded: Decoded, row: int) -> str:
    """Return where an event stands: of several in a record, those behind the first are counted."""
    index = decoded.source_of(row)
    place = f"{block.shard}/{block.sequence_numbers[index]}"
    if decoded.source is None:
        return place
    behind = row - int(decoded.source.searchsorted(index))
    return f"{place}+{behind}" if behind else place


def _moment(time_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_us)


def _fields_of(part: Part) -> tuple[str, ...]:
    match part:
        case Text():
            return (part.of, part.then) if part.then else (part.of,)
        case Digits():
            return (part.of,)
        case _:
            return ()


def _property(part: Part) -> dict[str, str]:
    match part:
        case Text() | Digits():
            return {"type": part.index}
        case Moment(layout="seconds"):
            return {"type": "date", "format": "yyyy-MM-dd HH:mm:ss"}
        case Moment():
            return {"type": "date"}
        case Epoch():
            return {"type": "long"}
