"""One count an incident to a CloudWatch metric, at its final value.

The metric never holds the pipeline up and never fails it: what isn't delivered within its deadline
(2 s by default) is counted as dropped and logged. At least once for what a crash repeats. The only
dimension is the severity: the original put user ids there, which makes a metric of each user.

Limits (API reference of PutMetricData): 1,000 metrics and 1 MB a call; times older than two weeks
or more than two hours ahead are refused, so a replay's old incidents end as dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from messages import Alert, Output
from sinks.base import PartState
from sinks.batched import BatchedPart, ledger_of
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry
from sinks.failures import Failure
from sinks.tally import Outcome, Tally

CALL_METRICS = 1000
CALL_BYTES = 1_000_000
# Above what botocore's query encoding makes of one metric; the count limit binds long before.
_METRIC_BYTES = 500

_DELIVERY = DeliveryOptions(deadline_seconds=2.0, max_pending_bytes=1024 * 1024)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CloudWatchClient(Protocol):
    """The one call that is made; boto3's client is one."""

    def put_metric_data(self, **request: Any) -> Mapping[str, Any]:
        """Send metrics; `Any` because boto3 builds its methods at run time, untyped."""


@dataclass(frozen=True, slots=True)
class CloudWatchOptions:
    """The metric.

    Attributes:
        namespace: Its namespace.
        metric: Its name.
        name: Step id, metric label and ledger prefix.
        delivery: Patience: short, for a metric is not worth waiting for.
    """

    namespace: str
    metric: str
    name: str = "cloudwatch"
    delivery: DeliveryOptions = _DELIVERY


@dataclass(frozen=True, slots=True)
class Datum:
    """So many incidents of one severity whose windows end at one time."""

    severity: str
    window_end_us: int
    incidents: int


class CloudWatchSink:
    """A CloudWatch metric that counts final alerts."""

    accepts: tuple[type, ...] = (Alert,)
    parts: tuple[str, ...] = ("00",)

    def __init__(
        self, client: CloudWatchClient, options: CloudWatchOptions, *, rng: random.Random
    ) -> None:
        self._client = client
        self._options = options
        self._rng = rng
        self.name = options.name

    def wants(self, item: Output) -> bool:
        """Take each incident once: at its final value."""
        return isinstance(item, Alert) and item.phase == "final"

    def part_of(self, item: Output) -> str:  # noqa: ARG002 - the contract's signature
        """Name the only part."""
        return self.parts[0]

    def open(self, part: str, state: PartState | None) -> BatchedPart[Datum]:  # noqa: ARG002
        """Open the part and its thread."""
        options = self._options
        tally = Tally(self.name, ledger_of(state))

        def send(data: Sequence[Datum]) -> list[Outcome | Failure]:
            self._client.put_metric_data(
                Namespace=options.namespace,
                MetricData=[request_of(datum, options.metric) for datum in data],
            )
            return ["acknowledged"] * len(data)

        courier = Courier(
            sink=self.name,
            destination=f"namespace {options.namespace}",
            send=send,
            tally=tally,
            limits=BatchLimits(CALL_METRICS, CALL_BYTES),
            options=options.delivery,
            rng=random.Random(self._rng.random()),
            gives_up=True,
        )
        return BatchedPart(
            encode=encode,
            courier=courier,
            desk=DeadLetterDesk(self.name, None),
            tally=tally,
        )


# ---- encode: pure -----------------------------------------------------------------------------


def encode(items: Sequence[Output]) -> Iterator[Entry[Datum]]:
    """Count the alerts of each severity and window end."""
    counts = Counter(
        (item.severity, item.window_end_us) for item in items if isinstance(item, Alert)
    )
    for (severity, window_end_us), incidents in counts.items():
        yield Entry(Datum(severity, window_end_us, incidents), _METRIC_BYTES, incidents)


def request_of(datum: Datum, metric: str) -> dict[str, Any]:
    """Write so many values of 1, at one-second resolution."""
    return {
        "MetricName": metric,
        "Dimensions": [{"Name": "severity", "Value": datum.severity}],
        "Timestamp": _EPOCH + timedelta(microseconds=datum.window_end_us),
        "Values": [1.0],
        "Counts": [float(datum.incidents)],
        "Unit": "Count",
        "StorageResolution": 1,
    }
