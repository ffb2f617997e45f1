"""Payloads to columns: typed, lax, one bad record never costs its neighbours.

Each payload holds one JSON object, or several with or without newlines between them. Only the
fields that the run's windows use are decoded; the rest of the object is still checked to be JSON.
What can't be an event becomes a `Rejected` with a reason from `REASONS`.

Per object this costs one typed msgspec decode and no dictionary; everything after it is columns.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import numpy as np

from messages import Int64s
from operators.event_time import parse_times
from operators.spec import Field

REASONS = {
    "empty": "the payload holds nothing but white space",
    "not_utf8": "the payload is not UTF-8",
    "not_json": "the payload is not JSON",
    "not_an_object": "the payload is JSON, but not an object",
    "missing_field": "a required field is missing or null",
    "wrong_type": "a field has another type than declared",
    "bad_value": "a field has a value out of its range",
    "bad_time": "the event time is not a time",
    "time_ahead": "the event time is more than 5 minutes ahead of the record's arrival",
    "time_jump": "the event time is more than an hour ahead of its shard, and alone in that",
}
"""Why an object is rejected: metric label, dead-letter field and ledger key."""

_INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_EXACT_FLOAT_LIMIT = 2.0**53
_NEXT_OBJECT = re.compile(r"\}\s*(?=\{)|\n\s*(?=\{)")
_WHITE_SPACE = b" \t\r\n"
ARRIVAL = "arrival"
"""The event time of a run that takes the records' arrival for it."""

Texts = list[str]
Column = Int64s | Texts


@dataclass(frozen=True, slots=True)
class Rejected:
    """One object that isn't an event: which payload it came from, why, and its bytes."""

    index: int
    reason: str
    detail: str
    payload: bytes


@dataclass(slots=True)
class Decoded:
    """Events as columns.

    Attributes:
        columns: One column of length n a field: int64 for integers and decimals (in units of
            the last place), a list of str for texts.
        times_us: int64[n], event times.
        source: int64[n], for each event the index of its payload.
        payloads: n, each event's own bytes.
        rejected: What isn't an event, in order.
        objects: How many objects the payloads held, events and rejects.
    """

    columns: dict[str, Column]
    times_us: Int64s
    source: Int64s
    payloads: Sequence[bytes]
    rejected: list[Rejected]
    objects: int

    def take(self, rows: Int64s) -> Decoded:
        """Return the events at `rows`, in that order, with the same rejects."""
        indices = rows.tolist()
        return Decoded(
            columns={
                name: column[rows]
                if isinstance(column, np.ndarray)
                else [column[index] for index in indices]
                for name, column in self.columns.items()
            },
            times_us=self.times_us[rows],
            source=self.source[rows],
            payloads=[self.payloads[index] for index in indices],
            rejected=self.rejected,
            objects=self.objects,
        )


