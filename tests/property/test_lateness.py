"""Verdicts on random sequences, cut into random blocks, against one record at a time."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from messages import Block, EndOfInput, Late, Reject, Seen
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.intake import Intake, Taken
from operators.lateness import NO_TIME, Judged, judge_by_jump, late_rows
from operators.lateness import judge_by_arrival as judge_block_by_arrival
from operators.spec import Field, Window
from operators.value_spec import Count
from payloads import Lines
from tests.oracles import HOUR, MINUTE, SECOND, Verdict, is_late, judge_by_arrival
from tests.oracles import judge_by_jump as judge_each_by_jump

DISORDER = 10 * SECOND
NOW = 1_767_355_200 * SECOND
# Around the edges: an hour, five minutes, windows, the allowed disorder.
steps = st.sampled_from(
    [0, 1, SECOND, 10 * SECOND, 20 * SECOND, MINUTE, 5 * MINUTE, 59 * MINUTE, HOUR, 2 * HOUR]
)
times = st.lists(
    st.builds(
        lambda hour, step, little: NOW + hour * HOUR + step + little,
        st.sampled_from([0, 0, 0, 0, 1, 2, 9]),
        steps,
        st.integers(-1, 1),
    ),
    max_size=40,
)
cuts = st.lists(st.integers(0, 40), max_size=8)


def blocks(sequence: list[int], cuts: list[int]) -> list[list[int]]:
    edges = [0, *sorted(min(cut, len(sequence)) for cut in cuts), len(sequence)]
    return [sequence[begin:end] for begin, end in itertools.pairwise(edges)]


def verdicts_of(judged: Judged) -> list[Verdict]:
    """The verdicts in order, those that wait left out."""
    found = {row: Verdict(believed=False) for row in judged.rejected.tolist()}
    for row, before in zip(judged.accepted.tolist(), judged.before_us.tolist(), strict=True):
        found[row] = Verdict(True, None if before == NO_TIME else before)
    return [found[row] for row in range(len(found))]


@given(times, cuts)
def test_jumps_are_judged_the_same_however_blocks_are_cut(
    sequence: list[int], cuts: list[int]
) -> None:
    found: list[Verdict] = []
    maximum, waiting = NO_TIME, []
    for block in [*blocks(sequence, cuts), None]:
        column = np.array(waiting + (block or []), np.int64)
        judged = judge_by_jump(column, maximum, at_end=block is None)
        found += verdicts_of(judged)
        maximum, waiting = judged.maximum_us, column[judged.waiting].tolist()
        assert len(waiting) < 3
    assert waiting == []
    assert found == judge_each_by_jump(sequence)


@given(times, st.lists(steps, min_size=41, max_size=41), cuts)
def test_arrivals_are_judged_the_same_however_blocks_are_cut(
    sequence: list[int], ahead: list[int], cuts: list[int]
) -> None:
    arrivals = [time - step for time, step in zip(sequence, ahead, strict=False)]
    found: list[Verdict] = []
    maximum = NO_TIME
    for block, arrived in zip(blocks(sequence, cuts), blocks(arrivals, cuts), strict=True):
        judged = judge_block_by_arrival(
            np.array(block, np.int64), np.array(arrived, np.int64), maximum
        )
        found += verdicts_of(judged)
        maximum = judged.maximum_us
    assert found == judge_by_arrival(sequence, arrivals)


@given(times, st.sampled_from([1, 10, 60, 3600]), st.sampled_from([0, 1, DISORDER, HOUR]))
def test_lateness_is_judged_as_one_by_one(
    sequence: list[int], length_seconds: int, disorder: int
) -> None:
    judged = judge_by_jump(np.array(sequence, np.int64), NO_TIME, at_end=True)
    kept = np.array(sequence, np.int64)[judged.accepted]
    found = late_rows(kept, judged.before_us, length_seconds * SECOND, disorder)
    expected = [
        is_late(time, verdict.before_us, length_seconds * SECOND, disorder)
        for time, verdict in zip(sequence, judge_each_by_jump(sequence), strict=True)
        if verdict.believed
    ]
    assert found.tolist() == expected


# ---- the whole intake ---------------------------------------------------------------------------

FIELDS = (Field("number", "integer"),)
WINDOWS = (
    Window("short", 10, ("number",), (Count("events"),)),
    Window("long", 60, ("number",), (Count("events"),)),
)


@dataclass(frozen=True)
class Event:
    """One object, numbered over all shards, and where it stands."""

    number: int
    time_us: int
    arrival_us: int
    shard: str
    sequence_number: str

    @property
    def payload(self) -> bytes:
        at = np.datetime64(self.time_us, "us").item().isoformat()
        return json.dumps({"number": self.number, "at": at}).encode()


@st.composite
def shards(draw: st.DrawFn) -> list[list[list[Event]]]:
    """For each shard its payloads, of one or two events each, in sequence order."""
    found = []
    numbers = itertools.count()
    for place in range(draw(st.integers(1, 3))):
        ahead = draw(st.sampled_from([(0,), (0, 5 * MINUTE), (0, 5 * MINUTE + 1, -HOUR)]))
        payloads: list[list[Event]] = []
        for index, time in enumerate(draw(times)):
            if payloads and len(payloads[-1]) == 1 and draw(st.integers(0, 3)) == 0:
                arrival = payloads[-1][0].arrival_us
            else:
                arrival = time - ahead[index % len(ahead)]
                payloads.append([])
            payloads[-1].append(
                Event(next(numbers), time, arrival, f"shard-{place}", str(len(payloads)))
            )
        found.append(payloads)
    return found


@dataclass
class Outcome:
    """Numbers of events: counted and late for each window, and rejected."""

    counted: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    late: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    rejected: set[int] = field(default_factory=set)
    maxima: dict[str, int] = field(default_factory=dict)


def expected_of(shard_payloads: list[list[list[Event]]], with_arrival: bool) -> Outcome:
    outcome = Outcome()
    for payloads in shard_payloads:
        events = [event for payload in payloads for event in payload]
        event_times = [event.time_us for event in events]
        verdicts = (
            judge_by_arrival(event_times, [event.arrival_us for event in events])
            if with_arrival
            else judge_each_by_jump(event_times)
        )
        for event, verdict in zip(events, verdicts, strict=True):
            if not verdict.believed:
                outcome.rejected.add(event.number)
                continue
            known = outcome.maxima.get(event.shard, event.time_us)
            outcome.maxima[event.shard] = max(known, event.time_us)
            for window in WINDOWS:
                length_us = window.length_seconds * SECOND
                late = is_late(event.time_us, verdict.before_us, length_us, DISORDER)
                (outcome.late if late else outcome.counted)[window.name].add(event.number)
    return outcome


def gather(taken: Taken, outcome: Outcome, by_number: dict[int, Event]) -> None:
    """Add what was taken to the outcome; whatever is named is named rightly, and once."""
    for rows in taken.rows:
        for window, kept in zip(WINDOWS, rows.counted, strict=True):
            chosen = np.arange(len(rows.times_us)) if kept is None else kept
            numbers = rows.columns["number"][chosen].tolist()
            assert outcome.counted[window.name].isdisjoint(numbers)
            outcome.counted[window.name].update(numbers)
            expected = [by_number[number].time_us for number in numbers]
            assert rows.times_us[chosen].tolist() == expected
    for item in taken.aside:
        assert isinstance(item, Late | Reject)
        event = by_number[json.loads(item.payload)["number"]]
        assert (item.payload, item.shard, item.sequence_number, item.domain) == (
            event.payload,
            event.shard,
            event.sequence_number,
            "shop",
        )
        if isinstance(item, Late):
            length_us = {window.name: window.length_seconds for window in WINDOWS}[item.aggregate]
            assert item.event_time_us == event.time_us
            assert 0 <= event.time_us - item.window_start_us < length_us * SECOND
            assert item.window_start_us % (length_us * SECOND) == 0
            assert event.number not in outcome.late[item.aggregate]
            outcome.late[item.aggregate].add(event.number)
        else:
            assert event.number not in outcome.rejected
            outcome.rejected.add(event.number)
    for mark in taken.marks:
        if isinstance(mark, Seen):
            assert mark.maximum_us >= outcome.maxima.get(mark.shard, mark.maximum_us)
            outcome.maxima[mark.shard] = mark.maximum_us


def intake(state: object = None) -> Intake:
    """An intake as it is after a restart: its state has been through pickle."""
    restored = pickle.loads(pickle.dumps(state))
    return Intake("shop", Decoder(FIELDS, "at", TextCodes()), WINDOWS, DISORDER, restored)


@given(shards(), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_an_intake_decides_on_each_event_as_one_by_one(
    shard_payloads: list[list[list[Event]]], with_arrival: bool, as_lines: bool, random: Random
) -> None:
    by_number = {
        event.number: event for payloads in shard_payloads for two in payloads for event in two
    }
    found, position = Outcome(), [0] * len(shard_payloads)
    under_test = intake()
    while unread := [at for at in range(len(position)) if position[at] < len(shard_payloads[at])]:
        place = random.choice(unread)
        first = position[place]
        position[place] += random.randint(1, 6)
        events = shard_payloads[place][first : position[place]]
        payloads = [b" ".join(event.payload for event in payload) for payload in events]
        block = Block(
            f"shard-{place}",
            Lines(b"\n".join(payloads)) if as_lines else payloads,
            range(first + 1, first + 1 + len(payloads)),
            np.array([payload[0].arrival_us for payload in events]) if with_arrival else None,
        )
        gather(under_test.take([block]), found, by_number)
        if random.random() < 0.3:
            under_test = intake(under_test.snapshot())
    gather(under_test.take([EndOfInput("slot")]), found, by_number)

    expected = expected_of(shard_payloads, with_arrival)
    for window in WINDOWS:
        assert found.counted[window.name] == expected.counted[window.name]
        assert found.late[window.name] == expected.late[window.name]
    assert found.rejected == expected.rejected
    assert found.maxima == expected.maxima
    reason = "time_ahead" if with_arrival else "time_jump"
    assert +under_test.ledger == +Counter(
        {
            "events": len(by_number) - len(expected.rejected),
            "additional_objects": len(by_number) - sum(map(len, shard_payloads)),
            f"rejected.{reason}": len(expected.rejected),
            **{f"late.{name}": len(numbers) for name, numbers in expected.late.items()},
        }
    )
