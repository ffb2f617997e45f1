"""Positions: gathered from slots, dealt out to others, written and read, reset."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from errors import LayoutError, SettingsError
from messages import Alert, Hello
from operators.lateness import NO_TIME
from operators.watermarks import Watermark
from service import exports, layout, positions, recovery, seeding, snapshots
from service.layout import Layout
from service.positions import Positions
from sources.kinesis.lineage import HASH_KEYS
from sources.kinesis.source import slot_names

SLOTS = 64
SHARDS = 16
WIDTH = HASH_KEYS // SHARDS
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/in"
LAYOUT = Layout({"slots": SLOTS, "source": STREAM, "domain": "ecommerce"}, 1_000)
ALERT = Alert("id", "d", "r", "high", "open", {"u": 1}, 0, 10, 11, "n", 10.0, 5)
READ: dict[str, Any] = {
    "sub_sequence": None,
    "start_us": None,
    "read_until_us": 7_000_000,
    "parents": [],
    "state": "reading",
}


def store_states() -> dict[tuple[str, str], Any]:
    """A store of 64 slots: shard 3 in the middle of an aggregate, 4 drained, 5 ended, 6 unread."""
    slots: dict[str, dict[str, Any]] = {
        name: {
            "version": 1,
            "slot": {
                "version": 1,
                "t0_us": None,
                "listed": True,
                "shards": {},
                "ledger": {"records": 10, "plain": 10},
            },
            "intake": {"version": 1, "shards": {}, "ledger": {"events": 9, "rejected.bad": 1}},
        }
        for name in slot_names(SLOTS)
    }
    special: dict[int, dict[str, Any]] = {
        3: {"sub_sequence": 2},
        4: {"state": "drained"},
        5: {"state": "ended", "parents": ["shard-01"]},
        6: {"sequence": None, "read_until_us": None},
    }
    for number in range(SHARDS):
        first_hash = number * WIDTH
        held = slots[f"slot-{(first_hash + WIDTH // 2 - 1) * SLOTS >> 128:02d}"]
        held["slot"]["shards"][shard(number)] = {
            **READ,
            "sequence": f"4959{number:052d}",
            "hash_range": [str(first_hash), str(first_hash + WIDTH - 1)],
            **special.get(number, {}),
        }
        if number not in (5, 6):
            waiting = ((b"\xff{}", "17.1"),) if number == 7 else ()
            held["intake"]["shards"][shard(number)] = (1_000 + number, waiting)
    held["intake"]["ledger"]["waiting"] = 1
    watermark = Watermark(slot_names(SLOTS), 5, "hold")
    watermark.apply([Hello(name) for name in slot_names(SLOTS)])
    group = {
        "version": 1,
        "group": "actions/00",
        "windows": {"open": {0: "a", 10_000_000: "b"}},
        "watermark": watermark.snapshot() | {"now_us": 995},
        "ledger": {"counted.actions": 576},
    }
    notices = {
        "version": 1,
        "rule": "r",
        "watermarks": {"actions/00": 995},
        "gathered": {0: {"id": ALERT}},
        "ledger": {"alerts.open": 1},
    }
    return {
        **{("kinewax.read", name): state for name, state in slots.items()},
        ("kinewax.groups", "actions/00"): pickle.dumps(group),
        ("kinewax.notices", "r"): pickle.dumps(notices),
        ("kinewax.files", "alerts"): {"version": 1, "position": 77, "ledger": {"x.taken": 1}},
    }


def shard(number: int) -> str:
    return f"shard-{number:02d}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("store")
    seeding.seed(directory, 3, store_states())
    layout.write(directory, LAYOUT)
    return directory


@pytest.fixture
def found(made: Path) -> Positions:
    return positions.read(made)


def group_of(states: dict[tuple[str, str], Any]) -> dict[str, Any]:
    state: dict[str, Any] = pickle.loads(states["kinewax.groups", "actions/00"])
    return state


def test_all_slots_are_read_into_one(found: Positions) -> None:
    assert list(found.shards) == [shard(number) for number in range(SHARDS)]
    assert found.shards["shard-03"].read["sub_sequence"] == 2
    assert found.shards["shard-07"].waiting == ((b"\xff{}", "17.1"),)
    assert found.shards["shard-06"].maximum_us is None
    assert found.source_ledger == {"records": 640, "plain": 640}
    assert found.intake_ledger == {"events": 576, "rejected.bad": 64, "waiting": 1}
    assert found.open_windows() == {"actions": (0, 10_000_000)}
    assert (found.slots, found.files, found.listed) == (64, 3, True)


@pytest.mark.parametrize("slots", [1, 16, 48, 64, 128, 1000])
def test_each_shard_goes_whole_to_the_slot_that_owns_it(found: Positions, slots: int) -> None:
    states = positions.states(found, slots)

    names = slot_names(slots)
    assert {key for step, key in states if step == "kinewax.read"} == set(names)
    seen = []
    for number, name in enumerate(names):
        state = states["kinewax.read", name]
        for key, read in state["slot"]["shards"].items():
            first_hash, last_hash = map(int, read["hash_range"])
            assert (first_hash + last_hash) // 2 * slots >> 128 == number
            assert read == found.shards[key].read
            seen.append(key)
        assert state["intake"]["shards"].keys() <= state["slot"]["shards"].keys()
    assert sorted(seen) == list(found.shards)


def test_running_maxima_and_waiting_events_go_with_their_shard(found: Positions) -> None:
    states = positions.states(found, 128)

    intakes: dict[str, Any] = {}
    for name in slot_names(128):
        intakes |= states["kinewax.read", name]["intake"]["shards"]
    assert intakes["shard-07"] == (1_007, ((b"\xff{}", "17.1"),))
    assert "shard-06" not in intakes
    assert {maximum for maximum, _ in intakes.values()} == {
        1_000 + number for number in range(SHARDS) if number not in (5, 6)
    }


def test_an_event_that_waits_with_no_maximum_still_has_none(found: Positions) -> None:
    moved = replace(found, shards={"shard-07": replace(found.shards["shard-07"], maximum_us=None)})
    states = positions.states(moved, 1)

    assert states["kinewax.read", "slot-00"]["intake"]["shards"]["shard-07"][0] == NO_TIME


def test_the_sums_of_the_ledgers_lie_in_one_slot(found: Positions) -> None:
    states = positions.states(found, 128)

    ledgers = [
        (states["kinewax.read", name]["slot"]["ledger"], states["kinewax.read", name]["intake"])
        for name in slot_names(128)
    ]
    assert ledgers[0][0] == found.source_ledger
    assert ledgers[0][1]["ledger"] == found.intake_ledger
    assert all(of_slot == {} == of_intake["ledger"] for of_slot, of_intake in ledgers[1:])


@pytest.mark.parametrize("slots", [16, 128])
def test_a_group_waits_for_every_new_slot_and_forgets_nothing_else(
    found: Positions, slots: int
) -> None:
    group = group_of(positions.states(found, slots))

    before = pickle.loads(store_states()["kinewax.groups", "actions/00"])
    names = slot_names(slots)
    assert set(group["watermark"].pop("silent")) == set(names)
    assert set(group["watermark"].pop("unfinished")) == set(names)
    del before["watermark"]["silent"], before["watermark"]["unfinished"]
    assert group == before


def test_notices_and_sinks_are_carried_as_they_are(found: Positions) -> None:
    states, before = positions.states(found, 128), store_states()

    for key in (("kinewax.notices", "r"), ("kinewax.files", "alerts")):
        assert states[key] == before[key]


def test_slots_that_saw_no_listing_leave_all_to_start_at_the_start(found: Positions) -> None:
    states = {key: state for (step, key), state in store_states().items() if step == "kinewax.read"}
    states["slot-09"]["slot"] |= {"listed": False, "t0_us": 55}

    gathered = positions.gather(LAYOUT, 3, states, ())

    assert (gathered.listed, gathered.start_us) == (False, 55)
    del states["slot-09"]
    assert not positions.gather(LAYOUT, 3, states, ()).listed
    assert found.listed


@pytest.mark.parametrize("part", [(), ("slot",), ("intake",)])
def test_a_state_of_another_version_is_refused(part: tuple[str, ...]) -> None:
    states = {key: state for (step, key), state in store_states().items() if step == "kinewax.read"}
    changed = states["slot-00"]
    for name in part:
        changed = changed[name]
    changed["version"] = 99

    with pytest.raises(LayoutError, match="is of version 99"):
        positions.gather(LAYOUT, 3, states, ())


# ---- the file ---------------------------------------------------------------------------------


def test_an_export_is_read_back_as_written(found: Positions, tmp_path: Path) -> None:
    path = tmp_path / "positions.json"

    exports.save(path, found, exported_at="now")

    assert exports.load(path) == found
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["positions.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is no JSON"),
        ("[]", "no whole export"),
        ("{}", "no whole export"),
        ('{"format": "other"}', "its format is 'other'"),
        ('{"format": "kinewax positions", "version": 2, "layout": {"version": 1}}', "version"),
        ('{"format": "kinewax positions", "version": 1, "layout": {"version": 1}}', "whole"),
    ],
)
def test_what_is_no_export_is_one_error(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "positions.json"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(LayoutError, match=words) as caught:
        exports.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_a_settings_error(
    found: Positions, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        exports.load(tmp_path / "absent.json")
    with pytest.raises(SettingsError, match="can't be written"):
        exports.save(tmp_path / "absent" / "a.json", found, exported_at="now")


# ---- the store --------------------------------------------------------------------------------


def test_a_store_that_was_written_is_read_back_with_its_new_slots(
    found: Positions, tmp_path: Path
) -> None:
    (tmp_path / "part-0.sqlite3-wal").write_bytes(b"of a store that is replaced")

    positions.write(tmp_path, found, slots=128, files=5)

    again = positions.read(tmp_path)
    assert (again.slots, again.files) == (128, 5)
    assert (again.shards, again.source_ledger) == (found.shards, found.source_ledger)
    assert again.intake_ledger == found.intake_ledger
    assert again.layout == Layout({**LAYOUT.fields, "slots": 128}, LAYOUT.started_at_us)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"layout.json", *(f"part-{number}.sqlite3" for number in range(5))}


def test_a_write_that_is_cut_off_leaves_nothing_that_would_start(
    found: Positions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions.write(tmp_path, found, slots=64, files=2)

    def fail(*_: object) -> None:
        msg = "disk full"
        raise OSError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(layout, "write", fail)
        with pytest.raises(OSError, match="disk full"):
            positions.write(tmp_path, found, slots=128, files=2)

    with pytest.raises(LayoutError, match=r"without layout\.json"):
        recovery.prepare(tmp_path, {}, processes=1, files=2, now_us=0)
    positions.write(tmp_path, found, slots=128, files=2)
    assert positions.read(tmp_path).slots == 128


def test_a_store_that_cannot_be_made_leaves_the_old_one(
    found: Positions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions.write(tmp_path, found, slots=64, files=2)
    lost = {("kinewax.read", "x"): 1}
    held = snapshots.latest_stored(tmp_path)
    monkeypatch.setattr(snapshots, "latest_stored", lambda _: held)

    with pytest.raises(RuntimeError, match="didn't keep 1 states"):
        seeding.seed(tmp_path / "other", 2, lost)
    monkeypatch.undo()
    assert positions.read(tmp_path).shards == found.shards


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (None, "holds no recovery store"),
        ({"slots": 1, "source": "/tmp/events.jsonl"}, "which has no shards"),
        (LAYOUT.fields, "nothing was committed yet"),
    ],
)
def test_a_directory_without_positions_is_one_error(
    tmp_path: Path, fields: dict[str, str | int] | None, words: str
) -> None:
    if fields is not None:
        layout.write(tmp_path, Layout(fields, 0))

    with pytest.raises(LayoutError, match=words):
        positions.read(tmp_path)


def epochs(monkeypatch: pytest.MonkeyPatch, real: int, moved: int) -> None:
    """Let the committed epoch move after each of the first so many times that it is asked for."""
    asked = iter(range(10_000))
    answer: Callable[[Path], int] = lambda _: real + min(next(asked), moved)  # noqa: E731
    monkeypatch.setattr(snapshots, "resume_epoch", answer)


def test_a_look_is_taken_again_when_the_store_moved_on(
    made: Path, found: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs(monkeypatch, snapshots.resume_epoch(made), 4)
    seen, epoch = positions.look(made)
    assert seen == found
    assert epoch == snapshots.resume_epoch(made)


def test_a_look_at_a_store_that_never_stands_still_gives_up(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs(monkeypatch, snapshots.resume_epoch(made), 9_999)
    with pytest.raises(LayoutError, match="faster than it can be read"):
        positions.look(made)


# ---- reset ------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_us", [None, 9_000_000])
def test_a_reset_of_all_shards_is_a_first_start_with_the_old_ledger(
    found: Positions, to_us: int | None
) -> None:
    states = positions.states(positions.reset_all(found, to_us), SLOTS)

    for name in slot_names(SLOTS):
        slot = states["kinewax.read", name]["slot"]
        assert (slot["t0_us"], slot["listed"], slot["shards"]) == (to_us, False, {})
        assert states["kinewax.read", name]["intake"]["shards"] == {}
    assert group_of(states) == {
        "version": 1,
        "group": "actions/00",
        "ledger": {"counted.actions": 576},
    }
    assert pickle.loads(states["kinewax.notices", "r"]) == {
        "version": 1,
        "rule": "r",
        "ledger": {"alerts.open": 1},
    }
    assert states["kinewax.files", "alerts"] == store_states()["kinewax.files", "alerts"]
    assert states["kinewax.read", "slot-00"]["slot"]["ledger"] == found.source_ledger


def test_windows_from_before_the_reset_are_partial_and_others_not(found: Positions) -> None:
    assert positions.reset_all(found, 9_000_000).layout.started_at_us == 9_000_000
    assert positions.reset_all(found, None).layout.started_at_us == 0


def test_events_that_waited_are_accounted_for_when_a_reset_drops_them(found: Positions) -> None:
    ledger = positions.reset_all(found, None).intake_ledger

    assert (ledger["waiting"], ledger["dropped.reset"]) == (0, 1)
    assert sum(ledger.values()) == sum(found.intake_ledger.values())


def test_a_reset_of_one_shard_leaves_all_else_as_it_was(found: Positions) -> None:
    after = positions.reset_shards(found, 9_000_000, ["shard-03"])

    changed = after.shards["shard-03"]
    assert changed.maximum_us == found.shards["shard-03"].maximum_us
    assert changed.read == found.shards["shard-03"].read | {
        "sequence": None,
        "sub_sequence": None,
        "start_us": 9_000_000,
        "read_until_us": None,
    }
    assert replace(after, shards={**after.shards, "shard-03": found.shards["shard-03"]}) == found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shard-99", "knows no shard shard-99"),
        ("shard-04", "was read to its end"),
        ("shard-05", "was read to its end"),
    ],
)
def test_a_shard_that_cannot_be_reset_alone_is_named(
    found: Positions, name: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        positions.reset_shards(found, None, [name])