class Decoder:
    """Decodes the payloads of one domain.

    Args:
        fields: The fields to decode.
        time_field: The name of the text field with the event time, or `ARRIVAL`.
    """

    def __init__(self, fields: Sequence[Field], time_field: str) -> None:
        self._fields = tuple(field for field in fields if field.name != time_field)
        self._time_field = time_field
        members = [_member(field) for field in self._fields]
        if time_field != ARRIVAL:
            members.insert(0, (time_field, str))
        event = msgspec.defstruct("Event", members, gc=False, kw_only=True)
        self._decode = msgspec.json.Decoder(event, strict=False).decode

    def decode(self, payloads: Sequence[bytes], arrival_us: Int64s | None) -> Decoded:
        """Decode n payloads.

        Args:
            payloads: n payloads.
            arrival_us: int64[n], for a run by arrival time.

        Returns:
            Their events as columns, and the rejects.
        """
        events: list[Any] = []
        rejected: list[Rejected] = []
        odd: list[tuple[int, int]] = []  # (index, its events) where that isn't 1
        odd_payloads: dict[int, list[bytes]] = {}
        append, decode = events.append, self._decode
        foreign = {index for index, payload in enumerate(payloads) if not payload.isascii()}
        index = 0
        for index, payload in enumerate(payloads):
            try:
                if foreign and index in foreign:
                    payload.decode()
                append(decode(payload))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                found, bad = self._decode_apart(index, payload, error)
                odd.append((index, len(found)))
                odd_payloads[index] = [own for _, own in found]
                events.extend(event for event, _ in found)
                rejected.extend(bad)
        per_payload = np.ones(len(payloads), np.int64)
        own: Sequence[bytes] = payloads
        if odd:
            for index, count in odd:
                per_payload[index] = count
            own = [
                piece
                for index, payload in enumerate(payloads)
                for piece in odd_payloads.get(index, (payload,))
            ]
        source = np.repeat(np.arange(len(payloads)), per_payload)
        return self._columns(events, source, own, rejected, arrival_us)

    def _columns(
        self,
        events: list[Any],
        source: Int64s,
        payloads: Sequence[bytes],
        rejected: list[Rejected],
        arrival_us: Int64s | None,
    ) -> Decoded:
        size = len(events)
        objects = size + len(rejected)
        columns: dict[str, Column] = {}
        bad: dict[int, tuple[str, str]] = {}
        for field in self._fields:
            values = map(attrgetter(field.name), events)
            if field.kind == "text":
                columns[field.name] = [value or "" for value in values]
            elif field.kind == "integer":
                columns[field.name] = np.fromiter(values, np.int64, size)
            else:
                numbers = np.fromiter(values, np.float64, size) * 10.0**field.scale
                exact = np.abs(numbers) < _EXACT_FLOAT_LIMIT  # False for NaN, too
                for row in np.flatnonzero(~exact).tolist():
                    bad.setdefault(row, ("bad_value", f"`{field.name}` is out of range"))
                columns[field.name] = np.rint(np.where(exact, numbers, 0)).astype(np.int64)
        if self._time_field == ARRIVAL:
            if arrival_us is None:
                msg = "this source knows no arrival times"
                raise ValueError(msg)
            times_us = arrival_us[source]
        else:
            times_us, valid = parse_times([getattr(event, self._time_field) for event in events])
            for row in np.flatnonzero(~valid).tolist():
                bad.setdefault(row, ("bad_time", f"`{self._time_field}` is not a time"))
        decoded = Decoded(columns, times_us, source, payloads, rejected, objects)
        return decoded if not bad else reject_rows(decoded, bad)

    def _decode_apart(
        self, index: int, payload: bytes, error: Exception
    ) -> tuple[list[tuple[Any, bytes]], list[Rejected]]:
        """Decode a payload that isn't one good object: several objects, or none."""
        if not payload.strip(_WHITE_SPACE):
            return [], [Rejected(index, "empty", REASONS["empty"], payload)]
        try:
            pieces = _split_objects(payload.decode())
        except UnicodeDecodeError as undecodable:
            return [], [Rejected(index, "not_utf8", str(undecodable), payload)]
        if len(pieces) == 1:
            return [], [Rejected(index, _reason_of(error, pieces[0]), str(error), payload)]
        events: list[tuple[Any, bytes]] = []
        rejected: list[Rejected] = []
        for piece in pieces:
            try:
                events.append((self._decode(piece), piece))
            except msgspec.DecodeError as bad:
                rejected.append(Rejected(index, _reason_of(bad, piece), str(bad), piece))
        if not events:  # rubbish with line breaks is one reject, not thousands
            return [], [Rejected(index, _reason_of(error, pieces[0]), str(error), payload)]
        return events, rejected


def reject_rows(decoded: Decoded, bad: dict[int, tuple[str, str]]) -> Decoded:
    """Move events to the rejects.

    Args:
        decoded: Events.
        bad: For each row to reject its reason and detail.

    Returns:
        The events that are left, and all rejects.
    """
    keep = np.ones(len(decoded.times_us), bool)
    keep[list(bad)] = False
    rejects = [
        Rejected(int(decoded.source[row]), reason, detail, decoded.payloads[row])
        for row, (reason, detail) in sorted(bad.items())
    ]
    kept = decoded.take(np.flatnonzero(keep))
    kept.rejected = [*decoded.rejected, *rejects]
    return kept


def _member(field: Field) -> tuple[str, Any] | tuple[str, Any, Any]:
    """Return a struct member for msgspec; its types are Any to a type checker."""
    kinds: dict[str, Any] = {"integer": _INTEGER, "decimal": float, "text": str}
    kind = kinds[field.kind]
    if field.required:
        return (field.name, kind)
    return (field.name, kind | None, None) if field.kind == "text" else (field.name, kind, 0)


def _split_objects(text: str) -> list[bytes]:
    """Cut a text into its JSON values; a broken one reaches to where the next object begins."""
    scanner = json.JSONDecoder()
    pieces: list[bytes] = []
    place, size = 0, len(text)
    while place < size:
        while place < size and text[place] in " \t\r\n":
            place += 1
        if place == size:
            break
        try:
            _, end = scanner.raw_decode(text, place)
        except (ValueError, RecursionError):
            next_object = _NEXT_OBJECT.search(text, place + 1)
            end = next_object.end() if next_object else size
        pieces.append(text[place:end].encode())
        place = end
    return pieces


def _reason_of(error: Exception, payload: bytes) -> str:
    """Name the reason for what msgspec says of a payload."""
    if not isinstance(error, msgspec.ValidationError):
        return "not_utf8" if isinstance(error, UnicodeDecodeError) else "not_json"
    message = str(error)
    if not payload.lstrip(_WHITE_SPACE).startswith(b"{"):
        return "not_an_object"
    if message.startswith("Object missing") or "got `null`" in message:
        return "missing_field"
    return "wrong_type" if message.startswith("Expected `") and "got" in message else "bad_value"
