"""The events of one worker tick as columns, for all windows: what several need is made once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from messages import Int64s, Scalar, UInt64s
from operators.accumulators import EVENT_TIME, accumulate, accumulators_of
from operators.codes import TextCodes, combine, integer_codes
from operators.decode import Column
from operators.filter_spec import Where
from operators.intake import Rows
from operators.value_spec import ApproxDistinct, Distinct, First, Last, Value, Without

Matches = npt.NDArray[np.bool_]


class Tick:
    """The rows of one tick.

    Args:
        rows: What the slots brought, at least one part.
        texts: What the rows' codes of texts were made with.
    """

    def __init__(self, rows: Sequence[Rows], texts: TextCodes) -> None:
        self._rows = rows
        self._texts = texts
        self.columns: dict[str, Column] = {
            name: np.concatenate([part.columns[name] for part in rows]) for name in rows[0].columns
        }
        self.times_us: Int64s = np.concatenate([part.times_us for part in rows])
        self.columns[EVENT_TIME] = self.times_us
        self._codes: dict[str, UInt64s] = {}
        self._matches: dict[Where, Matches] = {}

    def counted(self, window: int) -> Int64s | None:
        """Return the rows that the window of this index counts; None for all."""
        if all(part.counted[window] is None for part in self._rows):
            return None
        found: list[Int64s] = []
        offset = 0
        for part in self._rows:
            size, counted = len(part.times_us), part.counted[window]
            found.append(offset + (np.arange(size) if counted is None else counted))
            offset += size
        return np.concatenate(found)

    def codes(self, name: str) -> UInt64s:
        """Return uint64[n], the codes of one column."""
        if name not in self._codes:
            column = self.columns[name]
            is_text = column.dtype == np.uint64
            self._codes[name] = (
                column.view(np.uint64) if is_text else integer_codes(column.view(np.int64))
            )
        return self._codes[name]

    def key_codes(self, key: Sequence[str]) -> UInt64s:
        """Return uint64[n], the codes of a key of several fields; of no field, one for all."""
        if not key:
            return np.zeros(len(self.times_us), np.uint64)
        return combine([self.codes(name) for name in key])

    def matches(self, where: Where) -> Matches:
        """Return bool[n], the rows that pass."""
        if where not in self._matches:
            wanted = self._texts.of(where.choices, len(where.choices))
            self._matches[where] = np.isin(self.codes(where.field), wanted)
        return self._matches[where]

    def accumulated(
        self, values: Sequence[Value], order: Int64s, begins: npt.NDArray[np.intp]
    ) -> list[Int64s]:
        """Return each accumulator of the values over runs of rows, as `accumulate` has it."""
        arrays: list[Int64s] = []
        for accumulator in accumulators_of(values):
            value = values[accumulator.value]
            if isinstance(value, Distinct | ApproxDistinct):  # grow by their members, later
                arrays.append(np.zeros(len(begins), np.int64))
                continue
            where = None if isinstance(value, First | Last | Without) else value.where
            matches = None if where is None else self.matches(where)
            arrays.append(accumulate(accumulator, self.columns, matches, order, begins))
        return arrays

    def keys(self, key: Sequence[str], rows: Int64s) -> list[tuple[Scalar, ...]] | None:
        """Return the keys at `rows`; None for one integer: its code can be turned back."""
        if not key:
            return [()] * len(rows)
        parts: list[list[Scalar]] = []
        for name in key:
            entries = self.columns[name][rows]
            if entries.dtype == np.uint64:
                parts.append([self._texts.text_of(code) for code in entries.tolist()])
            elif len(key) == 1:
                return None
            else:
                parts.append(entries.tolist())
        return list(zip(*parts, strict=True))

    def texts_of(self, codes: UInt64s) -> dict[int, str]:
        """Return the text of each of these codes of this tick's texts."""
        return {code: self._texts.text_of(code) for code in np.unique(codes).tolist()}
