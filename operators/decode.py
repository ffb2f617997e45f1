"""Payloads to columns: typed, lax, one bad record never costs its neighbours.

Each payload holds one JSON object, or several with or without newlines between them. Only the
fields that the run's windows use are decoded; the rest of the object is still checked to be JSON.
What can't be an event becomes a `Rejected` with a reason from `REASONS`.

Per object this costs one typed msgspec decode and no dictionary; everything after it is columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import numpy as np

from messages import Int64s, UInt64s
from operators.codes import TextCodes
from operators.event_time import parse_times
from operators.shapes import Shape
from operators.spec import Field
from payloads import Lines

REASONS = {
    "empty": "the payload holds nothing but white space",
    "not_utf8": "the payload is not UTF-8",
    "not_json": "the payload is not JSON, or nested too deeply to tell",
    "not_an_object": "the payload is JSON, but not an object",
    "missing_field": "a required field is missing or null",
    "wrong_type": "a field has another type than declared",
    "bad_value": "a field has a value out of its range",
    "bad_time": "the event time is not a time, or not in the years 2 to 9998",
    "time_ahead": "the event time is more than 5 minutes ahead of the record's arrival",
    "time_jump": "the event time is more than an hour ahead of its shard, and alone in that",
}
"""Why an object is rejected: metric label, dead-letter field and ledger key."""

_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # deep nesting
_FLAGS = {True: "true", False: "false", None: ""}
_EXACT_FLOAT_LIMIT = 2.0**51  # beyond, 0.01 * 100 can be off by one
_NEXT_OBJECT = re.compile(r"[}\n][ \t\r]*+(?=\{)")  # looks at no character twice
_NO_WHITE_SPACE = re.compile(r"[^ \t\r\n]")
_JSON = json.JSONDecoder()
_MAXIMUM_REJECTS = 100
"""Of one payload; the last takes all the rest, so that rubbish is soon done with."""

_RUN_LINES = 128  # at 0.1 % bad lines one run in eight is decoded twice
_WHITE_SPACE = b" \t\r\n"
ARRIVAL = "arrival"
"""The event time of a run that takes the records' arrival for it."""

Column = Int64s | UInt64s
"""int64 for numbers; for texts uint64, their codes."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One object that isn't an event: which payload it came from, why, and its bytes."""

    index: int
    reason: str
    detail: str
    payload: bytes


@dataclass(slots=True)
class Decoded:
    """Objects as columns.

    Attributes:
        columns: One column of length n a field: int64 for integers and decimals (in units of
            the last place), uint64 codes for texts.
        times_us: int64[n], event times.
        bad_rows: int64[b], ascending: rows that turned out to be no events; they are in
            `rejected`, and their entries in the columns mean nothing.
        source: int64[n], for each row the index of its payload; None where row i is payload i.
        pieces: The own bytes of rows that share a payload with others.
        rejected: What isn't an event.
        objects: How many objects the payloads held, events and rejects.
    """

    columns: dict[str, Column]
    times_us: Int64s
    bad_rows: Int64s
    source: Int64s | None
    pieces: Mapping[int, bytes]
    rejected: list[Rejected]
    objects: int

    def source_of(self, row: int) -> int:
        """Return the index of a row's payload."""
        return row if self.source is None else int(self.source[row])

    def payload_of(self, row: int, payloads: Sequence[bytes]) -> bytes:
        """Return a row's own bytes."""
        return self.pieces.get(row) or payloads[self.source_of(row)]


@dataclass(slots=True)
class _Found:
    events: list[Any] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    pieces: dict[int, bytes] = field(default_factory=dict)  # by row
    odd: dict[int, int] = field(default_factory=dict)  # payload index: events, where not one
    undecodable: dict[int, str] = field(default_factory=dict)  # payload index: what is wrong


class Decodes(Protocol):
    """What makes columns of payloads."""

    def decode(self, payloads: Sequence[bytes], arrival_us: Int64s | None) -> Decoded:
        """Decode n payloads; see `Decoder.decode`."""


