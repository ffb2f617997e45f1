"""Columns follow the declaration: keys, values, sessions and detectors, in the rows' own order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dataflows.domain import Domain
from operators.feature_spec import KeyForest, Keys, RecordForest, StreamForest
from operators.session_spec import FirstText, SessionWindow
from operators.spec import Field, Level, Window
from operators.value_spec import ApproxDistinct, Count, Distinct, Last, Mean, Minimum, Sum, Without
from service.warehouse.tables import Column, events_of, rows_of

FIELDS = (
    Field("user", "integer"),
    Field("shop", "text", required=False),
    Field("price", "decimal", scale=2),
    Field("weight", "decimal", scale=3),
)
LEVELS = (Level("warning", above=0.9),)
HEAD = ["row_id", "domain", "aggregate", "window_start", "window_end"]
TAIL = ["emitted_at", "partial"]


def domain(**parts: Any) -> Domain:
    common = Domain("d", summary="", fields=FIELDS, times=("at",), windows=(), rules=())
    return replace(common, **parts)


def columns_of(domain: Domain, aggregate: str) -> list[Column]:
    """Return an aggregate's own columns, once it is certain that it has the common ones."""
    (one,) = (one for one in rows_of(domain).aggregates if one.name == aggregate)
    assert one.view == f"d_{aggregate}"
    names = [column.name for column in one.columns]
    assert (names[:5], names[-2:]) == (HEAD, TAIL)
    return list(one.columns[5:-2])


def test_a_windows_columns_are_its_keys_and_values():
    window = Window(
        "w",
        60,
        key=("user", "shop"),
        values=(
            Count("n"),
            Sum("total", of="price"),
            Minimum("least", of="user"),
            Mean("mean", of="price"),
            Distinct("users", of="user"),
            ApproxDistinct("about", of="user"),
            Last("last"),
            Count("m"),
            Without("n_without_m", some="n", none="m"),
        ),
    )

    assert columns_of(domain(windows=(window,)), "w") == [
        Column("user", "integer"),
        Column("shop", "text"),
        Column("n", "integer"),
        Column("total", "decimal", 2),
        Column("least", "integer"),
        Column("mean", "real"),
        Column("users", "integer"),
        Column("about", "integer"),
        Column("last", "time"),
        Column("m", "integer"),
        Column("n_without_m", "boolean"),
    ]


def test_rows_that_can_be_interim_say_their_phase():
    session = SessionWindow("s", 60, key=("user",), values=(FirstText("first", of="shop"),))
    window = Window("w", 60, key=(), values=(Count("n"),), interim_seconds=10, groups=1)
    both = domain(windows=(window,), sessions=(session,))

    assert columns_of(both, "s") == [
        Column("user", "integer"),
        Column("first", "text"),
        Column("phase", "text"),
    ]
    assert columns_of(both, "w") == [Column("n", "integer"), Column("phase", "text")]


def test_a_window_that_is_not_written_has_no_view():
    windows = (
        Window("w", 60, key=("user",), values=(Count("n"),), emit=False),
        Window("v", 60, key=("user",), values=(Count("n"),)),
    )

    assert [one.name for one in rows_of(domain(windows=windows)).aggregates] == ["v"]


def test_a_detectors_columns_are_its_keys_what_it_sees_and_its_score():
    window = Window("w", 60, key=("user",), values=(Count("n"),), emit=False)
    detectors = (
        StreamForest(name="stream", levels=LEVELS, features=(Keys("users", "w"),)),
        KeyForest(name="each", levels=LEVELS, window="w", values=("n",)),
        RecordForest(name="record", levels=LEVELS, fields=("price",), key=("user",)),
        RecordForest(name="silent", levels=LEVELS, fields=("price",), emit=False),
    )
    one = domain(windows=(window,), detectors=detectors)
    scores = [Column("score", "real"), Column("grade", "real")]

    assert columns_of(one, "stream") == [Column("users", "real"), *scores]
    assert columns_of(one, "each") == [Column("user", "integer"), Column("n", "real"), *scores]
    assert columns_of(one, "record") == [
        Column("user", "integer"),
        Column("shard", "text"),
        Column("sequence_number", "text"),
        Column("price", "real"),
        *scores,
    ]
    assert [other.name for other in rows_of(one).aggregates] == ["stream", "each", "record"]


def test_keys_are_what_tells_rows_of_one_start_apart():
    window = Window("w", 60, key=("user", "shop"), values=(Count("n"),))
    detectors = (
        StreamForest(name="stream", levels=LEVELS, features=(Keys("users", "w"),)),
        KeyForest(name="each", levels=LEVELS, window="w", values=("n",)),
        RecordForest(name="record", levels=LEVELS, fields=("price",), key=("user",)),
    )
    rows = rows_of(domain(windows=(window,), detectors=detectors))

    assert {one.name: [key.name for key in one.keys] for one in rows.aggregates} == {
        "w": ["user", "shop"],
        "stream": [],
        "each": ["user", "shop"],
        "record": ["user", "shard", "sequence_number"],
    }


def test_a_column_of_two_aggregates_is_wide_enough_for_both():
    windows = (
        Window("a", 60, key=("user",), values=(Sum("x", of="price"), Count("y"), Count("z"))),
        Window("b", 60, key=("user",), values=(Sum("x", of="weight"), Mean("y", of="price"))),
    )

    columns = {one.name: one for one in rows_of(domain(windows=windows)).columns}

    assert columns["x"] == Column("x", "decimal", 3)
    assert columns["y"] == Column("y", "real")
    assert columns["z"] == Column("z", "integer")


def test_a_column_that_nothing_holds_both_of_is_refused():
    windows = (
        Window("a", 60, key=("user",), values=(Last("x"),)),
        Window("b", 60, key=("user",), values=(Count("x"),)),
    )

    with pytest.raises(ValueError, match="a column x can't hold both time and integer"):
        rows_of(domain(windows=windows))


def test_events_have_all_times_and_fields():
    events = events_of(domain(times=("at", "then")))

    assert (events.raw, events.view) == ("d_raw", "d_events")
    assert events.fields == ("at", "then", "user", "shop", "price", "weight")
    assert [one.name for one in events.required] == ["user", "price", "weight"]
