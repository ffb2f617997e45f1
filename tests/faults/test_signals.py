"""A signal may find any thread of a worker, as when a debugger holds the main one."""

from __future__ import annotations

import ctypes
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.snapshots import resume_epoch
from tests.rig import Aws, Feeder, Names, Service, wait_until


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=2)


@pytest.fixture
def service(aws: Aws, tmp_path: Path) -> Iterator[Service]:
    made = Service(
        arguments=[
            "run",
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", f"file://{tmp_path / 'out'}"),
            *("--processes", "2"),
            *("--recovery", str(tmp_path / "recovery")),
            *("--epoch-interval", "500ms"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        environment=aws.names.settings(),
        log=tmp_path / "service.log",
    )
    yield made
    made.kill()


@pytest.fixture
def feeder(aws: Aws) -> Iterator[Feeder]:
    made = Feeder(aws)
    yield made
    made.stop()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds threads in /proc")
def test_a_stop_that_every_thread_but_the_main_one_gets_drains_the_run(
    service: Service, feeder: Feeder, tmp_path: Path
) -> None:
    service.start()
    wait_until(lambda: len(service.workers()) == 2, "both workers run")
    wait_until(lambda: resume_epoch(tmp_path / "recovery") > 2, "epochs are committed")
    feeder.start()
    for worker in service.workers():
        for thread in map(int, os.listdir(f"/proc/{worker}/task")):
            if thread != worker:
                assert ctypes.CDLL(None).tgkill(worker, thread, signal.SIGTERM) == 0
    assert service.process is not None
    assert service.process.wait(60) == 0, service.log.read_text()[-3000:]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["balanced"], summary
    assert summary["run"]["restarts"] == 0, service.log.read_text()[-3000:]
