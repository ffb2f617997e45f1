"""What a feed makes and a writer takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

NO_ATTACK = -1


class Record(NamedTuple):
    """One record to write.

    Attributes:
        payload: What a consumer reads.
        partition_key: Which shard it goes to.
        attack: The number of the attack that the event belongs to, `NO_ATTACK` for honest ones.
    """

    payload: bytes
    partition_key: str
    attack: int = NO_ATTACK


class Feed(Protocol):
    """Records in the order in which they arrive, on a clock that the caller moves."""

    @property
    def done(self) -> bool:
        """True when nothing will ever come any more."""

    @property
    def events(self) -> int:
        """How many well-formed events it has given out."""

    def advance(self, until_us: int) -> list[Record]:
        """Return what arrives before `until_us` and hasn't been returned yet."""


class Writer(Protocol):
    """Where records go."""

    def write(self, records: Sequence[Record]) -> None:
        """Write all of them, in order; return once they are safely there.

        Raises:
            DeliveryError: Some couldn't be written.
        """

    def close(self) -> None:
        """Finish what was written."""
