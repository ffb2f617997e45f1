"""Rollouts and changes of the number of pods, against a scripted API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from errors import KinewaxError, MissingResourceError, SettingsError
from service.kube import Kube
from service.rollout import PODS, Operation, why_not_ready
from tests.conftest import CommandLine
from tests.fakes.kubernetes import NAMESPACE, Kubernetes, serving


class Pods:
    """Pods that do nothing but start and stop; a stop waits until all others are asked, too."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.never_ready: set[int] = set()
        self.listed: dict[int, str] = {}

    def start(self, index: int, template: dict[str, Any]) -> None:
        self.events.append(f"start {index}")
        self.listed[index] = _listed(template)

    def stop(self, index: int) -> None:
        self.events.append(f"stop {index}")

    def ready(self, index: int) -> bool:
        count = len(self.listed[index].split(","))
        return index < count and index not in self.never_ready


def _listed(template: dict[str, Any]) -> str:
    return template["spec"]["containers"][0]["env"][0]["value"]


def stateful_set(count: int) -> dict[str, Any]:
    addresses = ",".join(f"kinewax-{index}.kinewax:8080" for index in range(count))
    container = {
        "name": "kinewax",
        "image": "kinewax:1",
        "env": [{"name": PODS, "value": addresses}, {"name": "OTHER", "value": "stays"}],
    }
    return {
        "metadata": {"name": "kinewax"},
        "spec": {
            "replicas": count,
            "serviceName": "kinewax",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {"app": "kinewax", "part": "stream"}},
            "template": {"spec": {"containers": [container]}},
        },
    }


def operation(url: str, said: list[str], timeout_seconds: float = 20) -> Operation:
    return Operation(
        Kube(url, NAMESPACE), "kinewax", timeout_seconds, said.append, look_seconds=0.01
    )


def test_a_rollout_deletes_all_pods_and_waits_for_those_of_the_new_template() -> None:
    pods = Pods()
    kubernetes = Kubernetes(stateful_set(3), pods)
    kubernetes.stateful_set["spec"]["template"]["spec"]["containers"][0]["image"] = "kinewax:2"
    kubernetes.stateful_set["metadata"]["generation"] += 1
    said: list[str] = []
    with serving(kubernetes) as url:
        operation(url, said).roll_out()

    (old, *_), new = (
        [one for _, one in kubernetes.made[:3]],
        {one for _, one in kubernetes.made[3:]},
    )
    assert len(kubernetes.made) == 6
    assert new == {kubernetes.stateful_set["status"]["updateRevision"]}
    assert old not in new
    deletes = [
        number for number, (method, _) in enumerate(kubernetes.requests) if method == "DELETE"
    ]
    assert deletes == list(range(deletes[0], deletes[0] + 3)), "nothing is waited for in between"
    assert said == [
        "draining kinewax-0, kinewax-1, kinewax-2",
        "kinewax-0, kinewax-1, kinewax-2: ready",
    ]


def test_more_pods_are_told_of_each_other_before_any_starts() -> None:
    pods = Pods()
    kubernetes = Kubernetes(stateful_set(1), pods)
    with serving(kubernetes) as url:
        operation(url, []).scale(3)

    wanted = ",".join(f"kinewax-{index}.kinewax:8080" for index in range(3))
    assert kubernetes.stateful_set["spec"]["replicas"] == 3
    assert set(pods.listed.values()) == {wanted}
    assert pods.events.count("stop 0") == 1
    assert "stop 1" not in pods.events, "it was made from the new template"
    (container,) = kubernetes.stateful_set["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["value"] for one in container["env"]} == {
        PODS: wanted,
        "OTHER": "stays",
    }


