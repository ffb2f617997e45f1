"""Which events a window counts, where it declares a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from operators.codes import TextCodes
from operators.decode import Column
from operators.session_spec import AnyWindow
from operators.spec import Known


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
