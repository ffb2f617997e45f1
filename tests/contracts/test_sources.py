"""What every source promises, held against each of them: files, archives, Kinesis."""

from __future__ import annotations

import copy
import gzip
import json
import pickle
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from messages import Adopted, Block, Ended, EndOfInput, Hello, Mark, Unreadable
from sources import files
from sources.archive.layouts import layout_of
from sources.archive.listing import listed
from sources.archive.source import ArchiveSource, Reading
from sources.archive.stores import DirectoryStore, S3Store, Store
from sources.base import Slot, Source
from sources.files import FileSource
from sources.kinesis.pacing import Pacing
from sources.kinesis.source import KinesisSource, StartPosition
from tests.contracts import mixed_archive as mixed
from tests.servers import Clients

RECORDS = 400
HOUR_US = 3_600_000_000
States = Mapping[str, Any]
Item = Block | Mark | Unreadable


@dataclass
class Case:
    """A source, and what lies in it.

    Attributes:
        source: Makes it, as a process does when it starts.
        unreadable: What of it can't be read: sequence numbers and reasons.
        aggregates: How many KPL aggregates there are.
        aggregated: How many of the records lie in them.
    """

    source: Callable[[], Source]
    unreadable: frozenset[tuple[str, str]] = frozenset()
    aggregates: int = 0
    aggregated: int = 0


def payload(number: int) -> bytes:
    return json.dumps({"number": str(number), "padding": "x" * 40}, separators=(",", ":")).encode()


def plain_file(folder: Path) -> Case:
    path = folder / "events.jsonl"
    path.write_bytes(b"\n".join(map(payload, range(RECORDS))))
    return Case(lambda: FileSource(str(path)))


def gzip_file(folder: Path) -> Case:
    path = folder / "events.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(map(payload, range(RECORDS)))))
    return Case(lambda: FileSource(str(path)))


def csv_file(folder: Path) -> Case:
    path = folder / "events.csv"
    rows = (f"{number},{'x' * 40}" for number in range(RECORDS))
    path.write_text("number,padding\n" + "\n".join(rows))
    return Case(lambda: FileSource(str(path)))


def objects() -> tuple[dict[str, bytes], str]:
    """Twenty objects; of the third, whose key is told, the end is gone."""
    found = {}
    for number in range(20):
        lines = map(payload, range(20 * number, 20 * number + 20))
        key = f"2026/11/22/10/s-1-2026-11-22-10-{number:02d}-00-x.gz"
        found[key] = gzip.compress(b"\n".join(lines))
    short = sorted(found)[2]
    # One member more, whose end is missing: what came before it stands.
    found[short] += gzip.compress(b"\n" + b"lost" * 100)[:-10]
    return found, short


def archive(
    store: Callable[[], Store],
    unreadable: tuple[str, str],
    aggregates: int = 0,
    aggregated: int = 0,
) -> Case:
    def source() -> Source:
        listing = listed(
            "archive", store(), layout_of(""),
            arrived_us=(None, None), most_lanes=3, drift_us=HOUR_US,
        )  # fmt: skip
        return ArchiveSource(listing, store(), Reading(block_rows=7))

    return Case(source, frozenset({unreadable}), aggregates, aggregated)


def directory_archive(folder: Path) -> Case:
    contents, short = objects()
    mixed.write(folder, contents)
    return archive(lambda: DirectoryStore(folder), (f"{short}:21", "object_truncated"))


def mixed_archive(folder: Path) -> Case:
    store = partial(DirectoryStore, mixed.write_mixed(folder, payload, RECORDS))
    damage = (f"{mixed.DAMAGED}:1", "object_corrupt")
    return archive(store, damage, mixed.AGGREGATES, mixed.AGGREGATED)


