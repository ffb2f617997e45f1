"""Tables beside the stream as arrays, and their join to columns of events.

A table is made whole or not at all: a row without its key, with a key that stood before, or with a
value of another kind than declared makes it wrong, and the reason names the row. It is never
changed afterwards; another version is another table, taken up between two blocks of events.

Guarantee: all rows of a block are joined with one version. Which, is not remembered with the
events: see docs/how-to/reference-data.md for what that means to replays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from messages import Int64s, UInt64s
from operators.codes import TextCodes
from operators.decode import Column
from operators.reference_spec import Reference
from operators.spec import Field

MAX_ROWS = 1_000_000
Found = npt.NDArray[np.bool_]


class TableError(Exception):
    """A table can't be used; the message says which row is wrong, and how."""


@dataclass(frozen=True, slots=True)
class Table:
    """One version of a reference's table.

    Attributes:
        codes: uint64[n], ascending: the codes of texts, or integers as they are.
        numbers: A column for each number field, int64[n + 1]; the last is for missing keys.
        texts: For each text field int64[n + 1], indices into its different texts, and those.
    """

    codes: UInt64s
    numbers: Mapping[str, Int64s]
    texts: Mapping[str, tuple[Int64s, Sequence[str]]]

    def __len__(self) -> int:
        return len(self.codes)


def table_of(reference: Reference, key: Field, rows: Iterable[Mapping[str, object]]) -> Table:
    """Make a table of rows.

    Args:
        reference: What is declared of it.
        key: The field of events that is looked up.
        rows: As read from a file, texts or typed.

    Raises:
        TableError: A row is wrong, or there are too many.
    """
    column = reference.column or reference.key
    codes: dict[int, int] = {}  # in the order of the file
    read: dict[str, list[str | int]] = {field.name: [] for field in reference.fields}
    for number, row in enumerate(rows, 1):
        if number > MAX_ROWS:
            msg = f"it has more than {MAX_ROWS:,} rows"
            raise TableError(msg)
        try:
            text_or_number = _value(key, row.get(column), column, required=True)
            for field in reference.fields:
                value = _value(field, row.get(field.name), field.name, required=field.required)
                read[field.name].append(value)
        except ValueError as error:
            msg = f"row {number}: {error}"
            raise TableError(msg) from None
        code = _code(text_or_number)
        if code in codes:
            msg = f"row {number}: the key {text_or_number!r} stood before, in row {codes[code]}"
            raise TableError(msg)
        codes[code] = number
    defaults = reference.missing if isinstance(reference.missing, tuple) else ()
    for place, field in enumerate(reference.fields):
        default = defaults[place] if defaults else None
        read[field.name].append(_value(field, default, field.name, required=False))
    unordered = np.array(list(codes), np.uint64)
    order = np.argsort(unordered)
    rows_in_order = np.append(order, len(order))
    numbers: dict[str, Int64s] = {}
    texts: dict[str, tuple[Int64s, Sequence[str]]] = {}
    for field in reference.fields:
        values = read[field.name]
        if field.kind == "text":
            different = {value: index for index, value in enumerate(dict.fromkeys(values))}
            indices = np.array([different[value] for value in values], np.int64)
            texts[field.name] = (indices[rows_in_order], [str(value) for value in different])
        else:
            numbers[field.name] = np.array(values, np.int64)[rows_in_order]
    return Table(unordered[order], numbers, texts)


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of the rows of a block at one reference: which it has, bool[n]."""

    reference: Reference
    found: Found

    @property
    def drops(self) -> bool:
        """Whether rows that it doesn't have are to be dropped."""
        return self.reference.missing == "drop"


class Joins:
    """Joins the references of a domain.

    Args:
        references: All of them.
        tables: For each, by name, what returns the version in force.
        texts: What the rows' codes were made with.
    """

    def __init__(
        self,
        references: Sequence[Reference],
        tables: Mapping[str, Callable[[], Table]],
        texts: TextCodes,
    ) -> None:
        self._tables = [(reference, tables[reference.name]) for reference in references]
        self._texts = texts

    def join(self, columns: dict[str, Column]) -> Iterator[Joined]:
        """Add each reference's fields to the columns, and yield which rows it has."""
        for reference, table_in_force in self._tables:
            table = table_in_force()
            keys = columns[reference.key].view(np.uint64)
            rows = np.searchsorted(table.codes, keys)
            found = np.zeros(len(keys), bool)
            if len(table):
                found = table.codes.take(rows, mode="clip") == keys
            rows = np.where(found, rows, len(table))
            for name, numbers in table.numbers.items():
                columns[name] = numbers[rows]
            for name, (indices, values) in table.texts.items():
                columns[name] = self._codes_of(indices[rows], values)
            yield Joined(reference, found)

    def _codes_of(self, indices: Int64s, values: Sequence[str]) -> UInt64s:
        """Return the codes of texts, which then can be turned back as those of any event can."""
        different, places = np.unique(indices, return_inverse=True)
        codes = self._texts.of((values[index] for index in different.tolist()), len(different))
        return codes[places]


def _code(value: str | int) -> int:
    """Return what `TextCodes` gives a text, without its memory; of an integer its 64 bits."""
    if isinstance(value, int):
        return value % 2**64
    return int.from_bytes(blake2b(value.encode(), digest_size=8).digest(), "little")


def _value(field: Field, given: object, column: str, *, required: bool) -> str | int:
    """Read a value as the decoder reads that of an event: numbers may be texts.

    Raises:
        ValueError: It is none of the field's kind, or missing.
    """
    if given is None or (given == "" and field.kind != "text"):
        if required:
            msg = f"`{column}` is missing"
            raise ValueError(msg)
        return "" if field.kind == "text" else 0
    if isinstance(given, bool) or not isinstance(given, str | int | float | Decimal):
        msg = f"`{column}` is {type(given).__name__}, neither text nor number"
        raise ValueError(msg)
    if field.kind == "text":
        return str(given)
    try:
        units = Decimal(str(given)).scaleb(field.scale)
        whole = int(units.to_integral_value())  # half to even, as the decoder's
    except (InvalidOperation, ValueError, OverflowError):
        msg = f"`{column}` is no number: {given!r}"
        raise ValueError(msg) from None
    if field.kind == "integer" and whole != units:
        msg = f"`{column}` is no whole number: {given!r}"
        raise ValueError(msg)
    if not -(2**63) <= whole < 2**63:
        msg = f"`{column}` is too large: {given!r}"
        raise ValueError(msg)
    return whole
