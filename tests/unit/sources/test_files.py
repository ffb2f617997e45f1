"""Files of every kind, read whole, and read on from a snapshot behind every poll."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pickle
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import MissingResourceError, SettingsError
from messages import Adopted, Block, Ended, EndOfInput, Hello
from payloads import Lines
from sources import files
from sources.files import FileSource
from tests.conftest import ROOT


def read(path: Path | str, state: Any = None) -> list[tuple[int, bytes]]:
    """(number, payload) of every record, from a state on."""
    slot = FileSource(str(path)).open("slot-00", state)
    found: list[tuple[int, bytes]] = []
    while not slot.finished:
        for item in slot.poll():
            if isinstance(item, Block):
                found += zip(item.sequence_numbers, item.payloads, strict=True)
    slot.close()
    return found


def payloads(path: Path | str) -> list[bytes]:
    return [payload for _, payload in read(path)]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_READ_BYTES", 10)
    monkeypatch.setattr(files, "_CSV_ROWS", 2)


# ---- what a source says of itself ---------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResourceError, match=r"there is no file .*absent\.jsonl"):
        FileSource(str(tmp_path / "absent.jsonl"))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a directory"):
        FileSource(str(tmp_path))


def test_a_file_is_a_finite_source_of_one_slot(tmp_path: Path) -> None:
    source = FileSource(str(written(tmp_path / "a.jsonl", b"{}")))
    assert (source.finite, source.slots) == (True, ("slot-00",))


# ---- marks and blocks ---------------------------------------------------------------------------


def test_a_file_is_one_shard_that_is_adopted_read_and_ended(tmp_path: Path) -> None:
    path = str(written(tmp_path / "a.jsonl", b"1\n2\n"))
    slot = FileSource(path).open("slot-00", None)
    *marks, block = slot.poll()
    assert marks == [Hello("slot-00", (path,)), Adopted(path)]
    assert isinstance(block, Block)
    assert isinstance(block.payloads, Lines)
    assert (block.shard, list(block.payloads)) == (path, [b"1", b"2"])
    assert (list(block.sequence_numbers), block.arrival_us) == ([1, 2], None)
    assert not slot.finished
    assert slot.poll() == [EndOfInput("slot-00"), Ended(path)]
    assert slot.finished
    slot.close()


def test_an_empty_file_is_greeted_and_ended(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.gz"):
        path = str(written(tmp_path / name, b""))
        slot = FileSource(path).open("slot-00", None)
        assert slot.poll() == [
            Hello("slot-00", (path,)), Adopted(path), EndOfInput("slot-00"), Ended(path),
        ]  # fmt: skip
        slot.close()


def test_a_slot_polls_at_once(tmp_path: Path) -> None:
    slot = FileSource(str(written(tmp_path / "a.jsonl", b"{}"))).open("slot-00", None)
    assert slot.next_awake() is None
    slot.close()


# ---- lines --------------------------------------------------------------------------------------

LINES = {
    "whole": (b'{"a": 1}\n{"b": 2}\n', [b'{"a": 1}', b'{"b": 2}']),
    "no end": (b'{"a": 1}\n{"b": 2}', [b'{"a": 1}', b'{"b": 2}']),
    "blank": (b"\n\n1\n\n2\n\n", [b"", b"", b"1", b"", b"2", b""]),
    "one blank": (b"\n", [b""]),
    "carriage returns": (b"1\r\n2\r\n", [b"1\r", b"2\r"]),
    "binary": (b"\xff\x00\n\xfe", [b"\xff\x00", b"\xfe"]),
    "long": (b"x" * 25 + b"\n" + b"y" * 9 + b"\n" + b"z" * 10, [b"x" * 25, b"y" * 9, b"z" * 10]),
}


@pytest.mark.parametrize("blocks", ["large", "small"])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".log"])
@pytest.mark.parametrize(("content", "expected"), LINES.values(), ids=list(LINES))
def test_lines_are_read_whole_and_numbered_from_one(
    tmp_path: Path,
    content: bytes,
    expected: list[bytes],
    suffix: str,
    blocks: str,
    request: pytest.FixtureRequest,
) -> None:
    if blocks == "small":
        request.getfixturevalue("small_blocks")
    path = written(tmp_path / f"a{suffix}", content)
    assert read(path) == list(enumerate(expected, 1))


def test_a_line_beyond_the_limit_is_cut_and_its_neighbours_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    monkeypatch.setattr(files, "MAXIMUM_LINE_BYTES", 30)
    path = written(tmp_path / "a.jsonl", b"before\n" + b"x" * 95 + b"\nbehind\n")
    assert payloads(path) == [b"before", *[b"x" * 30] * 3, b"x" * 5, b"behind"]


def test_a_line_at_the_limit_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    monkeypatch.setattr(files, "MAXIMUM_LINE_BYTES", 30)
    path = written(tmp_path / "a.jsonl", b"x" * 30 + b"\n" + b"y" * 5 + b"\n" + b"z" * 30)
    assert payloads(path) == [b"x" * 30, b"y" * 5, b"z" * 30]


# ---- CSV ----------------------------------------------------------------------------------------

CSV: dict[str, tuple[bytes, list[dict[str, str] | bytes]]] = {
    "plain": (b"a,b\n1,x\n2,\n", [{"a": "1", "b": "x"}, {"a": "2", "b": ""}]),
    "no end": (b"a,b\n1,x", [{"a": "1", "b": "x"}]),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,x\n", [{"a": "1", "b": "x"}]),
    "carriage returns": (b"a,b\r\n1,x\r\n2,y\r\n", [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]),
    "quotes": (
        b'a,"b c"\n"1,5","say ""hi"""\n"two\nlines",x\n',
        [{"a": "1,5", "b c": 'say "hi"'}, {"a": "two\nlines", "b c": "x"}],
    ),
    "no ASCII": ("a,é\n1,☃\n".encode(), [{"a": "1", "é": "☃"}]),
    "short row": (b"a,b\n1\n2,y\n", [b"1", {"a": "2", "b": "y"}]),
    "long row": (b"a,b\n1,2,3\n2,y\n", [b"1,2,3", {"a": "2", "b": "y"}]),
    "blank row": (b"a,b\n\n2,y\n", [b"", {"a": "2", "b": "y"}]),
    "not UTF-8": (b"a,b\n1,\xff\xc3\n2,y\n", [b"1,\xff\xc3", {"a": "2", "b": "y"}]),
    "header only": (b"a,b\n", []),
    "zero byte": (b"a,b\n1,\x00\n", [{"a": "1", "b": "\x00"}]),
    "too long": (
        b"a,b\n1," + b"x" * 140_000 + b"\n2,y\n",
        [b"1," + b"x" * 140_000 + b"\n", {"a": "2", "b": "y"}],
    ),
}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize(("content", "expected"), CSV.values(), ids=list(CSV))
def test_rows_become_objects_and_bad_rows_stay_as_they_are(
    tmp_path: Path, content: bytes, expected: list[dict[str, str] | bytes], suffix: str
) -> None:
    found = read(written(tmp_path / f"a{suffix}", content))
    assert [number for number, _ in found] == list(range(1, len(expected) + 1))
    for (_, payload), row in zip(found, expected, strict=True):
        assert (payload if isinstance(row, bytes) else json.loads(payload)) == row


