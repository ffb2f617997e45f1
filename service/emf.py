"""Metrics as lines for CloudWatch, where nobody runs a Prometheus: the embedded metric format.

Each interval the supervisor writes lines of JSON, one for each set of dimensions, to standard
output. Where that goes to CloudWatch Logs (awslogs on ECS, Fluent Bit on EKS), CloudWatch makes
metrics of them. Names are Flink's where they mean the same, so that alarms of a Managed Flink job
go on.

Off by default: CloudWatch is paid by metric and set of dimensions. So `EMITTED` is a choice, and
nothing in it is by shard or by key.

Limits (CloudWatch User Guide, "Specification: Embedded metric format"): 100 metrics a directive, 30
dimensions a set, 1024 characters a dimension's value, 1 MB a line; values are finite numbers. A
line has 20 metrics at most, which keeps it below the 4096 bytes that a pipe takes whole (POSIX,
PIPE_BUF): lines of results on the same output don't run into it.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge

import metrics

logger = logging.getLogger("kinewax.service")

METRICS_A_LINE = 20
LONGEST_VALUE = 1024
_STANDARD_OUTPUT = 1

Kind = Literal["greatest", "sum", "increase", "rate", "moment"]
Dimensions = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Emitted:
    """One metric of CloudWatch.

    Attributes:
        name: Its name there.
        metric: What it is made of.
        kind: How series become one value: their `greatest`, their `sum`, by how much their sum has
            grown since the last line (`increase`), or that a second (`rate`); `moment` is now minus
            the greatest.
        unit: CloudWatch's word.
        by: Labels that are dimensions, beside the domain.
        where: Conditions on labels.
        scale: What the value is multiplied by.
        flink: Whether it has Flink's name, and means the same.
    """

    name: str
    metric: Counter | Gauge
    kind: Kind
    unit: str
    by: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    scale: float = 1
    flink: bool = False

    @property
    def sample(self) -> str:
        """The name under which Prometheus scrapes what it is made of."""
        (family,) = self.metric.describe()
        return family.name + ("_total" if family.type == "counter" else "")


EMITTED = (
    Emitted(
        "millisBehindLatest",
        metrics.kinesis_max_behind_latest_seconds,
        "greatest",
        "Milliseconds",
        by=("stream",),
        scale=1000,
        flink=True,
    ),
    Emitted("numRecordsInPerSecond", metrics.source_records, "rate", "Count/Second", flink=True),
    Emitted(
        "numRecordsOutPerSecond",
        metrics.sink_records,
        "rate",
        "Count/Second",
        where={"outcome": "acknowledged"},
        flink=True,
    ),
    Emitted(
        "currentInputWatermark",
        metrics.watermark_lag_seconds,
        "moment",
        "Milliseconds",
        scale=1000,
        flink=True,
    ),
    Emitted("numLateRecordsDropped", metrics.late_events, "increase", "Count", flink=True),
    Emitted("fullRestarts", metrics.restarts, "sum", "Count", flink=True),
    Emitted("events", metrics.events, "increase", "Count"),
    Emitted("rejectedRecords", metrics.rejected_records, "increase", "Count"),
    Emitted(
        "retentionUsed",
        metrics.kinesis_retention_used_ratio,
        "greatest",
        "Percent",
        by=("stream",),
        scale=100,
    ),
    Emitted(
        "throttledReads",
        metrics.source_errors,
        "increase",
        "Count",
        by=("stream",),
        where={"error_type": "throttled"},
    ),
    Emitted(
        "dataLosses",
        metrics.source_errors,
        "increase",
        "Count",
        by=("stream",),
        where={"error_type": "data_loss"},
    ),
    Emitted("shardHoles", metrics.kinesis_coverage_holes, "greatest", "Count", by=("stream",)),
    Emitted(
        "incidents",
        metrics.incidents,
        "increase",
        "Count",
        by=("rule", "severity"),
        where={"phase": "final"},
    ),
    Emitted("noticesPending", metrics.notifications_pending, "sum", "Count"),
    Emitted(
        "deadLetters",
        metrics.sink_records,
        "increase",
        "Count",
        by=("sink",),
        where={"outcome": "dead_lettered"},
    ),
    Emitted("retries", metrics.sink_retries, "increase", "Count", by=("sink",)),
    Emitted("snapshotAge", metrics.snapshot_age_seconds, "greatest", "Seconds"),
    Emitted("epochStall", metrics.epoch_stall_seconds, "greatest", "Seconds"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What all metrics were at a moment.

    Attributes:
        at_seconds: When, since the epoch.
        samples: By name, the labels and the value of each series.
    """

    at_seconds: float
    samples: Mapping[str, list[tuple[Mapping[str, str], float]]]

    @classmethod
    def at(cls, registry: CollectorRegistry, at_seconds: float) -> Look:
        """Look at a registry."""
        samples: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in registry.collect():
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        return cls(at_seconds, samples)

    def values(self, one: Emitted) -> dict[Dimensions, list[float]]:
        """Return the values of a metric's series, by its dimensions."""
        found: dict[Dimensions, list[float]] = {}
        for labels, value in self.samples.get(one.sample, ()):
            if all(labels[name] == wanted for name, wanted in one.where.items()):
                dimensions = tuple((name.capitalize(), labels[name]) for name in one.by)
                found.setdefault(dimensions, []).append(value)
        return found


