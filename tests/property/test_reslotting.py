"""Slots whose number changes at every restart, under random reshards, crashes and late listings.

The oracle is that of test_kinesis_slots: each record comes out once, in order, with the stream's
lineage. A watermark follows the marks as a key group's does, and is moved with the slots. Records
here carry the time at which they were put, so none may ever lie behind it: it would find its
window closed.
"""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from messages import Block, Mark, Seen
from operators.watermarks import BEGINNING, Watermark
from service import exports, positions
from service.layout import Layout
from service.snapshots import Stored
from sources.kinesis.slot import KinesisSlot
from sources.kinesis.source import slot_names
from tests.effort import examples
from tests.fakes.kinesis import FakeKinesis, SteppedStream
from tests.property.test_kinesis_slots import (
    Job,
    check_output,
    drive,
    operations,
    small_rows,  # noqa: F401  # a fixture for this module too
)

# A root that the first listing leaves out may be behind the watermark when it comes.
operations_here = st.one_of(
    operations.filter(lambda step: step[0] != "hide"),
    st.tuples(st.sampled_from(["fetch", "poll", "crash"]), st.integers(0, 1000)),
)
steps_of = st.lists(operations_here, min_size=20, max_size=80)
numbers_of_slots = st.lists(st.integers(1, 9), min_size=1, max_size=4)


class MovingJob(Job):
    """A service that is moved to another number of slots whenever it starts again."""

    def __init__(self, stream: FakeKinesis, start_us: int | None, slots: Sequence[int]) -> None:
        self._numbers = itertools.cycle(slots)
        self._number = next(self._numbers)
        self.watermark = Watermark(slot_names(self._number), 0, "wallclock")
        self.kept: tuple[int, dict[str, Any], dict[str, Any]] | None = None
        super().__init__(stream, start_us, 2)

    def build(self, processes: int) -> None:
        names = slot_names(self._number)
        self.processes = [
            SteppedStream(self.stream, start_us=self.start_us, slots=len(names))
            for _ in range(processes)
        ]
        states, watermark = self._moved()
        self.watermark = Watermark(names, 0, "wallclock", watermark)
        self.slots = [
            KinesisSlot(name, number, self.processes[number % processes], states.get(name))
            for number, name in enumerate(names)
        ]

    def _moved(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        if self.kept is None:
            return {}, None
        number, states, watermark = self.kept
        group = pickle.dumps(pickle.dumps({"watermark": watermark}))
        found = positions.gather(
            Layout({"slots": number}, 0),
            1,
            {
                name: {
                    "version": 1,
                    "slot": state,
                    "intake": {"version": 1, "shards": {}, "ledger": {}},
                }
                for name, state in states.items()
            },
            [Stored("kinewax.groups", "actions/00", 1, group)],
        )
        text = json.dumps(exports.as_json(found, exported_at="now"))
        moved = positions.states(exports.from_json(json.loads(text)), self._number)
        slots = {
            key: state["slot"] for (step, key), state in moved.items() if step == "kinewax.read"
        }
        return slots, pickle.loads(moved["kinewax.groups", "actions/00"])["watermark"]

    def poll(self, number: int) -> bool:
        slot = number % len(self.slots)
        items = self.slots[slot].poll()
        self._take(slot, items)
        return bool(items)

    def _take(self, slot: int, items: list[Block | Mark]) -> None:
        self.said += [(slot, item) for item in items]
        marks: list[Mark] = []
        for item in items:
            if not isinstance(item, Block):
                marks.append(item)
                continue
            assert item.arrival_us is not None
            assert item.arrival_us.min() >= self.watermark.now_us, "its window had closed"
            marks.append(Seen(item.shard, int(item.arrival_us.max())))
        before_us = self.watermark.now_us
        self.watermark.apply(marks)
        assert self.watermark.now_us >= before_us

    def snapshot(self) -> None:
        states = {slot._name: copy.deepcopy(slot.snapshot()) for slot in self.slots}
        self.kept = (len(self.slots), states, copy.deepcopy(self.watermark.snapshot()))
        self.committed = (list(self.said), {})

    def crash(self, processes: int) -> None:
        # Most stops are drains, some of them after much was read: else little would be moved.
        if processes == 3:
            self._go_on()
        if processes > 1:
            self.snapshot()
        self._number = next(self._numbers)
        super().crash(processes)

    def settle(self) -> None:
        for _ in range(12):
            self._go_on()

    def _go_on(self) -> None:
        for process in self.processes:
            process.list_shards()
            process.fetch_all(3)
        for number in range(len(self.slots)):
            while self.poll(number):
                pass


@settings(max_examples=examples(150))
@given(st.integers(1, 3), st.booleans(), numbers_of_slots, steps_of)
def test_every_record_comes_out_once_whatever_the_number_of_slots_becomes(
    shards: int, names_children: bool, slots: list[int], steps: list[tuple[str, int]]
) -> None:
    stream = FakeKinesis(shards, names_children=names_children)
    job = MovingJob(stream, None, slots)
    wanted = drive(stream, job, steps)
    check_output(stream, job, wanted)
    assert not wanted or job.watermark.now_us > BEGINNING, "the watermark waits for ever"


@settings(max_examples=examples(75))
@given(numbers_of_slots, steps_of, steps_of)
def test_a_start_at_latest_holds_whatever_the_number_of_slots_becomes(
    slots: list[int], before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    stream = FakeKinesis(2)
    stream.put(b"old", 5)
    reshard = [step for step in before if step[0] in ("put", "split", "merge")]
    drive(stream, Job(stream, None, 1), reshard)
    old = sum(len(shard.records) for shard in stream.shards.values())
    stream.now_us += 1_000
    job = MovingJob(stream, stream.now_us, slots)
    wanted = drive(stream, job, after)
    check_output(stream, job, wanted, old)
