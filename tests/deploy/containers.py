"""Building and running the image without a daemon and without a registry of images.

buildah builds, podman runs with runc. The base image is made of Debian's packages by mmdebstrap and
stands in for the official python:3.12-slim-bookworm: what a test shows is that the Dockerfile's
steps, user, entrypoint and health check are right, not that of the official base.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.servers import FAKE_CREDENTIALS

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/kinewax:tested"
USER_ID = 10001

_BASE = "localhost/kinewax-test-base:bookworm"
_PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
_TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
_BUILD_SECONDS = 1200
_CERTIFICATES = Path("/etc/ssl/certs")


def need_tools() -> None:
    """Skip where containers can't be built; in CI fail."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    why = f"not installed: {', '.join(missing)}" if missing else ""
    if not why and os.geteuid() != 0:
        why = "only root builds and runs images here"
    if why and os.environ.get("CI"):
        pytest.fail(f"CI must not skip the image: {why}")
    if why:
        pytest.skip(why)


def build(scratch: Path) -> str:
    """Build the image and return its name."""
    if _run("podman", "image", "exists", _BASE, check=False).returncode:
        tree = scratch / "base.tar"
        _run("mmdebstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(tree))
        _run("podman", "import", "--quiet", str(tree), _BASE)
        tree.unlink()
    mounts = [word for path in _mounted(scratch) for word in ("--volume", path)]
    _run(
        *("sh", "dev/image", IMAGE, "--build-arg", f"BASE_IMAGE={_BASE}", "--pull-never"),
        *("--layers", "--isolation", "chroot", "--network", "host", *mounts),
    )
    return IMAGE


def command(*arguments: str, options: Sequence[str] = ()) -> list[str]:
    """Return the command line of a container: read-only, without any capability.

    Args:
        arguments: Of kinewax.
        options: Of podman, as volumes.
    """
    environment = [
        word
        for name, value in FAKE_CREDENTIALS.items()
        if name.startswith("AWS_")
        for word in ("--env", f"{name}={value}")
    ]
    return [
        *("podman", "--runtime", "runc", "run", "--rm", "--network", "host"),
        *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
        *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp"),
        *("--cap-drop=all", "--security-opt=no-new-privileges"),
        *environment,
        *options,
        IMAGE,
        *arguments,
    ]


def _mounted(scratch: Path) -> Iterator[str]:
    """Yield what the build sees of this machine: certificates, pip's settings and its folders.

    They are mounted, never copied: no layer of the image holds them.
    """
    if _CERTIFICATES.is_dir():
        yield f"{_CERTIFICATES}:{_CERTIFICATES}:ro"
    values = _pip_settings()
    settings = scratch / "pip.conf"
    lines = [f"{name} = {value}" for name, value in values.items()]
    settings.write_text("\n".join(["[global]", *lines, ""]))
    yield f"{settings}:/etc/pip.conf:ro"
    for value in values.values():
        for word in value.split():
            path = Path(urlsplit(word).path if word.startswith("file:") else word)
            if path.is_absolute() and path.exists() and not path.is_relative_to(_CERTIFICATES):
                root = path.parent if path.name == "simple" else path
                yield f"{root}:{root}:ro"


def _pip_settings() -> dict[str, str]:
    listed = _run("python3", "-m", "pip", "config", "list").stdout.splitlines()
    # As `global.timeout='60'`; a variable of the environment (`:env:`) wins.
    found: dict[str, str] = {}
    for line in sorted(listed, reverse=True):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = " ".join(str(ast.literal_eval(value)).split())
    return found


def _run(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(words[:2])} exited {done.returncode}:\n{done.stderr[-3000:]}")
    return done
