"""The code of docs/explanation/forest.md runs, and finds what the page says it finds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from dataflows.domain import Domain
from operators.feature_spec import KeyForest, RecordForest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "forest.md"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def test_the_example_finds_the_flood_and_the_release(blocks: list[str]) -> None:
    names: dict[str, Any] = {}
    exec(blocks[0], names)  # our own page
    found = names["found"]
    alarms = found.alarms.nonzero()[0].tolist()
    told = [
        int(row.replace(",", ""))
        for row in re.findall(r"^\| (\d,\d{3}) \|", PAGE.read_text(), re.M)
    ]
    assert told == [2499, 2500, 2700, 2703]
    assert {2500, 2700} <= set(alarms)
    assert not {2499, 2703} & set(alarms)
    for row in told:
        assert f"{found.scores[row]:.2f} | {found.grades[row]:.5f}" in PAGE.read_text()


def test_the_example_of_a_domain_is_one(blocks: list[str]) -> None:
    names: dict[str, Any] = {}
    exec(blocks[1], names)  # our own page
    domain = names["DOMAIN"]
    assert isinstance(domain, Domain)
    assert [type(one) for one in domain.detectors] == [KeyForest, RecordForest]
