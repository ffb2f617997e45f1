"""Declared aggregates as arrays that can be merged: what to add up, and how to read it.

Each value of a window (`Count`, `Sum`, ...) is one or two accumulators: an array with one entry a
key, merged entry by entry with a ufunc. A `Distinct` is merged apart (new pairs only) and adds up
like a count. Numbers are kept in the field's own unit: int64 for integers and for decimals (units
of the last place), so sums don't depend on the order of their terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from messages import Int64s, Scalar
from operators.decode import Column
from operators.event_time import iso_time
from operators.spec import (
    Count,
    Distinct,
    Field,
    First,
    Last,
    Maximum,
    Mean,
    Minimum,
    Sum,
    Value,
)

EVENT_TIME = "@event_time"
"""The column of event times among those of fields, whose names are JSON's."""

_GREATEST, _LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Accumulator:
    """One int64 array of a window's state.

    Attributes:
        merge: How two entries of a key become one.
        identity: The entry of a key of which no event matched.
        value: Which of the window's values it belongs to.
        of: The field whose values it takes; None counts.
    """

    merge: np.ufunc
    identity: int
    value: int
    of: str | None


def accumulators_of(values: Sequence[Value]) -> tuple[Accumulator, ...]:
    """Return the accumulators of a window's values, in order."""
    found: list[Accumulator] = []
    for index, value in enumerate(values):
        match value:
            case Count() | Distinct():
                found.append(Accumulator(np.add, 0, index, None))
            case Sum():
                found.append(Accumulator(np.add, 0, index, value.of))
            case Minimum():
                found.append(Accumulator(np.minimum, _GREATEST, index, value.of))
            case Maximum():
                found.append(Accumulator(np.maximum, _LEAST, index, value.of))
            case First():
                found.append(Accumulator(np.minimum, _GREATEST, index, EVENT_TIME))
            case Last():
                found.append(Accumulator(np.maximum, _LEAST, index, EVENT_TIME))
            case Mean():
                found.append(Accumulator(np.add, 0, index, value.of))
                found.append(Accumulator(np.add, 0, index, None))
    return tuple(found)


def accumulate(
    accumulator: Accumulator,
    columns: Mapping[str, Column],
    matches: npt.NDArray[np.bool_] | None,
    order: Int64s,
    begins: npt.NDArray[np.intp],
) -> Int64s:
    """Add up one accumulator over runs of rows.

    Args:
        accumulator: Which.
        columns: Columns of length n.
        matches: bool[n], rows that pass the value's filter; None for all.
        order: int64[m], the rows to take, sorted so that those of a key follow each other.
        begins: int64[k], where each key's run begins in `order`.

    Returns:
        int64[k].
    """
    if accumulator.of is None and matches is None:
        return np.diff(begins, append=len(order))
    if accumulator.of is None:
        numbers = np.ones(len(order), np.int64)
    else:
        numbers = columns[accumulator.of][order].view(np.int64)
    if matches is not None:
        numbers = np.where(matches[order], numbers, accumulator.identity)
    merged: Int64s = accumulator.merge.reduceat(numbers, begins)
    return merged


def read_values(
    values: Sequence[Value],
    accumulators: Sequence[Accumulator],
    arrays: Sequence[Int64s],
    fields: Mapping[str, Field],
) -> list[list[Scalar | None]]:
    """Turn merged accumulators into what people read.

    Returns:
        For each value, in order, one entry a key.
    """
    read: list[list[Scalar | None]] = []
    for index, value in enumerate(values):
        own = [
            (accumulator, array)
            for accumulator, array in zip(accumulators, arrays, strict=True)
            if accumulator.value == index
        ]
        numbers = own[0][1]
        if isinstance(value, Count | Distinct):
            read.append(numbers.tolist())
            continue
        if isinstance(value, First | Last):
            read.append([iso_time(number) for number in numbers.tolist()])
            continue
        field = fields[value.of]
        unit = 10**field.scale
        if isinstance(value, Mean):
            counts = own[1][1]
            read.append(
                [
                    total / count / unit if count else None
                    for total, count in zip(numbers.tolist(), counts.tolist(), strict=True)
                ]
            )
            continue
        nothing = own[0][0].identity if isinstance(value, Minimum | Maximum) else None
        read.append(
            [
                None if number == nothing else number / unit if field.scale else number
                for number in numbers.tolist()
            ]
        )
    return read
