"""`kinewax rollout` and `kinewax scale`: all pods of a service on Kubernetes, all together."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from errors import SettingsError
from service.kube import Kube
from service.rollout import Operation
from service.setting_values import parse_duration

Api = Annotated[
    str | None,
    typer.Option(help="Address of the API, as `kubectl proxy` prints it. [the pod's own]"),
]
Namespace = Annotated[
    str | None, typer.Option(help="The service's namespace. [that of the pod this runs in]")
]
Name = Annotated[str, typer.Option(help="The StatefulSet's name.")]
Timeout = Annotated[str, typer.Option(help="Longest wait for the pods.")]


def rollout(
    api: Api = None, namespace: Namespace = None, name: Name = "kinewax", timeout: Timeout = "10m"
) -> None:
    """Drain and restart all pods of a service together, so that versions never mix.

    Example: kinewax rollout --api http://127.0.0.1:8001 --namespace kinewax-ecommerce
    """
    _operation(api, namespace, name, timeout).roll_out()


def scale(
    pods: Annotated[int, typer.Argument(help="How many pods there are to be.", min=1)],
    api: Api = None,
    namespace: Namespace = None,
    name: Name = "kinewax",
    timeout: Timeout = "10m",
) -> None:
    """Drain all pods, move recovery files to where they belong, start with another number.

    Example: kinewax scale 3 --api http://127.0.0.1:8001 --namespace kinewax-ecommerce
    """
    _operation(api, namespace, name, timeout).scale(pods)


def _operation(api: str | None, namespace: str | None, name: str, timeout: str) -> Operation:
    if (api is None) != (namespace is None):
        msg = "--api and --namespace belong together"
        raise SettingsError(msg, hint="leave both out in a pod, name both elsewhere")
    try:
        seconds = parse_duration(timeout).total_seconds()
    except ValueError as error:
        msg = f"--timeout: {error}"
        raise SettingsError(msg) from error
    kube = Kube(api, namespace) if api and namespace else Kube.of_pod(os.environ)
    return Operation(kube, name, seconds, typer.echo)
