"""Windows that count some events only, and the ledger that says so."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from messages import Block, Late
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.filter_spec import Known, Where
from operators.filters import Filters
from operators.intake import Intake, Taken
from operators.session_spec import SessionWindow
from operators.spec import Field, Window
from operators.value_spec import Count

EVENTS = (Count("events"),)
WINDOWS = (
    Window("all", 10, ("kind",), EVENTS),
    Window("bought", 10, ("kind",), EVENTS, where=Where("kind", ("buy", "cart"))),
    SessionWindow("visits", 30, ("visit",), EVENTS, where=Known("visit")),
)


def taken(*events: tuple[int, str, str | None]) -> tuple[Taken, Intake]:
    """Events as (second, kind, visit), in sequence order."""
    texts = TextCodes()
    fields = (Field("kind", "text"), Field("visit", "text", required=False))
    intake = Intake(
        "shop",
        Decoder(fields, "at", texts),
        WINDOWS,
        2_000_000,
        filters=Filters(WINDOWS, texts),
    )
    payloads = [
        json.dumps({"at": f"2026-01-02T12:00:{second:02d}", "kind": kind, "visit": visit}).encode()
        for second, kind, visit in events
    ]
    arrival = np.full(len(events), 1_800_000_000_000_000)
    return intake.take([Block("a", payloads, range(len(events)), arrival)]), intake


def counted(found: Taken) -> list[Sequence[int] | None]:
    return [None if rows is None else rows.tolist() for rows in found.rows[0].counted]


def test_each_window_counts_what_passes_and_the_rest_is_filtered() -> None:
    found, intake = taken((1, "view", "x"), (2, "buy", None), (3, "cart", ""), (4, "view", "y"))
    assert counted(found) == [None, [1, 2], [0, 3]]
    assert intake.ledger["filtered.bought"] == 2
    assert intake.ledger["filtered.visits"] == 2
    assert not found.aside


def test_an_event_that_a_window_doesnt_count_isnt_late_for_it() -> None:
    found, intake = taken((50, "buy", "x"), (10, "view", "x"), (20, "buy", ""))
    late = [(item.aggregate, item.sequence_number) for item in found.aside if type(item) is Late]
    assert late == [("all", "1"), ("all", "2"), ("bought", "2"), ("visits", "1")]
    for name in ("all", "bought", "visits"):
        rows = counted(found)[[window.name for window in WINDOWS].index(name)]
        parts = intake.ledger[f"late.{name}"] + intake.ledger[f"filtered.{name}"]
        assert len(rows or ()) + parts == intake.ledger["events"] == 3


def test_an_event_of_a_session_is_late_by_its_own_time() -> None:
    found, _ = taken((50, "buy", "x"), (48, "buy", "x"), (47, "buy", "x"))
    late = [item for item in found.aside if type(item) is Late]
    assert [(item.aggregate, item.sequence_number) for item in late] == [("visits", "2")]
    assert late[0].window_start_us == late[0].event_time_us
