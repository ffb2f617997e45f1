"""The worked example of docs/explanation/kinesis.md, fed to the code row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from messages import Adopted, Ended, Hello, Idle, Mark, Seen
from operators.watermarks import Watermark
from sources.kinesis.lineage import HASH_KEYS, Shard, slot_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "kinesis.md"
PICTURE = PAGE.with_name("kinesis-reshard.svg")
SLOTS = ("slot-00", "slot-01", "slot-02", "slot-03")
QUARTER = HASH_KEYS // 4
SHARDS = {
    "A": Shard("A", 0, 2 * QUARTER - 1),
    "B": Shard("B", 2 * QUARTER, HASH_KEYS - 1),
    "C": Shard("C", 0, QUARTER - 1, ("A",)),
    "D": Shard("D", QUARTER, 2 * QUARTER - 1, ("A",)),
    "E": Shard("E", QUARTER, HASH_KEYS - 1, ("D", "B")),
}


class Row(NamedTuple):
    step: str
    marks: list[Mark]
    watermark: str


def rows() -> list[Row]:
    section = PAGE.read_text().partition("## A split and a merge")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [
        Row(step.strip(), list(marks(said)), watermark.strip())
        for step, _, said, watermark in cells[1:]
    ]


def marks(text: str) -> Iterator[Mark]:
    for kind, arguments in re.findall(r"`(\w+)\(([^)]*)\)`", text):
        name, _, rest = (part.strip() for part in arguments.partition(","))
        names = tuple(rest.split())
        match kind:
            case "Hello":
                yield Hello(name, names)
            case "Adopted":
                yield Adopted(name, names)
            case "Ended":
                yield Ended(name, names)
            case "Seen":
                yield Seen(name, int(rest))
            case "Idle":
                yield Idle(name, int(rest))


def test_the_watermark_is_what_each_row_says():
    watermark = Watermark(SLOTS, 10, "wallclock")
    found = rows()
    assert [row.step for row in found] == list("0123456")
    for row in found:
        watermark.apply(row.marks)
        shown = str(watermark.now_us) if watermark.now_us > 0 else "none"
        assert shown == row.watermark, row.step
    watermark.apply([])
    assert sorted(watermark.snapshot()["shards"]) == ["C", "E"]


def test_without_the_third_step_the_watermark_would_overtake_the_child():
    watermark = Watermark(SLOTS, 10, "wallclock")
    for row in rows()[:3]:
        watermark.apply([mark for mark in row.marks if mark != Adopted("D", ("A",))])
    watermark.apply([Ended("A", ("C",))])
    assert watermark.now_us == 30


def test_slots_own_the_shards_that_the_page_gives_them():
    owners = {name: slot_of(shard, len(SLOTS)) for name, shard in SHARDS.items()}
    assert owners == {"A": 0, "B": 2, "C": 0, "D": 1, "E": 2}
    for row in rows():
        for mark in row.marks:
            if isinstance(mark, Hello):
                assert [SLOTS[owners[name]] for name in mark.shards] == [mark.slot] * len(
                    mark.shards
                )
            if isinstance(mark, Adopted):
                assert mark.parents == SHARDS[mark.shard].parents


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.step)
def test_the_picture_shows_the_same(row: Row):
    left = 110 + 105 * int(row.step)
    texts = re.findall(r'<text x="(\d+)" y="\d+">([^<]+)</text>', PICTURE.read_text())
    shown = [text for x, text in texts if left <= int(x) < left + 105]
    for mark in row.marks:
        match mark:
            case Seen(name, time) | Idle(name, time):
                assert f"{type(mark).__name__} {name} :{time}" in shown
            case Adopted(name) | Ended(name):
                assert f"{type(mark).__name__} {name}" in shown
    assert (f":{row.watermark}" if row.watermark != "none" else "none yet") in shown
