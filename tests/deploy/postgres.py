"""A PostgreSQL server for tests: an own data directory, an own socket, no network, gone afterwards.

PostgreSQL refuses to run as root, so there its programs are run as Debian's user `postgres`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_INSTALLED = Path("/usr/lib/postgresql")
_USER = "postgres"
_START_SECONDS = 60
_SETTINGS = {
    # Nothing here has to survive anything.
    "fsync": "off",
    "autovacuum": "off",
    "max_logical_replication_workers": "0",
    "listen_addresses": "",
    "timezone": "UTC",
}


def programs() -> Path:
    """Return where initdb and pg_ctl are; without them the test is skipped, but never in CI."""
    versions = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = versions[-1] if versions else shutil.which("initdb")
    if found is None:
        msg = "no PostgreSQL here: `apt-get install postgresql`"
        if os.environ.get("CI"):
            pytest.fail(msg)
        pytest.skip(msg)
    return Path(found).parent


@contextmanager
def postgres_server() -> Iterator[str]:
    """Yield the connection string of a server that runs until the block ends."""
    bin_folder = programs()
    with tempfile.TemporaryDirectory(prefix="kinewax-pg-") as home:
        as_user = _owned(Path(home))
        data = Path(home) / "data"
        _run(
            [
                *as_user,
                bin_folder / "initdb",
                "-N",
                "-A",
                "trust",
                "-U",
                _USER,
                "--locale=C.UTF-8",
                data,
            ]
        )
        options = [f"-c {name}='{value}'" for name, value in _SETTINGS.items()]
        control: list[str | Path] = [*as_user, bin_folder / "pg_ctl", "-D", data, "-w"]
        _run(
            [
                *control,
                *("-l", Path(home) / "log", "-t", str(_START_SECONDS)),
                *("-o", " ".join([*options, f"-c unix_socket_directories='{home}'"]), "start"),
            ]
        )
        try:
            yield f"host={home} user={_USER} dbname=postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"])


def _owned(home: Path) -> list[str]:
    """Give the folder to who will run the server, and return how to become that user."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(_USER)
    os.chown(home, user.pw_uid, user.pw_gid)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(
        command,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
