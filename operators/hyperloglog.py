"""HyperLogLog: how many different values, from 2 ** bits registers of one byte.

A value's code is 64 well-mixed bits. The first `bits` of them choose a register, which keeps the
greatest rank seen: how many zeros the others begin with, plus 1. Registers are merged by taking the
greater, so the estimate doesn't depend on the order of events, batches, processes or crashes.

The standard error is 1.04 / sqrt(2 ** bits), over the whole range: small numbers are nearly exact.

Sources: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog" (2007) for the registers and the error;
Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), algorithm 6, for the
estimator, which needs neither bias tables nor thresholds.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from messages import Floats, Int64s, UInt64s

Registers = npt.NDArray[np.uint8]

LEAST_BITS, MOST_BITS = 12, 16
"""From 12 on, what is behind the register's bits is an exact float: see `_ranks`."""

_CODE_BITS = 64


def standard_error(bits: int) -> float:
    """Return the standard error of an estimate, as a part of it."""
    return float(1.04 / math.sqrt(2**bits))


def empty_registers(keys: int, bits: int) -> Registers:
    """Return uint8[keys, 2 ** bits], of keys that have shown no value."""
    return np.zeros((keys, 1 << bits), np.uint8)


def add_codes(registers: Registers, rows: Int64s, codes: UInt64s) -> None:
    """Take values in.

    Args:
        registers: uint8[k, 2 ** bits], changed in place.
        rows: int64[n], the row of each value's key.
        codes: uint64[n], the values' codes.
    """
    size = registers.shape[1]
    bits = size.bit_length() - 1
    which = (codes >> np.uint64(_CODE_BITS - bits)).view(np.int64)
    np.maximum.at(registers.reshape(-1), rows * size + which, _ranks(codes, bits))


def estimates(registers: Registers) -> Floats:
    """Return float64[k], how many different values each row has seen."""
    keys, size = registers.shape
    top = _CODE_BITS - (size.bit_length() - 1) + 1  # the greatest rank
    at = registers + np.arange(keys)[:, None] * (top + 1)
    counts = np.bincount(at.reshape(-1), minlength=keys * (top + 1)).reshape(keys, top + 1)
    found = [_estimate(row.tolist(), size, top) for row in counts]
    return np.array(found, np.float64)


def _ranks(codes: UInt64s, bits: int) -> Registers:
    rest_bits = _CODE_BITS - bits
    rest = codes & np.uint64((1 << rest_bits) - 1)
    lengths = np.frexp(rest.astype(np.float64))[1]  # bit lengths: below 2 ** 53 floats are exact
    return (rest_bits + 1 - lengths).astype(np.uint8)


def _estimate(counts: list[int], size: int, top: int) -> float:
    """Estimate from how many registers hold each rank, 0 to `top`."""
    total = size * _tau(1 - counts[top] / size)
    for count in reversed(counts[1:top]):
        total = 0.5 * (total + count)
    total += size * _sigma(counts[0] / size)
    return 0.0 if math.isinf(total) else size * size / (2 * math.log(2) * total)


def _sigma(x: float) -> float:
    """Ertl's sigma: what empty registers say."""
    if x == 1:
        return math.inf
    total, weight, before = x, 1.0, -1.0
    while total != before:
        before = total
        x *= x
        total += x * weight
        weight *= 2
    return total


def _tau(x: float) -> float:
    """Ertl's tau: what full registers say."""
    if x in (0, 1):
        return 0.0
    total, weight, before = 1 - x, 1.0, -1.0
    while total != before:
        before = total
        x = math.sqrt(x)
        weight *= 0.5
        total -= (1 - x) ** 2 * weight
    return total / 3
