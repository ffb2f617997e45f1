"""A detector of keys at work: each key of one key group has a forest of its own.

When a window closes, its keys' values are points, each scored by its key's forest, in the order of
codes; so what a forest learns depends on its key's windows alone, whatever the processes.

Guarantee: forests and grades are in the group's snapshot; after a crash the same windows get the
same scores, bit for bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import metrics
from messages import AggregateRows, Alert, Scalar
from operators.accumulators import accumulators_of, read_values
from operators.feature_spec import KeyForest, config_of
from operators.forest_pool import ForestPool
from operators.rules import key_text
from operators.scored import Point, Scored
from operators.spec import Field, Window
from operators.value_spec import ApproxDistinct, Count, Distinct, Sum
from operators.windows import OpenWindow

_US_PER_SECOND = 1_000_000


class KeyDetection:
    """Finds what is unusual of a key, on one key group's windows.

    Args:
        domain: The domain's name.
        spec: The detector.
        window: The window it sees.
        fields: The domain's fields, by name.
        clock: Now, in microseconds since the epoch.
        started_at_us: Windows that begin before are cut off by the start, and not scored.
        state: What `snapshot` returned, or None.

    Attributes:
        name: The detector's.
        ledger: How many windows of keys were scored, refused for a null, or cut.
    """

    def __init__(
        self,
        domain: str,
        spec: KeyForest,
        window: Window,
        fields: Mapping[str, Field],
        clock: Callable[[], int],
        started_at_us: int | None,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.name = spec.name
        self.ledger: Counter[str] = Counter(state["ledger"] if state else {})
        self._spec = spec
        self._window = window
        self._fields = fields
        self._started_at_us = started_at_us
        self._accumulators = accumulators_of(window.values)
        by_name = {value.name: index for index, value in enumerate(window.values)}
        self._places = [by_name[name] for name in spec.values]
        self._amounts = {
            place
            for place in self._places
            if isinstance(window.values[place], Count | Sum | Distinct | ApproxDistinct)
        }
        self._forgotten = metrics.forests_forgotten.labels(domain, spec.name)
        self._scored = Scored(domain, spec, clock)
        keys_a_group = -(-spec.max_keys // window.groups)
        self._pool = ForestPool(config_of(spec), domain, spec.name, keys_a_group)
        if state is not None:
            self._pool.load(state["forests"])

    def score(self, start_us: int, window: OpenWindow) -> Iterator[AggregateRows | Alert]:
        """Score a closed window's keys; yield their rows, and incidents where alarms begin."""
        if self._started_at_us is not None and start_us < self._started_at_us:
            self.ledger["windows_cut"] += len(window.codes)
            return
        keys = [
            dict(zip(self._window.key, key, strict=True)) for key in window.keys_of(window.codes)
        ]
        read = read_values(self._window.values, self._accumulators, window.arrays, self._fields)
        values = list(zip(*(read[place] for place in self._places), strict=True))
        seen = [
            [self._as_seen(value, place) for value, place in zip(row, self._places, strict=True)]
            for row in values
        ]
        forgotten = self._pool.forgotten
        found = self._pool.take(
            [key_text(key) for key in keys],
            np.full(len(keys), start_us),
            np.array(seen).reshape(len(keys), len(self._places)),
            explain=True,
        )
        self._forgotten.inc(self._pool.forgotten - forgotten)
        self._scored.observe(found)
        end_us = start_us + self._window.length_seconds * _US_PER_SECOND
        rows: list[dict[str, Scalar | bool | None]] = []
        for index, (key, numbers_of_key) in enumerate(zip(keys, values, strict=True)):
            if np.isnan(found.scores[index]):
                self.ledger["windows_refused"] += 1
                continue
            self.ledger["windows_scored"] += 1
            point = Point(key, start_us, end_us, numbers_of_key)
            if self._spec.emit:
                rows.append(self._scored.row(point, found, index))
            if found.alarms[index]:
                yield self._scored.alert(point, found, index)
        if rows:
            yield AggregateRows(self._spec.name, tuple(rows))

    def snapshot(self) -> dict[str, Any]:
        """Return the state; the group's snapshot carries it."""
        return {"ledger": dict(self.ledger), "forests": self._pool.dump()}

    def _as_seen(self, value: Scalar | None, place: int) -> float:
        """Return an amount by its logarithm, since amounts vary by factors; a null is NaN."""
        if value is None:
            return math.nan
        number = float(value)
        # Of the standard library: numpy's differs in the last bit from processor to processor.
        return math.copysign(math.log1p(abs(number)), number) if place in self._amounts else number
