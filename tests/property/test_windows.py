"""From payloads to rows and alerts: any cut into blocks, ticks, workers and groups, any restarts.

The oracle is a plain group-by over the events one by one, in Python's own integers and fractions.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages import (
    Adopted,
    AggregateRows,
    Alert,
    Block,
    Closed,
    EndOfInput,
    Hello,
    Late,
    Mark,
    Packet,
    Seen,
)
from operators.allow import AllowList
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.filter_spec import Where
from operators.intake import Intake, Taken
from operators.key_group import KeyGroup
from operators.partials import Partials
from operators.session_spec import AnyWindow
from operators.spec import Allow, Field, Level, Ratio, Threshold, Window
from operators.value_spec import Count, Distinct, First, Last, Maximum, Mean, Minimum, Sum
from operators.watermarks import END
from tests.effort import examples
from tests.oracles import SECOND, is_late

DISORDER = 5 * SECOND
START = datetime(2026, 1, 2, 12, tzinfo=UTC)
NOW_US = 1_800_000_000 * SECOND
FIELDS = {
    field.name: field
    for field in (
        Field("user", "integer"),
        Field("kind", "text"),
        Field("shop", "text", required=False),
        Field("price", "decimal", scale=2),
        Field("rank", "integer", required=False),
    )
}
BUYS = Where("kind", "buy")
BUYS_AND_VIEWS = Where("kind", ("view", "buy", "never"))
ALLOWED_SHOP = "a"


def windows_of(groups: int) -> tuple[Window, ...]:
    users = (
        Count("events"),
        Sum("ranks", "rank"),
        Minimum("least", "rank"),
        Maximum("greatest", "price", BUYS),
        Mean("mean", "price", BUYS),
        Distinct("shops", "shop"),
        First("first"),
        Count("buys", BUYS),
        Sum("seen", "rank", BUYS_AND_VIEWS),
        Last("last"),
    )
    trade = (Distinct("users", "user"), Count("events"), Sum("revenue", "price", BUYS))
    return (
        Window("users", 10, ("user",), users, groups=groups),
        Window("trade", 60, ("kind", "shop"), trade, groups=3),
        Window("ranks", 7, ("rank", "user"), (Minimum("least", "price", BUYS),), groups=1),
        Window("kinds", 3600, ("kind",), (Count("events"), Distinct("ranks", "rank")), groups=2),
        Window(
            "strangers",
            20,
            ("kind",),
            (Count("seen", BUYS_AND_VIEWS), Count("events")),
            all_clients=False,
            groups=2,
        ),
    )


RULES = (
    Threshold("busy", "users", "events", (Level("warning", 1), Level("high", 2.5))),
    Threshold("rich", "trade", "revenue", (Level("warning", 0.29),)),
    Threshold("crowd", "trade", "users", (Level("warning", 1),)),
    Ratio("eager", "users", "buys", "events", (Level("warning", 0.3), Level("high", 0.5)), 2),
)


@dataclass(frozen=True)
class Event:
    """One event, as it was made."""

    number: int
    shard: str
    time_us: int
    user: int
    kind: str
    shop: str
    cents: int
    rank: int

    @property
    def payload(self) -> bytes:
        fields = {
            "at": moment(self.time_us).replace(tzinfo=None).isoformat(),
            "user": str(self.user) if self.number % 2 else self.user,
            "kind": self.kind,
            "shop": self.shop if self.shop or self.number % 2 else None,
            "price": f"{self.cents // 100}.{self.cents % 100:02d}",
            "rank": self.rank,
            "number": self.number,
        }
        return json.dumps(fields).encode()

    def __getitem__(self, name: str) -> Any:
        return self.cents if name == "price" else getattr(self, name)


def moment(time_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)


def written(time_us: int) -> str:
    return moment(time_us).isoformat().replace("+00:00", "Z")


def random_events(random: Random) -> dict[str, list[Event]]:
    start_us = round(START.timestamp()) * SECOND
    shards: dict[str, list[Event]] = {}
    for place in range(random.randint(1, 4)):
        now_us = start_us + random.randint(0, 30 * SECOND)
        events = shards[f"shard-{place}"] = []
        for _ in range(random.choice([0, 1, 5, 30])):
            now_us += random.choice([0, 0, SECOND // 2, 3 * SECOND, 12 * SECOND])
            behind_us = random.choice([0, 0, 0, SECOND, 5 * SECOND, 14 * SECOND, 70 * SECOND])
            events.append(
                Event(
                    number=place * 1000 + len(events),
                    shard=f"shard-{place}",
                    time_us=now_us - behind_us,
                    user=random.choice([-1, 0, 1, 2, 2**62]),
                    kind=random.choice(["buy", "view", "é"]),
                    shop=random.choice(["", "a", "b"]),
                    cents=random.choice([0, 1, 28, 29, 30, 12_345]),
                    rank=random.randint(-2, 2),
                )
            )
    return shards


# ---- the oracle ---------------------------------------------------------------------------------


def rows_of_window(window: Window, counted: list[Event]) -> dict[str, dict[str, Any]]:
    """The rows of a window by row id, by a plain group-by."""
    groups: dict[tuple[Any, ...], list[Event]] = defaultdict(list)
    for event in counted:
        start_us = (
            event.time_us // (window.length_seconds * SECOND) * window.length_seconds * SECOND
        )
        groups[start_us, *(event[name] for name in window.key)].append(event)
    rows = {}
    for (start_us, *key), events in groups.items():
        named = dict(zip(window.key, key, strict=True))
        text = ",".join(f"{name}={value}" for name, value in named.items())
        row = {
            "row_id": f"shop/{window.name}/{text}/{written(start_us)}",
            "domain": "shop",
            "aggregate": window.name,
            "window_start": written(start_us),
            "window_end": written(start_us + window.length_seconds * SECOND),
            **named,
            **{value.name: value_of(value, events) for value in window.values},
            "emitted_at": written(NOW_US),
        }
        rows[row["row_id"]] = row
    return rows


def value_of(value: Any, events: list[Event]) -> Any:
    if isinstance(value, First | Last):
        times_us = [event.time_us for event in events]
        return written(min(times_us) if isinstance(value, First) else max(times_us))
    if isinstance(value, Distinct):
        return len({event[value.of] for event in events})
    if value.where is not None:
        equals = value.where.equals
        wanted = [equals] if isinstance(equals, str) else equals
        events = [event for event in events if event[value.where.field] in wanted]
    if isinstance(value, Count):
        return len(events)
    unit = 10 ** FIELDS[value.of].scale
    numbers = [Fraction(event[value.of], unit) for event in events]
    found = {
        Sum: lambda: sum(numbers),
        Minimum: lambda: min(numbers, default=None),
        Maximum: lambda: max(numbers, default=None),
        Mean: lambda: sum(numbers) / len(numbers) if numbers else None,
    }[type(value)]()
    if isinstance(value, Mean) and found is not None:
        return pytest.approx(float(found), rel=1e-12)
    return None if found is None else float(found) if unit > 1 else int(found)


@dataclass
class Expected:
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    late: set[tuple[str, int]] = field(default_factory=set)
    finals: dict[str, tuple[str, Any]] = field(default_factory=dict)  # severity and value by id
    counted: Counter[str] = field(default_factory=Counter)
    filtered: Counter[str] = field(default_factory=Counter)


def expected_of(shards: dict[str, list[Event]], windows: tuple[Window, ...]) -> Expected:
    expected = Expected()
    for window in windows:
        counted = []
        for events in shards.values():
            before_us: int | None = None
            for event in events:
                if is_late(event.time_us, before_us, window.length_seconds * SECOND, DISORDER):
                    expected.late.add((window.name, event.number))
                elif event.shop == ALLOWED_SHOP and not window.counts_allowed:
                    expected.filtered[f"filtered.{window.name}"] += 1
                else:
                    counted.append(event)
                before_us = event.time_us if before_us is None else max(before_us, event.time_us)
        expected.counted[window.name] = len(counted)
        rows = rows_of_window(window, counted)
        expected.rows.update(rows)
        for rule in RULES:
            for row_id, row in rows.items() if rule.window == window.name else ():
                # A sum's limit is meant in decimals: 0.29 is 29 cents.
                value = Fraction(str(row[rule.value]))
                told = row[rule.value]
                if isinstance(rule, Ratio):
                    if row[rule.of] < rule.at_least:
                        continue
                    value /= row[rule.of]
                    told = pytest.approx(float(value), abs=1e-6)
                crossed = [level for level in rule.levels if value > Fraction(str(level.above))]
                if crossed:
                    alert_id = row_id.replace(f"shop/{window.name}/", f"shop/{rule.name}/", 1)
                    expected.finals[alert_id] = (crossed[-1].severity, told)
    return expected


# ---- a run --------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process: slots with their intakes, and what makes packets of their rows."""

    slots: dict[str, list[str]]  # name: shards
    windows: tuple[AnyWindow, ...]
    names: dict[str, list[str]]

    def __post_init__(self) -> None:
        self.texts = TextCodes()
        self.allowed = AllowList([Allow("shop", "pattern")], [f"shop={ALLOWED_SHOP}"], self.texts)
        self.partials = Partials(self.windows, self.names, self.texts)
        self.intakes = {slot: self.intake(None) for slot in self.slots}

    def intake(self, state: Any) -> Intake:
        fields = list(FIELDS.values())
        decoder = Decoder(fields, "at", self.texts)
        return Intake("shop", decoder, self.windows, DISORDER, state, allowed=self.allowed)

    def restart(self) -> None:
        states = pickle.loads(
            pickle.dumps({slot: intake.snapshot() for slot, intake in self.intakes.items()})
        )
        self.__post_init__()
        self.intakes = {slot: self.intake(state) for slot, state in states.items()}


