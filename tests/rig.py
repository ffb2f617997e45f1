"""A live pipeline for tests: resources at a local AWS, a feeder whose truth is counted here, and
the service as users start it, as a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service import local_aws

WINDOW_SECONDS = 10
CLOSER = 1
"""The user of the events that close windows."""


@dataclass(frozen=True)
class Names:
    """What one test calls its resources."""

    stream: str
    incidents_stream: str
    table: str
    topic: str
    queue: str
    bucket: str
    aggregates: str
    dead_letters: str
    namespace: str

    @classmethod
    def made_by(cls, unique_name: Callable[[str], str]) -> Names:
        return cls(
            *(
                unique_name(kind)
                for kind in ("in", "out", "tab", "topic", "queue", "bucket", "agg", "dead", "cw")
            )
        )

    def settings(self) -> dict[str, str]:
        """Return the environment that names them to the service."""
        return {
            "KINEWAX_SINKS__TABLE": self.table,
            "KINEWAX_SINKS__TOPIC": self.topic,
            "KINEWAX_SINKS__STREAM": self.incidents_stream,
            "KINEWAX_SINKS__AGGREGATES": self.aggregates,
            "KINEWAX_SINKS__DEAD_LETTERS": self.dead_letters,
            "KINEWAX_SINKS__NAMESPACE": self.namespace,
        }


class Aws:
    """The resources of one test; with a queue's address those that are there already."""

    def __init__(self, clients: Any, names: Names, shards: int = 1, queue_url: str = "") -> None:
        self.clients = clients
        self.names = names
        self.queue_url = queue_url or local_aws.create(
            clients,
            local_aws.Resources(
                streams=((names.stream, shards), (names.incidents_stream, 1)),
                table=names.table,
                topic=names.topic,
                queue=names.queue,
                bucket=names.bucket,
                delivery_streams=(names.aggregates, names.dead_letters),
            ),
        )
        self._notices: list[dict[str, Any]] = []

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows of the table, as plain values."""
        table = self.clients("dynamodb")
        pages = table.get_paginator("scan").paginate(TableName=self.names.table)
        return [
            {name: _plain(value) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def notices(self) -> list[dict[str, Any]]:
        """Return the bodies of all notices that the topic's subscriber received so far."""
        sqs = self.clients("sqs")
        while messages := sqs.receive_message(
            QueueUrl=self.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                self._notices.append(json.loads(json.loads(message["Body"])["Message"]))
                sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return self._notices


def _plain(value: dict[str, Any]) -> Any:
    kind, content = next(iter(value.items()))
    if kind == "N":
        return int(content) if content.lstrip("-").isdigit() else float(content)
    return content


class Feeder(threading.Thread):
    """Writes live-stamped events; its truth is a plain count of what it wrote.

    Each attacker acts about 2.5 times a second, so it is above the limits in every full window.
    Honest users act less than once in 3 s.
    """

    def __init__(self, aws: Aws, *, attackers: int = 5, honest: int = 20) -> None:
        super().__init__(daemon=True)
        self._kinesis = aws.clients("kinesis")
        self._stream = aws.names.stream
        self._attackers = [900 + number for number in range(attackers)]
        self._honest = [100 + number for number in range(honest)]
        self._stopping = threading.Event()
        self.truth: Counter[tuple[int, int]] = Counter()
        self.sent = 0

    def run(self) -> None:
        beat = 0
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += 0.2
            users = [user for user in self._attackers if (beat + user) % 2]
            users += [user for user in self._honest if (beat + user) % 20 == 0]
            beat += 1
            if users:
                self._put(users, datetime.now(UTC))

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def close_windows(self) -> None:
        """Write an event of a later time to each shard: all that was counted so far is final.

        Call it when the feeder has stopped.
        """
        later = datetime.now(UTC) + timedelta(seconds=10 * WINDOW_SECONDS)
        shards = self._kinesis.list_shards(StreamName=self._stream)["Shards"]
        keys = [{"ExplicitHashKey": _first_hash(shard)} for shard in shards]
        self._put([CLOSER] * len(shards), later, keys)

    def incidents(self) -> dict[tuple[int, int], int]:
        """Return the count of each (user, window start) above 5."""
        return {key: count for key, count in self.truth.items() if count > 5}

    def _put(
        self, users: Sequence[int], time: datetime, keys: Sequence[dict[str, str]] | None = None
    ) -> None:
        records = [
            {"Data": json.dumps(event(user, time)).encode(), "PartitionKey": str(user), **key}
            for user, key in zip(users, keys or [{}] * len(users), strict=True)
        ]
        answer = self._kinesis.put_records(StreamName=self._stream, Records=records)
        assert answer["FailedRecordCount"] == 0
        start = int(time.timestamp()) // WINDOW_SECONDS * WINDOW_SECONDS
        self.truth.update((user, start) for user in users)
        self.sent += len(users)


def _first_hash(shard: dict[str, Any]) -> str:
    first_hash: str = shard["HashKeyRange"]["StartingHashKey"]
    return first_hash


def event(user: int, time: datetime) -> dict[str, str]:
    """Return an event as the original's producer wrote them: every value a string."""
    return {
        "event_time": "2019-11-01 00:00:00 UTC",
        "event_type": "view",
        "product_id": "1",
        "category_id": "2",
        "category_code": "electronics.smartphone",
        "brand": "apple",
        "price": "9.99",
        "user_id": str(user),
        "user_session": "72d76fde-8bb3-4e00-8c23-a032dfed738c",
        "txn_timestamp": time.replace(tzinfo=None).isoformat(),
    }


@dataclass
class Service:
    """`kinewax run` as a process; started again with the same arguments it resumes."""

    arguments: list[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).with_name("kinewax")), *self.arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[int]:
        """Return the process ids of the workers that live now."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [int(child) for child in children if _is_worker(int(child))]

    def drain(self, timeout_seconds: float = 60) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_seconds)

    def kill(self) -> None:
        """End the service and its workers at once, if they live."""
        if self.process is not None and self.process.poll() is None:
            for pid in [self.pid, *self.workers()]:
                with _gone_is_fine():
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def _is_worker(pid: int) -> bool:
    try:
        return b"service.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def wait_until(
    condition: Callable[[], bool],
    what: str,
    timeout_seconds: float = 60,
    *,
    every_seconds: float = 0.1,
) -> None:
    """Wait until a condition holds.

    Raises:
        AssertionError: It doesn't within the timeout.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"still waiting until {what}"
        time.sleep(every_seconds)
