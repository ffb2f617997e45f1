"""HyperLogLog: its error, its merging, and its registers against a plain reading of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from messages import UInt64s
from operators.codes import integer_codes
from operators.hyperloglog import add_codes, empty_registers, estimates, standard_error

BITS = 12


def codes_of(seed: int, count: int) -> UInt64s:
    rng = np.random.default_rng(seed)
    return integer_codes(rng.integers(0, 2**62, count))


def registers_of(codes: UInt64s, bits: int = BITS) -> np.ndarray:
    registers = empty_registers(1, bits)
    add_codes(registers, np.zeros(len(codes), np.int64), codes)
    return registers


def test_a_register_holds_the_greatest_rank_of_its_codes() -> None:
    codes = np.array([0, 1, (5 << 52) | (1 << 51), (5 << 52) | (1 << 49), 2**64 - 1], np.uint64)
    expected = np.zeros(1 << BITS, np.uint8)
    for code in codes.tolist():
        rest = f"{code:064b}"[BITS:]
        rank = len(rest) - len(rest.lstrip("0")) + 1  # all zeros: one more than there are
        expected[code >> 52] = max(expected[code >> 52], rank)
    assert expected[0] == 53
    assert (registers_of(codes)[0] == expected).all()


@pytest.mark.parametrize("count", [0, 1, 100, 5_000, 20_000, 200_000])
def test_the_error_is_the_one_that_is_stated(count: int) -> None:
    found = np.array([estimates(registers_of(codes_of(seed, count)))[0] for seed in range(40)])
    if count == 0:
        assert (found == 0).all()
        return
    errors = found / count - 1
    # Of 40 estimates the root mean square is within a third of the standard error or below it,
    # and the mean within its own three standard errors of nothing.
    assert np.sqrt((errors**2).mean()) < standard_error(BITS) * 4 / 3
    assert abs(errors.mean()) < 3 * standard_error(BITS) / np.sqrt(40)


def test_more_bits_err_less() -> None:
    assert standard_error(14) == pytest.approx(0.008125)
    errors = [
        estimates(registers_of(codes_of(seed, 100_000), 14))[0] / 100_000 - 1 for seed in range(20)
    ]
    assert np.sqrt(np.mean(np.square(errors))) < 0.0081 * 4 / 3


def test_order_repeats_and_batches_change_nothing() -> None:
    codes = codes_of(7, 10_000)
    whole = registers_of(codes)
    shuffled = np.random.default_rng(1).permutation(np.concatenate([codes, codes[:5_000]]))
    batches = empty_registers(1, BITS)
    for part in np.array_split(shuffled, 7):
        add_codes(batches, np.zeros(len(part), np.int64), part)
    assert (batches == whole).all()
    halves = np.maximum(registers_of(codes[:5_000]), registers_of(codes[5_000:]))
    assert (halves == whole).all()


def test_keys_are_counted_apart() -> None:
    codes = codes_of(3, 6_000)
    registers = empty_registers(3, BITS)
    rows = np.arange(6_000) % 2 * 2  # the first and the last
    add_codes(registers, rows, codes)
    assert (registers[0] == registers_of(codes[0::2])[0]).all()
    assert (registers[2] == registers_of(codes[1::2])[0]).all()
    assert estimates(registers)[1] == 0
