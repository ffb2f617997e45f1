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
from operators.event_time import iso_times
from operators.spec import Field
from operators.value_spec import (
    ApproxDistinct,
    Count,
    Distinct,
    First,
    Last,
    Maximum,
    Mean,
    Minimum,
    Sum,
    Value,
    Without,
)

EVENT_TIME = "@event_time"
"""The column of event times among those of fields, whose names are JSON's."""

GREATEST, LEAST = int(np.iinfo(np.int64).max), int(np.iinfo(np.int64).min)
"""The identities of a minimum and a maximum."""


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
            case Count() | Distinct() | ApproxDistinct():
                found.append(Accumulator(np.add, 0, index, None))
            case Sum():
                found.append(Accumulator(np.add, 0, index, value.of))
            case Minimum():
                found.append(Accumulator(np.minimum, GREATEST, index, value.of))
            case Maximum():
                found.append(Accumulator(np.maximum, LEAST, index, value.of))
            case First():
                found.append(Accumulator(np.minimum, GREATEST, index, EVENT_TIME))
            case Last():
                found.append(Accumulator(np.maximum, LEAST, index, EVENT_TIME))
            case Mean():
                found.append(Accumulator(np.add, 0, index, value.of))
                found.append(Accumulator(np.add, 0, index, None))
            case Without():
                pass  # read from two others
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
    read: dict[str, list[Scalar | None]] = {}
    for index, value in enumerate(values):
        if not isinstance(value, Without):
            own = [
                (accumulator, array)
                for accumulator, array in zip(accumulators, arrays, strict=True)
                if accumulator.value == index
            ]
            read[value.name] = _read(value, own, fields)
    for value in values:
        if isinstance(value, Without):
            read[value.name] = flags_without(read[value.some], read[value.none])
    return [read[value.name] for value in values]


def flags_without(
    some: Sequence[Scalar | None], none: Sequence[Scalar | None]
) -> list[Scalar | None]:
    """Return, a key each, whether the first count is above 0 and the second is 0."""
    return [bool(one) and not other for one, other in zip(some, none, strict=True)]


def _read(
    value: Value,
    own: Sequence[tuple[Accumulator, Int64s]],
    fields: Mapping[str, Field],
) -> list[Scalar | None]:
    """Read one value from its own accumulators."""
    numbers = own[0][1]
    if isinstance(value, First | Last):
        times: list[Scalar | None] = list(iso_times(numbers))
        return times
    if not isinstance(value, Sum | Minimum | Maximum | Mean):
        counts: list[Scalar | None] = numbers.tolist()
        return counts
    field = fields[value.of]
    unit = 10**field.scale
    if isinstance(value, Mean):
        return [
            total / count / unit if count else None
            for total, count in zip(numbers.tolist(), own[1][1].tolist(), strict=True)
        ]
    nothing = own[0][0].identity if isinstance(value, Minimum | Maximum) else None
    return [
        None if number == nothing else number / unit if field.scale else number
        for number in numbers.tolist()
    ]