def s3_archive(moto: Clients, bucket: str) -> Case:
    s3 = moto("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    contents, short = objects()
    for key, content in contents.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    return archive(lambda: S3Store(moto("s3"), bucket), (f"{short}:21", "object_truncated"))


def stream(moto: Clients, name: str) -> Case:
    kinesis = moto("kinesis")
    kinesis.create_stream(StreamName=name, ShardCount=3)
    kinesis.get_waiter("stream_exists").wait(StreamName=name)
    for first in range(0, RECORDS, 100):
        kinesis.put_records(
            StreamName=name,
            Records=[
                {"Data": payload(number), "PartitionKey": str(number)}
                for number in range(first, first + 100)
            ],
        )
    return Case(
        lambda: KinesisSource(
            name,
            lambda: Clients(moto.endpoint)("kinesis"),
            start=StartPosition("TRIM_HORIZON"),
            slots=5,
            pacing=Pacing(poll_interval_seconds=0.01),
        )
    )


CASES = (
    *("plain file", "gzip file", "csv file"),
    *("directory archive", "mixed archive", "s3 archive", "stream"),
)
FINITE = CASES[:-1]


@pytest.fixture
def make_case(
    tmp_path: Path,
    moto: Clients,
    unique_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], Case]:
    monkeypatch.setattr(files, "_READ_BYTES", 1_000)
    monkeypatch.setattr(files, "_CSV_ROWS", 23)
    made: dict[str, Callable[[], Case]] = {
        "plain file": lambda: plain_file(tmp_path),
        "gzip file": lambda: gzip_file(tmp_path),
        "csv file": lambda: csv_file(tmp_path),
        "directory archive": lambda: directory_archive(tmp_path),
        "mixed archive": lambda: mixed_archive(tmp_path),
        "s3 archive": lambda: s3_archive(moto, unique_name("source")),
        "stream": lambda: stream(moto, unique_name("source")),
    }
    return lambda name: made[name]()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, make_case: Callable[[str], Case]) -> Case:
    return make_case(request.param)


@pytest.fixture(params=FINITE)
def finite_case(request: pytest.FixtureRequest, make_case: Callable[[str], Case]) -> Case:
    return make_case(request.param)


class Run:
    """All slots of a source in one process, polled in turn."""

    def __init__(self, source: Source, states: States | None = None) -> None:
        self.source = source
        self.slots: dict[str, Slot] = {
            name: source.open(name, (states or {}).get(name)) for name in source.slots
        }
        self.said: dict[str, list[Item]] = {name: [] for name in self.slots}

    def turn(self) -> None:
        """Poll each slot once."""
        for name, slot in self.slots.items():
            if not slot.finished:
                self.said[name].extend(slot.poll())
            moment = slot.next_awake()
            assert moment is None or moment.tzinfo is not None

    @property
    def items(self) -> list[Item]:
        return [item for said in self.said.values() for item in said]

    def is_done(self, before: int = 0) -> bool:
        """Poll once more; tell whether a finite source has ended, or a stream has shown all.

        Args:
            before: How many records earlier runs have shown.
        """
        self.turn()
        if self.source.finite:
            return all(slot.finished for slot in self.slots.values())
        return before + len(payloads(self.items)) >= RECORDS

    def snapshot(self) -> dict[str, Any]:
        """Return all states as a recovery store gives them back."""
        states: dict[str, Any] = pickle.loads(
            pickle.dumps({name: slot.snapshot() for name, slot in self.slots.items()})
        )
        return states

    def close(self) -> None:
        for slot in self.slots.values():
            slot.close()


