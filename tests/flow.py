"""A dataflow over a file in the test's own process: the real wiring and engine, outputs in a list.

For tests that ask what a domain finds. That processes and crashes change nothing of it is shown by
the tests that run the service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bytewax.testing import run_main

from dataflows.domain import Domain
from dataflows.options import Options
from dataflows.pipeline import build_flow
from messages import AggregateRows, Alert, Digest, Events, Late, Output, Reject
from operators.reference import Table
from sinks.base import PartState
from sources.files import FileSource


def outputs_of(
    domain: Domain,
    log: Path,
    *,
    disorder_seconds: int = 10,
    events: bool = False,
    tables: Mapping[str, Callable[[], Table]] | None = None,
) -> list[Output]:
    """Run a domain over a file; incidents are raised when windows close."""
    sink = _Memory()
    chosen = Options(
        time=domain.times[0],
        disorder_us=disorder_seconds * 1_000_000,
        early=False,
        events=events,
    )
    run_main(build_flow(domain, FileSource(str(log)), [sink], chosen, tables=tables))
    return sink.found


class _Memory:
    name = "memory"
    accepts: tuple[type, ...] = (Alert, AggregateRows, Digest, Events, Late, Reject)
    parts: tuple[str, ...] = ("all",)

    def __init__(self) -> None:
        self.found: list[Output] = []

    def wants(self, item: Output) -> bool:
        return True

    def part_of(self, item: Output) -> str:
        return self.parts[0]

    def open(self, part: str, state: PartState | None) -> _Memory:
        return self

    def write(self, items: Sequence[Output]) -> None:
        self.found.extend(items)

    def flush(self) -> None:
        pass

    def state(self) -> PartState:
        return {"version": 1, "ledger": {}}

    def close(self) -> None:
        pass
