"""Watermarks on random histories of a stream, against plain recursion that forgets nothing.

A history is a stream that splits and merges, some shards without events, read by slots that list
at different times and read at different speeds: children before their parents ended, or before
their parents were known.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import Adopted, Ended, EndOfInput, Hello, Idle, Mark, Seen
from operators.partials import last_seen
from operators.watermarks import BEGINNING, END, IdlePolicy, Watermark
from tests.oracles import PlainWatermark

DISORDER = 10
SLOTS = ("slot-0", "slot-1", "slot-2")
POLICIES: list[IdlePolicy] = ["wallclock", "exclude", "hold"]


@dataclass
class Stream:
    """A stream's shards, and what each brings from its adoption to its end."""

    parents: dict[str, tuple[str, ...]] = field(default_factory=dict)
    children: dict[str, tuple[str, ...]] = field(default_factory=dict)
    marks: dict[str, list[Mark]] = field(default_factory=lambda: defaultdict(list))

    def open(self, parents: tuple[str, ...]) -> str:
        name = f"shard-{len(self.parents)}"
        self.parents[name] = parents
        for parent in parents:
            self.children[parent] = (*self.children.get(parent, ()), name)
        return name

    @property
    def open_shards(self) -> list[str]:
        return [name for name in self.parents if name not in self.children]


def random_stream(random: Random) -> Stream:
    stream = Stream()
    alive = [stream.open(()) for _ in range(random.randint(1, 3))]
    for _ in range(random.randint(0, 6)):
        if len(alive) > 1 and random.random() < 0.5:
            both = random.sample(alive, 2)
            alive = [name for name in alive if name not in both]
            alive.append(stream.open((both[0], both[1])))
        else:
            parent = alive.pop(random.randrange(len(alive)))
            alive += [stream.open((parent,)), stream.open((parent,))]
    reached: dict[str, int] = {}
    for name, parents in stream.parents.items():
        marks = stream.marks[name]
        marks.append(Adopted(name, parents))
        # A child's events follow its parents', as on a real stream.
        first = now = max((reached[parent] for parent in parents), default=0)
        for _ in range(random.choice([0, 1, 2, 5])):
            now += random.randint(0, 40)
            if random.random() < 0.3:
                marks.append(Idle(name, now + random.randint(-20, 60)))
            else:
                marks.append(Seen(name, max(first, now - random.randint(0, 15))))
        if name in stream.children:
            marks.append(Ended(name, stream.children[name]))
        reached[name] = now
    return stream


def random_history(stream: Stream, random: Random) -> list[Mark]:
    """The marks of all shards, each shard's in order, as some run could bring them."""
    listed_first = {name for name in stream.parents if random.random() < 0.4}
    listed_first |= {name for name, parents in stream.parents.items() if not parents}
    owner = {name: random.choice(SLOTS) for name in stream.parents}
    queues = {name: list(marks) for name, marks in stream.marks.items()}
    greetings = {
        slot: [name for name in stream.parents if name in listed_first and owner[name] == slot]
        for slot in SLOTS
    }
    history: list[Mark] = []
    while greetings or any(queues.values()):
        if greetings and random.random() < 0.3:
            slot, names = greetings.popitem()
            history += [queues[name].pop(0) for name in names]
            history.append(Hello(slot, tuple(names)))
            continue
        ready = [name for name, queue in queues.items() if queue and owner[name] not in greetings]
        if ready:
            history.append(queues[random.choice(ready)].pop(0))
    return history


def batches(history: list[Mark], random: Random) -> list[list[Mark]]:
    found, place = [], 0
    while place < len(history):
        size = random.choice([1, 1, 2, 7])
        found.append(history[place : place + size])
        place += size
    return found


