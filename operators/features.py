"""Features of a whole stream: summaries of each key group's windows, and what they add up to.

Guarantee: the same features to the last bit however the keys are shared between groups and
processes: all that is added are integers. (The weights of an entropy are rounded to a millionth of
a bit for it.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from messages import Int64s, Scalar, Summary, UInt64s
from operators.accumulators import accumulators_of
from operators.feature_spec import Entropy, Feature, Keys, NewKeys, Share, StreamForest, Total
from operators.spec import Window
from operators.value_spec import Count, Sum
from operators.windows import OpenWindow, top_rows

WEIGHT_UNIT = 2.0**-20

_US_PER_SECOND = 1_000_000


class Summariser:
    """Summarises the closed windows of one key group for one detector.

    Args:
        detector: For which.
        window: The declared window.
        group: The key group's name.
        state: What `snapshot` returned, or None.
    """

    def __init__(
        self,
        detector: StreamForest,
        window: Window,
        group: str,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.detector = detector.name
        self._window = window.name
        self._group = group
        arrays = {
            window.values[accumulator.value].name: index
            for index, accumulator in enumerate(accumulators_of(window.values))
            if isinstance(window.values[accumulator.value], Count | Sum)
        }
        own = [feature for feature in detector.features if feature.window == window.name]
        self._totals = {name: arrays[name] for feature in own for name in feature.values}
        self._weights = {
            feature.value: arrays[feature.value] for feature in own if isinstance(feature, Entropy)
        }
        self._met = {
            feature.name: _Met(feature.memory_seconds * _US_PER_SECOND, (state or {}).get(name))
            for feature in own
            if isinstance(feature, NewKeys) and (name := feature.name)
        }
        wanted = [e.top for e in detector.evidence if e.window == window.name]
        self._top = max(wanted, default=0)

    def summarise(self, start_us: int, window: OpenWindow) -> Summary:
        """Summarise a window; windows come in the order of their starts."""
        totals = {name: int(window.arrays[index].sum()) for name, index in self._totals.items()}
        rows = top_rows(window, 0, self._top) if self._top else np.empty(0, np.int64)
        return Summary(
            rule=self.detector,
            window=self._window,
            group=self._group,
            start_us=start_us,
            totals=totals,
            keys=len(window.codes),
            new_keys={name: met.take(window.codes, start_us) for name, met in self._met.items()},
            weights={name: _weight(window.arrays[index]) for name, index in self._weights.items()},
            top=tuple(
                zip(
                    window.arrays[0][rows].tolist(),
                    window.codes[rows].tolist(),
                    window.keys_of(window.codes[rows]),
                    strict=True,
                )
            ),
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state; its arrays are replaced, never changed."""
        return {name: met.snapshot() for name, met in self._met.items()}


class _Met:
    """Which keys were met when, in the last so many microseconds."""

    def __init__(self, memory_us: int, state: tuple[UInt64s, Int64s] | None) -> None:
        self._memory_us = memory_us
        none = (np.empty(0, np.uint64), np.empty(0, np.int64))
        self._codes, self._last_us = state or none  # ascending by code

    def take(self, codes: UInt64s, start_us: int) -> int:
        """Take in a window's keys, ascending; return how many weren't met before."""
        remembered = self._last_us >= start_us - self._memory_us
        known, last_us = self._codes[remembered], self._last_us[remembered]
        is_known = np.isin(known, codes, assume_unique=True)
        new = len(codes) - int(is_known.sum())
        all_codes = np.concatenate([known[~is_known], codes])
        all_last_us = np.concatenate([last_us[~is_known], np.full(len(codes), start_us, np.int64)])
        order = np.argsort(all_codes)
        self._codes, self._last_us = all_codes[order], all_last_us[order]
        return new

    def snapshot(self) -> tuple[UInt64s, Int64s]:
        return self._codes, self._last_us


class Merged:
    """What the groups' summaries of one window start add up to.

    Args:
        state: What `snapshot` returned, or None.
    """

    def __init__(self, state: list[Summary] | None = None) -> None:
        self._summaries = state or []

    def add(self, summary: Summary) -> None:
        """Take in one group's."""
        self._summaries.append(summary)

    def features(self, features: Sequence[Feature], length_seconds: int) -> list[float]:
        """Return the features as people read them, in order."""
        return [self._feature(feature, length_seconds) for feature in features]

    def top(self, window: str, most: int) -> list[tuple[int, tuple[Scalar, ...]]]:
        """Return the keys with the greatest first values of all groups, the greatest first."""
        found = [entry for one in self._of(window) for entry in one.top]
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return [(count, key) for count, _, key in found[:most]]

    def snapshot(self) -> list[Summary]:
        """Return the state."""
        return self._summaries

    def _of(self, window: str) -> list[Summary]:
        return [one for one in self._summaries if one.window == window]

    def _feature(self, feature: Feature, length_seconds: int) -> float:
        own = self._of(feature.window)
        match feature:
            case Total():
                return sum(one.totals[feature.value] for one in own) / length_seconds
            case Share():
                whole = sum(one.totals[feature.of] for one in own)
                return sum(one.totals[feature.value] for one in own) / whole if whole else 0.0
            case Keys():
                return float(sum(one.keys for one in own))
            case NewKeys():
                return float(sum(one.new_keys[feature.name] for one in own))
            case Entropy():
                whole = sum(one.totals[feature.value] for one in own)
                weight = sum(one.weights[feature.value] for one in own) * WEIGHT_UNIT
                # Of equal counts of one key the difference is 0, give or take a rounding.
                return max(math.log2(whole) - weight / whole, 0.0) if whole else 0.0


def as_seen(features: Sequence[Feature], values: Sequence[float]) -> list[float]:
    """Return the features as a forest sees them: amounts by their logarithms."""
    return [
        math.log1p(max(value, 0.0)) if isinstance(feature, Total | Keys | NewKeys) else value
        for feature, value in zip(features, values, strict=True)
    ]


def _weight(counts: Int64s) -> int:
    some = counts[counts > 0].astype(np.float64)
    return int(np.rint(some * np.log2(some) / WEIGHT_UNIT).astype(np.int64).sum())
