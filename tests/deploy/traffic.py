"""What services under watch are fed: traffic, and trouble of every kind that a metric counts."""

from __future__ import annotations

import json
import random
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.fakes.fault_proxy import FaultProxy
from tests.rig import Aws, event

_BEAT_SECONDS = 0.5
_STEP_SECONDS = 8  # of event time, each beat


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


class OldEvents(threading.Thread):
    """Writes events of the past, sixteen times as fast as they happened, and a table for them."""

    def __init__(self, kinesis: Any, stream: str, table: Path) -> None:
        super().__init__(daemon=True)
        self._table = table
        self._kinesis = kinesis
        self._stream = stream
        self._stopping = threading.Event()

    def run(self) -> None:
        rng = random.Random(7)
        now = datetime.now(UTC) - timedelta(hours=4)
        beat = 0
        while not self._stopping.wait(_BEAT_SECONDS):
            beat += 1
            now += timedelta(seconds=_STEP_SECONDS)
            if beat % 10 == 0:
                write_table(self._table, beat)
            records = [self._record(rng, now) for _ in range(40)]
            self._kinesis.put_records(StreamName=self._stream, Records=records)

    @staticmethod
    def _record(rng: random.Random, now: datetime) -> dict[str, Any]:
        made = event(rng.randrange(50), now) | {
            "event_type": rng.choice(("view", "purchase", "test")),
            "brand": f"brand-{rng.randrange(60)}",
            "price": f"{rng.lognormvariate(3, 1):.2f}",
        }
        return {"Data": json.dumps(made).encode(), "PartitionKey": str(rng.random())}

    def stop(self) -> None:
        self._stopping.set()
        self.join()
