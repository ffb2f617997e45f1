"""Make `.venv` from the locks: run by `make setup` with any Python 3.11 or 3.12.

With `--scanners` it makes `.venv/scanners` instead: what looks for holes, in `make test-deploy`,
`make audit` and `make sbom` only.

Every package is a wheel with a hash that its lock knows, so nothing is built and nothing unknown is
run. kinewax itself is installed editable, by the setuptools of the lock. ministack, a server of the
tests, pins libraries that kinewax mustn't be bound to: it lives in an environment inside the first.
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
MINISTACK = VENV / "ministack"
SCANNERS = VENV / "scanners"
STAMP = "setup-is-complete"

# pip's word when it turns to a package of the lock, from the network or from a disk.
_PACKAGE = re.compile(r"(Collecting|Processing) (?P<name>\S+) \(from .* \(line (?P<line>\d+)\)\)")
_PLAIN_STEP_PERCENT = 20
_SHOWN_LINES = 30


def main() -> int:
    """Return 0 when the environment is complete, else pip's exit code."""
    started = time.monotonic()
    print(f"Making .venv with Python {sys.version.split()[0]} ({sys.executable})", flush=True)
    venv.create(VENV, clear=True, with_pip=True)
    venv.create(MINISTACK, with_pip=False)
    failed = (
        _install("requirements-dev.lock", VENV)
        or _pip("install", "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
        or _pip("check")
        or _install("requirements-ministack.lock", MINISTACK)
    )
    if failed:
        return failed
    (VENV / "bin" / "ministack").symlink_to(MINISTACK / "bin" / "ministack")
    (VENV / STAMP).touch()
    print(f"Ready after {time.monotonic() - started:.0f} s", flush=True)
    return 0


def scanners() -> int:
    """Make the scanners' environment with pip of the first; return 0 when it is complete."""
    venv.create(SCANNERS, clear=True, with_pip=False)
    failed = _install("requirements-scanners.lock", SCANNERS) or _install(
        "requirements-kubectl.lock", SCANNERS
    )
    if not failed:
        (SCANNERS / STAMP).touch()
    return failed


def _install(lock: str, environment: Path) -> int:
    print(f"Installing {lock}: wheels only, each checked by its hash", flush=True)
    return _pip(
        *("--python", str(environment / "bin" / "python")),
        *("install", "--require-hashes", "--only-binary", ":all:", "--no-deps", "-r", lock),
        progress=Progress(len((ROOT / lock).read_text(encoding="utf-8").splitlines())),
    )


def _pip(*arguments: str, progress: Progress | None = None) -> int:
    """Run the environment's pip and show how far it is; its last words when it fails."""
    said: list[str] = []
    with subprocess.Popen(
        [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout or ():
            said.append(line)
            if progress and (found := _PACKAGE.match(line)):
                progress.show(int(found["line"]), found["name"].rpartition("/")[2])
    if progress:
        progress.end()
    if process.returncode:
        print("".join(said[-_SHOWN_LINES:]), file=sys.stderr)
    return process.returncode


class Progress:
    """How much of the lock pip has been through: one moving line on a terminal, else a few."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._moving = sys.stdout.isatty()
        self._shown_percent = 0

    def show(self, line: int, name: str) -> None:
        """Say that pip is at `name`, which stands on `line` of the lock."""
        percent = 100 * line // self._lines
        if self._moving:
            print(f"\r\033[K  {percent} % {name}", end="", flush=True)
        elif percent >= self._shown_percent + _PLAIN_STEP_PERCENT:
            self._shown_percent = percent
            print(f"  {percent} %", flush=True)

    def end(self) -> None:
        """Take the moving line away."""
        if self._moving:
            print("\r\033[K", end="", flush=True)


if __name__ == "__main__":
    sys.exit(scanners() if sys.argv[1:] == ["--scanners"] else main())
