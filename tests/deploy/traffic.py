"""What services under watch are fed: traffic, and trouble of every kind that a metric counts."""

from __future__ import annotations

import json
import random
import threading
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.fault_proxy import FaultProxy
from tests.rig import Aws, event

_BEAT_SECONDS = 0.5


class Trouble(threading.Thread):
    """Keeps AWS and the producers of a service misbehaving, a little of everything all the time."""

    def __init__(self, proxy: FaultProxy, aws: Aws) -> None:
        super().__init__(daemon=True)
        self._proxy = proxy
        self._kinesis = aws.clients("kinesis")
        self._stream = aws.names.stream
        self._stopping = threading.Event()

    def run(self) -> None:
        # Rules wait until a call meets them, so they may not come faster than calls do.
        refuse = self._proxy.refuse
        beat = 0
        while not self._stopping.wait(_BEAT_SECONDS):
            beat += 1
            self._put("no JSON")
            old = datetime.now(UTC) - timedelta(hours=1)
            self._put(json.dumps(event(7, old)))
            if beat % 6 == 0:
                refuse("GetRecords", 400, "ProvisionedThroughputExceededException", times=1)
                refuse("UpdateItem", 400, "ThrottlingException", times=2)
            if beat % 10 == 0:
                refuse("GetRecords", 400, "ExpiredIteratorException", times=1)
                refuse("UpdateItem", 400, "ValidationException", times=1)
            if beat % 20 == 0:
                refuse("Publish", 500, "InternalError", times=5)

    def _put(self, payload: str) -> None:
        self._kinesis.put_record(StreamName=self._stream, Data=payload.encode(), PartitionKey="7")

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def write_table(path: Path, version: int) -> None:
    """Write a version of the table beside the stream, whole."""
    path.with_suffix(".new").write_text(f"brand,country\nbrand-1,C{version}\n")
    path.with_suffix(".new").rename(path)


class Past(threading.Thread, ABC):
    """Writes events of the past to a stream, each beat a span of it, faster than they happened."""

    def __init__(self, kinesis: Any, stream: str, began: timedelta, span: timedelta) -> None:
        super().__init__(daemon=True)
        self._kinesis = kinesis
        self._stream = stream
        self._now = datetime.now(UTC) - began
        self._span = span
        self._rng = random.Random(7)
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(_BEAT_SECONDS) and self._now < datetime.now(UTC):
            made = self.events(self._now, self._span)
            self._now += self._span
            records = [
                {"Data": json.dumps(one).encode(), "PartitionKey": str(self._rng.random())}
                for one in made
            ]
            self._kinesis.put_records(StreamName=self._stream, Records=records)

    @abstractmethod
    def events(self, start: datetime, span: timedelta) -> list[dict[str, str]]:
        """Return the events of a span of time."""

    def stop(self) -> None:
        self._stopping.set()
        self.join()


class OldEvents(Past):
    """Events for forests, and now and then another table beside them."""

    def __init__(self, kinesis: Any, stream: str, table: Path) -> None:
        super().__init__(kinesis, stream, timedelta(hours=4), timedelta(seconds=8))
        self._table = table
        self._beat = 0

    def events(self, start: datetime, span: timedelta) -> list[dict[str, str]]:
        self._beat += 1
        if self._beat % 10 == 0:
            write_table(self._table, self._beat)
        return [
            event(self._rng.randrange(50), start)
            | {
                "event_type": self._rng.choice(("view", "purchase", "test")),
                "brand": f"brand-{self._rng.randrange(60)}",
                "price": f"{self._rng.lognormvariate(3, 1):.2f}",
            }
            for _ in range(40)
        ]


class Shoppers(Past):
    """Days of a shop, an hour each beat: an event every 15 seconds."""

    def __init__(self, kinesis: Any, stream: str) -> None:
        super().__init__(kinesis, stream, timedelta(days=6), timedelta(hours=1))

    def events(self, start: datetime, span: timedelta) -> list[dict[str, str]]:
        made = []
        for number in range(240):
            kind = self._rng.choices(("view", "cart", "purchase"), (5, 3, 2))[0]
            made.append(
                event(self._rng.randrange(1000), start + number * span / 240)
                | {
                    "event_type": kind,
                    "category_code": f"category.{self._rng.randrange(30)}",
                    "brand": f"brand-{self._rng.randrange(30)}",
                }
            )
        return made