def documents(now: Look, before: Look, domain: str, namespace: str) -> Iterator[dict[str, Any]]:
    """Yield what is written, a JSON object a line (`Any`: as the format has it).

    Args:
        now: The metrics.
        before: What they were when the last lines were written.
        domain: The domain's name, a dimension of all metrics.
        namespace: CloudWatch's.
    """
    by_dimensions: dict[Dimensions, list[tuple[Emitted, float]]] = {}
    for one in EMITTED:
        earlier = before.values(one)
        for dimensions, values in now.values(one).items():
            value = _value(one, values, earlier.get(dimensions, ()), now, before)
            if math.isfinite(value):
                by_dimensions.setdefault(dimensions, []).append((one, value))
    for dimensions, found in by_dimensions.items():
        named = {
            name: value[:LONGEST_VALUE]
            for name, value in (("Domain", domain), *dimensions)
            if value
        }
        for first in range(0, len(found), METRICS_A_LINE):
            part = found[first : first + METRICS_A_LINE]
            directive = {
                "Namespace": namespace,
                "Dimensions": [list(named)],
                "Metrics": [{"Name": one.name, "Unit": one.unit} for one, _ in part],
            }
            yield {
                "_aws": {
                    "Timestamp": round(now.at_seconds * 1000),
                    "CloudWatchMetrics": [directive],
                },
                **named,
                **{one.name: value for one, value in part},
            }


def _value(
    one: Emitted, values: Iterable[float], earlier: Iterable[float], now: Look, before: Look
) -> float:
    match one.kind:
        case "greatest":
            return one.scale * max(values)
        case "sum":
            return one.scale * sum(values)
        case "moment":
            return one.scale * (now.at_seconds - max(values))
        case "increase":
            return one.scale * (sum(values) - sum(earlier))
        case "rate":
            seconds = max(now.at_seconds - before.at_seconds, 1e-3)
            return one.scale * (sum(values) - sum(earlier)) / seconds


class Emf:
    """Writes the lines from a thread; the last ones when the `with` block is left.

    Args:
        registry: The metrics of supervisor and workers.
        domain: The domain's name.
        namespace: CloudWatch's.
        interval_seconds: Between lines; 0 for none at all.
        write: Takes a line, whole.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        domain: str,
        namespace: str,
        interval_seconds: float,
        write: Callable[[bytes], object] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._domain = domain
        self._namespace = namespace
        self._interval_seconds = interval_seconds
        self._write = write or _write
        self._clock = clock
        self._before = Look(clock(), {})  # a run's counters begin at 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="emf", daemon=True)

    def __enter__(self) -> Emf:
        if self._interval_seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._interval_seconds:
            self._thread.join()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(self._interval_seconds)
            try:
                self.tell()
            except OSError as error:
                logger.warning(
                    "metrics for CloudWatch can't be written any more: %s",
                    error,
                    extra={"event": "emf_failed", "stage": "sending"},
                )
                return

    def tell(self) -> None:
        """Write what happened since the last time."""
        now = Look.at(self._registry, self._clock())
        for document in documents(now, self._before, self._domain, self._namespace):
            self._write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
        self._before = now


def _write(line: bytes) -> None:
    """Write a line in one call, past Python's buffer: workers write to the same output."""
    while line:
        line = line[os.write(_STANDARD_OUTPUT, line) :]
