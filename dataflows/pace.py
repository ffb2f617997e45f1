"""Replays at a multiple of the speed at which events happened."""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """When an event is due: as long after the first one as they were apart, over the speed.

    Each process has one, for all of its slots. It begins anew when a process does.

    Args:
        speed: How many times faster.
        clock: Now, in microseconds since the epoch.
    """

    def __init__(self, speed: float, clock: Callable[[], int]) -> None:
        self._speed = speed
        self._clock = clock
        self._begun: tuple[int, int] | None = None  # event time, and the time then

    def due_us(self, event_us: int) -> int:
        """Return when the flow may go on that has come to this event time."""
        if self._begun is None:
            self._begun = (event_us, self._clock())
        first_us, begun_us = self._begun
        return begun_us + round((event_us - first_us) / self._speed)
