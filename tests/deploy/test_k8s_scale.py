"""`kinewax scale` and `kinewax rollout` over real supervisors: files move, and nothing is lost.

The API server is scripted (tests/fakes/kubernetes.py); what it starts and stops in its pods are
processes of `kinewax run` on loopback, each with a recovery directory of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import snapshots
from service.rollout import PODS
from tests.conftest import CommandLine
from tests.fakes.kubernetes import NAMESPACE, Kubernetes, serving
from tests.faults.test_pods import assert_all_is_told, open_incidents
from tests.pods import Pods
from tests.rig import Aws, Feeder, Names, Service, wait_until

pytestmark = pytest.mark.deploy


class Machine:
    """Runs a supervisor in each pod; what the template lists are its names on loopback here."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self.running: dict[int, Service] = {}

    def start(self, index: int, template: dict[str, Any]) -> None:
        (container,) = template["spec"]["containers"]
        listed = {one["name"]: one["value"] for one in container["env"]}[PODS].split(",")
        assert listed == [f"kinewax-{number}.kinewax:8080" for number in range(len(listed))]
        self.running[index] = self._pods.pod(index, len(listed))
        self.running[index].start()

    def stop(self, index: int) -> None:
        assert self.running[index].drain() == 0, self._pods.logs()
        del self.running[index]

    def ready(self, index: int) -> bool:
        return not self._pods.failing(index)

    def kill(self) -> None:
        for service in self.running.values():
            service.kill()


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=4)


@pytest.fixture
def pods(aws: Aws, tmp_path: Path) -> Pods:
    return Pods(aws, tmp_path)


@pytest.fixture
def machine(pods: Pods) -> Iterator[Machine]:
    made = Machine(pods)
    yield made
    made.kill()


@pytest.fixture
def feeder(aws: Aws) -> Iterator[Feeder]:
    made = Feeder(aws)
    made.start()
    yield made
    made.stop()


def test_pods_are_added_taken_away_and_rolled_out_and_nothing_is_lost(
    aws: Aws, pods: Pods, machine: Machine, feeder: Feeder, kinewax: CommandLine
) -> None:
    env = [{"name": PODS, "value": "kinewax-0.kinewax:8080"}]
    kubernetes = Kubernetes(
        {
            "metadata": {"name": "kinewax"},
            "spec": {
                "replicas": 1,
                "serviceName": "kinewax",
                "updateStrategy": {"type": "OnDelete"},
                "selector": {"matchLabels": {"app": "kinewax"}},
                "template": {"spec": {"containers": [{"name": "kinewax", "env": env}]}},
            },
        },
        machine,
    )

    def held(index: int) -> list[int]:
        return sorted(map(snapshots.number_of, snapshots.part_files(pods.store(index))))

    def operate(*arguments: str) -> None:
        wait_until(lambda: bool(open_incidents(aws)), "an incident is open")
        done = kinewax.run(*arguments, "--api", url, "--namespace", NAMESPACE, "--timeout", "60s")
        assert done.returncode == 0, done.stderr + pods.logs()

    with serving(kubernetes) as url:
        wait_until(lambda: machine.ready(0), "the one pod reads")
        assert held(0) == list(range(8))

        operate("scale", "3")
        assert [held(index) for index in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5]]

        operate("scale", "2")
        kubernetes.settle()
        assert sorted(machine.running) == [0, 1]
        assert [held(index) for index in range(3)] == [[0, 2, 4, 6], [1, 3, 5, 7], []]

        operate("rollout")
        pods.of = [machine.running[index] for index in sorted(machine.running)]
        assert_all_is_told(aws, pods, feeder)
