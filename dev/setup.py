"""Make `.venv` from `requirements-dev.lock`: run by `make setup` with any Python 3.11 or 3.12.

Every package is a wheel with a hash that the lock knows, so nothing is built and nothing unknown
is run. kinewax itself is installed editable, by the setuptools of the lock.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
STAMP = VENV / "setup-is-complete"
_PLAIN_STEP = 20


def main() -> int:
    """Return 0 when the environment is complete, else pip's exit code."""
    started = time.monotonic()
    packages = len(re.findall(r"^[a-z0-9]", LOCK.read_text(), re.MULTILINE))
    python = VENV / "bin" / "python"
    # Python's own version in words: a later one may need other wheels.
    print(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable})", flush=True)
    venv.create(VENV, clear=True, with_pip=True)

    print(f"Installing at most {packages} packages of {LOCK.name}, each checked by its hash", flush=True)
    failed = _pip(
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        + ["--require-hashes", "--only-binary", ":all:", "-r", LOCK],
        packages,
    )
    failed = failed or _pip(
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
        + ["--no-build-isolation", "--editable", ROOT],
        0,
    )
    failed = failed or _pip([python, "-m", "pip", "check"], 0)
    if failed:
        return failed
    STAMP.touch()
    print(f"Ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def _pip(command: list[str | Path], packages: int) -> int:
    """Run pip and show how far it is; its whole output only when it fails."""
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    said: list[str] = []
    done = 0
    for line in process.stdout:
        said.append(line)
        if line.startswith("Collecting "):
            done += 1
            _show(done, packages, line.split()[1].split("==")[0])
        elif line.startswith("Installing collected"):
            _show(packages, packages, "unpacking")
    failed = process.wait()
    if sys.stdout.isatty() and packages:
        print("\r\033[K", end="")
    if failed:
        print("".join(said[-30:]), file=sys.stderr)
    return failed


def _show(done: int, packages: int, name: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\033[K  {done}/{packages} {name}", end="", flush=True)
    elif done % _PLAIN_STEP == 0 or done == packages:
        print(f"  {done}/{packages} {name}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
