"""`make setup` finds a Python that works or says so in one line; the locks pin what is declared."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.node_servers import PACKAGES, node_server
from tests.unit.test_layers import MAY_IMPORT, imported, product_files

ROOT = Path(__file__).resolve().parents[2]
FIND_PYTHON = ROOT / "dev" / "find-python"
NODE_SERVERS = ROOT / "dev" / "node-servers"
NPM = ROOT / "tests" / "npm"
DECLARED_AS = {"google": "protobuf", "aws_kinesis_agg": "aws-kinesis-agg"}
"""Import name -> distribution, where they differ by more than an underscore."""


# ---- Python -------------------------------------------------------------------------------------


def find_python(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", FIND_PYTHON], env=environment, capture_output=True, text=True, check=False
    )


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_python_that_fails_when_run_is_passed_over(tmp_path: Path):
    program(tmp_path / "shims" / "python3.12", "echo no such version >&2; exit 127")
    good = program(tmp_path / "bin" / "python3", f'exec "{sys.executable}" "$@"')

    found = find_python(PATH=f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")

    assert (found.returncode, found.stdout.strip()) == (0, str(good))


def test_a_broken_program_of_the_same_name_earlier_on_the_path_is_passed_over(tmp_path: Path):
    program(tmp_path / "shims" / "python3", "exit 1")
    good = program(tmp_path / "bin" / "python3", f'exec "{sys.executable}" "$@"')

    found = find_python(PATH=f"{tmp_path / 'shims'}:{tmp_path / 'bin'}")

    assert (found.returncode, found.stdout.strip()) == (0, str(good))


@pytest.mark.parametrize(("script", "code"), [("exit 1", 2), ("exit 0", 0)])
def test_a_named_python_is_the_only_candidate(tmp_path: Path, script: str, code: int):
    named = program(tmp_path / "python", script)

    found = find_python(PATH="/usr/bin:/bin", PYTHON=str(named))

    assert found.returncode == code


def test_without_a_python_one_line_says_what_to_do(tmp_path: Path):
    found = find_python(PATH=str(tmp_path))

    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr.count("\n") == 1
    assert "Python 3.11 or 3.12" in found.stderr


# ---- Node ---------------------------------------------------------------------------------------


def test_without_node_one_line_says_what_is_skipped_and_nothing_fails(tmp_path: Path):
    (tmp_path / "dirname").symlink_to(str(shutil.which("dirname")))

    done = subprocess.run(
        ["/bin/sh", NODE_SERVERS],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert all(package in done.stdout for package in PACKAGES)


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_without_node_what_needs_it_is_skipped_but_not_in_ci(
    ci: str, outcome: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome.Exception, match="node is not installed"), node_server(PACKAGES[0]):
        pass


def test_npm_installs_the_declared_servers_by_hash_from_anywhere():
    declared = json.loads((NPM / "package.json").read_text())
    locked = json.loads((NPM / "package-lock.json").read_text())["packages"]
    root = locked.pop("")

    assert declared["private"]
    assert set(declared["dependencies"]) == set(PACKAGES)
    assert root["dependencies"] == declared["dependencies"]
    for name, version in declared["dependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version, "pin exactly"
    for name, entry in locked.items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, f"{name}: tests/npm/.npmrc keeps addresses out of the lock"


# ---- locks --------------------------------------------------------------------------------------


def declared_libraries() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[\[<>=!~ ]", line)[0] for line in project["dependencies"]}


def test_every_library_that_the_product_imports_is_declared_and_none_else():
    standard = set(sys.stdlib_module_names)
    found = {
        DECLARED_AS.get(name, name.replace("_", "-"))
        for file in product_files()
        for _, name in imported((ROOT / file).read_text())
        if name not in standard and name not in MAY_IMPORT
    }

    assert found == declared_libraries()


def test_no_lock_names_an_address():
    locks = sorted(ROOT.glob("requirements*.lock"))

    assert len(locks) >= 5
    for lock in locks:
        assert "://" not in lock.read_text(), lock.name
        assert "--index" not in lock.read_text(), lock.name


def test_what_is_tested_is_what_runs_in_production():
    pin = re.compile(r"^[a-z][\w.-]*==.*?(?= \\$)", re.MULTILINE)
    running, developing = (
        set(pin.findall((ROOT / lock).read_text()))
        for lock in ("requirements.lock", "requirements-dev.lock")
    )

    assert running
    assert running <= developing
