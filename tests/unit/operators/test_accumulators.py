"""What is added up, and how it reads."""

from __future__ import annotations

import numpy as np
import pytest

from messages import Int64s, Scalar
from operators.accumulators import accumulate, accumulators_of, read_values
from operators.spec import Field
from operators.value_spec import Count, Distinct, Maximum, Mean, Minimum, Sum, Value

FIELDS = {"n": Field("n", "integer"), "price": Field("price", "decimal", scale=2)}
GREATEST, LEAST = 2**63 - 1, -(2**63)


def array(*numbers: int) -> Int64s:
    return np.array(numbers, np.int64)


def read(value: Value, *arrays: Int64s) -> list[Scalar | None]:
    return read_values((value,), accumulators_of((value,)), arrays, FIELDS)[0]


def test_each_value_has_its_accumulators_in_order() -> None:
    values = (
        Mean("mean", "n"),
        Count("count"),
        Minimum("least", "n"),
        Distinct("kinds", "n"),
        Maximum("most", "price"),
        Sum("sum", "price"),
    )
    assert [(a.value, a.of, a.identity) for a in accumulators_of(values)] == [
        (0, "n", 0),
        (0, None, 0),
        (1, None, 0),
        (2, "n", GREATEST),
        (3, None, 0),
        (4, "price", LEAST),
        (5, "price", 0),
    ]


@pytest.mark.parametrize(
    ("value", "matches", "expected"),
    [
        (Count("v"), None, [[2, 1, 2]]),
        (Sum("v", "n"), None, [[4, 9, 0]]),
        (Sum("v", "n"), {3, 4}, [[5, 0, 4]]),
        (Minimum("v", "n"), None, [[-1, 9, -4]]),
        (Minimum("v", "n"), {3, 4}, [[5, GREATEST, 4]]),
        (Maximum("v", "n"), None, [[5, 9, 4]]),
        (Maximum("v", "n"), {1, 0, 4}, [[-1, LEAST, 4]]),
        (Mean("v", "n"), None, [[4, 9, 0], [2, 1, 2]]),
        (Mean("v", "n"), {3, 0, 4}, [[5, 0, 0], [1, 0, 2]]),
        (Sum("v", "n"), set(), [[0, 0, 0]]),
    ],
)
def test_runs_of_rows_are_added_up(
    value: Value, matches: set[int] | None, expected: list[list[int]]
) -> None:
    # Rows 3, 1 are a key's; 2 another's; 4, 0 the third's. Row 5 is not asked for.
    columns = {"n": array(-4, -1, 9, 5, 4, 1000)}
    order, begins = array(3, 1, 2, 4, 0), np.array([0, 2, 3], np.intp)
    chosen = None if matches is None else np.isin(np.arange(6), list(matches))
    found = [
        accumulate(accumulator, columns, chosen, order, begins).tolist()
        for accumulator in accumulators_of((value,))
    ]
    assert found == expected


def test_a_decimal_reads_in_its_own_unit_and_an_integer_as_one() -> None:
    assert read(Sum("v", "price"), array(1234, 0, -1)) == [12.34, 0.0, -0.01]
    read_integer = read(Sum("v", "n"), array(7))
    assert read_integer == [7]
    assert isinstance(read_integer[0], int)


def test_of_nothing_there_is_no_least_greatest_or_mean_but_a_sum_of_zero() -> None:
    assert read(Minimum("v", "price"), array(GREATEST, 5)) == [None, 0.05]
    assert read(Maximum("v", "n"), array(LEAST, 5)) == [None, 5]
    assert read(Mean("v", "price"), array(0, 300), array(0, 2)) == [None, 1.5]
    assert read(Sum("v", "n"), array(0)) == [0]


def test_counts_read_as_they_are() -> None:
    assert read(Count("v"), array(3, 4)) == [3, 4]
    assert read(Distinct("v", "price"), array(3, 4)) == [3, 4]


def test_an_integer_that_no_float_holds_stays_exact() -> None:
    assert read(Sum("v", "n"), array(2**62 + 1)) == [2**62 + 1]


def test_what_is_read_is_plain_python_ready_for_json() -> None:
    values = (Count("a"), Sum("b", "price"), Mean("c", "n"), Maximum("d", "n"))
    arrays = [array(1), array(2), array(3), array(4), array(5)]
    for column in read_values(values, accumulators_of(values), arrays, FIELDS):
        assert type(column[0]) in (int, float)
