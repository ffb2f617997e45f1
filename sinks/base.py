"""What every sink offers: constant parts that take items at once and vouch for them on flush.

`write` hands over and returns at once (it blocks only when too many bytes wait); `flush` returns
only when everything written so far is acknowledged by the destination, else it raises
`DeliveryError`. The dataflow calls `flush` before it commits an epoch, so that what is committed
is delivered. Outputs are at-least-once with deterministic ids: effectively once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from messages import Output

# Plain, versioned, picklable: {"version": 1, "ledger": {...}, ...}; only its own sink reads it.
PartState = dict[str, Any]


class Part(Protocol):
    """One writer of a sink; used by one thread."""

    def write(self, items: Sequence[Output]) -> None:
        """Take items over for delivery."""

    def flush(self) -> None:
        """Return once all items taken so far are acknowledged.

        Raises:
            DeliveryError: The destination didn't take them within the deadline.
        """

    def state(self) -> PartState:
        """Return positions and the part's ledger; called after `flush`."""

    def close(self) -> None:
        """Stop threads and close files; called once, also after a failure."""


class Sink(Protocol):
    """A destination."""

    name: str
    """Step id and metric label, as `incidents`."""

    accepts: tuple[type, ...]
    """Which of the `messages` types it takes; others never reach it."""

    parts: tuple[str, ...]
    """Names of the parts, constant."""

    def wants(self, item: Output) -> bool:
        """Whether an item of an accepted type is for this sink (as: final alerts only)."""

    def part_of(self, item: Output) -> str:
        """Return the part that writes an item; the same for all phases of an incident."""

    def open(self, part: str, state: PartState | None) -> Part:
        """Open a part afresh, or where `state` left off."""
