"""What a domain declares: fields, windows with aggregates, and threshold rules. Values only.

Everything here is frozen and compared by value: pipeline, docs tables, metric labels, the layout
check and the contract tests all read the same declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operators.filter_spec import Known, Where
from operators.value_spec import Top, Value

HOUR_SECONDS = 60 * 60
DAY_SECONDS = 24 * HOUR_SECONDS

Kind = Literal["integer", "text", "decimal", "flag"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event's JSON object.

    Decoding is lax: a number may be written as a string, as CSV-born JSON does.

    Attributes:
        name: Its name in the JSON object, in keys and in rows.
        kind: `integer` (64 bits), `text`, or `decimal`: a fixed-point number kept as an integer
            of `scale` decimal places, so that sums don't depend on the order of their terms. A
            `flag` is true or false in JSON, and the text `true` or `false` from there on.
        required: Whether an object without it is rejected. An optional text is "" when it is
            missing or null, and so is an optional flag; an optional number is 0.
        scale: Decimal places of a `decimal`; further places are rounded half to even.
        doc: For the docs.
        path: Where it is, if not at the top under its own name: as `event.type`, from the outside
            in. What lies in an object that is missing or null is missing.
    """

    name: str
    kind: Kind
    required: bool = True
    scale: int = 0
    doc: str = ""
    path: str = ""

    @property
    def is_text(self) -> bool:
        """Whether it is a text to all that is counted, filtered and written."""
        return self.kind in ("text", "flag")

    @property
    def place(self) -> str:
        """Where it is in the JSON object, as its path says it."""
        return self.path or self.name

    @property
    def steps(self) -> tuple[str, ...]:
        """The same, step by step."""
        return tuple(self.place.split("."))


@dataclass(frozen=True, slots=True)
class Allow:
    """A text field by which a run can allow clients: by their network, or by a pattern."""

    field: str
    by: Literal["network", "pattern"]


@dataclass(frozen=True, slots=True)
class Window:
    """A tumbling event-time window [start, end) with aggregates by key.

    Attributes:
        name: The aggregate's name: state key, metric label and file name.
        length_seconds: Windows start at multiples of it since the epoch.
        key: The fields that are counted by, in order; none for one key that has all events.
        values: The aggregates, in order.
        where: Only events that pass are counted; the others are `filtered` in the ledger.
        interim_seconds: While a window is open, the rows that have changed are written so often in
            event time, under the row id that its final row will have; 0 for never.
        emit: Whether each closed window's rows are written. A window that only feeds rules
            doesn't.
        top: Only the rows of so many keys are written, those with the greatest first value; 0 for
            all. Such a window has one group, which sees them all.
        all_clients: Whether events of allowed clients are counted, too; by default where rows are
            written, and not in a window that only feeds rules.
        groups: How many key groups share the keys; constant for the life of a recovery store.
        doc: For the docs.
        evidence: What incidents of its keys name beside the values.
    """

    name: str
    length_seconds: int
    key: tuple[str, ...]
    values: tuple[Value, ...]
    emit: bool = True
    top: int = 0
    all_clients: bool | None = None
    groups: int = 32
    doc: str = ""
    where: Where | Known | None = None
    interim_seconds: int = 0
    evidence: tuple[Top, ...] = ()

    @property
    def counts_allowed(self) -> bool:
        """Whether events of allowed clients are counted, too."""
        return self.emit if self.all_clients is None else self.all_clients

    @property
    def grain_us(self) -> int:
        """An event is late once this span of time, whose multiple it lies in, can be closed."""
        return self.length_seconds * 1_000_000

    @property
    def shape(self) -> str:
        """All of it that shapes its state, as text."""
        values = ", ".join(str(value) for value in self.values)
        where = f", where {self.where}" if self.where else ""
        tops = ", ".join(f"{top.of} {top.where or ''}".rstrip() for top in self.evidence)
        named = f", with the top of {tops}" if tops else ""
        return (
            f"{self.length_seconds} s by {', '.join(self.key)} in {self.groups} groups{where}: "
            f"{values}{named}"
        )


@dataclass(frozen=True, slots=True)
class Level:
    """One severity of a threshold rule: reached when the value is above the limit."""

    severity: str
    above: float
    notify: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """An incident for each key and window whose value goes above a limit.

    It fires early, in the batch in which the value crosses, and once more when the window closes.

    Attributes:
        name: The rule's name, part of each incident's id.
        window: The window it watches.
        value: Which of the window's values; a count, a sum or a distinct count (they only grow).
        levels: Severities with ascending limits; the first one opens the incident, a later one
            raises it.
        cooldown_seconds: For so long, in event time, a key that was notified isn't again. The
            incidents are written all the same.
        digest_after: How many notices a window sends one by one; the rest go into one digest.
        key_template: The DynamoDB partition key of its incidents, with `{field}` places.
        subject_template: The notice's subject line, with `{field}` and `{value}` places.
        doc: For the docs.
    """

    name: str
    window: str
    value: str
    levels: tuple[Level, ...]
    cooldown_seconds: float = 0
    digest_after: int = 20
    key_template: str = ""
    subject_template: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Ratio:
    """An incident for each key and window in which one count is too great a part of another.

    A part both grows and shrinks while a window is open, so it is judged once, when that closes.

    Attributes:
        name: The rule's name, part of each incident's id.
        window: The window it watches.
        value: The count that is too great.
        of: The count that it is a part of.
        levels: Severities with ascending limits of the part, 0 to 1.
        at_least: Keys with less than this of `of` are left alone.
        cooldown_seconds: As of a `Threshold`, like all below.
        digest_after: How many notices a window sends one by one.
        key_template: The DynamoDB partition key of its incidents.
        subject_template: The notice's subject line.
        doc: For the docs.
    """

    name: str
    window: str
    value: str
    of: str
    levels: tuple[Level, ...]
    at_least: int = 1
    cooldown_seconds: float = 0
    digest_after: int = 20
    key_template: str = ""
    subject_template: str = ""
    doc: str = ""
