"""deploy/k8s: what it builds is valid, safe, and fits what kinewax does."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from dataflows.registry import find_domain
from service import settings
from service.admin import Admin
from service.cli import run_command
from service.kube import Kube
from service.rollout import PODS, Operation
from service.supervisor import Plan
from tests.deploy.manifests import (
    JOBS,
    OVERLAYS,
    ROOT,
    SCANNERS,
    Object,
    container_of,
    kubectl,
    objects,
    only,
    text,
    unpacked,
)
from tests.deploy.scanners import findings
from tests.fakes.kubernetes import NAMESPACE, Kubernetes, serving

pytestmark = pytest.mark.deploy

BUILDS = [f"overlays/{name}" for name in OVERLAYS] + [f"jobs/{name}" for name in JOBS]
VERSIONS = ("1.30", "1.37")
ACCEPTED = {
    "CKV_K8S_15": "the tag is a version and never moves: no pull from the registry at each restart",
    "CKV_K8S_43": "the overlay names the image; a digest can stand there as well",
}
ACCEPTED_OF_JOBS = {
    "CKV_K8S_38": "the job calls Kubernetes, so it has a token",
}


def invalid(one: Object) -> list[str]:
    """Return what is wrong with an object by Kubernetes' own schemas."""
    wrong = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{one['kind']} {one['metadata']['name']} in {version}: {error.message}")
    return wrong


@pytest.mark.parametrize("build", BUILDS)
def test_every_object_is_valid(build: str) -> None:
    found = [one for one in objects(build) if one["kind"] != "PodMonitor"]

    assert len(found) == (1 if build.startswith("jobs") else 12)
    assert [line for one in found for line in invalid(one)] == []


def test_a_field_that_does_not_exist_is_found() -> None:
    odd = copy.deepcopy(only(objects("overlays/ecommerce-medium"), "StatefulSet"))
    container_of(odd)["securityContext"]["readOnlyRootFileSystem"] = True

    assert len(invalid(odd)) == len(VERSIONS)


def test_every_domain_has_every_size() -> None:
    found = {tuple(name.rsplit("-", 1)) for name in OVERLAYS}

    assert found == {
        (domain, size)
        for domain in ("ecommerce", "access-logs", "wiki", "clickstream")
        for size in ("small", "medium", "large")
    }


# ---- security -----------------------------------------------------------------------------------


def in_namespace(job: str) -> list[Object]:
    """Return a job as `kubectl -n` makes it, with what else is in the namespace."""
    found = objects("overlays/ecommerce-large")
    (made,) = objects(f"jobs/{job}")
    made["metadata"]["namespace"] = "kinewax-ecommerce"
    return [*found, made]


@pytest.mark.parametrize("job", JOBS)
def test_checkov_finds_only_what_is_accepted(job: str, tmp_path: Path) -> None:
    path = tmp_path / "built.yaml"
    path.write_text(yaml.safe_dump_all(in_namespace(job)))
    found = findings("kubernetes", path)

    of_service = {check for check, resource in found if resource.startswith("StatefulSet.")}
    assert of_service == set(ACCEPTED)
    assert {check for check, _ in found} == {*ACCEPTED, *ACCEPTED_OF_JOBS}


def test_checkov_finds_a_pod_that_may_do_more(tmp_path: Path) -> None:
    found = objects("overlays/ecommerce-large")
    odd = container_of(only(found, "StatefulSet"))["securityContext"]
    odd |= {"privileged": True, "readOnlyRootFilesystem": False}
    path = tmp_path / "built.yaml"
    path.write_text(yaml.safe_dump_all(found))

    assert {"CKV_K8S_16", "CKV_K8S_22"} <= {check for check, _ in findings("kubernetes", path)}


