"""The rules: sound, shown to fire and to stay silent, each with a page that tells what to do."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy import generate
from tests.deploy.prometheus import (
    RULES,
    alerts,
    program,
    recorded,
    scraped_names,
    series_named,
)

RUNBOOKS = RULES.parents[1] / "docs" / "runbooks"
TESTS = sorted((RULES / "tests").glob("*.yml"))
HEADINGS = ["What it means", "What users notice", "What to look at", "What to do"]


def test_promtool_finds_nothing_wrong_with_rules_and_configuration():
    said = subprocess.run(
        [program("promtool"), "check", "config", RULES / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_else_stay_silent(file: Path):
    said = subprocess.run(
        [program("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )

    assert said.returncode == 0, said.stdout + said.stderr


def test_each_alert_is_shown_to_fire_and_to_stay_silent():
    shown: dict[str, set[bool]] = {}
    for file in TESTS:
        for one in yaml.safe_load(file.read_text())["tests"]:
            for case in one["alert_rule_test"]:
                shown.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))

    assert shown == {alert.name: {True, False} for alert in alerts()}


def test_rules_read_only_declared_metrics_and_recorded_series():
    known = scraped_names() | set(recorded())
    expressions = [*recorded().values(), *(alert.expression for alert in alerts())]
    unknown = {name for each in expressions for name in series_named(each)} - known

    assert not unknown


def test_every_recorded_series_is_read_by_an_alert_or_a_board():
    boards = "".join(file.read_text() for file in (RULES.parent / "grafana").glob("*.json"))
    rules = [*recorded().values(), *(alert.expression for alert in alerts())]
    read = {name for each in rules for name in series_named(each)} | set(
        re.findall(r"kinewax:[a-z0-9_:]+", boards)
    )

    assert not [name for name in recorded() if name not in read]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert():
    named = {alert.name: alert.runbook for alert in alerts()}

    assert named == {name: f"docs/runbooks/{name}.md" for name in named}
    assert {page.stem for page in RUNBOOKS.glob("Kinewax*.md")} == set(named)


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("Kinewax*.md")), ids=lambda page: page.stem)
def test_a_runbook_says_what_it_means_who_notices_where_to_look_and_what_to_do(page: Path):
    text = page.read_text()
    parts = re.split(r"^## ", text, flags=re.MULTILINE)[1:]

    assert text.startswith(f"# {page.stem}\n")
    assert [part.partition("\n")[0] for part in parts] == HEADINGS
    assert all(part.partition("\n")[2].strip() for part in parts)


def test_alerts_say_how_urgent_they_are():
    assert {alert.severity for alert in alerts()} == {"critical", "warning"}


def test_the_guide_names_every_alert():
    guide = (RUNBOOKS.parent / "how-to" / "monitor.md").read_text()

    assert set(re.findall(r"\[(Kinewax\w+)\]", guide)) == {alert.name for alert in alerts()}
    assert f"{len(alerts())} alerts" in guide


def test_kubernetes_gets_the_same_rules():
    (name, text), *_ = generate.rules().items()
    kept = (generate.DEPLOY / name).read_text()
    manifest = yaml.safe_load(kept)
    files = [yaml.safe_load((RULES / file).read_text()) for file in ("recording.yml", "alerts.yml")]

    assert kept == text, "run `make docs` and commit deploy/prometheus/"
    assert (manifest["apiVersion"], manifest["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    assert manifest["spec"]["groups"] == [group for file in files for group in file["groups"]]
