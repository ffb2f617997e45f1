"""What detectors of events see of a slot's blocks: the numbers of each event, and who it was.

Made where events are decoded, while codes of texts can be turned back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from messages import Block, Floats, Int64s, Points, Scalar
from operators.codes import TextCodes
from operators.decode import Column, Decoded
from operators.feature_spec import RecordForest
from operators.spec import Field

SHARD, SEQUENCE_NUMBER = "shard", "sequence_number"
"""What an incident's key names beside the declared fields: together they name one event."""


class RecordPoints:
    """Makes points of events for the detectors of events.

    Args:
        detectors: Which.
        fields: The domain's fields, by name.
        texts: What the rows' codes were made with.
    """

    def __init__(
        self, detectors: Sequence[RecordForest], fields: Mapping[str, Field], texts: TextCodes
    ) -> None:
        self._detectors = tuple(detectors)
        self._fields = fields
        self._texts = texts

    def __bool__(self) -> bool:
        return bool(self._detectors)

    def of(self, block: Block, decoded: Decoded, events: Int64s) -> list[Points]:
        """Return the points of a block for each detector.

        Args:
            block: The records.
            decoded: What they were decoded to.
            events: The rows that are events, ascending.
        """
        names = _names(block, decoded, events)
        return [
            Points(
                rule=detector.name,
                keys=tuple(
                    {**dict(zip(detector.key, key, strict=True)), SHARD: block.shard, **name}
                    for key, name in zip(
                        self._keys(detector, decoded.columns, events), names, strict=True
                    )
                ),
                times_us=decoded.times_us[events],
                numbers=self._numbers(detector, decoded.columns, events),
            )
            for detector in self._detectors
        ]

    def _keys(
        self, detector: RecordForest, columns: Mapping[str, Column], events: Int64s
    ) -> list[tuple[Scalar, ...]]:
        parts: list[list[Scalar]] = []
        for name in detector.key:
            entries = columns[name][events]
            if self._fields[name].is_text:
                codes = entries.view(np.uint64).tolist()
                parts.append([self._texts.text_of(code) for code in codes])
            else:
                parts.append(self._read(name, entries).tolist())
        return list(zip(*parts, strict=True)) if parts else [()] * len(events)

    def _numbers(
        self, detector: RecordForest, columns: Mapping[str, Column], events: Int64s
    ) -> Floats:
        found = [self._read(name, columns[name][events]) for name in detector.fields]
        return np.column_stack(found).astype(np.float64)

    def _read(self, field: str, entries: Column) -> Int64s | Floats:
        """Return numbers of a field as people read them."""
        numbers = entries.view(np.int64)
        scale = self._fields[field].scale
        return numbers / 10**scale if scale else numbers


def _names(block: Block, decoded: Decoded, events: Int64s) -> list[dict[str, Scalar]]:
    """Return each event's sequence number; further objects of one record get a number of theirs."""
    found: list[dict[str, Scalar]] = []
    before, objects = -1, 0
    for row in events.tolist():
        source = decoded.source_of(row)
        objects = objects + 1 if source == before else 0
        before = source
        number = str(block.sequence_numbers[source])
        found.append({SEQUENCE_NUMBER: f"{number}#{objects}" if objects else number})
    return found
