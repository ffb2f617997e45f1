"""The few calls of Kubernetes' API that a rollout needs, over HTTPS with the standard library.

In a pod the address, the namespace and the credentials are where Kubernetes puts them; elsewhere
`kubectl proxy` offers the API on loopback. Objects are plain values as the API has them. An answer
that is no success is a `KinewaxError` with the API's own words.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errors import KinewaxError, MissingResourceError, SettingsError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS = 10.0
_STRATEGIC = "application/strategic-merge-patch+json"

Object = dict[str, Any]
"""What the API answers: its shape is Kubernetes' own."""


class Kube:
    """One namespace of a cluster.

    Args:
        url: The API's address.
        namespace: The namespace.
        token: The file of a bearer token, read at each call, since Kubernetes renews it.
        authority: The certificate of who signed the API's.
    """

    def __init__(
        self, url: str, namespace: str, token: Path | None = None, authority: Path | None = None
    ) -> None:
        self.namespace = namespace
        self._url = url.rstrip("/")
        self._token = token
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if authority is not None:
            context = ssl.create_default_context(cafile=authority)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    @classmethod
    def of_pod(cls, environment: Mapping[str, str], account: Path = _ACCOUNT) -> Kube:
        """Return the namespace that this pod runs in.

        Raises:
            SettingsError: This isn't a pod, or it may not call the API.
        """
        host = environment.get("KUBERNETES_SERVICE_HOST")
        if host is None or not (account / "token").exists():
            msg = "this is no pod with a service account's token"
            hint = "run it as a job (deploy/k8s/jobs/), or name the API: --api and --namespace"
            raise SettingsError(msg, hint=hint)
        shown = f"[{host}]" if ":" in host else host
        return cls(
            f"https://{shown}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}",
            (account / "namespace").read_text(encoding="utf-8").strip(),
            account / "token",
            account / "ca.crt",
        )

    def stateful_set(self, name: str) -> Object:
        """Return a StatefulSet."""
        return self._call("GET", f"apis/apps/v1/{self._in()}/statefulsets/{name}")

    def patch_stateful_set(self, name: str, patch: Mapping[str, object]) -> Object:
        """Change some of a StatefulSet: lists are merged by the names of what they hold."""
        return self._call("PATCH", f"apis/apps/v1/{self._in()}/statefulsets/{name}", patch)

    def pods(self, labels: Mapping[str, str]) -> list[Object]:
        """Return the pods that have these labels."""
        selector = urllib.parse.quote(",".join(f"{name}={labels[name]}" for name in labels))
        found: list[Object] = self._call(
            "GET", f"api/v1/{self._in()}/pods?labelSelector={selector}"
        )["items"]
        return found

    def delete_pod(self, name: str, uid: str) -> None:
        """Ask for a pod's end, with its own time to drain; one that is gone already is fine."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},  # never the pod that has come in its place
        }
        self._call("DELETE", f"api/v1/{self._in()}/pods/{name}", body, fine=(404, 409))

    def _in(self) -> str:
        return f"namespaces/{self.namespace}"

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        fine: tuple[int, ...] = (),
    ) -> Object:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = _STRATEGIC if method == "PATCH" else "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read_text(encoding='ascii').strip()}"
        request = urllib.request.Request(
            f"{self._url}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers=headers,
        )
        try:
            with self._opener.open(request, timeout=_TIMEOUT_SECONDS) as answer:
                found: Object = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code in fine:
                return {}
            raise _refused(error, path) from error
        except (OSError, ValueError) as error:
            msg = f"Kubernetes' API at {self._url}: {getattr(error, 'reason', error)}"
            raise KinewaxError(msg, hint="is `kubectl proxy` running?") from error


def _refused(error: urllib.error.HTTPError, path: str) -> KinewaxError:
    try:
        words = str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError):
        words = f"{path}: {error.code} {error.reason}"
    if error.code == 404:
        return MissingResourceError(words, hint="name it by --name and --namespace")
    if error.code == 403:
        return KinewaxError(words, hint="deploy/k8s/components/operate has the role that may")
    return KinewaxError(words)
