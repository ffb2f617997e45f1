"""However long an archive is, what lies open while it is read stays within bounds."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dataflows.ecommerce import ECOMMERCE
from messages import Seen
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.intake import Intake
from operators.watermarks import BEGINNING, Watermark
from sources.archive.layouts import layout_of
from sources.archive.listing import listed
from sources.archive.source import ArchiveSource, Reading
from sources.archive.stores import DirectoryStore
from tests.rig import event

HOUR_US = 3_600_000_000
DISORDER_US = HOUR_US // 4
BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


def archive(root: Path, minutes_an_object: int) -> ArchiveSource:
    """A day, ten events a minute."""
    for begin in range(0, 24 * 60, minutes_an_object):
        moment = BEGIN + timedelta(minutes=begin)
        lines = [
            json.dumps(event(1, moment + timedelta(seconds=6 * number)))
            for number in range(10 * minutes_an_object)
        ]
        # Firehose gathers for 15 minutes at most: an hour's object is named by somebody else.
        name = f"s-1-{moment:%Y-%m-%d-%H-%M-%S}-x.gz" if minutes_an_object < 60 else "x.gz"
        path = root / f"{moment:%Y/%m/%d/%H}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    store = DirectoryStore(root)
    listing = listed(
        "x", store, layout_of(""),
        arrived_us=(None, None), most_lanes=8, drift_us=HOUR_US,
    )  # fmt: skip
    return ArchiveSource(listing, store, Reading(drift_us=HOUR_US))


@pytest.mark.parametrize(("minutes_an_object", "most_hours"), [(5, 2.5), (60, 4.5)])
def test_a_day_keeps_a_few_hours_of_windows_open_even_if_one_lane_is_slow(
    tmp_path: Path, minutes_an_object: int, most_hours: float
) -> None:
    source = archive(tmp_path, minutes_an_object)
    slots = [source.open(name, None) for name in source.slots]
    watermark = Watermark(source.slots, DISORDER_US, "hold")
    decoder = Decoder(ECOMMERCE.fields_of(()), "txn_timestamp", TextCodes())
    intakes = [Intake("shop", decoder, (), DISORDER_US) for _ in slots]
    greatest_us, widest_us = BEGINNING, 0
    turn = 0
    while not all(slot.finished for slot in slots):
        turn += 1
        for number, (slot, intake) in enumerate(zip(slots, intakes, strict=True)):
            if slot.finished or (number == 0 and turn % 5):
                continue
            taken: Any = intake.take(slot.poll())
            seen = [mark.maximum_us for mark in taken.marks if isinstance(mark, Seen)]
            greatest_us = max([greatest_us, *seen])
            watermark.apply(taken.marks)
        if greatest_us != BEGINNING:
            begun_us = max(watermark.now_us, int(BEGIN.timestamp()) * 1_000_000)
            widest_us = max(widest_us, greatest_us - begun_us)
    events = sum(intake.ledger["events"] for intake in intakes)
    assert events == 24 * 60 * 10
    assert sum(n for one in intakes for name, n in one.ledger.items() if "late" in name) == 0
    assert widest_us <= most_hours * HOUR_US
    for slot in slots:
        slot.close()
