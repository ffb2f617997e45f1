"""Lanes: what they emit, where they resume, what a bad object costs, how far they are apart."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from errors import LayoutError
from messages import Adopted, Block, Ended, EndOfInput, Hello, Unreadable
from sources.archive import compression
from sources.archive.board import Board, may_begin
from sources.archive.fetch import Chunk, End, Fetch
from sources.archive.layouts import layout_of
from sources.archive.listing import ArchiveObject, Listing, listed
from sources.archive.source import ArchiveSource, Reading
from sources.archive.stores import CHUNK_BYTES, DirectoryStore
from tests.rig import wait_until
from tests.unit.sources_archive.test_formats import aggregate

HOUR_US = 3_600_000_000


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "PIECE_BYTES", 64)


def archive(root: Path, hours: int, rows: int = 30) -> list[str]:
    """Two objects an hour; return all records."""
    written = []
    for number in range(2 * hours):
        hour = number // 2
        folder = root / f"2026/11/22/{hour:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps({"object": number, "row": row}) for row in range(rows)]
        name = f"s-1-2026-11-22-{hour:02d}-{number % 2 * 30:02d}-00-x.gz"
        (folder / name).write_bytes(gzip.compress("\n".join(lines).encode()))
        written += lines
    return written


def source_of(root: Path, lanes: int = 8, **how: Any) -> ArchiveSource:
    store = DirectoryStore(root)
    listing = listed(
        "file:///x/", store, layout_of(""),
        arrived_us=(None, None), most_lanes=lanes, drift_us=lanes * HOUR_US,
    )  # fmt: skip
    return ArchiveSource(listing, store, Reading(**how))


def read(source: ArchiveSource, states: dict[str, Any] | None = None) -> list[Any]:
    """All items of all lanes, polled in turn."""
    slots = [source.open(name, (states or {}).get(name)) for name in source.slots]
    found: list[Any] = []

    def turn() -> bool:
        for slot in slots:
            if not slot.finished:
                found.extend(slot.poll())
        return all(slot.finished for slot in slots)

    while not turn():
        pass
    for slot in slots:
        slot.close()
    return found


def payloads(items: list[Any]) -> list[str]:
    blocks = [item for item in items if isinstance(item, Block)]
    return [payload.decode() for block in blocks for payload in block.payloads]


def test_every_record_is_read_once_and_each_lane_is_a_finite_shard(tmp_path: Path) -> None:
    written = archive(tmp_path, 5)
    source = source_of(tmp_path, 3)
    items = read(source)
    assert sorted(payloads(items)) == sorted(written)
    for lane in source.slots:
        assert {Hello(lane, (lane,)), Adopted(lane), EndOfInput(lane), Ended(lane)} <= {
            item for item in items if not isinstance(item, Block)
        }


def test_records_are_numbered_in_their_objects_and_arrive_by_what_keys_tell(
    tmp_path: Path,
) -> None:
    archive(tmp_path, 1, rows=2)
    blocks = [item for item in read(source_of(tmp_path, 1)) if isinstance(item, Block)]
    key = "2026/11/22/00/s-1-2026-11-22-00-00-00-x.gz"
    numbers = [number for block in blocks for number in block.sequence_numbers]
    assert numbers[:2] == [f"{key}:1", f"{key}:2"]
    assert blocks[1].sequence_numbers[0] == f"{key}:2"
    midnight_us = 1_795_305_600_000_000
    for block in blocks[:2]:
        assert block.arrival_us is not None
        assert block.arrival_us.tolist() == [midnight_us + 901_000_000]


@pytest.mark.usefixtures("small_pieces")
def test_a_lane_resumes_exactly_behind_every_poll(tmp_path: Path) -> None:
    written = archive(tmp_path, 2)
    source = source_of(tmp_path, 1)
    slot = source.open("lane-00", None)
    before: list[Any] = []
    cuts = amid = 0
    while not slot.finished:
        before += slot.poll()
        state = pickle.loads(pickle.dumps(slot.snapshot()))
        cuts += 1
        amid += bool(state["records"])
        rest = read(source_of(tmp_path, 1), {"lane-00": state})
        assert payloads(before) + payloads(rest) == written
        numbers = [n for item in rest if isinstance(item, Block) for n in item.sequence_numbers]
        assert len(numbers) == len(set(numbers))
    slot.close()
    assert slot.snapshot()["ledger"]["records"] == len(written)
    assert amid > 10


def test_a_bad_object_is_named_counted_and_costs_no_other(tmp_path: Path) -> None:
    archive(tmp_path, 4)
    source = source_of(tmp_path, 2)
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    paths[1].write_bytes(paths[1].read_bytes() + b"x")  # since it was listed
    paths[2].unlink()
    slots = [source.open(name, None) for name in source.slots]
    items = read(source)
    bad = {item.reason for item in items if isinstance(item, Unreadable)}
    assert bad == {"object_changed", "object_missing"}
    assert len(payloads(items)) == 6 * 30
    for slot in slots:
        slot.close()


def test_a_truncated_object_gives_what_is_whole_of_it(tmp_path: Path) -> None:
    archive(tmp_path, 1, rows=3_000)
    path = next(path for path in tmp_path.rglob("*.gz"))
    path.write_bytes(path.read_bytes()[:-200])
    (tmp_path / "empty.gz").write_bytes(b"")
    items = read(source_of(tmp_path, 1))
    bad = {item.reason: item for item in items if isinstance(item, Unreadable)}
    assert set(bad) == {"object_truncated", "object_empty"}
    assert 3_000 < len(payloads(items)) < 6_000
    assert bad["object_empty"].sequence_number == "empty.gz:1"


def test_stamps_are_in_order_of_reading_and_go_on_after_a_resume(tmp_path: Path) -> None:
    from sources.archive.slot import Stamps

    archive(tmp_path, 1, rows=3)
    source = source_of(tmp_path, 1, stamps=Stamps(1_000, 10), block_rows=2)
    slot = source.open("lane-00", None)
    found: list[int] = []
    while not slot.finished:
        for item in slot.poll():
            if isinstance(item, Block):
                assert item.arrival_us is not None
                assert len(item.payloads) <= 2
                found += item.arrival_us.tolist()
        state = slot.snapshot()
        slot.close()
        if not slot.finished:
            slot = source.open("lane-00", state)
    assert found == [1_000 + 10 * number for number in range(6)]


@pytest.mark.parametrize("block_rows", [None, 1, 3])
def test_the_ledger_is_the_same_however_blocks_are_cut_and_after_every_stop(
    tmp_path: Path, block_rows: int | None
) -> None:
    first, second = ([b'{"a":%d}' % n for n in range(size)] for size in (7, 4))
    content = b"\n".join([b'{"a":1}', aggregate(*first), b'{"a":2}', aggregate(*second), b"{}"])
    (tmp_path / "a").write_bytes(content)
    expected = {"records": 5, "plain": 3, "aggregated": 2, "user_records": 14, "objects": 1}
    source = source_of(tmp_path, 1, block_rows=block_rows)
    slot = source.open("lane-00", None)
    states = [slot.snapshot()]
    while not slot.finished:
        slot.poll()
        if (state := slot.snapshot()) != states[-1]:  # often nothing is there yet
            states.append(state)
    slot.close()
    assert len(states) > 3
    for state in states:  # what is emitted is as the state says, so the rest completes it
        for rows in (block_rows, 2):
            again = source_of(tmp_path, 1, block_rows=rows).open("lane-00", state)
            while not again.finished:
                again.poll()
            again.close()
            assert again.snapshot()["ledger"] == expected


# ---- how far lanes are apart --------------------------------------------------------------------


def objects(*hours: int | None) -> tuple[ArchiveObject, ...]:
    layout = layout_of("")
    keys = ["x" if hour is None else f"2026/11/22/{hour:02d}/x" for hour in hours]
    return tuple(ArchiveObject(key, 1, "v", layout.period_of(key)) for key in keys)


def test_no_lane_reads_far_beyond_the_oldest_object() -> None:
    day = objects(*range(24))
    assert may_begin(1, 0, day, 2, HOUR_US)
    assert not may_begin(2, 0, day, 2, HOUR_US)
    assert may_begin(5, 5, day, 2, 0)
    unknown = objects(*[None] * 24)
    assert may_begin(3, 0, unknown, 2, HOUR_US)
    assert not may_begin(4, 0, unknown, 2, HOUR_US)


def test_a_lane_waits_for_lanes_of_other_processes(tmp_path: Path) -> None:
    archive(tmp_path / "a", 10, rows=1)
    board = tmp_path / "board"
    source = source_of(tmp_path / "a", 2, drift_us=HOUR_US, board=board)
    slot = source.open("lane-00", None)
    seen: list[Any] = []

    def reads() -> bool:
        seen.extend(slot.poll())
        return len(payloads(seen)) == 2

    wait_until(reads, "it has read what it may")
    for _ in range(100):
        seen += slot.poll()
    assert 1 <= len(payloads(seen)) <= 2, "lane 1 is elsewhere, and has read nothing"
    assert slot.next_awake() is not None
    assert Board(2, board).progress().records == len(payloads(seen))
    slot.close()


def test_what_is_read_ahead_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (10 * CHUNK_BYTES))
    store = DirectoryStore(tmp_path)
    (one,) = store.list("")
    two = ArchiveObject(one.key, one.size, one.version, None)
    fetch = Fetch("lane-00", store, [two], 2 * CHUNK_BYTES)
    wait_until(lambda: fetch._waiting_bytes >= 2 * CHUNK_BYTES, "it has read ahead")
    taken: list[object] = []

    def take() -> bool:
        assert fetch._waiting_bytes <= 3 * CHUNK_BYTES
        item = fetch.take()
        taken.append(item) if item is not None else None
        return bool(taken) and isinstance(taken[-1], End)

    wait_until(take, "it is read")
    assert sum(len(item.data) for item in taken if isinstance(item, Chunk)) == one.size
    fetch.close()


def test_a_listing_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    listing = Listing("u", objects(1, None), 2, 3, 4)
    listing.write(tmp_path / "l.json")
    assert Listing.read(tmp_path / "l.json") == listing


@pytest.mark.parametrize(
    "content", [b"", b'{"version":2,"url":"u"', b"[]", b'{"version":2,"url":"u"}', b"\xff", b"null"]
)
def test_a_damaged_listing_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "objects.json"
    path.write_bytes(content)
    with pytest.raises(LayoutError, match=f"{path}.* is damaged") as caught:
        Listing.read(path)
    assert "another recovery store" in caught.value.hint


def test_a_listing_of_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    path.write_bytes(b'{"version":1}')
    with pytest.raises(LayoutError, match="is of version 1, not 2"):
        Listing.read(path)
