"""What a bystander sees of a running service: its table, its notices, its bucket, its metrics.

Nothing here looks inside kinewax. The demo judges the service by what reaches others, and when: a
row counts from the moment at which a plain Scan showed it, whatever stamps it carries.
"""

from __future__ import annotations

import gzip
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson
from prometheus_client.parser import text_string_to_metric_families

from operators.spec import Threshold

_SCAN_EVERY_SECONDS = 0.04
_METRICS_TIMEOUT_SECONDS = 2.0
_QUEUE_WAIT_SECONDS = 1

IncidentKey = tuple[str, int]
"""Who it was, and a window's start in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row of the incidents table.

    Attributes:
        who: The values of the rule's key.
        window_start: Seconds since the epoch.
        value: Events so far.
        phase: open, raised or final.
        severity: The highest level crossed.
        first_seen_us: When it was first seen.
    """

    who: str
    window_start: int
    value: int
    phase: str
    severity: str
    first_seen_us: int

    @property
    def key(self) -> IncidentKey:
        """What identifies an incident to a bystander."""
        return self.who, self.window_start


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice as its reader gets it."""

    subject: str
    body: dict[str, Any]  # whatever the JSON holds


class Watcher:
    """A thread that looks again and again; what goes wrong in it is raised by `check`."""

    def __init__(self, name: str) -> None:
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Have it look no more; a second call does nothing."""
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._look()
        except Exception as error:
            self._error = error

    def _look(self) -> None:
        raise NotImplementedError


class TableWatcher(Watcher):
    """Scans the incidents table every 40 ms and remembers when each row of a rule was first there.

    Args:
        dynamodb: boto3's client (untyped: made at run time).
        table: The table's name.
        rule: Whose rows.
        key: The attributes that say who it was.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(
        self,
        dynamodb: Any,
        table: str,
        rule: Threshold,
        key: Sequence[str],
        clock: Callable[[], int],
    ) -> None:
        super().__init__("table-watcher")
        self._dynamodb = dynamodb
        self._table = table
        self._rule = rule
        self._key = key
        self._clock = clock
        self._rows: dict[IncidentKey, SeenRow] = {}

    def rows(self) -> list[SeenRow]:
        """Return the rows, the one first seen first."""
        return list(self._rows.values())

    def _look(self) -> None:
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True
        )
        for page in pages:
            now_us = self._clock()
            for item in page["Items"]:
                of_rule = item.get("rule") == {"S": self._rule.name}
                if not of_rule or any(name not in item for name in self._key):
                    continue  # of another rule, or a digest, which stands for many
                key = (
                    who_of(map(_scalar, (item[name] for name in self._key))),
                    int(item["ddb_sort_key"]["N"]),
                )
                seen = self._rows.get(key)
                self._rows[key] = SeenRow(
                    *key,
                    value=int(item[self._rule.value]["N"]),
                    phase=item["phase"]["S"],
                    severity=item["severity"]["S"],
                    first_seen_us=now_us if seen is None else seen.first_seen_us,
                )
        self._ended.wait(_SCAN_EVERY_SECONDS)


def who_of(values: Iterable[object]) -> str:
    """Write who it was: the values of a key, as people read them."""
    return " ".join(map(str, values))


def _scalar(attribute: Mapping[str, str]) -> str:
    (value,) = attribute.values()
    return value


class QueueReader(Watcher):
    """Receives what the topic sends to its subscriber.

    Args:
        sqs: boto3's client (untyped: made at run time).
        queue_url: The queue's address.
    """

    def __init__(self, sqs: Any, queue_url: str) -> None:
        super().__init__("queue-reader")
        self._sqs = sqs
        self._queue_url = queue_url
        self._notices: list[Notice] = []

    def notices(self) -> list[Notice]:
        """Return all notices so far."""
        return list(self._notices)

    def _look(self) -> None:
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=_QUEUE_WAIT_SECONDS
        )
        for message in answer.get("Messages", []):
            envelope = orjson.loads(message["Body"])
            body = orjson.loads(envelope["Message"])
            self._notices.append(Notice(envelope.get("Subject", ""), body))
            self._sqs.delete_message(
                QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"]
            )


def rows_in_bucket(s3: Any, bucket: str, names: Iterable[str]) -> dict[str, int]:
    """Count the rows that delivery streams left in a bucket; each is a line of JSON.

    A row too large for one record comes in numbered pieces and is one row all the same.

    Args:
        s3: boto3's client (untyped: made at run time).
        bucket: The bucket's name.
        names: Of the delivery streams, each of which has a prefix of its own.
    """
    counts: Counter[str] = Counter()
    for name in names:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{name}/"):
            for item in page.get("Contents", []):
                content = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                if content.startswith(b"\x1f\x8b"):
                    content = gzip.decompress(content)
                for line in content.splitlines():
                    row = orjson.loads(line)  # half a line, or two in one, would be an error
                    counts[name] += row.get("piece", 0) == 0
    return dict(counts)


# ---- metrics ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the admin port tells about a service.

    Attributes:
        events: Events decoded since its start.
        rejected: Objects that could not become events.
        dropped: Events dropped as they were decoded: a domain doesn't want them.
        watermark_lag_seconds: How far the watermark is behind now; None before there is one.
        behind_seconds: How far each shard's reader is behind the tip.
        windows_open: Open windows by name, each counted once a key group.
    """

    events: int = 0
    rejected: int = 0
    dropped: int = 0
    watermark_lag_seconds: float | None = None
    behind_seconds: dict[str, float] = field(default_factory=dict)
    windows_open: dict[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """What was taken of the stream so far, whatever became of it."""
        return self.events + self.rejected + self.dropped


def read_vitals(url: str) -> Vitals | None:
    """Read `/metrics`; None while the admin port doesn't answer.

    Args:
        url: The admin port's address.
    """
    text = _get(f"{url}/metrics")
    return None if text is None else parse_vitals(text)


def is_ready(url: str) -> bool:
    """Ask `/readyz`."""
    return _get(f"{url}/readyz") is not None


def parse_vitals(text: str) -> Vitals:
    """Read what matters from metrics in Prometheus' text format."""
    events = rejected = dropped = 0
    lag: float | None = None
    behind: dict[str, float] = {}
    windows: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            match sample.name:
                case "kinewax_events_total":
                    events += int(sample.value)
                case "kinewax_rejected_records_total":
                    rejected += int(sample.value)
                case "kinewax_dropped_events_total":
                    dropped += int(sample.value)
                case "kinewax_watermark_lag_seconds":
                    lag = max(sample.value, lag or sample.value)
                case "kinewax_kinesis_behind_latest_seconds":
                    shard = sample.labels["shard"]
                    behind[shard] = max(sample.value, behind.get(shard, 0.0))
                case "kinewax_windows_open":
                    windows[sample.labels["window"]] += int(sample.value)
    return Vitals(events, rejected, dropped, lag, dict(sorted(behind.items())), dict(windows))


def _get(url: str) -> str | None:
    # Straight to the socket: a proxy set for the machine must not see loopback traffic.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_METRICS_TIMEOUT_SECONDS) as answer:
            content: bytes = answer.read()
            return content.decode()
    except (urllib.error.URLError, OSError):
        return None


def now_us() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1_000