class Decoder:
    """Decodes the payloads of one domain, JSON.

    Args:
        fields: The fields to decode.
        time_field: The field with the event time, a name or a path; or `ARRIVAL`.
        texts: Where the codes of texts come from, and can be turned back.
    """

    def __init__(self, fields: Sequence[Field], time_field: str, texts: TextCodes) -> None:
        self._texts = texts
        own = [field for field in fields if field.name != time_field]
        self._fields = {field.name: field for field in own}
        self._time_field = time_field
        if time_field != ARRIVAL:
            own.insert(0, Field(time_field, "text"))
        self._shape = Shape(own, time_field)
        decoder = msgspec.json.Decoder(self._shape.struct, strict=False)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines

    def decode(self, payloads: Sequence[bytes], arrival_us: Int64s | None) -> Decoded:
        """Decode n payloads.

        Args:
            payloads: n payloads.
            arrival_us: int64[n], for a run by arrival time.

        Returns:
            Their objects as columns, and the rejects.
        """
        found = _Found()
        if isinstance(payloads, Lines):
            self._decode_buffer(payloads, found)
        else:
            self._decode_each(payloads, 0, found)
            if not all(map(bytes.isascii, payloads)):
                found.undecodable.update(_undecodable(payloads, 0))
        events, rejected, pieces, odd = found.events, found.rejected, found.pieces, found.odd
        source = None
        if odd:
            per_payload = np.ones(len(payloads), np.int64)
            per_payload[list(odd)] = list(odd.values())
            source = np.repeat(np.arange(len(payloads)), per_payload)
        columns, times, bad_fields = self._columns(events)
        for index, detail in found.undecodable.items():
            row = index if source is None else int(np.searchsorted(source, index))
            if index not in odd:  # those were decoded from text already
                bad_fields[row] = ("not_utf8", detail)
        if self._time_field == ARRIVAL:
            if arrival_us is None:
                msg = "this source knows no arrival times"
                raise ValueError(msg)
            times_us = arrival_us if source is None else arrival_us[source]
        else:
            times_us, valid = parse_times(times)
            for row in np.flatnonzero(~valid).tolist():
                bad_fields.setdefault(row, ("bad_time", f"`{self._time_field}` is not a time"))
        decoded = Decoded(
            columns=columns,
            times_us=times_us,
            bad_rows=np.array(sorted(bad_fields), np.int64),
            source=source,
            pieces=pieces,
            rejected=rejected,
            objects=len(events) + len(rejected),
        )
        rejected.extend(
            Rejected(decoded.source_of(row), *why, decoded.payload_of(row, payloads))
            for row, why in sorted(bad_fields.items())
        )
        return decoded

    def _columns(
        self, events: Sequence[Any]
    ) -> tuple[dict[str, Column], list[str | int], dict[int, tuple[str, str]]]:
        """Return a column a field, the times, and why rows with a bad value are bad."""
        size = len(events)
        columns: dict[str, Column] = {}
        times: list[str | int] = []
        bad: dict[int, tuple[str, str]] = {}
        for name, values in self._shape.columns(events):
            if name == self._time_field:
                times = list(values)
                continue
            spec = self._fields[name]
            if spec.is_text:
                named = values if spec.kind == "text" else map(_FLAGS.get, values)
                columns[name] = self._texts.of(named, size)
                continue
            numbers = values if spec.required else (value or 0 for value in values)  # null is 0
            if spec.kind == "integer":
                columns[name] = np.fromiter(numbers, np.int64, size)
            else:
                scaled = np.fromiter(numbers, np.float64, size) * 10.0**spec.scale
                exact = np.abs(scaled) < _EXACT_FLOAT_LIMIT  # False for NaN, too
                for row in np.flatnonzero(~exact).tolist():
                    bad.setdefault(row, ("bad_value", f"`{spec.place}` is out of range"))
                columns[name] = np.rint(np.where(exact, scaled, 0)).astype(np.int64)
        return columns, times, bad

    def _decode_buffer(self, lines: Lines, found: _Found) -> None:
        """Decode whole runs of lines in one call each; a run with a bad line, line by line."""
        first = 0
        # Elsewhere as many objects as lines needn't be one a line: two on one, none on the next.
        loose = set((lines.loose_ends() // _RUN_LINES).tolist())
        for number, (size, run) in enumerate(lines.runs(_RUN_LINES)):
            if not run.isascii():
                found.undecodable.update(_undecodable(lines[first : first + size], first))
            events: list[Any] = []
            if number not in loose:
                with suppress(*_DECODE_ERRORS):
                    events = self._decode_lines(run)
            if len(events) == size:
                found.events.extend(events)
            else:
                self._decode_each(lines[first : first + size], first, found)
            first += size

    def _decode_each(self, payloads: Sequence[bytes], first: int, found: _Found) -> None:
        """Decode payloads one by one; `first` is the index of the first of them."""
        events, odd = found.events, found.odd
        decoded_before = len(events)
        odd_before, odd_events = len(odd), 0
        ahead = iter(payloads)
        while True:
            try:
                events.extend(map(self._decode, ahead))  # keeps what it took in before an error
                return
            except _DECODE_ERRORS as error:
                plain = len(events) - decoded_before - odd_events
                at = plain + len(odd) - odd_before
                own, bad = self._decode_apart(first + at, payloads[at], error)
                odd[first + at] = len(own)
                odd_events += len(own)
                found.pieces.update(enumerate((piece for _, piece in own), len(events)))
                events.extend(event for event, _ in own)
                found.rejected.extend(bad)

    def _decode_apart(
        self, index: int, payload: bytes, error: Exception
    ) -> tuple[list[tuple[Any, bytes]], list[Rejected]]:
        """Decode a payload that isn't one good object: several objects, or none."""
        if not payload.strip(_WHITE_SPACE):
            return [], [Rejected(index, "empty", REASONS["empty"], payload)]
        try:
            text = payload.decode()
        except UnicodeDecodeError as undecodable:
            return [], [Rejected(index, "not_utf8", str(undecodable), payload)]
        events: list[tuple[Any, bytes]] = []
        rejected: list[Rejected] = []
        end = 0
        while (begin := _behind_white_space(text, end)) < len(text):
            is_last = len(rejected) == _MAXIMUM_REJECTS - 1
            end = len(text) if is_last else _end_of_value(text, begin)
            piece = text[begin:end].encode()
            try:
                events.append((self._decode(piece), piece))
            except _DECODE_ERRORS as bad:
                rejected.append(Rejected(index, _reason_of(bad, piece), str(bad), piece))
        if not events:  # rubbish is one reject, whatever can be read into it
            return [], [Rejected(index, _reason_of(error, payload), str(error), payload)]
        return events, rejected


def _undecodable(payloads: Sequence[bytes], first: int) -> Iterator[tuple[int, str]]:
    """Yield the index of each payload that isn't UTF-8, and what is wrong with it.

    The decoder doesn't look into strings of fields that it leaves out.
    """
    for index, payload in enumerate(payloads, first):
        if not payload.isascii():
            try:
                payload.decode()
            except UnicodeDecodeError as error:
                yield index, str(error)


def _behind_white_space(text: str, place: int) -> int:
    """Return where what isn't white space goes on."""
    found = _NO_WHITE_SPACE.search(text, place)
    return found.start() if found else len(text)


def _end_of_value(text: str, begin: int) -> int:
    """Return where a JSON value ends; a broken one reaches to where the next object begins."""
    try:
        return _JSON.raw_decode(text, begin)[1]
    except (ValueError, RecursionError):
        next_object = _NEXT_OBJECT.search(text, begin)
        return next_object.end() if next_object else len(text)


def _reason_of(error: Exception, payload: bytes) -> str:
    """Name the reason for what msgspec says of a payload."""
    if not isinstance(error, msgspec.ValidationError):
        return "not_json"
    message = str(error)
    if not payload.lstrip(_WHITE_SPACE).startswith(b"{"):
        return "not_an_object"
    if message.startswith("Object missing") or "got `null`" in message:
        return "missing_field"
    return (
        "wrong_type" if message.startswith("Expected `") and ", got `" in message else "bad_value"
    )
