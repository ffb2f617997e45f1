"""When rows of what is still open are written.

They are for who watches now, and they cost as much as final ones. So none are written while a
group is catching up: reading last month's events, they would be out of date before they arrived.
"""

from __future__ import annotations

from collections.abc import Callable

CATCHING_UP_US = 60 * 60 * 1_000_000
"""A group whose watermark is so far behind the clock writes no interim rows."""


class Interim:
    """Tells when interim rows are due.

    Args:
        seconds: How often in event time; 0 for never.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(self, seconds: int, clock: Callable[[], int]) -> None:
        self._every_us = seconds * 1_000_000
        self._clock = clock

    def is_due(self, before_us: int, now_us: int) -> bool:
        """Return whether rows are due when the watermark moves on.

        Args:
            before_us: The watermark before.
            now_us: The watermark after.
        """
        if not self._every_us or before_us // self._every_us == now_us // self._every_us:
            return False
        return self._clock() - now_us < CATCHING_UP_US
