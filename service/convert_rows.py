"""Events as rows of Parquet: which columns a domain's have, and how a JSON object becomes a row.

Columns are those of the raw tables of `service.warehouse`: the domain's times and fields under
their own names, all of them texts, objects as structs. A value stands as it stood in the JSON, a
number with all its digits; only a time in seconds is written as ISO 8601, for a text of digits
would be no time any more. What an event lacks is null, and what the domain declares no field for is
left out, as Firehose's own conversion leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from dataflows.domain import Domain
from operators.codes import TextCodes
from operators.decode import ARRIVAL, Decoder
from operators.event_time import iso_time, parse_times

_NULL = (b"", b"null")
_US_PER_SECOND = 1_000_000

# `Any` throughout: structs and Parquet's schemas are made at run time.
Tree = dict[str, Any]  # of names: None for a value, a tree for an object


class RowMaker:
    """Makes rows of a domain's events.

    Args:
        domain: Whose, written in JSON.
        time: Which of their times an event can't be without; `ARRIVAL` for none.

    Attributes:
        tree: The columns; a struct is a tree of its own.
    """

    def __init__(self, domain: Domain, time: str) -> None:
        self._texts = TextCodes()
        self._decoder = Decoder(domain.fields, time, self._texts)
        self._arrives = time == ARRIVAL
        self._times = [tuple(own.split(".")) for own in domain.own_times]
        self.tree: Tree = {}
        for path in (*self._times, *(field.steps for field in domain.fields)):
            _plant(self.tree, path)
        self._decode = msgspec.json.Decoder(_struct(self.tree)).decode

    def rows(
        self, payloads: Sequence[bytes]
    ) -> tuple[list[Mapping[str, Any]], Iterable[tuple[int, str, str, bytes]]]:
        """Return the events in some payloads, and what is none: its place, why, and its bytes."""
        # Rows have the times that events have; when they arrived is told by folders.
        arrivals = np.zeros(len(payloads), np.int64) if self._arrives else None
        decoded = self._decoder.decode(payloads, arrivals)
        bad = set(decoded.bad_rows.tolist())
        rows = [
            self._values(self.tree, self._decode(decoded.payload_of(row, payloads)), ())
            for row in range(len(decoded.times_us))
            if row not in bad
        ]
        self._texts.forget()
        return rows, [(one.index, one.reason, one.detail, one.payload) for one in decoded.rejected]

    def _values(self, tree: Tree, found: Any, above: tuple[str, ...]) -> Mapping[str, Any]:
        values: dict[str, Any] = {}
        for place, (name, below) in enumerate(tree.items()):
            value = getattr(found, f"m{place}")
            if below is None:
                values[name] = _text(bytes(value), is_time=(*above, name) in self._times)
            else:
                values[name] = None if value is None else self._values(below, value, (*above, name))
        return values


def schema_of(tree: Tree) -> Any:
    """Return the columns as Parquet's schema."""
    import pyarrow  # half a second to load, which no other command needs

    def kind(below: Tree | None) -> Any:
        if below is None:
            return pyarrow.string()
        return pyarrow.struct([(name, kind(own)) for name, own in below.items()])

    return pyarrow.schema([(name, kind(below)) for name, below in tree.items()])


def _plant(tree: Tree, path: Sequence[str]) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree.setdefault(path[-1], None)


def _struct(tree: Tree) -> Any:
    """Make what reads an object's members as they stand."""
    members: list[tuple[str, Any, Any]] = []
    for place, below in enumerate(tree.values()):
        if below is None:
            members.append((f"m{place}", msgspec.Raw, msgspec.Raw(b"")))
        else:
            members.append((f"m{place}", _struct(below) | None, None))
    names = {f"m{place}": name for place, name in enumerate(tree)}
    return msgspec.defstruct("Row", members, rename=names, gc=False)


def _text(raw: bytes, *, is_time: bool) -> str | None:
    """Return a value's text: a string's own, anything else as it stands."""
    if raw in _NULL:
        return None
    if raw.startswith(b'"'):
        return msgspec.json.decode(raw, type=str)
    text = raw.decode()
    if is_time and text.lstrip("-").isdigit():
        times_us, valid = parse_times([int(text)])
        return iso_time(int(times_us[0])) if valid[0] else text
    return text
