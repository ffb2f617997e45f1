"""How fast a shard may be read: the service's quotas, our call budget, and backoff.

Quotas (Kinesis Data Streams, "Quotas and limits"): a shard answers 5 GetRecords a second and
2 MiB a second, over all who share it; one reply holds at most 10,000 records and 10 MiB, and after
a reply of N MiB the calls of the next N/2 seconds are refused. Reading at that pace gives all the
throughput there is and no throttling; other readers of the stream are met by backoff.

An empty call costs about 0.8 ms of CPU, so a process with many quiet shards asks each less often.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Pacing:
    """When to ask a shard again.

    Attributes:
        poll_interval_seconds: Between calls at the tip of a shard.
        max_poll_interval_seconds: As far as that is stretched in a process of many shards.
        max_calls_per_second: The calls at the tip that a process tries not to exceed.
        max_drift_seconds: How far a shard may be read ahead of the slowest of its process.
        shard_calls_per_second: The quota of a shard.
        shard_bytes_per_second: The quota of a shard.
    """

    poll_interval_seconds: float = 0.25
    max_poll_interval_seconds: float = 1.0
    max_calls_per_second: float = 400.0
    max_drift_seconds: float = 300.0
    shard_calls_per_second: float = 5.0
    shard_bytes_per_second: float = 2.0 * _MIB

    def at_tip_seconds(self, shards: int) -> float:
        """Return the pause between calls for each of a process's shards, when caught up."""
        stretched = shards / self.max_calls_per_second
        most = max(self.poll_interval_seconds, self.max_poll_interval_seconds)
        return min(max(self.poll_interval_seconds, stretched), most)

    def behind_seconds(self, reply_bytes: int) -> float:
        """Return the pause from one call to the next, after a reply, when there is more."""
        return max(1.0 / self.shard_calls_per_second, reply_bytes / self.shard_bytes_per_second)


class Backoff:
    """Exponential backoff with full jitter: each pause is uniform from 0 to a doubling ceiling.

    Args:
        rng: Injected, so that a test can repeat a run.
        base_seconds: The first ceiling.
        most_seconds: The last ceiling: with a client's timeout of 5 s on top, a shard is read again
            within 10 s of the end of whatever held it up.
    """

    def __init__(
        self, rng: random.Random, base_seconds: float = 0.25, most_seconds: float = 5.0
    ) -> None:
        self._rng = rng
        self._base_seconds = base_seconds
        self._most_seconds = most_seconds
        self.failures = 0

    def next_seconds(self) -> float:
        """Count a failure and return how long to wait."""
        ceiling = min(self._base_seconds * 2.0 ** min(self.failures, 20), self._most_seconds)
        self.failures += 1
        return self._rng.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Forget the failures: a call succeeded."""
        self.failures = 0
