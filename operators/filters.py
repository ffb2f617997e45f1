"""Which events a window counts, where it declares a filter, and which are none of a domain's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from operators.codes import TextCodes
from operators.decode import Column
from operators.filter_spec import Drop, Known
from operators.session_spec import AnyWindow


class Filters:
    """The filters of a run's windows.

    Args:
        windows: The windows, in order.
        texts: What the rows' codes were made with.
    """

    def __init__(self, windows: Sequence[AnyWindow], texts: TextCodes) -> None:
        self._wheres = [window.where for window in windows]
        self._texts = texts

    def passes(self, window: int, columns: Mapping[str, Column]) -> npt.NDArray[np.bool_] | None:
        """Return which rows the window of this index counts, bool[n]; None for all."""
        where = self._wheres[window]
        if where is None:
            return None
        codes = columns[where.field].view(np.uint64)
        if isinstance(where, Known):
            known: npt.NDArray[np.bool_] = codes != np.uint64(self._texts[""])
            return known
        return np.isin(codes, self._texts.of(where.choices, len(where.choices)))


class Drops:
    """Which events a domain drops on purpose.

    Args:
        drops: What it declares.
        texts: What the rows' codes were made with.
    """

    def __init__(self, drops: Sequence[Drop], texts: TextCodes) -> None:
        self._drops = drops
        self._texts = texts

    def found(self, columns: Mapping[str, Column]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Yield each reason, and which rows are dropped for it, bool[n]."""
        for drop in self._drops:
            choices = drop.where.choices
            codes = columns[drop.where.field].view(np.uint64)
            yield drop.reason, np.isin(codes, self._texts.of(choices, len(choices)))
