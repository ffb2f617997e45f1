"""What is written: shop events whose times run with the clock, or much faster.

Either way an event's time is never so far behind its shard's newest one that it is late, but for
those that are made late on purpose.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_US = 1_000_000

CLOSER = "closer"
"""The type of the events that close windows at the end of a sequence."""

LONG_BEHIND_US = 200 * _SECOND_US
"""By how much events that are late on purpose are: more than both windows and the disorder."""


class Times(Protocol):
    """Event times of one sequence, and the settings that go with them."""

    disorder_us: int
    idle: str
    """The policy for shards without data."""

    def pass_by(self) -> None:
        """Time goes on between two writes."""

    def next_us(self) -> int:
        """Return the time of an event written now."""

    def closing_us(self) -> int:
        """Return a time that closes all windows of earlier events."""

    def long_ago_us(self) -> int:
        """Return the time of an event that is late where the shard's newest is of about now."""


class LiveTimes:
    """The clock's own time; quiet shards move on with it (`wallclock`, the default)."""

    disorder_us = 10 * _SECOND_US
    idle = "wallclock"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def pass_by(self) -> None:
        """Nothing to do."""

    def next_us(self) -> int:
        return _now_us() - self._rng.randrange(2 * _SECOND_US)

    def closing_us(self) -> int:
        return _now_us() + 150 * _SECOND_US

    def long_ago_us(self) -> int:
        return _now_us() - LONG_BEHIND_US


class FastTimes:
    """A past day in which seconds go by with each write; quiet shards hold windows open (`hold`).

    So windows close while a sequence runs, and nothing depends on how fast anything is.
    """

    disorder_us = 5 * _SECOND_US
    idle = "hold"

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._now_us = 1_767_225_600 * _SECOND_US + rng.randrange(60 * _SECOND_US)

    def pass_by(self) -> None:
        self._now_us += self._rng.randrange(12 * _SECOND_US)

    def next_us(self) -> int:
        return self._now_us - self._rng.randrange(self.disorder_us)

    def closing_us(self) -> int:
        return self._now_us + 150 * _SECOND_US

    def long_ago_us(self) -> int:
        return self._now_us - LONG_BEHIND_US


def event(rng: random.Random, time_us: int) -> dict[str, str]:
    """Return what somebody did in the shop at a time."""
    return {
        "event_type": rng.choice(("view", "view", "cart", "purchase")),
        "category_code": rng.choice(("electronics.smartphone", "")),
        "brand": rng.choice(("apple", "xiaomi", "")),
        "price": f"{rng.randrange(1, 100_000) / 100:.2f}",
        "user_id": str(rng.randrange(1, 13)),
        "txn_timestamp": (_EPOCH + timedelta(microseconds=time_us)).isoformat(),
    }


def closer(time_us: int) -> dict[str, str]:
    """Return an event that closes windows."""
    return {
        "event_type": CLOSER,
        "category_code": "",
        "brand": "",
        "price": "0.00",
        "user_id": "0",
        "txn_timestamp": (_EPOCH + timedelta(microseconds=time_us)).isoformat(),
    }


def _now_us() -> int:
    return time.time_ns() // 1_000
