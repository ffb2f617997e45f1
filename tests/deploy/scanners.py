"""What checkov says is not safe; it asks nobody on the network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.deploy.manifests import SCANNERS


def findings(framework: str, path: Path) -> set[tuple[str, str]]:
    """Return what is found in a file: check and resource."""
    done = subprocess.run(
        [
            *(SCANNERS / "bin" / "checkov", "--framework", framework, "--quiet", "--compact"),
            *("--skip-download", "--output", "json", "--soft-fail", "--file", path),
        ],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LOG_LEVEL": "ERROR"},
    )
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 5
    return {(one["check_id"], one["resource"]) for one in report["results"]["failed_checks"]}
