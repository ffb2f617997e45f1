"""What a domain declares of its aggregates to be metrics, too: figures, and what moves."""

from __future__ import annotations

from dataclasses import dataclass

from operators.filter_spec import Where


@dataclass(frozen=True, slots=True)
class Figure:
    """Values of a window that people follow on a board: as many series as are declared here.

    Rows of the last closed window are added up, all of them or by a field of the key. Of a window
    without a key its one row counts, also while it is open, if it has interim rows.

    Attributes:
        window: The window.
        values: Which of its values: counts and sums; without a key, any that is a number.
        by: The field of the key by which rows are told apart, and which of its values are shown;
            None for one sum of all rows.
    """

    window: str
    values: tuple[str, ...]
    by: Where | None = None


@dataclass(frozen=True, slots=True)
class Movers:
    """The keys of a window that gained and lost most since the window before.

    Attributes:
        window: The window: of one key field, and of one group, which sees all its keys.
        value: Which of its counts and sums.
        most: How many keys each way.
    """

    window: str
    value: str
    most: int = 5