def test_the_namespace_lets_restricted_pods_in_only() -> None:
    for name in OVERLAYS:
        (namespace,) = (one for one in objects(f"overlays/{name}") if one["kind"] == "Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_role_allows_the_calls_that_are_made_and_no_other() -> None:
    made = set()
    for requests in calls_of_operations():
        for method, path in requests:
            parts = path.partition("?")[0].split("/")
            group = "apps" if parts[1] == "apis" else ""
            rest = parts[parts.index(NAMESPACE) + 1 :]
            verb = {"GET": "get" if len(rest) > 1 else "list"}.get(method, method.lower())
            made.add((group, rest[0], verb))
    role = only(objects("overlays/wiki-small"), "Role", "kinewax-operate")
    allowed = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    assert allowed == made


def calls_of_operations() -> Iterator[list[tuple[str, str]]]:
    """Yield the calls of a rollout and of a scale, of the StatefulSet as it is built."""

    class Pods:
        def start(self, index: int, template: Object) -> None:
            """Start at once."""

        def stop(self, index: int) -> None:
            """Stop at once."""

        def ready(self, index: int) -> bool:
            return True

    built = only(objects("overlays/ecommerce-medium"), "StatefulSet")
    for operate in (Operation.roll_out, lambda operation: operation.scale(2)):
        kubernetes = Kubernetes(built, Pods())
        with serving(kubernetes) as url:
            operate(Operation(Kube(url, NAMESPACE), "kinewax", 20, lambda _: None, 0.01))
        yield kubernetes.requests


# ---- what kinewax needs -------------------------------------------------------------------------


def environment_of(found: list[Object]) -> dict[str, str]:
    """Return the variables of a pod, as Kubernetes would set them in the first."""
    values = {"metadata.labels['apps.kubernetes.io/pod-index']": "0", "status.podIP": "10.0.0.7"}
    container = container_of(only(found, "StatefulSet"))
    (source,) = container["envFrom"]
    variables = dict(only(found, "ConfigMap", source["configMapRef"]["name"])["data"])
    for one in container["env"]:
        given = one.get("value") or values[one["valueFrom"]["fieldRef"]["fieldPath"]]
        variables[one["name"]] = given
    return variables


@pytest.mark.parametrize("name", OVERLAYS)
def test_settings_and_arguments_are_those_of_kinewax(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = objects(f"overlays/{name}")
    arguments = container_of(only(found, "StatefulSet"))["args"]
    loaded = settings.load(
        environment=environment_of(found), domain=find_domain(arguments[1])
    ).settings

    assert arguments[0] == "run"
    assert find_domain(arguments[1]).name.replace("_", "-") == name.rsplit("-", 1)[0]
    assert run_command([*arguments, "--help"]) == 0
    assert "--source" in capsys.readouterr().out
    assert loaded.sinks.table
    assert loaded.cluster.host == "10.0.0.7"


@pytest.mark.parametrize("name", [name for name in OVERLAYS if name.endswith("-small")])
def test_names_are_those_that_the_template_makes(name: str) -> None:
    found = objects(f"overlays/{name}")
    _, domain, _, source, *_ = container_of(only(found, "StatefulSet"))["args"]
    made = json.loads((ROOT / f"deploy/aws/parameters/{domain}.json").read_text())["Parameters"]
    sinks = settings.load(environment=environment_of(found), domain=find_domain(domain)).settings

    assert made.pop("Domain") == domain
    assert f"kinesis://{made.pop('Stream')}" == source
    own = {"SecondStream": "stream", "DeadLetters": "dead_letters"}
    assert {one: getattr(sinks.sinks, own.get(one, one.lower())) for one in made} == made


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_pods_know_each_other_by_names_that_exist(name: str) -> None:
    found = objects(f"overlays/{name}")
    stateful, service = only(found, "StatefulSet"), only(found, "Service")
    spec = stateful["spec"]
    listed = environment_of(found)[PODS].split(",")

    assert listed == [f"kinewax-{index}.kinewax:8080" for index in range(spec["replicas"])]
    assert spec["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"] == spec["selector"]["matchLabels"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert (spec["podManagementPolicy"], spec["updateStrategy"]["type"]) == ("Parallel", "OnDelete")


@pytest.mark.parametrize("name", OVERLAYS)
def test_worker_ports_are_open_to_the_services_own_pods_and_nobody_else(name: str) -> None:
    found = objects(f"overlays/{name}")
    own = only(found, "StatefulSet")["spec"]["selector"]["matchLabels"]
    loaded = settings.load(environment=environment_of(found)).settings
    workers = {loaded.cluster.port + index for index in range(loaded.runtime.processes)}
    reached: dict[int, list[Object]] = {}
    for policy in (one for one in found if one["kind"] == "NetworkPolicy"):
        if policy["spec"]["podSelector"].get("matchLabels") != own:
            continue
        for rule in policy["spec"].get("ingress", ()):
            for port in rule["ports"]:
                for number in range(port["port"], port.get("endPort", port["port"]) + 1):
                    reached.setdefault(number, []).extend(rule["from"])

    assert workers | {8080} <= reached.keys()
    pods = {"podSelector": {"matchLabels": own}}
    assert all(reached[number] == [pods] for number in reached if number != 8080)
    prometheus = [one for one in reached[8080] if one != pods]
    assert [one["namespaceSelector"]["matchLabels"] for one in prometheus] == [
        {"kubernetes.io/metadata.name": "monitoring"}
    ]


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_pod_has_the_time_and_the_places_it_needs(name: str) -> None:
    found = objects(f"overlays/{name}")
    stateful = only(found, "StatefulSet")
    pod, container = stateful["spec"]["template"]["spec"], container_of(stateful)
    loaded = settings.load(environment=environment_of(found)).settings

    assert pod["terminationGracePeriodSeconds"] == 60 > 2 * loaded.runtime.drain_timeout.seconds
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounts["recovery"] == "/var/lib/kinewax", "KINEWAX_RUNTIME__RECOVERY of the image"
    assert mounts["tmp"] == "/tmp"
    assert str(loaded.cluster.token_file) == mounts["token"] + "/token"
    assert [one["metadata"]["name"] for one in stateful["spec"]["volumeClaimTemplates"]] == [
        "recovery"
    ]
    workers = loaded.runtime.processes * stateful["spec"]["replicas"]
    assert workers <= loaded.runtime.recovery_files


def test_probes_ask_what_the_admin_port_answers(tmp_path: Path) -> None:
    found = objects("overlays/wiki-medium")
    container = container_of(only(found, "StatefulSet"))
    admin = Admin(
        *("127.0.0.1", 0),
        health=lambda: None,
        config={},
        metrics_directory=tmp_path,
        processes=1,
        epoch_seconds=5,
    )
    with admin:
        answered = {route.path for route in admin._server.config.app.routes}
    probes = {one: container[one]["httpGet"] for one in container if one.endswith("Probe")}

    assert {one["path"] for one in probes.values()} | {"/metrics"} <= answered
    assert probes.keys() == {"startupProbe", "livenessProbe", "readinessProbe"}
    assert {one["port"] for one in probes.values()} == {"admin"}
    assert {"name": "admin", "containerPort": 8080} in container["ports"]
    assert Plan(1, lambda _: []).drain_seconds < 60


def test_prometheus_finds_the_pods_and_their_port() -> None:
    found = objects("overlays/clickstream-medium")
    stateful, monitor = only(found, "StatefulSet"), only(found, "PodMonitor")["spec"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    ports = {one["name"] for one in container_of(stateful)["ports"]}

    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert [(one["port"] in ports, one["path"]) for one in monitor["podMetricsEndpoints"]] == [
        (True, "/metrics")
    ]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_a_command_of_kinewax_as_whom_may(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job = only(objects(f"jobs/{name}"), "Job", f"kinewax-{name}")
    arguments = container_of(job)["args"]
    found = objects("overlays/wiki-small")
    (subject,) = only(found, "RoleBinding", "kinewax-operate")["subjects"]
    policy = only(found, "NetworkPolicy", "kinewax-operate")["spec"]["podSelector"]["matchLabels"]

    assert job["spec"]["template"]["spec"]["serviceAccountName"] == subject["name"]
    assert policy.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert arguments[0] == name
    assert run_command([*arguments, "--help"]) == 0
    capsys.readouterr()


def test_awss_package_of_kubectl_builds_the_same(tmp_path: Path) -> None:
    if not list(SCANNERS.glob("lib/python*/site-packages/aws_cdk")) and not os.environ.get("CI"):
        pytest.skip("`make test-deploy` installs it")
    other = unpacked(tmp_path)
    folder = ROOT / "deploy/k8s/overlays/ecommerce-large"
    built = subprocess.run(
        [other, "kustomize", folder], check=True, capture_output=True, text=True
    ).stdout

    assert built == text("overlays/ecommerce-large")
    assert kubectl()
