"""Commands are loaded when they are called, and their help tells what they say of themselves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from service import commands
from service.cli import app
from service.command_group import FILES, summary

HEAVY = ("numpy", "boto3", "botocore", "bytewax", "numba", "pyarrow", "uvicorn")


@pytest.mark.parametrize("name", FILES)
def test_the_list_says_of_a_command_what_its_own_help_begins_with(name: str) -> None:
    loaded = typer.main.get_command(app).get_command(None, name)
    assert loaded.name == name
    assert summary(name)
    assert loaded.help.partition("\n\n")[0] == summary(name)


def test_every_file_of_commands_is_listed() -> None:
    files = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(FILES.values()) == files


@pytest.mark.parametrize(
    "arguments", [["--help"], ["version"], ["health", "--url", "http://127.0.0.1:9"], ["healht"]]
)
def test_a_probe_and_a_look_at_help_load_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from service.cli import run_command\n"
        f"run_command({arguments!r})\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_a_commands_own_help_has_both_names(option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "health", option],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "kinewax health" in done.stdout
    assert "--install-completion" not in done.stdout
