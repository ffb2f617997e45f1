"""How late alerts get while pods are killed, stopped and rolled out, and that none is lost.

Three supervisors on loopback stand for three pods. Every 400 ms another user acts six times at
once, which is an incident; a bystander asks the table every 200 ms and notes when each first
appears. The **gap** of a disruption is the latest of all incidents that were sent between it and
the moment when all pods read again: what somebody on call would have waited at most. A pod that is
killed or stopped is started again at once: what Kubernetes needs to do so comes on top.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.pods import PODS, Pods, running_pods
from tests.rig import WINDOW_SECONDS, Aws, Names, event, wait_until
from tests.servers import FAKE_CREDENTIALS, clients, moto_server

_ROUNDS = 5
_EACH_SECONDS = 0.4
_LOOK_SECONDS = 0.2
_ASKED_AT_ONCE = 100  # DynamoDB's own limit
_EVENTS = 6  # more than 5 in a window are an incident
_SETTLE_SECONDS = 1.0
_CALM_SECONDS = 10.0


def run() -> dict[str, Any]:
    """Disrupt in each way five times; return the medians."""
    with (
        tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder,
        moto_server() as endpoint,
        clients(endpoint) as made,
    ):
        aws = Aws(made, Names.made_by(lambda kind: f"{kind}-{uuid.uuid4().hex[:8]}"), 4)
        with (
            running_pods(Pods(aws, Path(folder), settings=FAKE_CREDENTIALS)) as pods,
            _Traffic(aws) as traffic,
        ):
            pods.wait_until_ready()
            ready = time.monotonic()
            time.sleep(_CALM_SECONDS)
            runs: list[dict[str, Any]] = [
                {"disruption": name, "gap_seconds": _gap(pods, traffic, how, turn)}
                for turn in range(_ROUNDS)
                for name, how in (("kill", _kill), ("stop", _stop), ("rollout", _roll_out))
            ]
            calm_seconds = traffic.calm_seconds(ready)
            lost = traffic.lost()
            pods_logs = pods.logs()
    if lost:
        message = f"incidents of {lost} users never came: {pods_logs}"
        raise ValueError(message)
    gaps = {
        f"{name}_gap_seconds": round(
            statistics.median(one["gap_seconds"] for one in runs if one["disruption"] == name),
            1,
        )
        for name in ("kill", "stop", "rollout")
    }
    worst = max(one["gap_seconds"] for one in runs)
    return {
        "metrics": {
            **gaps,
            "worst_gap_seconds": round(worst, 1),
            "undisturbed_p50_seconds": round(calm_seconds, 2),
            "incidents": traffic.sent,
        },
        "runs": runs,
    }


def _kill(pods: Pods, turn: int) -> None:
    pods.of[turn % PODS].kill()
    pods.of[turn % PODS].start()


def _stop(pods: Pods, turn: int) -> None:
    pods.of[turn % PODS].drain()
    pods.of[turn % PODS].start()


def _roll_out(pods: Pods, turn: int) -> None:  # noqa: ARG001  # the same whatever the turn
    for pod in pods.of:
        os.kill(pod.pid, signal.SIGTERM)
    for pod in pods.of:
        if pod.process is None or pod.process.wait(60) != 0:
            raise ValueError(pods.logs())
        pod.start()


def _gap(pods: Pods, traffic: _Traffic, how: Callable[[Pods, int], None], turn: int) -> float:
    began = time.monotonic()
    how(pods, turn)
    wait_until(lambda: any(map(pods.failing, range(PODS))), "it is noticed")
    pods.wait_until_ready()
    ended = time.monotonic()
    wait_until(lambda: not traffic.pending(ended), "all alerts came")
    time.sleep(_SETTLE_SECONDS)
    return round(traffic.latest(began, ended), 2)


class _Traffic:
    """Sends an incident every now and then, and looks when each is there."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._sent: dict[int, float] = {}
        self._seen: dict[int, float] = {}
        self._windows: dict[int, int] = {}
        self._disrupted = math.inf
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._send, self._look)
        ]

    def __enter__(self) -> _Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def sent(self) -> int:
        """How many incidents were sent."""
        return len(self._sent)

    def pending(self, until: float) -> bool:
        """Whether one that was sent before a moment isn't there yet."""
        return any(sent < until and user not in self._seen for user, sent in [*self._sent.items()])

    def latest(self, since: float, until: float) -> float:
        """Return the longest wait for one that was sent between two moments."""
        self._disrupted = min(self._disrupted, since)
        waits = [
            self._seen[user] - sent
            for user, sent in [*self._sent.items()]
            if since <= sent <= until
        ]
        return max(waits)

    def calm_seconds(self, since: float) -> float:
        """Return the median wait of those that were sent between a moment and any disruption."""
        waits = [
            seen - self._sent[user]
            for user, seen in [*self._seen.items()]
            if since <= self._sent[user] < self._disrupted
        ]
        return statistics.median(waits)

    def lost(self) -> int:
        """Return how many never came, once none is sent any more."""
        self._ending.set()
        self._threads[0].join()
        deadline = time.monotonic() + 30
        while len(self._seen) < len(self._sent) and time.monotonic() < deadline:
            self._note()
            time.sleep(_EACH_SECONDS)
        return len(self._sent) - len(self._seen)

    def _send(self) -> None:
        kinesis = self._aws.clients("kinesis")
        user = 1000
        while not self._ending.wait(_EACH_SECONDS):
            user += 1
            now = datetime.now(UTC)
            data = json.dumps(event(user, now)).encode()
            records = [{"Data": data, "PartitionKey": str(user)}] * _EVENTS
            self._windows[user] = int(now.timestamp()) // WINDOW_SECONDS * WINDOW_SECONDS
            self._sent[user] = time.monotonic()
            kinesis.put_records(StreamName=self._aws.names.stream, Records=records)

    def _look(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            self._note()

    def _note(self) -> None:
        waiting = [user for user in [*self._sent] if user not in self._seen][:_ASKED_AT_ONCE]
        if not waiting:
            return
        table = self._aws.names.table
        keys = [
            {
                "ddb_partition_key": {"S": f"userid#{user}#appserver#app-server-tomcat-123"},
                "ddb_sort_key": {"N": str(self._windows[user])},
            }
            for user in waiting
        ]
        found = self._aws.clients("dynamodb").batch_get_item(RequestItems={table: {"Keys": keys}})
        now = time.monotonic()
        for row in found["Responses"][table]:
            if "phase" in row:
                self._seen[int(row["user_id"]["N"])] = now
