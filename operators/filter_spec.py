"""Which events a domain counts, and which are none of its business. Values only, as `spec.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """Only events whose text field has this value, or one of these."""

    field: str
    equals: str | tuple[str, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that pass."""
        return (self.equals,) if isinstance(self.equals, str) else self.equals


@dataclass(frozen=True, slots=True)
class Known:
    """Only events whose text field isn't empty."""

    field: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Events that are none of the domain's business: dropped on purpose, and counted as that.

    They still say how late it is: a stream's test events are its heartbeat.

    Attributes:
        reason: Why, in a word: the ledger has `dropped.{reason}`.
        where: Which.
    """

    reason: str
    where: Where
