"""`kinewax positions` as a user meets it: it asks, it tells, and it names what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from service import layout, positions, recovery, seeding
from service.cli import run_command
from sources.kinesis.source import slot_names
from tests.unit.service.test_positions import LAYOUT, SHARDS, store_states


@pytest.fixture
def store(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    seeding.seed(directory, 2, store_states())
    layout.write(directory, LAYOUT)
    return directory


def run(*arguments: str | Path) -> int:
    return run_command(["positions", *map(str, arguments)])


def test_show_names_every_shard_and_where_it_is_read_on(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("show", "--recovery", store) == 0

    said = capsys.readouterr().out
    assert re.search(r"slot-13 +shard-03 +reading +49590+3 part 2 +\S+ ago", said)
    assert re.search(r"slot-17 +shard-04 +drained ", said)
    assert re.search(r"slot-25 +shard-06 +reading +from its oldest record +never", said)
    assert "records 640" in said
    assert "open windows: actions 2" in said
    assert "16 shards in 64 slots" in said


def test_show_as_json_has_plain_values(
    store: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("show", "--recovery", store, "--json") == 0

    shown = json.loads(capfdbinary.readouterr().out)
    assert len(shown["shards"]) == SHARDS
    assert shown["shards"][3] == {
        "slot": "slot-13",
        "shard": "shard-03",
        "state": "reading",
        "sequence_number": f"4959{3:052d}",
        "sub_sequence": 2,
        "start_us": None,
        "read_until_us": 7_000_000,
        "event_maximum_us": 1_003,
        "waiting": 0,
    }
    assert shown["open_windows"] == {"actions": [0, 10_000_000]}


def test_show_looks_at_a_store_in_use_and_the_others_refuse(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recovery.open_store(store):
        assert run("show", "--recovery", store) == 0
        for arguments in (
            ("reset", "--recovery", store, "--to", "LATEST", "--yes"),
            ("export", "--recovery", store, "--to", tmp_path / "a.json"),
        ):
            assert run(*arguments) == 2
            assert "another kinewax runs" in capsys.readouterr().err


def test_what_destroys_is_refused_where_nobody_can_answer(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.json"
    assert run("export", "--recovery", store, "--to", file) == 0
    before = positions.read(store)
    for arguments in (
        ("reset", "--recovery", store, "--to", "TRIM_HORIZON"),
        ("export", "--recovery", store, "--to", file),
        ("import", "--recovery", store, "--from", file),
    ):
        assert run(*arguments) == 2
        assert "hint: say --yes" in capsys.readouterr().err
    assert positions.read(store) == before


def test_a_reset_says_what_it_means_and_can_be_taken_back(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = positions.read(store)

    assert run("reset", "--recovery", store, "--to", "2026-11-01T00:00:00Z", "--yes") == 0

    said = capsys.readouterr().out
    assert "2 open windows are dropped" in said
    after = positions.read(store)
    assert (after.shards, after.listed, after.start_us) == ({}, False, 1_793_491_200_000_000)
    (saved,) = store.glob("before-reset-*.json")
    assert run("import", "--recovery", store, "--from", saved, "--yes") == 0
    again = positions.read(store)
    assert replace(again, others=before.others) == before
    assert again.open_windows() == before.open_windows()


def test_a_reset_of_named_shards_says_that_windows_stay(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--to", "TRIM_HORIZON", "--shard", "shard-02", "--shard", "shard-03", "--yes")
    assert run("reset", "--recovery", store, *arguments) == 0

    assert "2 of 16 shards" in capsys.readouterr().out
    after = positions.read(store)
    assert [name for name, one in after.shards.items() if one.read["sequence"] is None] == [
        "shard-02",
        "shard-03",
        "shard-06",
    ]
    assert after.open_windows() == {"actions": (0, 10_000_000)}


def test_an_import_makes_a_store_with_the_slots_and_files_asked_for(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, new = tmp_path / "a.json", tmp_path / "new"
    assert run("export", "--recovery", store, "--to", file) == 0
    assert run("import", "--recovery", new, "--from", file, "--slots", "128", "--files", "5") == 0

    assert "KINEWAX_SOURCE__SLOTS=128" in capsys.readouterr().out
    found = positions.read(new)
    assert (found.slots, found.files) == (128, 5)
    stored = recovery.prepare(new, {**LAYOUT.fields, "slots": 128}, processes=5, files=8, now_us=9)
    assert stored.started_at_us == LAYOUT.started_at_us
    assert len(slot_names(128)) == found.slots


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "--recovery", "absent"), "holds no recovery store"),
        (("export", "--recovery", "absent", "--to", "a.json"), "no recovery directory absent"),
        (("import", "--recovery", "new", "--from", "absent.json"), "can't be read"),
        (("reset", "--recovery", "store", "--to", "noon"), "must be LATEST, TRIM_HORIZON"),
        (
            ("reset", "--recovery", "store", "--to", "LATEST", "--shard", "x", "--yes"),
            "knows no shard x",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    store: Path,
    arguments: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(store.parent)

    assert run(*arguments) == 2
    assert words in capsys.readouterr().err
    assert not (store.parent / "absent").exists()
    assert not (store.parent / "new").exists()