def until(condition: Callable[[], bool]) -> None:
    """Poll until a condition holds, as often as the engine would."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "still reading"
        time.sleep(0.001)


@contextmanager
def running(case: Case, states: States | None = None) -> Iterator[Run]:
    run = Run(case.source(), states)
    try:
        yield run
    finally:
        run.close()


def payloads(items: Sequence[Item]) -> list[bytes]:
    return [one for item in items if isinstance(item, Block) for one in item.payloads]


def numbers_by_shard(items: Sequence[Item]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item in items:
        if isinstance(item, Block):
            numbers = (int(json.loads(one)["number"]) for one in item.payloads)
            found.setdefault(item.shard, []).extend(numbers)
    return found


def unreadable(items: Sequence[Item]) -> Counter[tuple[str, str]]:
    return Counter(
        (item.sequence_number, item.reason) for item in items if isinstance(item, Unreadable)
    )


def ledger(states: States) -> Counter[str]:
    found: Counter[str] = Counter()
    for state in states.values():
        found.update(state["ledger"])
    return found


def assert_all_counted(case: Case, states: States) -> None:
    counts = ledger(states)
    read = RECORDS + len(case.unreadable)
    assert counts["user_records"] == read
    assert counts["plain"] == read - case.aggregated
    assert counts["aggregated"] == case.aggregates
    assert counts["records"] == counts["plain"] + counts["aggregated"]


def test_every_record_comes_once_in_the_order_of_its_shard_and_all_are_counted(case: Case) -> None:
    with running(case) as run:
        until(run.is_done)
        assert Counter(payloads(run.items)) == Counter(map(payload, range(RECORDS)))
        for numbers in numbers_by_shard(run.items).values():
            assert numbers == sorted(numbers)
        assert unreadable(run.items) == Counter(case.unreadable)
        assert_all_counted(case, run.snapshot())


def test_records_have_numbers_of_their_own_and_arrivals_if_any(case: Case) -> None:
    with running(case) as run:
        until(run.is_done)
        blocks = [item for item in run.items if isinstance(item, Block)]
        for block in blocks:
            assert len(block.sequence_numbers) == len(block.payloads) > 0
            assert block.arrival_us is None or len(block.arrival_us) == len(block.payloads)
        numbers = [(block.shard, str(one)) for block in blocks for one in block.sequence_numbers]
        assert len(set(numbers)) == RECORDS


def test_a_slot_greets_before_its_records_and_a_shard_joins_before_its_own(case: Case) -> None:
    with running(case) as run:
        until(run.is_done)
        for name, said in run.said.items():
            known: set[str] = set()
            greeted = False
            for item in said:
                if isinstance(item, Hello):
                    assert item.slot == name
                    greeted = True
                elif isinstance(item, Adopted):
                    known.add(item.shard)
                elif isinstance(item, Block):
                    assert greeted
                    assert item.shard in known
            assert greeted, "a slot without a shard says so"


def test_a_finite_source_ends_once_in_every_slot_and_stays_at_its_end(finite_case: Case) -> None:
    assert finite_case.source().finite
    with running(finite_case) as run:
        until(run.is_done)
        for name, said in run.said.items():
            ends = [place for place, item in enumerate(said) if isinstance(item, EndOfInput)]
            assert [said[place] for place in ends] == [EndOfInput(name)]
            assert all(isinstance(item, EndOfInput | Ended) for item in said[ends[0] :])
        states = run.snapshot()
    with running(finite_case, states) as again:
        until(again.is_done)
        assert payloads(again.items) == []
        assert unreadable(again.items) == Counter()
        assert EndOfInput in {type(item) for item in again.items}
        assert ledger(again.snapshot()) == ledger(states)


def test_a_stream_never_says_that_it_ends(make_case: Callable[[str], Case]) -> None:
    case = make_case("stream")
    assert not case.source().finite
    with running(case) as run:
        until(run.is_done)
        assert EndOfInput not in {type(item) for item in run.items}
        assert not any(slot.finished for slot in run.slots.values())


@pytest.mark.parametrize("seed", range(3))
def test_a_stop_anywhere_goes_on_with_the_next_record_and_a_crash_with_the_last_snapshot(
    case: Case, seed: int
) -> None:
    rng = random.Random(seed)
    committed: list[Item] = []
    states: dict[str, Any] = {}
    for _ in range(12):
        with running(case, states) as run:
            for _ in range(rng.randrange(4)):
                run.turn()
            committed += run.items
            states = run.snapshot()
            for _ in range(rng.randrange(3)):  # lost: the process dies before the next snapshot
                run.turn()
            # A drain or crash is no end: the rest must not be taken for read.
    with running(case, states) as run:
        before = len(payloads(committed))
        until(lambda: run.is_done(before))
        committed += run.items
        states = run.snapshot()
    assert Counter(payloads(committed)) == Counter(map(payload, range(RECORDS)))
    for numbers in numbers_by_shard(committed).values():
        assert numbers == sorted(numbers)
    assert unreadable(committed) == Counter(case.unreadable)
    assert_all_counted(case, states)


def test_a_state_is_versioned_and_does_not_change_afterwards(case: Case) -> None:
    with running(case) as run:
        run.turn()
        live = {name: slot.snapshot() for name, slot in run.slots.items()}
        kept = copy.deepcopy(live)
        until(run.is_done)
        assert live == kept
        assert all(isinstance(state["version"], int) for state in live.values())


def test_the_slots_are_the_same_each_time_and_closing_them_leaves_no_thread(case: Case) -> None:
    before = set(threading.enumerate())
    with running(case) as run:
        run.turn()
        assert run.source.slots == case.source().slots
        assert len(set(run.source.slots)) == len(run.source.slots)
    until(lambda: set(threading.enumerate()) <= before)
