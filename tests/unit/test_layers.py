"""Imports point one way, and the engine and AWS are imported in few files: this test lists them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.registry import DOMAINS

ROOT = Path(__file__).resolve().parents[2]

MESSAGES = {"messages", "payloads", "errors", "metrics", "compiled"}
MAY_IMPORT = {
    "messages": set(),
    "payloads": {"messages"},
    "errors": set(),
    "metrics": set(),
    "compiled": set(),
    "sources": MESSAGES,
    "operators": MESSAGES,
    "sinks": MESSAGES,
    "producers": MESSAGES,
    "dataflows": MESSAGES | {"sources", "operators", "sinks"},
    "service": MESSAGES | {"sources", "operators", "sinks", "dataflows", "producers"},
}
"""Room -> the other rooms it may import; tests, bench and dev may import all, and nobody them."""

IMPORTS_BYTEWAX = {
    "dataflows/group_step.py",
    "dataflows/pipeline.py",
    "dataflows/sink_step.py",
    "dataflows/source_step.py",
    "service/seeding.py",
    "service/snapshots.py",
    "service/worker.py",
}
IMPORTS_BOTO3 = {"service/aws.py"}


def product_files() -> list[str]:
    rooms = [f"{room}.py" for room in MAY_IMPORT if (ROOT / f"{room}.py").exists()]
    packages = [room for room in MAY_IMPORT if (ROOT / room).is_dir()]
    inside = [path for room in packages for path in sorted((ROOT / room).rglob("*.py"))]
    return rooms + [path.relative_to(ROOT).as_posix() for path in inside]


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the first part of the name of every import, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." if node.level else (node.module or "").partition(".")[0]


def wrong_imports(file: str, source: str) -> list[str]:
    """Return a line for each import of a room that the file's own room may not know."""
    room = file.partition("/")[0].removesuffix(".py")
    ours = {*MAY_IMPORT, "tests", "bench", "dev", "."}
    return [
        f"{file}:{line} imports {name!r}: {room}/ may import only "
        f"{', '.join(sorted(MAY_IMPORT[room])) or 'nothing of ours'}. Move what both need to "
        "messages.py, or let the room above hand it in"
        for line, name in imported(source)
        if name in ours and name != room and name not in MAY_IMPORT[room]
    ]


def files_that_import(package: str) -> set[str]:
    return {
        file
        for file in product_files()
        if any(name == package for _, name in imported((ROOT / file).read_text()))
    }


def test_every_file_imports_only_what_lies_below_it():
    files = product_files()
    wrong = [line for file in files for line in wrong_imports(file, (ROOT / file).read_text())]

    assert len(files) > len(MAY_IMPORT)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("package", "listed", "instead"),
    [
        ("bytewax", IMPORTS_BYTEWAX, "express it with the step classes in dataflows/"),
        ("boto3", IMPORTS_BOTO3, "take the client, or a function that makes it, as an argument"),
    ],
)
def test_an_engine_is_imported_only_by_the_files_listed_here(package, listed, instead):
    found = files_that_import(package)

    assert found <= listed, f"{sorted(found - listed)} import {package}: {instead}"
    assert found >= listed, f"take {sorted(listed - found)} off the list: no longer imports it"


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("sinks/new.py", "from sources.files import FileSource"),
        ("operators/new.py", "import dataflows.domain"),
        ("messages.py", "def f():\n    import errors"),
        ("service/new.py", "from tests.servers import moto_server"),
        ("sources/kinesis/new.py", "from ..base import Slot"),
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(file: str, source: str):
    assert len(wrong_imports(file, source)) == 1


def test_an_import_that_points_down_is_allowed():
    assert not wrong_imports("dataflows/new.py", "import sinks.base\nfrom messages import Alert")


# ---- domains ------------------------------------------------------------------------------------

LONGEST_DOMAIN = 150

REGISTRY = "dataflows/registry.py"


def constants(source: str) -> set[str]:
    """Return all texts in a file's code, docstrings apart."""
    tree = ast.parse(source)
    told = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    }


def test_nothing_but_a_domains_own_files_knows_its_name():
    names = set(DOMAINS)
    own = {f"dataflows/{name}.py" for name in names}
    found = {
        file
        for file in product_files()
        if not file.startswith("producers/")  # they make events of domains
        and file not in {REGISTRY, *own}
        and constants((ROOT / file).read_text()) & names
    }

    assert len(names) == 4
    assert not found, f"{sorted(found)}: ask the Domain instead"


def test_no_text_of_the_code_has_a_domains_name_within():
    """As a table's default name would; help may tell of producers."""
    name = re.compile(rf"\b({'|'.join(DOMAINS)})\b")
    own = {f"dataflows/{domain}.py" for domain in DOMAINS}
    found = {
        (file, text)
        for file in product_files()
        if not file.startswith("producers/")
        and file not in {REGISTRY, "service/commands/produce.py", *own}
        for text in constants((ROOT / file).read_text())
        if name.search(text)
    }

    assert found == set()


@pytest.mark.parametrize("name", DOMAINS)
def test_a_domain_is_one_small_file_that_declares_and_computes_nothing(name: str):
    source = (ROOT / "dataflows" / f"{name}.py").read_text()
    computing = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.While, ast.If)

    assert not [one for one in ast.walk(ast.parse(source)) if isinstance(one, computing)]
    assert len(source.splitlines()) < LONGEST_DOMAIN
