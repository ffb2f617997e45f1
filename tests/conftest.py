"""Fixtures for every test: local servers, test data, the command line, and a guard for children.

A test that needs AWS takes `moto` or `ministack` (clients of a server that the whole run shares),
or `resharding` for servers that split and merge as AWS does, and names its streams, tables and
buckets with `unique_name`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import hypothesis
import pytest

from tests.effort import RUN_EXAMPLES, SOAK_EXAMPLES
from tests.node_servers import node_server
from tests.servers import FAKE_CREDENTIALS, Clients, clients, ministack_server, moto_server

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

hypothesis.settings.register_profile("dev", deadline=None, max_examples=RUN_EXAMPLES)
hypothesis.settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, max_examples=RUN_EXAMPLES
)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=SOAK_EXAMPLES)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")


# ---- AWS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _no_real_account() -> Iterator[None]:
    """Replace the machine's AWS settings and credentials for the run and all its children."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "KINEWAX_"))]:
            patch.delenv(name)
        for name, value in FAKE_CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[Clients]:
    """Clients of a moto server that the whole run shares."""
    with moto_server() as endpoint, clients(endpoint) as made:
        yield made


@pytest.fixture(scope="session")
def ministack() -> Iterator[Clients]:
    """Clients of a ministack server that the whole run shares."""
    with ministack_server() as endpoint, clients(endpoint) as made:
        yield made


@pytest.fixture(scope="session")
def kinesis_local() -> Iterator[Clients]:
    """Clients of a kinesis-local server that the whole run shares."""
    with node_server("kinesis-local") as endpoint, clients(endpoint) as made:
        yield made


@pytest.fixture(scope="session")
def kinesalite() -> Iterator[Clients]:
    """Clients of a kinesalite server that the whole run shares."""
    with node_server("kinesalite") as endpoint, clients(endpoint) as made:
        yield made


@pytest.fixture(scope="session")
def resharding(kinesis_local: Clients, kinesalite: Clients) -> dict[str, Clients]:
    """Clients of each server that reshards as AWS does, by package."""
    return {"kinesis-local": kinesis_local, "kinesalite": kinesalite}


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """A function that makes a name nobody else uses, good for streams, tables and buckets."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())

    def make(kind: str) -> str:
        return f"{kind}-{words[:30].strip('-')}-{uuid.uuid4().hex[:8]}"

    return make


# ---- data ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; without it the test is skipped."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no ../shared/data beside this checkout: the real data sets aren't here")
    return SHARED_DATA


# ---- the command line ---------------------------------------------------------------------------


class CommandLine:
    """Runs `kinewax` as a user would: a fresh process, its output captured."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: str | Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it in the background; what still runs when the test ends is killed."""
        process = subprocess.Popen(
            [Path(sys.executable).with_name("kinewax"), *map(str, arguments)],
            cwd=self._directory,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def run(
        self,
        *arguments: str | Path,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever its exit code."""
        process = self.start(*arguments, environment=environment)
        out, err = process.communicate(stdin, timeout=timeout_seconds)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def close(self) -> None:
        """Kill what still runs, with the processes it started."""
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.communicate()


@pytest.fixture
def kinewax(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line, run in the test's own folder."""
    made = CommandLine(tmp_path)
    yield made
    made.close()


# ---- the guard ----------------------------------------------------------------------------------

_RUN_MARK = "TEST_RUN_MARK"
_LEAVING_SECONDS = 3.0


@pytest.fixture(scope="session", autouse=True)
def _mark_the_run(_no_real_account: None) -> Iterator[None]:
    """Mark all processes of this run, so that one whose parent died is still found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_RUN_MARK, uuid.uuid4().hex)
        yield


@pytest.fixture(autouse=True)
def _no_process_is_left_behind(_mark_the_run: None) -> Iterator[None]:
    """Fail a test whose processes outlive it, and end them."""
    before = _processes_of_this_run()
    yield
    deadline = time.monotonic() + _LEAVING_SECONDS
    while (left := _processes_of_this_run() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    named = [f"{pid}: {_command(pid)}" for pid in sorted(left)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
    if named:
        pytest.fail("the test left these processes behind:\n" + "\n".join(named))


_KERNEL = "2"  # the parent of the kernel's own threads


def _processes_of_this_run() -> set[int]:
    """Return the children of this process and all that carry its mark, but those of Python itself.

    A child that forked without starting a program shows its parent's first environment, without
    the mark; one whose parent died is nobody's child. Neither escapes both.
    """
    mark = f"{_RUN_MARK}={os.environ[_RUN_MARK]}".encode()
    found = set()
    own = os.getpid()
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        # A process can end while it is looked at, and others' processes are closed to us.
        with suppress(OSError), open(f"/proc/{pid}/stat") as stat:
            state, parent = stat.read().rpartition(")")[2].split(None, 2)[:2]
            if state == "Z" or pid == own or parent == _KERNEL:
                continue
            if int(parent) != own:
                with open(f"/proc/{pid}/environ", "rb") as environ:
                    if mark not in environ.read():
                        continue
            if "resource_tracker" not in _command(pid):
                found.add(pid)
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "(ended)"
