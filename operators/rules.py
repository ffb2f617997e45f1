"""Rules over a key group's windows.

The value of a `Threshold` only grows inside a window, so it fires early, when a key crosses a
limit: `before <= limit < after`, found for a whole batch at once; and once more when the window
closes. A `Ratio` fires only then. One alert is made a key that crossed, none for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from messages import Alert, Int64s, Json, Scalar
from operators.accumulators import accumulators_of, read_values
from operators.event_time import iso_time
from operators.spec import Field, Level, Ratio, Threshold, Window
from operators.value_spec import Sum
from operators.windows import Change, OpenWindow


class Rule:
    """One rule over the windows of one key group.

    Args:
        domain: The domain's name.
        spec: The rule.
        window: The window it watches.
        fields: The domain's fields, by name.
        clock: Now, in microseconds since the epoch.
        started_at_us: Windows that begin before are cut off by the start; None when none is.
    """

    def __init__(
        self,
        domain: str,
        spec: Threshold | Ratio,
        window: Window,
        fields: dict[str, Field],
        clock: Callable[[], int],
        started_at_us: int | None,
    ) -> None:
        self.spec = spec
        self._domain = domain
        self._window = window
        self._clock = clock
        self._started_at_us = started_at_us
        self._fields = fields
        self._accumulators = accumulators_of(window.values)
        self._array, self._unit = self._place_of(spec.value)
        self._whole = self._place_of(spec.of)[0] if isinstance(spec, Ratio) else None
        self._value_name = spec.value if self._whole is None else f"share_of_{spec.value}"
        # Rounded, since 0.29 * 100 is 28.999999999999996, which 29 would be above.
        self._limits = [round(level.above * self._unit, 6) for level in spec.levels]

    def _place_of(self, name: str) -> tuple[int, int]:
        """Return where a value's accumulator is, and how many of its units make 1."""
        index = [value.name for value in self._window.values].index(name)
        value = self._window.values[index]
        unit = 10 ** self._fields[value.of].scale if isinstance(value, Sum) else 1
        return [accumulator.value for accumulator in self._accumulators].index(index), unit

    def crossings(self, start_us: int, change: Change) -> Iterator[Alert]:
        """Yield an alert for each key that crossed a limit, naming the highest one it crossed."""
        if self._whole is not None:
            return
        before = change.before[self._array]
        after = change.window.arrays[self._array][change.rows]
        if after.max() <= self._limits[0]:
            return
        crossed = np.zeros(len(after), np.int64)  # 0, or 1 + the index of the level
        for index, limit in enumerate(self._limits):
            crossed[(before <= limit) & (after > limit)] = index + 1
        rows = np.flatnonzero(crossed)
        if len(rows) == 0:
            return
        levels = [self.spec.levels[index - 1] for index in crossed[rows].tolist()]
        phases = ["open" if index == 1 else "raised" for index in crossed[rows].tolist()]
        yield from self._alerts(start_us, change.window, change.rows[rows], levels, phases)

    def finals(self, start_us: int, window: OpenWindow) -> Iterator[Alert]:
        """Yield the last alert of each incident of a closed window."""
        values = self._values(window)
        rows = np.flatnonzero(values > self._limits[0])
        if len(rows) == 0:
            return
        reached = np.searchsorted(self._limits, values[rows]) - 1
        levels = [self.spec.levels[index] for index in reached.tolist()]
        yield from self._alerts(start_us, window, rows, levels, ["final"] * len(rows))

    def _values(self, window: OpenWindow) -> npt.NDArray[np.int64 | np.float64]:
        """Return what is held against the limits, a key each."""
        values = window.arrays[self._array]
        if self._whole is None or not isinstance(self.spec, Ratio):
            return values
        whole = window.arrays[self._whole]
        counts = whole >= max(self.spec.at_least, 1)
        return np.where(counts, values / np.maximum(whole, 1), 0.0)

    def _alerts(
        self,
        start_us: int,
        window: OpenWindow,
        rows: Int64s,
        levels: Sequence[Level],
        phases: Sequence[str],
    ) -> Iterator[Alert]:
        now_us = self._clock()
        codes = window.codes[rows]
        keys = window.keys_of(codes)
        numbers = self._values(window)[rows].tolist()
        cut = self._started_at_us is not None and start_us < self._started_at_us
        evidence = self._evidence(window, rows)
        for key, number, level, phase, known in zip(
            keys, numbers, levels, phases, evidence, strict=True
        ):
            named: dict[str, Scalar] = dict(zip(self._window.key, key, strict=True))
            yield Alert(
                id=incident_id(self._domain, self.spec.name, named, start_us),
                domain=self._domain,
                rule=self.spec.name,
                severity=level.severity,
                phase=phase,
                key=named,
                window_start_us=start_us,
                window_end_us=start_us + self._window.length_seconds * 1_000_000,
                value=self._readable(number),
                value_name=self._value_name,
                threshold=level.above,
                detected_at_us=now_us,
                partial=cut,
                evidence=known,
            )

    def _readable(self, number: float) -> Scalar:
        if self._whole is not None:
            return round(number, 6)
        return number / self._unit if self._unit != 1 else number

    def _evidence(self, window: OpenWindow, rows: Int64s) -> Iterator[dict[str, Json]]:
        """Yield the other values of each key, so far, and its most frequent texts."""
        arrays = [array[rows] for array in window.arrays]
        read = read_values(self._window.values, self._accumulators, arrays, self._fields)
        names = [value.name for value in self._window.values]
        for code, *values in zip(window.codes[rows].tolist(), *read, strict=True):
            known: dict[str, Json] = dict(zip(names, values, strict=True))
            if self._whole is None:
                del known[self.spec.value]  # the alert's own
            for top, counts in zip(self._window.evidence, window.tops, strict=True):
                known[top.name] = [
                    {top.of: text, top.counted_as: count}
                    for text, count in counts.of(code, top.most)
                ]
            yield known


def incident_id(domain: str, rule: str, key: Mapping[str, Scalar], window_start_us: int) -> str:
    """Return the id that all phases of an incident share."""
    return f"{domain}/{rule}/{key_text(key)}/{iso_time(window_start_us)}"


def key_text(key: Mapping[str, Scalar]) -> str:
    """Write a key as `name=value,name=value`; no two keys of the same fields are written alike."""
    return ",".join(f"{name}={escaped(value)}" for name, value in key.items())


def escaped(value: Scalar) -> str:
    """Write a value so that no comma of it is taken for the end of it."""
    return str(value).replace("\\", "\\\\").replace(",", "\\,")
