"""What the page on reference data says, held against the code."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from dataflows.access_logs import ACCESS_LOGS
from dataflows.domain import Domain
from metrics import reference_checked_timestamp, reference_loads
from operators.allow import allows_of_table
from operators.reference import MAX_ROWS
from operators.reference_rows import _READERS
from operators.reference_spec import Reference
from operators.spec import Field
from service.settings import References

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/reference-data.md").read_text()


def test_the_example_is_a_sound_declaration() -> None:
    (source,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {"Reference": Reference, "Field": Field}
    exec(source, names)
    domain = Domain(
        "shop",
        "A shop.",
        (Field("product_id", "integer"),),
        ("at",),
        (),
        (),
        references=(names["PRODUCTS"],),
    )
    assert [field.name for field in domain.all_fields][1:] == ["margin_group", "cost"]


def test_the_allow_list_of_the_page_allows_whom_it_says() -> None:
    (text,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    allows = allows_of_table(ACCESS_LOGS.allow, csv.DictReader(text.splitlines()))
    assert allows["client"]("66.249.64.7")
    assert not allows["client"]("66.249.96.1")
    assert allows["agent"]("UptimeRobot/2.0")


def test_the_limits_and_names_of_the_page_are_those_of_the_code() -> None:
    settings = References()
    assert f"({settings.max_bytes >> 20} MiB) and {MAX_ROWS:,} rows" in PAGE
    assert settings.interval.total_seconds() == 60
    assert "(a minute)" in PAGE
    assert all(f"`.{ending}`" in PAGE for ending in _READERS)
    for metric in (reference_checked_timestamp, reference_loads):
        assert metric._name in PAGE
