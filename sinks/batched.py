"""The part of every batched sink: encode items, hand them to a courier, keep the account.

A sink of this kind is its options, a pure `encode` and a `send` that makes one call; all the rest,
from batching to dead letters, is here and in `delivery.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Generic

from messages import Ledger, Output
from sinks.base import PartState
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import Body, Courier, Entry, join_all
from sinks.tally import Tally

VERSION = 1


def spread(text: str, parts: int) -> int:
    """Return which of `parts` a text belongs to, the same in every process and for ever."""
    return zlib.crc32(text.encode(errors="surrogatepass")) % parts


def part_names(parts: int) -> tuple[str, ...]:
    """Name parts `00`, `01` ..."""
    return tuple(f"{number:02d}" for number in range(parts))


def ledger_of(state: PartState | None) -> Ledger:
    """Return the account that a part's state holds.

    Raises:
        ValueError: The state was written by a later version.
    """
    if state is None:
        return {}
    if state["version"] != VERSION:
        msg = f"sink state has version {state['version']}, this kinewax reads {VERSION}"
        raise ValueError(msg)
    return dict(state["ledger"])


class BatchedPart(Generic[Body]):
    """One writer of a batched sink."""

    def __init__(
        self,
        *,
        encode: Callable[[Sequence[Output]], Iterable[Entry[Body]]],
        courier: Courier[Body],
        desk: DeadLetterDesk,
        tally: Tally,
    ) -> None:
        self._encode = encode
        self._courier = courier
        self._desk = desk
        self._tally = tally

    def write(self, items: Sequence[Output]) -> None:
        """Encode items and hand them over."""
        self._courier.hand_over(self._encode(items))

    def flush(self) -> None:
        """Return once all of it is at its destination, or a dead letter that is at its own.

        Raises:
            KinewaxError: It isn't, and the deadline is over.
        """
        self._courier.flush()
        self._desk.flush()

    def state(self) -> PartState:
        """Return the account; there is no position, for a destination only grows."""
        return {"version": VERSION, "ledger": self._tally.ledger()}

    def close(self) -> None:
        """Stop the threads."""
        join_all([self._courier.stop()])
        self._desk.close()
