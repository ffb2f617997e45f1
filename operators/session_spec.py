"""What a domain declares of sessions: windows that end when a key has been quiet for a while.

Values only, frozen and compared by value, beside the `Window` of `spec.py`.

Two events of a key are in one session when less than the gap lies between them, directly or by way
of others. A session is [first event, last event + gap), as a tumbling window is [start, end).

An event is late when its session could have been closed already, which is when its time is below
its shard's running maximum before it minus the allowed disorder, in sequence order. A tumbling
window forgives more, for events of a window that is still open; a session can't: its end isn't
known before the gap has passed, and an event behind the watermark might close the gap of a session
that has been written, or be the missing link between two.
"""

from __future__ import annotations

from dataclasses import dataclass

from operators.filter_spec import Known, Where
from operators.spec import Window
from operators.value_spec import Count, First, Last, Maximum, Mean, Minimum, Sum, Without


@dataclass(frozen=True, slots=True)
class FirstText:
    """The text of the earliest event that has one; of equal times that with the least code.

    For texts that repeat, such as categories: each different one is held once.
    """

    name: str
    of: str


@dataclass(frozen=True, slots=True)
class LastText:
    """The text of the latest event that has one; of equal times that with the greatest code."""

    name: str
    of: str


PlainValue = Count | Sum | Minimum | Maximum | Mean | First | Last
SessionValue = PlainValue | FirstText | LastText | Without


@dataclass(frozen=True, slots=True)
class SessionWindow:
    """A session window with aggregates by key.

    Attributes:
        name: The aggregate's name: state key, metric label and file name.
        gap_seconds: A session ends when its key has been quiet for so long, in event time.
        key: Whose sessions, by field, in order.
        values: The aggregates, in order.
        where: Only events that pass belong to sessions; the others are `filtered` in the ledger.
        interim_seconds: While a session is open, its row is written so often in event time if it
            has changed, under the row id that its final row will have; 0 for never.
        all_clients: Whether events of allowed clients are counted, too.
        groups: How many key groups share the keys; constant for the life of a recovery store.
        doc: For the docs.
    """

    name: str
    gap_seconds: int
    key: tuple[str, ...]
    values: tuple[SessionValue, ...]
    where: Where | Known | None = None
    interim_seconds: int = 0
    all_clients: bool = True
    groups: int = 8
    doc: str = ""

    @property
    def gap_us(self) -> int:
        """The gap in microseconds."""
        return self.gap_seconds * 1_000_000

    @property
    def counts_allowed(self) -> bool:
        """Whether events of allowed clients are counted, too."""
        return self.all_clients

    @property
    def grain_us(self) -> int:
        """As of a `Window`: no span at all, an event of a session is judged by its own time."""
        return 1

    @property
    def shape(self) -> str:
        """All of it that shapes its state, as text."""
        values = ", ".join(str(value) for value in self.values)
        where = f", where {self.where}" if self.where else ""
        return (
            f"sessions, gap {self.gap_seconds} s by {', '.join(self.key)} "
            f"in {self.groups} groups{where}: {values}"
        )


AnyWindow = Window | SessionWindow
