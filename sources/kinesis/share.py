"""What the readers of a process divide among them: memory, calls, and time in the stream.

**Memory.** Each reader has an equal part of `max_prefetch_bytes`. It asks for as many records as
fill half of its part, or for what a shard gives in one call at full pace if that is more, and only
while no more than half of its part waits. But a server may send more than it was asked for, and a
reply weighs several times its rows while it is taken in. So a call first reserves what its reply
may weigh, going by the shard's last replies, and none begins that would bring all that waits and
all that is reserved above `max_prefetch_bytes`. When nothing waits and nothing is reserved one call
may begin, whatever it brings. Who is refused stands in line, and has its room before those behind
it. A reply that is larger than any the shard sent lately may exceed the bound, once.

**Time.** A shard that is more than `max_drift_seconds` ahead of the slowest, by arrival times,
waits for it: what lies ahead of the watermark is state. The slowest is the one whose next record to
be emitted is oldest. A shard at its tip with nothing waiting isn't slow, whatever it saw last, nor
is one that hasn't shown anything yet.

Guarantee: the slowest shard may always read. What waits in its queue is taken whatever the others
do, and with an empty queue it isn't ahead of itself. A shard whose calls fail stays the slowest: it
holds the watermark, so to read on in others would only fill their windows.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import metrics
from sources.kinesis.records import Rows

PAUSED_SECONDS = 0.25
"""How often a reader that is ahead looks whether the slowest has come nearer."""

_LOOK_EVERY_SECONDS = 0.05
_STALE_SECONDS = 5.0
_LARGEST_REPLY_BYTES = 13 << 20  # 10 MiB of payloads, in 10,000 rows
_WEIGHT = 3  # of a reply taken in, in its rows: JSON and base64, beside what becomes of it
_FADING = 0.9
_ROOM_SECONDS = 0.05
_LOOKS_PER_SECOND = 2_000.0
_KEPT_SECONDS = 2.0
_LOOKED_AT = 64  # of the line: as many calls as there may be at a time


@dataclass(slots=True, eq=False)
class Standing:
    """Where one reader stands; read and written under the lock of its `Share`.

    Attributes:
        waiting_bytes: What waits in its queue.
        next_us: No row still to be emitted arrived before this; None while unknown.
        fetched_us: Arrival of the last row that was queued; None before the first.
        at_tip: The last reply brought all there was.
        behind_seconds: How far behind the tip that reply was.
        replied: When it came, in monotonic seconds.
        is_paused: It waits for the slowest.
    """

    waiting_bytes: int = 0
    next_us: int | None = None
    fetched_us: int | None = None
    at_tip: bool = False
    behind_seconds: float = 0.0
    replied: float = 0.0
    is_paused: bool = False


@dataclass(slots=True)
class _Refused:
    """Who stands in line for room.

    Attributes:
        wanted_bytes: How much.
        until: Monotonic seconds; whoever asks again, and hasn't by then, doesn't want it any more.
        woken: Set when who waits for room has it, or has left; None for who asks again.
        has_room: It was reserved.
    """

    wanted_bytes: int
    until: float
    woken: threading.Event | None
    has_room: bool = False


class Share:
    """What the readers of a process divide.

    Args:
        max_prefetch_bytes: What may wait in queues and be under way, together, about.
        max_drift_seconds: How far a shard may be ahead of the slowest.
        stream: The label of the metrics; None for no metrics.
        retention_us: How long the stream keeps records, now; None where nobody knows.
    """

    def __init__(
        self,
        max_prefetch_bytes: int,
        max_drift_seconds: float = 300.0,
        stream: str | None = None,
        retention_us: Callable[[], int] | None = None,
    ) -> None:
        self.readers = 0
        self._max_prefetch_bytes = max_prefetch_bytes
        self._max_drift_us = round(max_drift_seconds * 1e6)
        self._stream = stream
        self._retention_us = retention_us
        self._lock = threading.Lock()
        self._standings: set[Standing] = set()
        self._waiting_bytes = 0
        self._reserved_bytes = 0
        self._line: dict[Standing, _Refused] = {}  # in the order of their first refusal
        self._usual_bytes = float(_LARGEST_REPLY_BYTES)
        self._slowest_us: int | None = None
        self._looked = float("-inf")

    def join(self) -> Standing:
        """Take in a reader."""
        standing = Standing(replied=time.monotonic())
        with self._lock:
            self._standings.add(standing)
        return standing

    def leave(self, standing: Standing) -> None:
        """Forget a reader and what waits in its queue."""
        with self._lock:
            refused = self._line.pop(standing, None)
            if refused is not None and refused.woken is not None:
                refused.woken.set()
            if standing in self._standings:
                self._standings.remove(standing)
                self._waiting_bytes -= standing.waiting_bytes
            self._give_room()

    # ---- memory ----

    def bytes_each(self) -> int:
        """Return the part of one reader."""
        return self._max_prefetch_bytes // max(self.readers, 1)

    def room_seconds(self) -> float:
        """Return how soon a reader whose queue is full should look again.

        All together look no more than some 2,000 times a second.
        """
        return max(_ROOM_SECONDS, self.readers / _LOOKS_PER_SECOND)

    def put(self, standing: Standing, rows: Rows) -> None:
        """Rows are about to be queued."""
        with self._lock:
            if standing not in self._standings:
                return
            if len(rows.arrival_us):
                standing.fetched_us = int(rows.arrival_us[-1])
                if not standing.waiting_bytes:
                    standing.next_us = int(rows.arrival_us[0])
            standing.waiting_bytes += rows.memory_bytes
            self._waiting_bytes += rows.memory_bytes

    def took(self, standing: Standing, rows: Rows) -> None:
        """Rows were taken off the queue."""
        with self._lock:
            if standing not in self._standings:
                return
            if len(rows.arrival_us):
                standing.next_us = int(rows.arrival_us[-1])
            standing.waiting_bytes -= rows.memory_bytes
            self._waiting_bytes -= rows.memory_bytes
            self._give_room()

    def reserve(
        self, standing: Standing, expected_bytes: float | None, *, waits: bool = False
    ) -> int | None:
        """Reserve room for a reply that is about to be asked for; None when there is none.

        Args:
            standing: The reader's.
            expected_bytes: What its rows may take, as far as the reader knows; None when it hasn't
                seen a reply yet.
            waits: Whether to return when there is room, or the reader has left, and not before.
        """
        with self._lock:
            now = time.monotonic()
            rows_bytes = self._usual_bytes if expected_bytes is None else expected_bytes
            wanted = round(_WEIGHT * min(rows_bytes, _LARGEST_REPLY_BYTES))
            taken = self._waiting_bytes + self._reserved_bytes
            kept = self._kept_bytes(standing, now)
            if not (taken or kept) or taken + kept + wanted <= self._max_prefetch_bytes:
                self._line.pop(standing, None)
                self._reserved_bytes += wanted
                return wanted
            if standing not in self._standings:
                return None  # it left meanwhile, and room kept for it would be kept from others
            woken = threading.Event() if waits else None
            refused = _Refused(wanted, now + _KEPT_SECONDS, woken)
            self._line[standing] = refused
        # Nobody tells when one who asks again, before this one in line, is overdue.
        while woken is not None and not woken.wait(_KEPT_SECONDS):
            with self._lock:
                self._give_room()
        return wanted if refused.has_room else None

    def _give_room(self) -> None:
        """Give what has become free to those who wait, in the order of the line."""
        taken = self._waiting_bytes + self._reserved_bytes
        now = time.monotonic()
        for standing, refused in [*itertools.islice(self._line.items(), _LOOKED_AT)]:
            if refused.woken is None and refused.until < now:
                del self._line[standing]
                continue
            if taken and taken + refused.wanted_bytes > self._max_prefetch_bytes:
                return
            taken += refused.wanted_bytes
            if refused.woken is not None:
                del self._line[standing]
                self._reserved_bytes += refused.wanted_bytes
                refused.has_room = True
                refused.woken.set()

    def _kept_bytes(self, standing: Standing, now: float) -> int:
        """Return what is kept for those who stand in line before a reader, if it has a chance."""
        kept_bytes = 0
        for other, refused in [*itertools.islice(self._line.items(), _LOOKED_AT)]:
            if other is standing or kept_bytes > self._max_prefetch_bytes:
                break
            if refused.woken is None and refused.until < now:
                del self._line[other]
            else:
                kept_bytes += refused.wanted_bytes
        return kept_bytes

    def release(self, reserved_bytes: int, rows_bytes: int | None) -> None:
        """The call is over; its reply, if one came, had rows of so many bytes."""
        with self._lock:
            self._reserved_bytes -= reserved_bytes
            if rows_bytes is not None:
                self._usual_bytes = max(_FADING * self._usual_bytes, rows_bytes)
            self._give_room()

    # ---- time ----

    def replied(self, standing: Standing, behind_seconds: float | None) -> None:
        """A reply came; None where the service didn't say how far behind the tip it is."""
        with self._lock:
            standing.replied = time.monotonic()
            standing.at_tip = behind_seconds == 0
            standing.behind_seconds = behind_seconds or 0.0

    def is_ahead(self, standing: Standing) -> bool:
        """Return whether a reader must wait for the slowest."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked >= _LOOK_EVERY_SECONDS:
                self._look(now)
            standing.is_paused = (
                standing.fetched_us is not None
                and self._slowest_us is not None
                and standing.fetched_us - self._slowest_us > self._max_drift_us
            )
            if standing.is_paused:
                self._line.pop(standing, None)
            return standing.is_paused

    def _look(self, now: float) -> None:
        self._looked = now
        self._slowest_us = min(
            (
                standing.next_us
                for standing in self._standings
                if standing.next_us is not None and (standing.waiting_bytes or not standing.at_tip)
            ),
            default=None,
        )
        if self._stream is None:
            return
        behind = max((_behind_seconds(each, now) for each in self._standings), default=0.0)
        metrics.kinesis_max_behind_latest_seconds.labels(self._stream).set(behind)
        if self._retention_us is not None:
            used = behind * 1e6 / self._retention_us()
            metrics.kinesis_retention_used_ratio.labels(self._stream).set(used)
        paused = sum(each.is_paused for each in self._standings)
        metrics.kinesis_shards_paused.labels(self._stream).set(paused)


def _behind_seconds(standing: Standing, now: float) -> float:
    # What was true of a shard when it last answered gets worse while it doesn't.
    age = now - standing.replied
    return standing.behind_seconds + (age if age > _STALE_SECONDS else 0.0)
