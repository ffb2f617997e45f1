"""Restarting all pods of a service together, and changing how many there are.

The StatefulSet's pods are replaced when they are deleted and not before (`OnDelete`), so deleting
all at once is a rollout in which versions never mix: all drain in one epoch, and the new ones wait
for each other. Each pod's readiness then says that all read.

To change the number, the StatefulSet gets the new list of pods and the greater of both counts. The
pods that don't know that list are restarted, and recovery files move to whom they belong to now
(service/pods.py). When the pods that stay read, every file is in its place, and those beyond are
taken away. Each step can be done again: a command that was cut off is simply repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from errors import KinewaxError, SettingsError
from service.kube import Kube, Object

CONTAINER = "kinewax"
PODS = "KINEWAX_CLUSTER__PODS"
_LOOK_SECONDS = 1.0

Say = Callable[[str], None]


class Operation:
    """Changes one StatefulSet.

    Args:
        kube: Its namespace.
        name: Its name.
        timeout_seconds: The longest wait for its pods.
        say: Is told of each step.
        look_seconds: Between two looks at the pods.
    """

    def __init__(
        self,
        kube: Kube,
        name: str,
        timeout_seconds: float,
        say: Say,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._kube = kube
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._say = say
        self._look_seconds = look_seconds

    def roll_out(self) -> None:
        """Drain and restart all pods, on the newest template.

        Raises:
            KinewaxError: They aren't ready in time.
        """
        found = self._observed()
        self._replace(found, self._pods(found), int(found["spec"]["replicas"]))

    def scale(self, count: int) -> None:
        """Change the number of pods.

        Raises:
            KinewaxError: They aren't ready in time.
        """
        found = self._observed()
        before = int(found["spec"]["replicas"])
        addresses = self._addresses(found, count)
        if before != count or _listed(found) != addresses:
            self._say(f"from {before} pods to {count}: {addresses}")
            container = {"name": CONTAINER, "env": [{"name": PODS, "value": addresses}]}
            template = {"spec": {"containers": [container]}}
            patch = {"spec": {"replicas": max(before, count), "template": template}}
            self._kube.patch_stateful_set(self._name, patch)
            found = self._observed()
        newest = found["status"]["updateRevision"]
        stale = [pod for pod in self._pods(found) if _revision(pod) != newest]
        self._replace(found, stale, count)
        if before > count:
            self._kube.patch_stateful_set(self._name, {"spec": {"replicas": count}})
            gone = ", ".join(f"{self._name}-{index}" for index in range(count, before))
            self._say(f"{gone}: recovery files handed over, and taken away; volumes are kept")

    def _pods(self, found: Object) -> list[Object]:
        return self._kube.pods(found["spec"]["selector"]["matchLabels"])

    def _replace(self, found: Object, stale: list[Object], count: int) -> None:
        """Delete pods, all at once, and wait until the first `count` of the newest ones read."""
        old = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in stale}
        self._say(f"draining {', '.join(sorted(old.values())) or 'no pod'}")
        for uid, name in old.items():
            self._kube.delete_pod(name, uid)
        revision = found["status"]["updateRevision"]
        wanted = [f"{self._name}-{index}" for index in range(count)]

        def hindrance() -> str:
            pods = {pod["metadata"]["name"]: pod for pod in self._pods(found)}
            late = {name: why_not_ready(pods.get(name), old, revision) for name in wanted}
            return "; ".join(f"{name} {why}" for name, why in late.items() if why)

        self._wait(hindrance)
        self._say(f"{', '.join(wanted)}: ready")

    def _observed(self) -> Object:
        """Return the StatefulSet when its controller has seen its last change."""
        found: Object = {}

        def hindrance() -> str:
            found.update(self._kube.stateful_set(self._name))
            seen = found.get("status", {}).get("observedGeneration", 0)
            changed = found["metadata"]["generation"]
            return "" if seen >= changed else f"{self._name}'s controller hasn't seen its change"

        self._wait(hindrance)
        if found["spec"]["updateStrategy"]["type"] != "OnDelete":
            msg = f"StatefulSet {self._name} replaces its pods one by one: versions would mix"
            raise SettingsError(msg, hint="use deploy/k8s: its updateStrategy is OnDelete")
        return found

    def _wait(self, hindrance: Callable[[], str]) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        while why := hindrance():
            if time.monotonic() > deadline:
                msg = f"after {self._timeout_seconds:g} s: {why}"
                hint = f"kubectl logs -n {self._kube.namespace} says what a pod waits for; "
                raise KinewaxError(msg, hint=hint + "then run this again")
            time.sleep(self._look_seconds)

    def _addresses(self, found: Object, count: int) -> str:
        """Return the admin addresses of so many pods, like those that are listed now."""
        listed = _listed(found)
        if not listed:
            msg = f"StatefulSet {self._name} has no {PODS} in its container {CONTAINER}"
            raise SettingsError(msg, hint="scale what deploy/k8s has made")
        port = listed.split(",")[0].rpartition(":")[2]
        service = found["spec"]["serviceName"]
        return ",".join(f"{self._name}-{index}.{service}:{port}" for index in range(count))


def _listed(found: Object) -> str:
    for container in found["spec"]["template"]["spec"]["containers"]:
        if container["name"] == CONTAINER:
            for variable in container.get("env", ()):
                if variable["name"] == PODS:
                    return str(variable["value"])
    return ""


def _revision(pod: Object) -> str:
    """Return which template a pod was made from."""
    return str(pod["metadata"]["labels"].get("controller-revision-hash"))


def why_not_ready(pod: Object | None, old: dict[str, str], revision: str) -> str:
    """Return why a new pod can't be counted on yet; empty when it reads."""
    if pod is None:
        return "isn't there yet"
    metadata, status = pod["metadata"], pod.get("status", {})
    if metadata["uid"] in old:
        return "still drains"
    if _revision(pod) != revision:
        return "was made from an older template"
    for container in status.get("containerStatuses", ()):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"waits: {waiting.get('reason', 'unknown')}"
    conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
    return "" if conditions.get("Ready") == "True" else "isn't ready"