class Run:
    """A random run over some events: who reads what, when, and who hears of it when."""

    worker = Worker

    def __init__(
        self,
        shards: dict[str, list[Event]],
        windows: Sequence[AnyWindow],
        random: Random,
        early: bool,
    ) -> None:
        self.random = random
        self.windows = tuple(windows)
        self.early = early
        self.queues = {shard: list(events) for shard, events in shards.items()}
        self.names = {
            window.name: [f"{window.name}/{group}" for group in range(window.groups)]
            for window in windows
        }
        self.slots: dict[str, list[str]] = {f"slot-{place}": [] for place in range(3)}
        for shard in shards:
            self.slots[random.choice(list(self.slots))].append(shard)
        self.workers = [
            self.worker(
                {slot: self.slots[slot] for slot in list(self.slots)[place::count]},
                self.windows,
                self.names,
            )
            for count in [random.randint(1, 3)]
            for place in range(count)
        ]
        self.groups = {
            name: self.group(name, None) for names in self.names.values() for name in names
        }
        # What is on its way from each worker to each group, in order.
        self.wires: dict[tuple[int, str], list[Packet]] = defaultdict(list)
        self.late: list[Late] = []
        self.found: list[Alert | AggregateRows | Closed] = []

    def group(self, name: str, state: bytes | None) -> KeyGroup:
        window = next(w for w in self.windows if w.name == name.partition("/")[0])
        assert isinstance(window, Window)
        return KeyGroup(
            name,
            "shop",
            window,
            FIELDS,
            [rule for rule in RULES if rule.window == window.name],
            slots=tuple(self.slots),
            disorder_us=DISORDER,
            idle="hold",
            early=self.early,
            started_at_us=None,
            clock=lambda: NOW_US,
            state=state,
        )

    def go(self) -> None:
        greeted: set[str] = set()
        while any(self.queues.values()):
            self.tick(self.random.randrange(len(self.workers)), greeted)
            self.deliver(0.4)
            if self.random.random() < 0.1:
                self.random.choice(self.workers).restart()
            if self.random.random() < 0.1:
                name = self.random.choice(list(self.groups))
                self.groups[name] = self.group(name, self.groups[name].snapshot())
        for place, worker in enumerate(self.workers):
            ends = [
                worker.intakes[slot].take([*self.greeting(slot, greeted), EndOfInput(slot)])
                for slot in worker.slots
            ]
            self.send(place, ends)
        self.deliver(1)

    def greeting(self, slot: str, greeted: set[str]) -> list[Block | Mark]:
        if slot in greeted:
            return []
        greeted.add(slot)
        return [
            *(Adopted(shard) for shard in self.slots[slot]),
            Hello(slot, tuple(self.slots[slot])),
        ]

    def tick(self, place: int, greeted: set[str]) -> None:
        """One worker polls some of its slots, and sends what they brought in one go."""
        worker = self.workers[place]
        taken = []
        for slot, shards in worker.slots.items():
            for _ in range(self.random.randint(0, 2)):
                items = self.greeting(slot, greeted)
                for shard in shards:
                    if self.queues[shard] and self.random.random() < 0.7:
                        items.append(self.block(shard, self.random.choice([1, 2, 10])))
                taken.append(worker.intakes[slot].take(items))
        self.send(place, taken)

    def block(self, shard: str, size: int) -> Block:
        events, self.queues[shard] = self.queues[shard][:size], self.queues[shard][size:]
        return Block(
            shard,
            [event.payload for event in events],
            [str(event.number) for event in events],
            np.array([NOW_US] * len(events)),
        )

    def send(self, place: int, taken: list[Taken]) -> None:
        self.late += [item for one in taken for item in one.aside if isinstance(item, Late)]
        for packet in self.workers[place].partials.packets(taken):
            self.wires[place, packet.group].append(pickle.loads(pickle.dumps(packet)))

    def deliver(self, share: float) -> None:
        """Bring groups some of what is on its way; a wire keeps its order."""
        wires = [wire for wire, packets in self.wires.items() if packets]
        self.random.shuffle(wires)
        for wire in wires:
            if self.random.random() < share:
                packets = self.wires[wire]
                size = len(packets) if share == 1 else self.random.randint(1, len(packets))
                batch, self.wires[wire] = packets[:size], packets[size:]
                self.found += self.groups[wire[1]].take(batch)


