"""The dashboard of the search index: sound as far as that can be told without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflows.wiki import WIKI

FILE = Path(__file__).resolve().parents[2] / "deploy" / "opensearch" / "dashboard.ndjson"
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text().splitlines()]


def test_what_an_object_refers_to_stands_before_it() -> None:
    known: set[tuple[str, str]] = set()
    for one in OBJECTS:
        for reference in one["references"]:
            assert (reference["type"], reference["id"]) in known
        known.add((one["type"], one["id"]))
    assert [one["type"] for one in OBJECTS].count("dashboard") == 1


def test_each_panel_shows_an_object_of_the_file() -> None:
    dashboard = OBJECTS[-1]
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    names = {reference["name"] for reference in dashboard["references"]}
    assert {panel["panelRefName"] for panel in panels} == names
    shown = {reference["id"] for reference in dashboard["references"]}
    assert shown == {one["id"] for one in OBJECTS if one["type"] == "visualization"}


def test_every_field_that_is_shown_is_one_of_the_index() -> None:
    assert WIKI.written is not None
    properties = WIKI.written.properties
    fields = [
        aggregation["params"]["field"]
        for one in OBJECTS
        if one["type"] == "visualization"
        for aggregation in json.loads(one["attributes"]["visState"])["aggs"]
        if "field" in aggregation["params"]
    ]
    assert fields
    assert set(fields) <= set(properties)
    texts = {name for name, kind in properties.items() if kind["type"] == "text"}
    assert not texts.intersection(fields), "a text can't be aggregated"
    pattern = OBJECTS[0]["attributes"]
    assert properties[pattern["timeFieldName"]]["type"] == "date"


def test_the_pattern_also_means_the_indexes_of_days() -> None:
    assert OBJECTS[0]["attributes"]["title"] == f"{WIKI.name}*"
