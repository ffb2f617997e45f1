"""The reference repeats the declarations: none is missing, none is out of date, no link is dead."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dataflows.ecommerce import ECOMMERCE
from docs import generate
from metrics import METRICS
from operators.reference_spec import Reference
from operators.spec import Field
from service import settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")])
# Decisions are history: what they name may be gone.
LIVING = [page for page in PAGES if "decisions" not in page.parts and page.name != "CHANGELOG.md"]


def page(name: str) -> str:
    return (generate.REFERENCE / name).read_text()


@pytest.mark.parametrize("name", generate.pages())
def test_a_reference_page_is_what_the_declarations_say(name: str):
    assert page(name) == generate.pages()[name], "run `make docs` and commit docs/reference/"


def test_no_reference_page_is_left_over():
    assert {path.name for path in generate.REFERENCE.glob("*.md")} == set(generate.pages())


def test_a_domain_tells_of_its_reference_data():
    group, cost = Field("group", "text"), Field("cost", "integer")
    references = (
        Reference("products", "user_id", (group, cost), doc="Ours."),
        Reference("brands", "brand", (Field("rank", "integer"),), (9,), column="name"),
        Reference("shops", "brand", (Field("city", "text"),), "drop"),
    )
    told = list(generate._references(replace(ECOMMERCE, references=references)))

    assert told[2:] == [
        '| `products` | `user_id` | `group` (text), `cost` (integer) | `""`, `0` | Ours. |',
        "| `brands` | `brand`, there `name` | `rank` (integer) | `9` |  |",
        "| `shops` | `brand` | `city` (text) | dropped, as `dropped.not_in_shops` |  |",
    ]


def test_every_setting_is_described():
    undescribed = [path for path, _, _, description in settings.declared() if not description]

    assert not undescribed
    assert all(f"| `{path}` |" in page("settings.md") for path in settings.known())


def scraped_metrics() -> set[str]:
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for metric in METRICS
        for family in metric.collect()
    }


def test_every_metric_is_described_under_the_name_it_is_scraped_by():
    scraped = scraped_metrics()

    assert scraped
    assert [name for name in scraped if f"| `{name}` |" not in page("metrics.md")] == []


def test_every_error_has_its_exit_code_in_the_docs():
    for error in generate.error_classes():
        assert f"| `{error.__name__}` | {error.exit_code} |" in page("errors.md")


def test_every_command_and_every_option_says_what_it_does():
    for path, command in generate.commands():
        assert command.help, f"{' '.join(path)} has no docstring"
        for parameter in command.params:
            assert parameter.help, f"{' '.join(path)}: {parameter.name} has no help"


def test_every_link_between_pages_leads_somewhere():
    dead = [
        f"{file.relative_to(ROOT)}: {target}"
        for file in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", file.read_text())
        if "://" not in target and not (file.parent / target).exists()
    ]

    assert not dead


def test_every_decision_is_in_the_index():
    decisions = ROOT / "docs" / "decisions"
    index = (decisions / "README.md").read_text()

    for file in decisions.glob("0*.md"):
        title = file.read_text().partition("\n")[0].removeprefix("# ")
        assert f"- [{title}]({file.name})" in index


def test_every_metric_that_a_page_names_is_scraped():
    scraped = scraped_metrics()
    unknown = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in LIVING
        for name in re.findall(r"\bkinewax_[a-z_]+\b", file.read_text())
        if name not in scraped and re.sub(r"_(bucket|sum|count)$", "", name) not in scraped
    ]

    assert not unknown


def test_every_setting_that_a_page_names_is_there():
    known = set(settings.known())
    sections = "|".join({path.partition(".")[0] for path in known})
    variable = re.compile(r"\bKINEWAX_([A-Z]+(?:_[A-Z]+)*__[A-Z_]+)\b")
    unknown = []
    for file in LIVING:
        text = file.read_text()
        named = re.findall(rf"`((?:{sections})\.[a-z_]+)`", text)
        named += [name.lower().replace("__", ".") for name in variable.findall(text)]
        unknown += [f"{file.relative_to(ROOT)}: {name}" for name in named if name not in known]

    assert not unknown


def test_every_picture_is_sound():
    pictures = sorted((ROOT / "docs").rglob("*.svg"))

    assert pictures
    for file in pictures:
        assert ElementTree.parse(file).getroot().tag.endswith("svg")
