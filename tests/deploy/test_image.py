"""The image is built and run as an orchestrator runs it: read-only, without rights, stopped by
SIGTERM; and what runs in it finds planted attacks at a local AWS."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataflows.ecommerce import ECOMMERCE
from service.local_aws import Resources, create
from service.settings import load
from tests.deploy import containers
from tests.servers import Clients, free_port

pytestmark = pytest.mark.deploy

ATTACKERS = 3
MOST_BYTES = 300_000_000  # compressed
WAIT_SECONDS = 120.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    containers.need_tools()
    return containers.build(tmp_path_factory.mktemp("build"))


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A directory that the image's user owns."""
    made = tmp_path / "volume"
    made.mkdir()
    os.chown(made, containers.USER_ID, containers.USER_ID)
    yield made
    shutil.rmtree(made)


def run(*arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        containers.command(*arguments, options=options),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def inside(script: str) -> str:
    """Run a shell in the image and return what it says."""
    words = containers.command("-c", script, options=("--entrypoint", "sh"))
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


def inspected(image: str) -> dict[str, Any]:
    said = subprocess.run(
        ["podman", "image", "inspect", image], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(said.stdout)[0]
    return found


def test_the_linter_of_dockerfiles_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [linter, containers.ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_it_says_what_it_is_and_how_its_health_is_asked(image: str) -> None:
    found = inspected(image)
    config = found["Config"]

    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["entrypoint"]
    assert found["Healthcheck"]["Test"] == ["CMD", "kinewax", "health"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == run("version").stdout.strip()
    assert list(config["Volumes"]) == ["/var/lib/kinewax"]


def test_no_compiler_no_installer_and_no_test_is_in_it(image: str) -> None:
    found = inside(
        "find /opt/kinewax ( -name 'gcc*' -o -name 'pip' -o -name 'pip3*' -o -name setuptools"
        " -o -name moto -o -name pytest -o -name tests -o -name '*.lock' ) -print".replace(
            "(", "'('"
        ).replace(")", "')'")
    )

    assert found == ""


def test_all_packages_in_it_are_those_of_the_lock(image: str) -> None:
    said = inside(
        "/opt/kinewax/bin/python -c 'from importlib.metadata import distributions as all;"
        ' print(*(one.name.lower().replace("_", "-") + "==" + one.version for one in all()))\''
    )
    lock = (containers.ROOT / "requirements.lock").read_text()

    found = {name for name in said.split() if not name.startswith("kinewax==")}
    assert len(found) > 30
    assert found <= {line.split()[0] for line in lock.splitlines() if "==" in line}


def test_nothing_in_it_can_be_changed_but_its_volume_and_tmp(image: str) -> None:
    said = inside(
        "id -u; for place in / /opt/kinewax /opt/kinewax/compiled /etc /var/lib/kinewax /tmp; do"
        " touch $place/mark 2>/dev/null && echo $place; done"
    )

    assert said.split() == [str(containers.USER_ID), "/var/lib/kinewax", "/tmp"]


def test_it_is_small_enough(image: str, tmp_path: Path) -> None:
    class Counted:
        size = 0

        def write(self, data: bytes) -> int:
            self.size += len(data)
            return len(data)

        def flush(self) -> None: ...

    counted = Counted()
    with (
        subprocess.Popen(["podman", "save", image], stdout=subprocess.PIPE) as saving,
        gzip.GzipFile(fileobj=counted, mode="wb", compresslevel=6) as packed,
    ):
        assert saving.stdout is not None
        shutil.copyfileobj(saving.stdout, packed, 1 << 20)

    assert 100_000_000 < counted.size <= MOST_BYTES


def test_loops_come_compiled(image: str) -> None:
    """A whole run of the domain with a forest adds nothing to the cache that it was given."""
    said = inside(
        "cd /tmp && kinewax produce access_logs --to file:///tmp/log --events 20000 >/dev/null 2>&1"
        " && entrypoint -q run access_logs --source file:///tmp/log --sinks file:///tmp/out"
        " && ls /tmp/out >&2"
        " && cd /tmp/kinewax-compiled && find . -type f | wc -l"
        " && diff -rq . /opt/kinewax/compiled && echo same"
    )

    count, same = said.split()
    assert int(count) > 20
    assert same == "same"


def test_the_pipeline_in_it_finds_the_attackers_and_sigterm_drains_it(
    image: str, moto: Clients, volume: Path, unique_name
) -> None:
    stream, bucket, queue = unique_name("stream"), unique_name("bucket"), unique_name("queue")
    names = load(domain=ECOMMERCE).settings.sinks
    create(
        moto,
        Resources(
            streams=((stream, 2), (names.stream, 1)),
            table=names.table,
            topic=names.topic,
            queue=queue,
            bucket=bucket,
            delivery_streams=(names.aggregates, names.dead_letters),
        ),
    )
    mount = ("--volume", f"{volume}:/var/lib/kinewax")
    sent = run(
        *("produce", "ecommerce", "--to", f"kinesis://{stream}", "--rate", "200"),
        *("--seconds", "60", "--start", "2026-01-01T00:00:00Z", "--attackers", str(ATTACKERS)),
        *("--truth", "/var/lib/kinewax/truth.json", "--endpoint-url", moto.endpoint),
        options=mount,
    )
    assert sent.returncode == 0, sent.stderr
    truth = json.loads((volume / "truth.json").read_text())
    planted = {str(attack["user_id"]) for attack in truth["incidents"]}
    assert len(planted) == ATTACKERS

    port = str(free_port())
    name = unique_name("container")
    service = subprocess.Popen(
        containers.command(
            *("run", "ecommerce", "--source", f"kinesis://{stream}", "--start", "TRIM_HORIZON"),
            *("--sinks", "aws,file:///var/lib/kinewax/results", "--processes", "2"),
            *("--endpoint-url", moto.endpoint),
            options=(*mount, "--name", name, "--env", f"KINEWAX_ADMIN__PORT={port}"),
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        found: set[str] = set()
        while time.monotonic() < deadline and service.poll() is None and found != planted:
            rows = moto("dynamodb").scan(TableName=names.table)["Items"]
            found = {row["user_id"]["N"] for row in rows if "user_id" in row}
            time.sleep(0.2)
        assert found == planted, service.stdout.read() if service.poll() is not None else ""
        health = subprocess.run(
            ["podman", "--runtime", "runc", "exec", name, "kinewax", "health", "--ready"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (health.returncode, health.stdout) == (0, "ok\n"), health.stderr
        subprocess.run(["podman", "kill", "--signal", "TERM", name], check=True)
        said, _ = service.communicate(timeout=60)
        assert service.returncode == 0, said
    finally:
        if service.poll() is None:
            subprocess.run(["podman", "rm", "--force", "--time", "0", name], check=False)
            service.communicate(timeout=60)
    summary = json.loads((volume / "results" / "summary.json").read_text())
    assert summary["balanced"]
    assert summary["ledger"]["events"] == truth["events"]
