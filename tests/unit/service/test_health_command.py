"""`kinewax health` asks a service that runs, and says by its exit code whether that is well."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.admin import Admin
from service.cli import run_command
from service.supervisor import Health


class Service:
    """An admin port over a health that the test sets."""

    def __init__(self, metrics_directory: Path) -> None:
        self.health = Health(alive=1, polled=1, still_seconds=0.1, draining=False)
        self.admin = Admin(
            "127.0.0.1",
            0,
            health=lambda: self.health,
            config={},
            metrics_directory=metrics_directory,
            processes=1,
            epoch_seconds=5,
        )


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path)
    with made.admin:
        yield made


def test_a_service_that_is_well_exits_0(service: Service, capfd) -> None:
    assert run_command(["health", "--url", service.admin.url]) == 0
    assert capfd.readouterr().out == "ok\n"


def test_a_service_that_stands_still_exits_1_and_says_why(service: Service, capfd) -> None:
    service.health = Health(alive=1, polled=1, still_seconds=31, draining=False)

    assert run_command(["health", "--url", service.admin.url + "/"]) == 1
    assert "a worker has stood still for 31 s" in capfd.readouterr().err


def test_a_draining_service_is_live_but_not_ready(service: Service, capfd) -> None:
    service.health = Health(alive=1, polled=1, still_seconds=0.1, draining=True)

    assert run_command(["health", "--url", service.admin.url]) == 0
    capfd.readouterr()
    assert run_command(["health", "--ready", "--json", "--url", service.admin.url]) == 1
    assert json.loads(capfd.readouterr().out) == {
        "ok": False,
        "failing": {"draining": "the service is draining"},
    }


def test_the_address_is_what_the_service_itself_is_told(
    service: Service, monkeypatch, capfd
) -> None:
    port = service.admin.url.rpartition(":")[2]
    monkeypatch.setenv("KINEWAX_ADMIN__HOST", "0.0.0.0")
    monkeypatch.setenv("KINEWAX_ADMIN__PORT", port)

    assert run_command(["health"]) == 0


def test_a_port_that_nobody_knows_is_asked_for(monkeypatch, capfd) -> None:
    monkeypatch.delenv("KINEWAX_ADMIN__PORT", raising=False)

    assert run_command(["health"]) == 2
    assert "KINEWAX_ADMIN__PORT" in capfd.readouterr().err


def test_nothing_that_answers_exits_1(capfd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    assert run_command(["health", "--url", f"http://127.0.0.1:{port}"]) == 1
    assert f"nothing answers at http://127.0.0.1:{port}" in capfd.readouterr().err