def test_a_quote_that_is_never_closed_costs_no_more_than_a_field_can_hold(tmp_path: Path) -> None:
    rows = [f"{number},x" for number in range(100_000)]
    rows[10] = '10,"x'
    path = written(tmp_path / "a.csv", ("a,b\n" + "\n".join(rows) + "\n").encode())
    found = payloads(path)
    assert [json.loads(payload)["a"] for payload in found[:10]] == [str(n) for n in range(10)]
    lost = found[10].decode().splitlines()
    assert 128 * 1024 < len(found[10]) < 129 * 1024
    assert [*rows[:10], *lost] == rows[: 10 + len(lost)]
    assert [json.loads(payload)["a"] for payload in found[11:]] == [
        str(number) for number in range(10 + len(lost), 100_000)
    ]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8")), min_size=2, max_size=2)))
def test_what_csv_writes_comes_back(tmp_path_factory: Any, rows: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["a", "b"], *rows])
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(text.getvalue().encode())
    assert [list(json.loads(payload).values()) for payload in payloads(path)] == rows


# ---- positions ----------------------------------------------------------------------------------


def resume_everywhere(path: Path) -> None:
    """Read on from the snapshot behind every poll: exactly the rest must come."""
    whole = read(path)
    slot = FileSource(str(path)).open("slot-00", None)
    states = [slot.snapshot()]
    done = [0]
    while not slot.finished:
        blocks = [item for item in slot.poll() if isinstance(item, Block)]
        states.append(slot.snapshot())
        done.append(done[-1] + sum(len(block.payloads) for block in blocks))
    slot.close()
    assert len(states) > 3
    for state, count in zip(states, done, strict=True):
        before = pickle.dumps(state)
        assert read(path, pickle.loads(before)) == whole[count:]
        assert pickle.dumps(state) == before