def test_pods_that_go_hand_over_before_they_are_taken_away() -> None:
    pods = Pods()
    kubernetes = Kubernetes(stateful_set(3), pods)
    said: list[str] = []
    with serving(kubernetes) as url:
        operation(url, said).scale(2)

    assert kubernetes.stateful_set["spec"]["replicas"] == 2
    restarted = pods.events.index("start 2", 3)
    assert pods.events[restarted + 1 :].count("stop 2") == 1, "it was started to hand over"
    assert pods.events[-1] == "stop 2"
    assert "volumes are kept" in said[-1]


def test_a_scale_that_was_cut_off_can_be_repeated() -> None:
    pods = Pods()
    pods.never_ready = {1}
    kubernetes = Kubernetes(stateful_set(3), pods)
    with serving(kubernetes) as url:
        with pytest.raises(KinewaxError, match="kinewax-1 isn't ready"):
            operation(url, [], timeout_seconds=0.3).scale(2)
        assert kubernetes.stateful_set["spec"]["replicas"] == 3, "it may still hold files"
        pods.never_ready = set()
        operation(url, []).scale(2)

    assert kubernetes.stateful_set["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("pod", "why"),
    [
        (None, "isn't there yet"),
        ({"uid": "old"}, "still drains"),
        ({"revision": "1"}, "was made from an older template"),
        ({"waiting": {"reason": "ImagePullBackOff"}}, "waits: ImagePullBackOff"),
        ({"ready": "False"}, "isn't ready"),
        ({}, ""),
    ],
)
def test_a_pod_counts_when_it_is_new_and_reads(pod: dict[str, Any] | None, why: str) -> None:
    found = (
        None
        if pod is None
        else {
            "metadata": {
                "uid": pod.get("uid", "new"),
                "labels": {"controller-revision-hash": pod.get("revision", "2")},
            },
            "status": {
                "conditions": [{"type": "Ready", "status": pod.get("ready", "True")}],
                "containerStatuses": [{"state": {"waiting": pod.get("waiting")}}],
            },
        }
    )

    assert why_not_ready(found, {"old": "kinewax-0"}, "2") == why


def test_a_stateful_set_that_replaces_pods_one_by_one_is_refused() -> None:
    made = stateful_set(2)
    made["spec"]["updateStrategy"]["type"] = "RollingUpdate"
    kubernetes = Kubernetes(made, Pods())
    with serving(kubernetes) as url, pytest.raises(SettingsError, match="versions would mix"):
        operation(url, []).roll_out()

    assert len(kubernetes.made) == 2


def test_what_the_api_refuses_is_one_error_in_its_own_words() -> None:
    kubernetes = Kubernetes(stateful_set(1), Pods())
    with serving(kubernetes) as url:
        with pytest.raises(MissingResourceError, match="not found"):
            Operation(Kube(url, NAMESPACE), "other", 1, print).roll_out()
        kubernetes.forbidden = True
        with pytest.raises(KinewaxError, match="pods is forbidden") as caught:
            operation(url, []).roll_out()

    assert "components/operate" in caught.value.hint


def test_in_a_pod_the_address_and_the_token_are_where_kubernetes_puts_them(tmp_path: Path) -> None:
    for name, content in (("token", "of-the-pod\n"), ("namespace", NAMESPACE)):
        (tmp_path / name).write_text(content)
    kubernetes = Kubernetes(stateful_set(1), Pods())
    with serving(kubernetes) as url:
        kube = Kube(url, NAMESPACE, tmp_path / "token")
        kube.stateful_set("kinewax")

    assert kubernetes.authorizations == {"Bearer of-the-pod"}
    with pytest.raises(SettingsError, match="no pod"):
        Kube.of_pod({}, tmp_path)


def test_the_command_rolls_out_through_kubectl_proxy(kinewax: CommandLine) -> None:
    kubernetes = Kubernetes(stateful_set(2), Pods())
    with serving(kubernetes) as url:
        done = kinewax.run("rollout", "--api", url, "--namespace", NAMESPACE)
        alone = kinewax.run("scale", "3", "--api", url)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "kinewax-0, kinewax-1: ready"
    assert alone.returncode == 2
    assert "--namespace" in alone.stderr
