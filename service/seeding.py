"""Writing states into a new recovery store, by letting the engine write them.

Which of a store's files holds which key is the engine's own affair, and it matters: with a key in
another file its next snapshot would not replace this one. So the states aren't inserted as rows: a
dataflow whose steps have the ids of the real one's is run on the empty store. Each key is a
partition of an input that has nothing to read and whose snapshot is the state that is wanted. The
run ends at once, its only epoch is committed, and the next start resumes from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax._bytewax import run_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig

from service import snapshots

_EPOCH_INTERVAL = timedelta(hours=1)  # the one epoch ends with the input

# Of any step: pickled as it is.
State = Any


def seed(directory: Path, files: int, states: Mapping[tuple[str, str], State]) -> None:
    """Make a store of `files` files that holds these states, as if a run had committed them.

    Args:
        directory: Where no store is, or one that may go.
        files: How many files.
        states: By step id, as `kinewax.read`, and state key.
    """
    snapshots.create(directory, files)
    by_step: dict[str, dict[str, State]] = {}
    for (step, key), state in states.items():
        by_step.setdefault(step, {})[key] = state
    flows = {step.partition(".")[0] for step in by_step}
    if len(flows) != 1:
        msg = f"states of one flow are needed, not of {sorted(flows)}"
        raise ValueError(msg)
    flow = Dataflow(flows.pop())
    for step, of_step in by_step.items():
        name = step.partition(".")[2]
        op.output(f"{name}_", op.input(name, flow, _States(of_step)), _Nowhere())
    run_main(  # type: ignore[no-untyped-call]
        flow,
        epoch_interval=_EPOCH_INTERVAL,
        recovery_config=RecoveryConfig(directory),  # type: ignore[no-untyped-call]
    )
    held = {(one.step, one.key) for one in snapshots.latest_stored(directory)}
    if held != states.keys():
        lost = sorted(states.keys() - held)
        msg = f"the engine didn't keep {len(lost)} states, as {lost[:3]}"
        raise RuntimeError(msg)


class _State(StatefulSourcePartition[Any, State]):
    def __init__(self, state: State) -> None:
        self._state = state

    def next_batch(self) -> Iterable[Any]:
        raise StopIteration

    def snapshot(self) -> State:
        return self._state


class _States(FixedPartitionedSource[Any, State]):
    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states

    def list_parts(self) -> list[str]:
        return list(self._states)

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> _State:  # noqa: ARG002  # the engine's signature
        return _State(self._states[for_part])


class _Nowhere(DynamicSink[Any]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Nothing:  # noqa: ARG002  # the engine's signature
        return _Nothing()


class _Nothing(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        """Take what never comes."""