CONTENTS: dict[str, Callable[[Random], bytes]] = {
    "lines": lambda random: b"\n".join(b"%d" % random.getrandbits(60) for _ in range(9)) + b"\n",
    "no end": lambda random: b"\n".join(b"x" * random.randint(0, 30) for _ in range(9)) + b"x",
    "blanks": lambda random: b"\n" * 45,
    "too long": lambda random: b"a\n" + b"x" * random.randint(60, 99) + b"\nb\n" + b"y" * 70,
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))
def test_a_file_is_read_on_exactly_behind_every_poll(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_blocks: None,
    content: Callable[[Random], bytes],
    suffix: str,
    seed: int,
) -> None:
    monkeypatch.setattr(files, "MAXIMUM_LINE_BYTES", 30)
    resume_everywhere(written(tmp_path / f"a{suffix}", content(Random(seed))))


def test_a_cut_that_falls_on_the_end_of_a_line_is_no_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_blocks: None
) -> None:
    monkeypatch.setattr(files, "MAXIMUM_LINE_BYTES", 30)
    resume_everywhere(written(tmp_path / "a.jsonl", b"x" * 40 + b"\nbehind\nlast"))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_rows_are_read_on_exactly_behind_every_poll(
    tmp_path: Path, small_blocks: None, suffix: str
) -> None:
    content = b'\xef\xbb\xbfa,b\n1,x\n2\n"3\n3",y\n\n4,\xff\n5,"' + b"x" * 140_000 + b'"\n6,z\n7,z'
    resume_everywhere(written(tmp_path / f"a{suffix}", content))


def test_a_file_that_was_read_to_its_end_ends_again_and_brings_nothing_twice(
    tmp_path: Path,
) -> None:
    path = str(written(tmp_path / "a.jsonl", b"1\n2"))
    slot = FileSource(path).open("slot-00", None)
    while not slot.finished:
        slot.poll()
    again = FileSource(path).open("slot-00", slot.snapshot())
    assert not again.finished
    assert again.poll() == [
        Hello("slot-00", (path,)), Adopted(path), EndOfInput("slot-00"), Ended(path),
    ]  # fmt: skip
    assert again.finished
    assert again.snapshot() == slot.snapshot()


def test_the_ledger_counts_each_record_once_over_restarts(
    tmp_path: Path, small_blocks: None
) -> None:
    path = str(written(tmp_path / "a.jsonl", b"\n".join(b"%d" % n for n in range(50))))
    state = None
    finished = False
    while not finished:
        slot = FileSource(path).open("slot-00", state)
        slot.poll()
        state, finished = slot.snapshot(), slot.finished
        slot.close()
    assert state is not None
    assert state["ledger"] == {"records": 50, "plain": 50, "user_records": 50}


def test_a_pipe_that_broke_off_is_an_error_and_skips_nothing_that_is_new(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def feed(content: bytes) -> threading.Thread:
        def write() -> None:
            with suppress(BrokenPipeError):  # the reader may have gone
                path.write_bytes(content)

        writer = threading.Thread(target=write)
        writer.start()
        return writer

    first = feed(b"1\n2\n")
    slot = FileSource(str(path)).open("slot-00", None)
    slot.poll()
    slot.close()
    again = feed(b"3\n4\n")
    with pytest.raises(OSError, match="seek"):
        read(path, slot.snapshot())
    first.join()
    again.join()


# ---- gzip ---------------------------------------------------------------------------------------


def test_an_archive_of_several_members_is_read_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"1\n2\n") + gzip.compress(b"3\n"))
    assert payloads(path) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-9], lambda data: b"no gzip", lambda data: data[:20] + b"\x00" * 20],
    ids=["cut short", "not gzip", "overwritten"],
)
def test_a_broken_archive_is_an_error_that_names_it(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(damage(gzip.compress(Random(1).randbytes(3000))))
    with pytest.raises(SettingsError, match=rf"a{suffix} is not a whole gzip file, behind line 0"):
        payloads(path)


# ---- standard input -----------------------------------------------------------------------------

READ_STANDARD_INPUT = """
import sys
from messages import Block
from sources.files import FileSource
slot = FileSource("-").open("slot-00", None)
while not slot.finished:
    for item in slot.poll():
        if isinstance(item, Block):
            print(item.shard, *zip(item.sequence_numbers, item.payloads), flush=True)
slot.close()
"""


def test_standard_input_is_read_as_it_comes() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", READ_STANDARD_INPUT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"one\ntw")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], 60)
        assert ready, "a line that is there isn't read"
        assert child.stdout.readline() == b"- (1, b'one')\n"  # before the rest is even written
        child.stdin.write(b"o\nthree")
        child.stdin.close()
        assert child.stdout.read() == b"- (2, b'two')\n- (3, b'three')\n"
        assert child.wait() == 0
