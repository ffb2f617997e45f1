"""Detectors of events: what names an event, what its point is, and what a crash leaves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from messages import AggregateRows, Alert, Block, Closed, Points
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.feature_spec import RecordForest
from operators.intake import Intake
from operators.record_detection import RecordDetection
from operators.record_points import RecordPoints
from operators.spec import Field, Level

FIELDS = (
    Field("user", "integer"),
    Field("shop", "text"),
    Field("price", "decimal", scale=2),
    Field("pieces", "integer"),
)
SPEC = RecordForest(
    name="unusual",
    levels=(Level("high", above=0.995),),
    fields=("price", "pieces"),
    key=("shop", "user"),
    number_of_trees=20,
    sub_sample_size=32,
    warm_up=200,
    quiet_seconds=0,
)


def points_of(payloads: Sequence[bytes]) -> list[Points]:
    texts = TextCodes()
    decoder = Decoder(FIELDS, "at", texts)
    points = RecordPoints((SPEC,), {field.name: field for field in FIELDS}, texts)
    intake = Intake("shops", decoder, (), 0, points=points)
    numbers = [str(100 + index) for index in range(len(payloads))]
    arrival_us = np.full(len(payloads), 10**15)
    return intake.take([Block("shard-1", payloads, numbers, arrival_us)]).points


def event(price: str, pieces: int = 1, second: int = 0) -> bytes:
    at = f"1970-01-01T00:{second // 60:02}:{second % 60:02}Z"
    return orjson.dumps({"user": 7, "shop": "a", "price": price, "pieces": pieces, "at": at})


def test_an_event_is_named_by_its_fields_shard_and_sequence_number() -> None:
    (points,) = points_of([event("1.25", 2, 1), b"{", event("3.00", 4, 2)])
    assert points.rule == "unusual"
    assert points.keys == (
        {"shop": "a", "user": 7, "shard": "shard-1", "sequence_number": "100"},
        {"shop": "a", "user": 7, "shard": "shard-1", "sequence_number": "102"},
    )
    assert points.numbers.tolist() == [[1.25, 2.0], [3.0, 4.0]]
    assert points.times_us.tolist() == [1_000_000, 2_000_000]


def test_further_objects_of_a_record_have_numbers_of_their_own() -> None:
    (points,) = points_of([event("1.00") + event("2.00") + event("3.00"), event("4.00")])
    assert [key["sequence_number"] for key in points.keys] == ["100", "100#1", "100#2", "101"]
    assert points.numbers[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]


def stream(count: int) -> list[Points]:
    rng = random.Random(1)
    payloads = [
        event(f"{rng.randint(100, 900) / 100:.2f}", rng.randint(1, 3), index)
        for index in range(count)
    ]
    payloads[count - 20] = event("9999.00", 99, count - 20)
    return [found for at in range(0, count, 50) for found in points_of(payloads[at : at + 50])]


def run(one: RecordDetection, items: Sequence[Points]) -> list[Any]:
    return [found for item in items for found in one.take([item])]


def test_an_unusual_event_is_an_incident_of_its_moment() -> None:
    found = run(RecordDetection(SPEC, "shops", clock=lambda: 0), stream(600))
    alert = next(
        item for item in found if isinstance(item, Alert) and item.window_start_us == 580 * 10**6
    )
    assert alert.window_end_us == alert.window_start_us
    assert alert.evidence["features"] == {"price": 9999.0, "pieces": 99.0}
    rows = [row for item in found if isinstance(item, AggregateRows) for row in item.rows]
    assert len(rows) == 600
    assert len({row["row_id"] for row in rows}) == 600
    closed = [item for item in found if isinstance(item, Closed)]
    assert closed[-1] == Closed("unusual", "unusual", 599 * 10**6)


def test_what_a_crash_leaves_goes_on_with_the_same_scores_bit_for_bit() -> None:
    items = stream(600)
    whole = RecordDetection(SPEC, "shops", clock=lambda: 0)
    expected = run(whole, items)
    one = RecordDetection(SPEC, "shops", clock=lambda: 0)
    found = run(one, items[:6])
    restored = RecordDetection(SPEC, "shops", clock=lambda: 0, state=one.snapshot())
    found += run(restored, items[6:])
    assert found == expected
    assert restored.ledger == whole.ledger == {"events_scored": 600, "events_refused": 0}
