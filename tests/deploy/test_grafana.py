"""The boards: what is declared is what is kept, laid out well, and asks only for what there is."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import generate
from metrics import METRICS
from tests.deploy.manifests import kubectl
from tests.deploy.prometheus import (
    alerts,
    filled_in,
    program,
    recorded,
    scraped_names,
    series_named,
)

KEPT = {name: json.loads((generate.DEPLOY / name).read_text()) for name in generate.boards()}
PANELS = [
    pytest.param(panel, id=f"{Path(name).stem}: {panel['title']}")
    for name, board in KEPT.items()
    for panel in board["panels"]
]
# Of Grafana's own list of units; a wrong one is shown as text behind the number.
UNITS = {"short", "none", "s", "bytes", "Bps", "percentunit", "cpm"}
SELECTOR = re.compile(r"\b(kinewax[a-z0-9_:]*)\{([^}]*)\}")


def queries() -> list[str]:
    return [
        target["expr"]
        for board in KEPT.values()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


@pytest.mark.parametrize("name", generate.boards())
def test_a_board_is_what_is_declared(name: str):
    kept = (generate.DEPLOY / name).read_text()

    assert kept == generate.boards()[name], "run `make docs` and commit deploy/grafana/"


def test_no_board_is_left_over_and_none_shares_an_address():
    found = {f"grafana/{path.name}" for path in (generate.DEPLOY / "grafana").glob("*.json")}
    addresses = [board["uid"] for board in KEPT.values()]

    assert found == set(KEPT)
    assert len(set(addresses)) == len(addresses)
    assert all(len(address) <= 40 for address in addresses)  # Grafana's bound


@pytest.mark.parametrize("board", KEPT.values(), ids=KEPT)
def test_panels_lie_side_by_side_and_none_on_another(board: dict[str, Any]):
    places = [panel["gridPos"] for panel in board["panels"]]

    assert len({panel["id"] for panel in board["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


@pytest.mark.parametrize("board", KEPT.values(), ids=KEPT)
def test_rows_fill_the_whole_width(board: dict[str, Any]):
    tops = {panel["gridPos"]["y"] for panel in board["panels"]}
    for top in tops:
        row = [panel["gridPos"] for panel in board["panels"] if panel["gridPos"]["y"] == top]
        assert sum(place["w"] for place in row) == 24
        assert len({place["h"] for place in row}) == 1


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_a_unit_that_grafana_knows(panel: dict[str, Any]):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_queries_read_only_declared_metrics_and_recorded_series():
    known = scraped_names() | set(recorded())
    unknown = {name for query in queries() for name in series_named(query)} - known

    assert not unknown


def test_conditions_are_on_labels_that_the_metric_has():
    labels = {
        name: {*metric._labelnames, "job", "le"}
        for metric in METRICS
        for name in (
            f"{metric._name}{suffix}" for suffix in ("", "_total", "_bucket", "_sum", "_count")
        )
    } | {name: {"job"} for name in recorded()}
    selectors = [found for query in queries() for found in SELECTOR.findall(query)]

    assert len(selectors) >= len(queries()) - 1  # but the one of alerts
    for name, conditions in selectors:
        asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", conditions))
        assert asked <= labels[name], name
        assert "job" in asked, f"{name} isn't of the chosen job"


def test_every_metric_is_on_a_board_or_in_a_rule():
    expressions = [*queries(), *recorded().values(), *(alert.expression for alert in alerts())]
    read = {name for each in expressions for name in series_named(each)}
    left = [
        metric._name
        for metric in METRICS
        if not any(name == metric._name or name.startswith(f"{metric._name}_") for name in read)
    ]

    assert not left


def test_promtool_can_parse_every_query(tmp_path: Path):
    rules = [
        {"record": f"query:{number}", "expr": filled_in(query)}
        for number, query in enumerate(queries())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    said = subprocess.run(
        [program("promtool"), "check", "rules", file], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_boards_and_alerts_agree_on_limits():
    """An alert's limit is where the line on the board is red, for what both show."""
    lines = {
        target["expr"].partition("{")[0]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        for board in KEPT.values()
        for panel in board["panels"]
        for target in panel["targets"]
        if target["expr"].startswith("kinewax:")
    }
    limits = {
        alert.measured: float(alert.expression.rpartition(">")[2])
        for alert in alerts()
        if alert.measured in lines
    }

    assert len(limits) >= 5
    for series, limit in limits.items():
        assert lines[series][-1]["value"] in (limit, None), series


@pytest.mark.deploy
def test_kubernetes_gets_every_board():
    folder = generate.DEPLOY / "grafana"
    said = subprocess.run(
        [kubectl(), "kustomize", folder], capture_output=True, text=True, check=True
    )
    made = yaml.safe_load(said.stdout)

    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {f"grafana/{name}": text for name, text in made["data"].items()} == generate.boards()