def restarted(under_test: Watermark, idle: IdlePolicy, stream: Stream) -> Watermark:
    """As after a crash: state through pickle, and slots greet again with what they still read."""
    state = pickle.loads(pickle.dumps(under_test.snapshot()))
    again = Watermark(SLOTS, DISORDER, idle, state)
    if not state["silent"]:
        reading = [
            name
            for name, (_, _, _, _, ended, adopted) in state["shards"].items()
            if adopted and not ended
        ]
        again.apply([Adopted(name, stream.parents[name]) for name in reading])
        again.apply([Hello(SLOTS[0], tuple(reading))])
    return again


def same(now_us: int, plain: float) -> bool:
    if plain == float("inf"):
        return now_us == END
    return now_us == max(plain, BEGINNING)


@pytest.mark.parametrize("idle", POLICIES)
@given(random=st.randoms(use_true_random=False), restarts=st.booleans())
def test_it_is_what_plain_recursion_says_after_every_batch(
    idle: IdlePolicy, random: Random, restarts: bool
) -> None:
    stream = random_stream(random)
    under_test = Watermark(SLOTS, DISORDER, idle)
    plain = PlainWatermark(SLOTS, DISORDER, idle)
    without_idle = PlainWatermark(SLOTS, DISORDER, "hold")
    last_us = BEGINNING
    for marks in batches(random_history(stream, random), random):
        under_test.apply(marks)
        plain.apply(marks)
        without_idle.apply(marks)
        assert same(under_test.now_us, plain.now_us)
        assert same(under_test.without_idle_us, without_idle.now_us)
        assert under_test.now_us >= last_us
        last_us = under_test.now_us
        if restarts and random.random() < 0.3:
            under_test = restarted(under_test, idle, stream)
            assert under_test.now_us == last_us


@given(random=st.randoms(use_true_random=False))
def test_in_the_end_the_open_shards_decide_and_the_rest_is_forgotten(random: Random) -> None:
    stream = random_stream(random)
    under_test = Watermark(SLOTS, DISORDER, "hold")
    for marks in batches(random_history(stream, random), random):
        under_test.apply(marks)
    final = {name: random.randint(1_000, 2_000) for name in stream.open_shards}
    for _ in stream.parents:
        under_test.apply([Seen(name, maximum) for name, maximum in final.items()])
    assert under_test.now_us == min(final.values()) - DISORDER
    assert set(under_test.snapshot()["shards"]) == set(stream.open_shards)
    under_test.apply([EndOfInput(slot) for slot in SLOTS])
    assert under_test.now_us == under_test.without_idle_us == END


@given(random=st.randoms(use_true_random=False))
def test_it_never_overtakes_what_a_shard_is_about_to_show(random: Random) -> None:
    stream = random_stream(random)
    under_test = Watermark(SLOTS, DISORDER, "hold")
    maxima: dict[str, int] = {}
    for mark in random_history(stream, random):
        if isinstance(mark, Seen):
            maxima[mark.shard] = max(mark.maximum_us, maxima.get(mark.shard, 0))
            assert under_test.now_us <= maxima[mark.shard] - DISORDER
        under_test.apply([mark])


def greatest_so_far(history: list[Mark]) -> list[Mark]:
    """Return a history in which shards say what they have seen as an intake does."""
    greatest: dict[str, int] = {}
    found: list[Mark] = []
    for mark in history:
        if isinstance(mark, Seen):
            greatest[mark.shard] = max(mark.maximum_us, greatest.get(mark.shard, mark.maximum_us))
            found.append(Seen(mark.shard, greatest[mark.shard]))
        else:
            found.append(mark)
    return found


@pytest.mark.parametrize("idle", POLICIES)
@given(random=st.randoms(use_true_random=False))
def test_of_what_a_shard_saw_in_one_batch_only_the_last_counts(
    idle: IdlePolicy, random: Random
) -> None:
    told_all, told_last = (Watermark(SLOTS, DISORDER, idle) for _ in range(2))
    for marks in batches(greatest_so_far(random_history(random_stream(random), random)), random):
        left = last_seen(marks)
        seen = [mark.shard for mark in left if isinstance(mark, Seen)]
        assert len(seen) == len(set(seen))
        told_all.apply(marks)
        told_last.apply(left)
        assert told_last.snapshot() == told_all.snapshot()
