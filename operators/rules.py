"""Threshold rules over a key group's windows: early when a key crosses, final when it closes.

A rule's value only grows inside a window, so a crossing is `before <= limit < after`, found for a
whole batch at once. One alert is made a key that crossed, none for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from messages import Alert, Int64s, Scalar
from operators.accumulators import accumulators_of
from operators.spec import Field, Level, Sum, Threshold, Window
from operators.windows import Change, OpenWindow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(time_us: int) -> str:
    """Write a time as ISO 8601 in UTC, with a fraction only where there is one."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat().replace("+00:00", "Z")


class Rule:
    """One threshold rule over the windows of one key group.

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
        spec: Threshold,
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
        index = [value.name for value in window.values].index(spec.value)
        value = window.values[index]
        self._unit = 10 ** fields[value.of].scale if isinstance(value, Sum) else 1
        accumulators = accumulators_of(window.values)
        self._array = [accumulator.value for accumulator in accumulators].index(index)
        # Rounded, since 0.29 * 100 is 28.999999999999996, which 29 would be above.
        self._limits = [round(level.above * self._unit, 6) for level in spec.levels]

    def crossings(self, start_us: int, change: Change) -> Iterator[Alert]:
        """Yield an alert for each key that crossed a limit, naming the highest one it crossed."""
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
        values = window.arrays[self._array]
        rows = np.flatnonzero(values > self._limits[0])
        if len(rows) == 0:
            return
        reached = np.searchsorted(self._limits, values[rows]) - 1
        levels = [self.spec.levels[index] for index in reached.tolist()]
        yield from self._alerts(start_us, window, rows, levels, ["final"] * len(rows))

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
        numbers = window.arrays[self._array][rows].tolist()
        cut = self._started_at_us is not None and start_us < self._started_at_us
        for key, number, level, phase in zip(keys, numbers, levels, phases, strict=True):
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
                value=number / self._unit if self._unit != 1 else number,
                value_name=self.spec.value,
                threshold=level.above,
                detected_at_us=now_us,
                partial=cut,
            )


def incident_id(domain: str, rule: str, key: Mapping[str, Scalar], window_start_us: int) -> str:
    """Return the id that all phases of an incident share."""
    return f"{domain}/{rule}/{key_text(key)}/{iso_time(window_start_us)}"


def key_text(key: Mapping[str, Scalar]) -> str:
    """Write a key as `name=value,name=value`; no two keys of the same fields are written alike."""
    return ",".join(f"{name}={_escaped(value)}" for name, value in key.items())


def _escaped(value: Scalar) -> str:
    return str(value).replace("\\", "\\\\").replace(",", "\\,")
