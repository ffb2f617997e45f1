"""What a domain counts in its windows, and of which events. Values only, as `spec.py`."""

from __future__ import annotations

from dataclasses import dataclass

from operators.filter_spec import Where


@dataclass(frozen=True, slots=True)
class Count:
    """How many events."""

    name: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class First:
    """The least event time, as ISO 8601."""

    name: str


@dataclass(frozen=True, slots=True)
class Last:
    """The greatest event time, as ISO 8601."""

    name: str


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of a number field; exact for integers and decimals."""

    name: str
    of: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least value of a number field; null when no event matched."""

    name: str
    of: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Maximum:
    """The greatest value of a number field; null when no event matched."""

    name: str
    of: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of a number field; null when no event matched."""

    name: str
    of: str
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Distinct:
    """How many different values of a field, told apart by 64-bit codes.

    Integers are told apart exactly for one-integer keys' own codes; for others two values are
    taken for one with a probability of about n^2 / 2^65 in a window of n (key, value) pairs:
    below 1e-9 for 100,000.
    """

    name: str
    of: str


@dataclass(frozen=True, slots=True)
class ApproxDistinct:
    """How many different values of a field, estimated by HyperLogLog in memory that is bounded.

    The standard error is 1.04 / sqrt(2 ** bits): 0.81 % of 14 bits, 1.6 % of 12. Each key takes
    2 ** bits bytes, however many values there are: for windows of few keys.
    """

    name: str
    of: str
    bits: int = 14


@dataclass(frozen=True, slots=True)
class Without:
    """Whether one count of the same window is above 0 and another is 0."""

    name: str
    some: str
    none: str


Value = Count | Sum | Minimum | Maximum | Mean | Distinct | ApproxDistinct | First | Last | Without


@dataclass(frozen=True, slots=True)
class Top:
    """The most frequent texts among a key's events, with their counts; exact.

    Memory follows the distinct pairs of key and text, as that of a `Distinct` does.

    Attributes:
        name: What incidents call it.
        of: The text field.
        most: How many are named.
        counted_as: What incidents call the counts.
        where: Only events that pass are counted.
    """

    name: str
    of: str
    most: int = 5
    counted_as: str = "events"
    where: Where | None = None
