"""A scripted API server of Kubernetes with one StatefulSet, as far as a rollout sees it.

What runs in a pod is the test's: it hands in what starts and stops one. Pods are replaced when they
are deleted (OnDelete), from the template that is in force then. The real controller takes a moment
to see a change, so here the first look after a change finds it unseen.
"""

from __future__ import annotations

import copy
import hashlib
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "kinewax-test"


class Machine(Protocol):
    """What runs in pods."""

    def start(self, index: int, template: dict[str, Any]) -> None:
        """Start what a template says."""

    def stop(self, index: int) -> None:
        """Stop it, and return when it has ended."""

    def ready(self, index: int) -> bool:
        """Whether it is ready."""


class Kubernetes:
    """The server; its StatefulSet is called as the manifests call it."""

    def __init__(
        self, stateful_set: dict[str, Any], machine: Machine, namespace: str = NAMESPACE
    ) -> None:
        self._namespace = namespace
        self.requests: list[tuple[str, str]] = []
        self.authorizations: set[str | None] = set()
        self.forbidden = False
        self.made: list[tuple[int, str]] = []
        """Each pod that was ever made: its index, and the revision of its template."""
        self._set = copy.deepcopy(stateful_set)
        self._set["metadata"]["generation"] = 1
        self._set["status"] = {"observedGeneration": 1, "updateRevision": self._revision()}
        self._machine = machine
        self._pods: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()
        self._stopping: list[threading.Thread] = []
        self._reconcile()

    @property
    def stateful_set(self) -> dict[str, Any]:
        """The StatefulSet as it is now."""
        return self._set

    @property
    def name(self) -> str:
        """Its name."""
        return self._set["metadata"]["name"]

    def settle(self) -> None:
        """Wait until all pods that were deleted have ended."""
        for thread in self._stopping:
            thread.join()

    # ---- the API ------------------------------------------------------------------------------

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Answer one request."""
        with self._lock:
            self.requests.append((method, path))
            if self.forbidden:
                return 403, {"message": "pods is forbidden: the account may not"}
            parts = urlsplit(path)
            of_set = f"/apis/apps/v1/namespaces/{self._namespace}/statefulsets/{self.name}"
            of_pods = f"/api/v1/namespaces/{self._namespace}/pods"
            if method == "GET" and parts.path == of_set:
                answer = copy.deepcopy(self._set)
                self._set["status"] |= {
                    "observedGeneration": self._set["metadata"]["generation"],
                    "updateRevision": self._revision(),
                }
                return 200, answer
            if method == "PATCH" and parts.path == of_set:
                self._set["spec"] = _merged(self._set["spec"], body["spec"])
                self._set["metadata"]["generation"] += 1
                self._reconcile()
                return 200, self._set
            if method == "GET" and parts.path == of_pods:
                return 200, {"items": self._listed(parse_qs(parts.query)["labelSelector"][0])}
            if method == "DELETE" and parts.path.startswith(of_pods):
                return self._delete(parts.path.rpartition("/")[2], body["preconditions"]["uid"])
            return 404, {"message": f'"{parts.path}" not found'}

    def _listed(self, selector: str) -> list[dict[str, Any]]:
        labels = dict(one.split("=") for one in selector.split(","))
        assert labels == self._set["spec"]["selector"]["matchLabels"]
        for pod in self._pods.values():
            ready = self._machine.ready(pod["index"])
            pod["status"] = {"conditions": [{"type": "Ready", "status": str(ready)}]}
        return list(self._pods.values())

    def _delete(self, name: str, uid: str) -> tuple[int, dict[str, Any]]:
        pod = self._pods.get(name)
        if pod is None:
            return 404, {"message": f'pods "{name}" not found'}
        if pod["metadata"]["uid"] != uid:
            return 409, {"message": "the UID in the precondition does not match"}
        self._end(pod)
        return 200, {}

    # ---- the controller -----------------------------------------------------------------------

    def _revision(self) -> str:
        template = json.dumps(self._set["spec"]["template"], sort_keys=True)
        return hashlib.sha256(template.encode()).hexdigest()[:10]

    def _reconcile(self) -> None:
        wanted = range(self._set["spec"]["replicas"])
        for pod in list(self._pods.values()):
            if pod["index"] not in wanted:
                self._end(pod)
        for index in wanted:
            if f"{self.name}-{index}" not in self._pods:
                self._make(index)

    def _make(self, index: int) -> None:
        name = f"{self.name}-{index}"
        template = self._set["spec"]["template"]
        labels = {"controller-revision-hash": self._revision()}
        metadata = {"name": name, "uid": uuid.uuid4().hex, "labels": labels}
        self._pods[name] = {"metadata": metadata, "index": index, "ending": False}
        self.made.append((index, self._revision()))
        self._machine.start(index, copy.deepcopy(template))

    def _end(self, pod: dict[str, Any]) -> None:
        if pod["ending"]:
            return
        pod["ending"] = True

        def end() -> None:
            self._machine.stop(pod["index"])
            with self._lock:
                del self._pods[pod["metadata"]["name"]]
                self._reconcile()

        thread = threading.Thread(target=end)
        self._stopping.append(thread)
        thread.start()


def _merged(old: Any, new: Any) -> Any:
    """Merge as a strategic merge patch does: lists of named things by their names."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merged(old.get(key), value) for key, value in new.items()}
    if isinstance(old, list) and isinstance(new, list) and all("name" in one for one in new):
        found = {one["name"]: one for one in old}
        for one in new:
            found[one["name"]] = _merged(found.get(one["name"]), one)
        return list(found.values())
    return new


@contextmanager
def serving(kubernetes: Kubernetes) -> Iterator[str]:
    """Serve it on loopback; the block gets its address."""

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            kubernetes.authorizations.add(self.headers.get("Authorization"))
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            status, content = kubernetes.answer(self.command, self.path, body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        do_GET = do_PATCH = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        kubernetes.settle()
