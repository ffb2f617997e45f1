"""The values of sessions as rows of one int64 table: made of events, merged, read.

A column of the table is a piece of a session or a session. Its rows are the accumulators of the
plain values, then two for each text: the time of the earliest (latest) event that has one, and the
text's code. Merging doesn't depend on order: sums, minima, maxima, and for texts the least
(greatest) pair of time and code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from messages import Int64s, Scalar
from operators.accumulators import GREATEST, LEAST, accumulators_of, flags_without, read_values
from operators.codes import TextCodes
from operators.session_spec import FirstText, LastText, SessionValue
from operators.spec import Field
from operators.tick import Tick
from operators.value_spec import Without

Begins = npt.NDArray[np.intp]
NO_TEXT = int(np.array([TextCodes()[""]], np.uint64).view(np.int64)[0])


class SessionValues:
    """The layout of a session window's values."""

    def __init__(self, values: Sequence[SessionValue]) -> None:
        self._values = tuple(values)
        self._plain = [v for v in values if not isinstance(v, FirstText | LastText | Without)]
        self._texts = [value for value in values if isinstance(value, FirstText | LastText)]
        self._accumulators = accumulators_of(self._plain)
        self.height = len(self._accumulators) + 2 * len(self._texts)

    def of_rows(self, tick: Tick, order: Int64s, begins: Begins) -> Int64s:
        """Return int64[height, k] of runs of rows.

        Args:
            tick: The rows.
            order: int64[m], the rows to take, sorted so that those of a run follow each other.
            begins: int64[k], where each run begins in `order`.
        """
        table = np.empty((self.height, len(begins)), np.int64)
        for row, array in enumerate(tick.accumulated(self._plain, order, begins)):
            table[row] = array
        times_us = tick.times_us[order]
        for row, value in self._text_rows():
            codes = tick.codes(value.of)[order].view(np.int64)
            _, nothing = _choice(value)
            known_us = np.where(codes == NO_TEXT, nothing, times_us)
            table[row : row + 2] = _chosen(value, known_us, codes, begins)
        return table

    def merge(self, table: Int64s, begins: Begins) -> Int64s:
        """Return int64[height, k]: runs of columns merged into one each."""
        merged = np.empty((self.height, len(begins)), np.int64)
        for row, accumulator in enumerate(self._accumulators):
            accumulator.merge.reduceat(table[row], begins, out=merged[row])
        for row, value in self._text_rows():
            merged[row : row + 2] = _chosen(value, table[row], table[row + 1], begins)
        return merged

    def text_codes(self, table: Int64s) -> npt.NDArray[np.uint64]:
        """Return the codes of all texts in a table."""
        codes = [
            table[row + 1][table[row] != _choice(value)[1]] for row, value in self._text_rows()
        ]
        return np.concatenate([np.empty(0, np.int64), *codes]).view(np.uint64)

    def read(
        self, table: Int64s, texts: Mapping[int, str], fields: Mapping[str, Field]
    ) -> dict[str, list[Scalar | None]]:
        """Return what people read: for each value, by name and in order, one entry a session."""
        arrays = list(table[: len(self._accumulators)])
        plain = read_values(self._plain, self._accumulators, arrays, fields)
        read = dict(zip((value.name for value in self._plain), plain, strict=True))
        for row, value in self._text_rows():
            _, nothing = _choice(value)
            read[value.name] = [
                None if time_us == nothing else texts[code]
                for time_us, code in zip(
                    table[row].tolist(), table[row + 1].view(np.uint64).tolist(), strict=True
                )
            ]
        for derived in self._values:
            if isinstance(derived, Without):
                read[derived.name] = flags_without(read[derived.some], read[derived.none])
        return {value.name: read[value.name] for value in self._values}

    def _text_rows(self) -> list[tuple[int, FirstText | LastText]]:
        first = len(self._accumulators)
        return [(first + 2 * index, value) for index, value in enumerate(self._texts)]


def _choice(value: FirstText | LastText) -> tuple[np.ufunc, int]:
    """Return how two times become one, and the time of no event."""
    return (np.minimum, GREATEST) if isinstance(value, FirstText) else (np.maximum, LEAST)


def _chosen(
    value: FirstText | LastText, times_us: Int64s, codes: Int64s, begins: Begins
) -> tuple[Int64s, Int64s]:
    """Return the least (greatest) pair of time and code of each run."""
    choose, nothing = _choice(value)
    chosen_us = choose.reduceat(times_us, begins)
    runs = np.diff(begins, append=len(times_us))
    candidates = np.where(times_us == np.repeat(chosen_us, runs), codes, nothing)
    return chosen_us, choose.reduceat(candidates, begins)