runs = given(
    random=st.randoms(use_true_random=False), groups=st.integers(1, 5), early=st.booleans()
)


@runs
def test_any_run_gives_what_a_plain_group_by_gives(
    random: Random, groups: int, early: bool
) -> None:
    windows = windows_of(groups)
    shards = random_events(random)
    run = Run(shards, windows, random, early)
    run.go()
    expected = expected_of(shards, windows)

    rows = list(all_rows(run))
    assert {row["row_id"]: row for row in rows} == expected.rows
    assert len(rows) == len(expected.rows), "a window was closed twice"
    assert sorted(map(late_of, run.late)) == sorted(expected.late)

    alerts = [item for item in run.found if isinstance(item, Alert)]
    finals = [alert for alert in alerts if alert.phase == "final"]
    assert {alert.id: (alert.severity, alert.value) for alert in finals} == expected.finals
    assert len(finals) == len(expected.finals)
    check_early_phases(alerts, early)

    ledger: Counter[str] = Counter()
    for group in run.groups.values():
        ledger.update(group.ledger)
        assert group.watermark.now_us == END
        assert len(group.windows) == 0
    assert ledger == +Counter({f"counted.{name}": n for name, n in expected.counted.items()})
    filtered: Counter[str] = Counter()
    for intake in (one for worker in run.workers for one in worker.intakes.values()):
        filtered.update({n: c for n, c in intake.ledger.items() if n.startswith("filtered.")})
    assert +filtered == expected.filtered


