"""The engine's view of a sink: constant parts that are flushed before an epoch is committed."""

from __future__ import annotations

import time
from collections.abc import Callable

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

import metrics
from dataflows.vitals import Vitals
from messages import Opening, Output
from sinks.base import Part, PartState, Sink


class SinkStep(FixedPartitionedSink[Output | Opening, PartState]):
    """Writes to one sink. A committed epoch is a delivered one.

    Args:
        sink: Where items go.
        vitals: The process's.
    """

    def __init__(self, sink: Sink, vitals: Vitals) -> None:
        self._sink = sink
        self._vitals = vitals
        self._order = {part: index for index, part in enumerate(sorted(sink.parts))}

    def list_parts(self) -> list[str]:
        """Return the parts: constant, as the engine asks only once."""
        return list(self._sink.parts)

    def part_fn(self, item_key: str) -> int:
        """Return the index of the part of this name, in the engine's order: it sorts them."""
        return self._order[item_key]

    def build_part(
        self,
        step_id: str,  # noqa: ARG002  # the engine's signature
        for_part: str,
        resume_state: PartState | None,
    ) -> StatefulSinkPartition[Output | Opening, PartState]:
        """Open a part where its snapshot left off."""
        part = self._sink.open(for_part, resume_state)
        return _SinkPartition(self._sink.name, part, self._vitals)


class _SinkPartition(StatefulSinkPartition[Output | Opening, PartState]):
    def __init__(self, name: str, part: Part, vitals: Vitals) -> None:
        self._part = part
        self._vitals = vitals
        self._flush_seconds = metrics.sink_flush_seconds.labels(name)

    def write_batch(self, values: list[Output | Opening]) -> None:
        self._part.write([value for value in values if not isinstance(value, Opening)])

    def snapshot(self) -> PartState:
        self._vitals.flushing_since_monotonic_seconds = time.monotonic()
        with self._flush_seconds.time():
            self._part.flush()
        self._vitals.flushing_since_monotonic_seconds = None
        return self._part.state()

    def close(self) -> None:
        self._part.close()


def selector(
    sink: Sink,
) -> Callable[[list[Output | Opening]], list[tuple[str, Output | Opening]]]:
    """Return what picks a sink's items out of a batch and names the part of each."""

    def select(items: list[Output | Opening]) -> list[tuple[str, Output | Opening]]:
        picked: list[tuple[str, Output | Opening]] = []
        for item in items:
            if isinstance(item, Opening):
                picked.extend((part, item) for part in sink.parts)
            elif isinstance(item, sink.accepts) and sink.wants(item):
                picked.append((sink.part_of(item), item))
        return picked

    return select
