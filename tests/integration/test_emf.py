"""A run writes lines for CloudWatch when it is told to, and what they count is what was read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import CommandLine
from tests.unit.service.test_emf import violations

pytestmark = pytest.mark.deploy

EVENTS = 3_000


def run(kinewax: CommandLine, folder: Path, environment: dict[str, str]) -> list[str]:
    events = folder / "events.jsonl"
    made = kinewax.run("produce", "ecommerce", "--to", f"file://{events}", "--events", str(EVENTS))
    assert made.returncode == 0, made.stderr
    ran = kinewax.run(
        *(
            "run",
            "ecommerce",
            "--source",
            f"file://{events}",
            "--sinks",
            f"file://{folder / 'out'}",
        ),
        environment=environment,
    )
    assert ran.returncode == 0, ran.stderr
    return [line for line in ran.stdout.splitlines() if line.startswith('{"_aws"')]


def test_lines_for_cloudwatch_count_what_the_ledger_has(kinewax: CommandLine, tmp_path: Path):
    lines = run(
        kinewax,
        tmp_path,
        {"KINEWAX_LOG__EMF_INTERVAL": "500ms", "KINEWAX_LOG__EMF_NAMESPACE": "shop/alerts"},
    )
    documents = [json.loads(line) for line in lines]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())

    assert [violations(document) for document in documents] == [[]] * len(documents)
    assert sum(one.get("events", 0) for one in documents) == summary["ledger"]["events"] > 0
    assert {one["Domain"] for one in documents} == {"ecommerce"}
    directives = [one for each in documents for one in each["_aws"]["CloudWatchMetrics"]]
    assert {one["Namespace"] for one in directives} == {"shop/alerts"}
    assert len(lines) >= 2  # one while it runs, at least, and the last


def test_without_the_setting_no_line_is_written(kinewax: CommandLine, tmp_path: Path):
    assert not run(kinewax, tmp_path, {})
