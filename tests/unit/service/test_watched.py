"""The wrapper around the engine's calls, in a flow that really runs."""

from collections.abc import Callable
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.testing import cluster_main

from service.watched import watch


class Boom(Exception):
    """What the broken place raises."""


def flow_that_breaks_at(place: str) -> tuple[Dataflow, list[int]]:
    """Build a flow with every kind of step; the named place raises, none for `nowhere`."""
    written: list[int] = []

    def here(name: str) -> None:
        if name == place:
            raise Boom(name)

    class Part(StatefulSourcePartition):
        def __init__(self) -> None:
            self.left = 3

        def next_batch(self) -> list[int]:
            here("next_batch")
            if not self.left:
                raise StopIteration
            self.left -= 1
            return [self.left]

        def snapshot(self) -> int:
            here("source snapshot")
            return self.left

    class Source(FixedPartitionedSource):
        def list_parts(self) -> list[str]:
            here("list_parts")
            return ["a"]

        def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Part:
            here("build_part")
            return Part()

    class Logic(StatefulBatchLogic):
        def on_batch(self, values: list[int]) -> tuple[list[int], bool]:
            here("on_batch")
            return values, False

        def snapshot(self) -> int:
            here("logic snapshot")
            return 1

    class SinkPart(StatefulSinkPartition):
        def write_batch(self, values: list[int]) -> None:
            here("write_batch")
            written.extend(values)

        def snapshot(self) -> int:
            here("sink snapshot")
            return 1

    class Sink(FixedPartitionedSink):
        def list_parts(self) -> list[str]:
            return ["only"]

        def part_fn(self, item_key: str) -> int:
            here("part_fn")
            return 0

        def build_part(self, step_id: str, for_part: str, resume_state: Any) -> SinkPart:
            here("sink build_part")
            return SinkPart()

    def mapper(batch: list[int]) -> list[tuple[str, int]]:
        here("mapper")
        return [("k", value) for value in batch]

    def builder(_: Any) -> Logic:
        here("builder")
        return Logic()

    flow = Dataflow("flow")
    read = op.input("read", flow, Source())
    keyed = op.flat_map_batch("keyed", read, mapper)
    op.output("out", op.stateful_batch("logic", keyed, builder), Sink())
    return flow, written


def run(flow: Dataflow, report: Callable[[BaseException], None]) -> None:
    watch(flow, report)
    cluster_main(flow, [], 0)


def test_a_flow_that_works_is_not_changed() -> None:
    flow, written = flow_that_breaks_at("nowhere")
    reported: list[BaseException] = []

    run(flow, reported.append)

    assert written == [2, 1, 0]
    assert reported == []


@pytest.mark.parametrize(
    "place",
    [
        "list_parts",
        "build_part",
        "next_batch",
        "mapper",
        "builder",
        "on_batch",
        "part_fn",
        "sink build_part",
        "write_batch",
    ],
)
def test_an_error_is_reported_wherever_it_is_raised(place: str) -> None:
    flow, _ = flow_that_breaks_at(place)
    reported: list[BaseException] = []

    with pytest.raises(BaseException):  # noqa: B017 - the engine's panics have no class to name
        run(flow, reported.append)

    assert [str(error) for error in reported if isinstance(error, Boom)] == [place]


@pytest.mark.parametrize("place", ["source snapshot", "logic snapshot", "sink snapshot"])
def test_an_error_at_the_end_of_an_epoch_is_reported(place: str, tmp_path) -> None:
    from bytewax.recovery import RecoveryConfig, init_db_dir

    init_db_dir(tmp_path, 1)
    flow, _ = flow_that_breaks_at(place)
    reported: list[BaseException] = []
    watch(flow, reported.append)

    with pytest.raises(BaseException):  # noqa: B017
        cluster_main(flow, [], 0, recovery_config=RecoveryConfig(tmp_path))

    assert str(reported[0]) == place