def all_rows(run: Run) -> Iterator[dict[str, Any]]:
    for item in run.found:
        if isinstance(item, AggregateRows):
            yield from item.rows


def late_of(late: Late) -> tuple[str, int]:
    event = json.loads(late.payload)
    assert str(event["number"]) == late.sequence_number
    return late.aggregate, event["number"]


def check_early_phases(alerts: list[Alert], early: bool) -> None:
    """Each incident begins once, is raised at most once more, and ends with its final alert."""
    phases = defaultdict(list)
    early_rules = {rule.name for rule in RULES if isinstance(rule, Threshold)}
    for alert in alerts:
        assert alert.rule in early_rules or alert.phase == "final"
        if alert.rule in early_rules:
            phases[alert.id].append(alert)
    for incident in phases.values():
        *before, final = [alert.phase for alert in incident]
        assert final == "final"
        assert before in ([["open"], ["raised"], ["open", "raised"]] if early else [[]])
        values = [alert.value for alert in incident]
        assert values == sorted(values)
        severities = [alert.severity for alert in incident]
        assert severities == sorted(severities, key=["warning", "high"].index)
        assert all(alert.value > alert.threshold for alert in incident)


@settings(max_examples=examples(30))
@runs
def test_a_rule_hears_of_each_window_end_after_the_window_closed(
    random: Random, groups: int, early: bool
) -> None:
    run = Run(random_events(random), windows_of(groups), random, early)
    run.go()
    closed_us: dict[tuple[str, str], int] = {}
    for item in run.found:
        if isinstance(item, Closed):
            known = closed_us.get((item.rule, item.group))
            assert known is None or item.watermark_us > known
            closed_us[item.rule, item.group] = item.watermark_us
    groups_of = {rule.name: run.names[rule.window] for rule in RULES}
    assert closed_us == {(rule, name): END for rule in groups_of for name in groups_of[rule]}


@given(random=st.randoms(use_true_random=False))
def test_marks_reach_every_group_and_data_only_its_own(random: Random) -> None:
    windows = windows_of(5)
    run = Run(random_events(random), windows, random, early=True)
    worker = run.workers[0]
    shard = next((shard for shard, events in run.queues.items() if events), None)
    if shard is None:
        return
    taken = worker.intakes[next(iter(worker.slots))].take([run.block(shard, 30)])
    packets = worker.partials.packets([taken])
    assert [packet.group for packet in packets] == [
        name for window in windows for name in run.names[window.name]
    ]
    assert all(len(packet.marks) == 1 for packet in packets)
    assert all(isinstance(packet.marks[0], Seen) for packet in packets)
    where: dict[tuple[str, int, int], str] = {}
    for packet in packets:
        for partial in packet.partials:
            for code in partial.codes.tolist():
                key = (packet.group.partition("/")[0], partial.start_us, code)
                assert where.setdefault(key, packet.group) == packet.group
            assert (np.diff(partial.codes.astype(object)) > 0).all()
