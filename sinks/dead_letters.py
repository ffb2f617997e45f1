"""What a destination refuses for good, kept in the dead-letter stream."""

from __future__ import annotations

import threading
from collections.abc import Callable

from messages import Reject
from sinks.base import Part
from sinks.failures import Failure, error_of


class DeadLetterDesk:
    """Where couriers leave what a destination refuses for good; opened when it is first needed."""

    def __init__(self, sink: str, open_part: Callable[[], Part] | None) -> None:
        self._sink = sink
        self._open_part = open_part
        self._part: Part | None = None
        self._lock = threading.Lock()

    def take(self, domain: str, failure: Failure, payload: bytes, destination: str) -> None:
        """Keep a refused payload, with the reason.

        Raises:
            DeliveryError: There is no dead-letter stream, or it doesn't take it either.
        """
        if self._open_part is None:
            raise error_of(self._sink, destination, failure)
        detail = f"{self._sink}: {destination}: {failure.code}: {failure.detail}"
        letter = Reject(domain, "refused_by_destination", detail, "", "", payload)
        with self._lock:
            if self._part is None:
                self._part = self._open_part()
            self._part.write([letter])

    def flush(self) -> None:
        """Return once all that was left here is acknowledged.

        Raises:
            DeliveryError: It isn't, and the deadline is over.
        """
        with self._lock:
            if self._part is not None:
                self._part.flush()

    def close(self) -> None:
        """Close the dead-letter part, if there ever was one."""
        with self._lock:
            if self._part is not None:
                self._part.close()
