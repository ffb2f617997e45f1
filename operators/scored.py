"""What a scored point becomes: a row with score and grade, and an incident where it is alarming.

The three kinds of detectors (of a stream's windows, of a key's windows, of events) differ in what a
point is and where its forest lives; what they say of it is said here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import metrics
from messages import Alert, Json, Scalar
from operators.detector import Detections
from operators.event_time import iso_time
from operators.feature_spec import DetectorSpec
from operators.rules import incident_id, key_text

STREAM: dict[str, Scalar] = {"scope": "stream"}
"""The key of an incident of the whole stream."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Point:
    """Where a scored point stands.

    Attributes:
        key: Whose it is; empty for one of the whole stream.
        start_us: The window's start, or the event's time.
        end_us: The window's end, or the event's time.
        values: The numbers as people read them.
        partial: Whether a start at LATEST has cut its window.
    """

    key: Mapping[str, Scalar]
    start_us: int
    end_us: int
    values: Sequence[float | None]
    partial: bool = False


class Scored:
    """Writes what one detector found.

    Args:
        domain: The domain's name.
        spec: The detector.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(self, domain: str, spec: DetectorSpec, clock: Callable[[], int]) -> None:
        self._domain = domain
        self._spec = spec
        self._clock = clock
        self._observed = metrics.anomaly_score.labels(domain, spec.name)

    def observe(self, found: Detections) -> None:
        """Take scores into the metric; refused points have none."""
        for score in found.scores[~np.isnan(found.scores)].tolist():
            self._observed.observe(score)

    def row(self, point: Point, found: Detections, index: int) -> dict[str, Scalar | bool | None]:
        """Return a point's row.

        Args:
            point: Which.
            found: What was found in its batch.
            index: Its place in the batch.
        """
        start = iso_time(point.start_us)
        names = (self._domain, self._spec.name, key_text(point.key), start)
        return {
            "row_id": "/".join(name for name in names if name),
            "domain": self._domain,
            "aggregate": self._spec.name,
            "window_start": start,
            "window_end": iso_time(point.end_us),
            **point.key,
            **self._named(point),
            "score": round(float(found.scores[index]), _DIGITS),
            "grade": round(float(found.grades[index]), _DIGITS),
            "emitted_at": iso_time(self._clock()),
            **({"partial": True} if point.partial else {}),
        }

    def alert(
        self,
        point: Point,
        found: Detections,
        index: int,
        evidence: Mapping[str, Json] | None = None,
    ) -> Alert:
        """Return the incident of a point where an alarm begins; it names score and attribution.

        Args:
            point: Which.
            found: What was found in its batch, with explanations.
            index: Its place in the batch.
            evidence: What else the incident names.
        """
        assert found.explanations is not None, "asked for by all detectors"
        key = point.key or STREAM
        level = self._spec.levels[found.alarms[index] - 1]
        score = round(float(found.scores[index]), _DIGITS)
        grade = round(float(found.grades[index]), _DIGITS)
        parts = found.explanations.columns_of(index, self._spec.columns)
        return Alert(
            id=incident_id(self._domain, self._spec.name, key, point.start_us),
            domain=self._domain,
            rule=self._spec.name,
            severity=level.severity,
            phase="final",
            key=dict(key),
            window_start_us=point.start_us,
            window_end_us=point.end_us,
            value=score if self._spec.levels_of == "score" else grade,
            value_name=self._spec.levels_of,
            threshold=level.above,
            detected_at_us=self._clock(),
            partial=point.partial,
            evidence={
                "score": score,
                "grade": grade,
                "features": {**self._named(point)},
                "attribution": {name: {**part} for name, part in parts.items()},
                **(evidence or {}),
            },
        )

    def _named(self, point: Point) -> dict[str, float | None]:
        named = zip(self._spec.columns, point.values, strict=True)
        return {
            name: round(value, _DIGITS) if isinstance(value, float) else value
            for name, value in named
        }
