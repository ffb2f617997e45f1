"""The source `kinesis://STREAM`: constant slots that own shards, whatever becomes of the shards.

Which slot owns a shard is a pure function of the shard's hash range and the number of slots, so
processes need not agree on anything. The number of slots is fixed for the life of a recovery
store; another number is a migration.

Guarantee: each record is emitted once per committed position, in the order of its shard; records
of the start position's past are not. Kinesis itself keeps order within a shard only.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sources.base import SlotState
from sources.kinesis.client import KinesisClient
from sources.kinesis.fan_out import EnhancedFanOut
from sources.kinesis.pacing import Pacing
from sources.kinesis.slot import KinesisSlot
from sources.kinesis.stream import OnDataLoss, Stream

DEFAULT_SLOTS = 64
DEFAULT_PREFETCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class StartPosition:
    """Where a first start begins, in every shard that is listed then, children or not.

    Shards that appear later begin at their oldest record. LATEST is a moment like any other, so
    that all processes mean the same one: whoever starts them resolves it once.

    Attributes:
        kind: What was asked for.
        t_us: LATEST and AT_TIMESTAMP: records that arrived from then on.
    """

    kind: Literal["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"]
    t_us: int | None = None

    def __post_init__(self) -> None:
        if (self.t_us is None) != (self.kind == "TRIM_HORIZON"):
            message = f"{self.kind} takes {'no' if self.kind == 'TRIM_HORIZON' else 'a'} time"
            raise ValueError(message)


def now_us() -> int:
    """Return the microseconds since the epoch."""
    return time.time_ns() // 1000


def slot_names(slots: int) -> tuple[str, ...]:
    """Return the names of so many slots, in order: state keys, so the same ones for ever."""
    return tuple(f"slot-{number:02d}" for number in range(slots))


class KinesisSource:
    """Reads a Kinesis data stream.

    Args:
        stream: Name or ARN.
        client_factory: Makes a Kinesis client; called once a process. Its connection pool should
            have `prefetch.MAX_THREADS` places and it should not retry on its own (retrying and
            pacing are done here).
        start: Where a first start begins; a slot with a state goes on where it was.
        slots: Fixed for the life of a recovery store.
        on_data_loss: When records expired unread: `warn` and go on, or `fail`.
        fan_out: How to subscribe to the shards; None to poll them.
        pacing: How often to call.
        max_prefetch_bytes: What may wait in the queues of a process, about.
        clock: Microseconds since the epoch.
        seed: Of the jitter.
    """

    finite = False

    def __init__(
        self,
        stream: str,
        client_factory: Callable[[], KinesisClient],
        *,
        start: StartPosition,
        slots: int = DEFAULT_SLOTS,
        on_data_loss: OnDataLoss = "warn",
        fan_out: EnhancedFanOut | None = None,
        pacing: Pacing | None = None,
        max_prefetch_bytes: int = DEFAULT_PREFETCH_BYTES,
        clock: Callable[[], int] = now_us,
        seed: int = 0,
    ) -> None:
        if slots < 1:
            message = f"A source needs a slot at least, not {slots}"
            raise ValueError(message)
        self.name = stream
        self.slots = slot_names(slots)
        self._client_factory = client_factory
        self._start = start
        self._on_data_loss: OnDataLoss = on_data_loss
        self._fan_out = fan_out
        self._pacing = pacing or Pacing()
        self._max_prefetch_bytes = max_prefetch_bytes
        self._clock = clock
        self._seed = seed
        self._lock = threading.Lock()
        self._stream: Stream | None = None

    def open(self, slot: str, state: SlotState | None) -> KinesisSlot:
        """Open a slot at the start position, or where `state` left off."""
        number = self.slots.index(slot)
        with self._lock:
            if self._stream is None or self._stream.closed:
                self._stream = self._open_stream()
            return KinesisSlot(slot, number, self._stream, state)

    def _open_stream(self) -> Stream:
        return Stream(
            self.name,
            self._client_factory(),
            start_us=self._start.t_us,
            slots=len(self.slots),
            on_data_loss=self._on_data_loss,
            pacing=self._pacing,
            max_prefetch_bytes=self._max_prefetch_bytes,
            clock=self._clock,
            rng=random.Random(self._seed),
            fan_out=self._fan_out,
        )
