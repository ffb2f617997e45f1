"""The one admin port: health, metrics and settings of the whole service, over plain HTTP.

    /livez     200 while every worker moves, else 503 and what doesn't
    /readyz    200 while all workers read and none drains, else 503 and the failing checks
    /metrics   Prometheus text, merged over the processes
    /config    every setting with its value and origin; credentials are never among them
    /version   the version
    /pods/...  what the pods of one service say to each other (service/pod_calls.py)

Lag is no reason to be unready: a service that has fallen behind needs all of its pods. It listens
on loopback unless told otherwise, and port 0 takes a free one.
"""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import metrics
from errors import SettingsError
from service.supervisor import Health
from service.version import installed_version

_STILL_INTERVALS = 6
_STOP_SECONDS = 5.0
_SUPERVISORS = (
    metrics.restarts,
    metrics.epoch_stall_seconds,
    metrics.snapshot_age_seconds,
    metrics.snapshot_copied_timestamp,
    metrics.snapshot_copies,
    metrics.build_info,
)
"""Set by the supervisor itself; all others come from the workers' files."""


class _Workers(Collector):
    """The workers' metrics, merged from their files; a series that is NaN is there no more."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Yield what the workers measured."""
        own = {metric.name for collector in _SUPERVISORS for metric in collector.collect()}
        collector = MultiProcessCollector(None, path=str(self._directory))  # type: ignore[no-untyped-call]
        merged = collector.collect()  # type: ignore[no-untyped-call]
        return _of_open_shards([metric for metric in merged if metric.name not in own])


def _of_open_shards(merged: list[Metric]) -> list[Metric]:
    # The files of a process keep every series, those of counters also when the process has ended.
    (mark,) = metrics.kinesis_prefetch_bytes.describe()
    opened = {
        (sample.labels["stream"], sample.labels["shard"])
        for metric in merged
        if metric.name == mark.name
        for sample in metric.samples
        if sample.value != metrics.CLOSED
    }
    for metric in merged:
        metric.samples = [
            sample
            for sample in metric.samples
            if not math.isnan(sample.value)
            and (
                "shard" not in sample.labels
                or (sample.labels["stream"], sample.labels["shard"]) in opened
            )
        ]
    return merged


def merged_metrics(directory: Path) -> CollectorRegistry:
    """Return the metrics of supervisor and workers, as they are whenever they are looked at."""
    registry = CollectorRegistry()
    for own in _SUPERVISORS:
        registry.register(own)
    registry.register(_Workers(directory))
    return registry


def failing_liveness(health: Health, epoch_seconds: float) -> dict[str, str]:
    """Return what is wrong with the workers' movement, by check; empty when nothing is."""
    most_seconds = _STILL_INTERVALS * epoch_seconds
    if health.still_seconds > most_seconds:
        return {
            "moving": f"a worker has stood still for {health.still_seconds:.0f} s, "
            f"more than {most_seconds:.0f} s"
        }
    return {}


def failing_readiness(health: Health, processes: int) -> dict[str, str]:
    """Return what keeps the service from being ready, by check; empty when nothing does."""
    failing = {}
    if health.draining:
        failing["draining"] = "the service is draining"
    if health.waiting:
        failing["pods"] = health.waiting
    elif health.alive < processes:
        failing["workers"] = f"{health.alive} of {processes} workers run"
    elif not health.polled:
        failing["reading"] = "the workers don't read yet"
    return failing


class Admin:
    """The server, in a thread of the supervisor; leave the `with` block and it is stopped.

    Args:
        host: Address to listen on.
        port: Port; 0 for a free one.
        health: Asked at each probe.
        config: What `/config` tells.
        metrics_directory: Where the workers keep their metrics.
        processes: How many workers there should be.
        epoch_seconds: The time between snapshots, by which liveness is measured.
        routes: Further ones.

    Attributes:
        url: Where it listens.

    Raises:
        SettingsError: The address is taken, or isn't ours.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        health: Callable[[], Health],
        config: Mapping[str, Any],
        metrics_directory: Path,
        processes: int,
        epoch_seconds: float,
        routes: Sequence[Route] = (),
    ) -> None:
        self._socket = _listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        metrics.build_info.labels(installed_version()).set(1)
        metrics.epoch_stall_seconds.set_function(lambda: health().still_seconds)
        merged = merged_metrics(metrics_directory)

        def answer(failing: Mapping[str, str]) -> Response:
            body = {"ok": not failing, "failing": dict(failing)}
            return JSONResponse(body, status_code=503 if failing else 200)

        def livez(_: Request) -> Response:
            return answer(failing_liveness(health(), epoch_seconds))

        def readyz(_: Request) -> Response:
            return answer(failing_readiness(health(), processes))

        def metrics_text(_: Request) -> Response:
            return Response(generate_latest(merged), media_type=CONTENT_TYPE_LATEST)

        def settings(_: Request) -> Response:
            return JSONResponse(dict(config))

        def version_text(_: Request) -> Response:
            return JSONResponse({"version": installed_version()})

        app = Starlette(
            routes=[
                Route("/livez", livez),
                Route("/readyz", readyz),
                Route("/metrics", metrics_text),
                Route("/config", settings),
                Route("/version", version_text),
                *routes,
            ]
        )
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="admin", daemon=True
        )

    def __enter__(self) -> Admin:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(_STOP_SECONDS)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host))
    except OSError as error:
        msg = f"can't listen on {host} port {port}: {error.strerror or error} (admin.port)"
        raise SettingsError(msg, hint="choose another --admin-port, or 0 for a free one") from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
