"""What is locked is listed, and asked for newer versions."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PINNED = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@pytest.mark.deploy
def test_the_list_of_packages_has_every_one_of_the_lock_with_its_hashes(tmp_path: Path) -> None:
    scanner = Path(sys.executable).parent.parent / "scanners" / "bin" / "cyclonedx-py"
    listed = tmp_path / "sbom.json"
    subprocess.run([scanner, "requirements", "-o", listed, ROOT / "requirements.lock"], check=True)
    lock = (ROOT / "requirements.lock").read_text()
    components = json.loads(listed.read_text())["components"]

    assert {(one["name"], one["version"]) for one in components} == set(_PINNED.findall(lock))
    hashes = {
        digest["content"]
        for one in components
        for place in one["externalReferences"]
        for digest in place["hashes"]
    }
    assert hashes == set(_HASH.findall(lock))


def test_newer_versions_are_asked_for_in_every_lock() -> None:
    settings = json.loads((ROOT / "renovate.json").read_text())
    patterns = [
        re.compile(pattern.strip("/"))
        for pattern in settings["pip_requirements"]["managerFilePatterns"]
    ]
    locks = {path.name for path in ROOT.glob("*.lock")}

    assert len(locks) >= 4
    assert {name for name in locks if any(one.search(name) for one in patterns)} == locks
    assert {"dockerfile", "npm", "pep621"} <= set(settings["enabledManagers"])
