"""What a domain declares of tables beside the stream, which say more of what events name.

Values only, as `spec.py`. KDA's name for it is reference data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operators.spec import Field


@dataclass(frozen=True, slots=True)
class Reference:
    """A table whose rows are joined to events by a key.

    A run names the file of it (`references.tables`): CSV with a header, JSON or Parquet, of this
    machine or of S3.

    Attributes:
        name: What the run names its file by.
        key: The field of events that is looked up: a text or an integer.
        fields: What events get from it: columns of the table, under names of their own. A row
            without a value for a required one makes the table wrong; an optional one is "" or 0
            there.
        missing: What an event gets whose key the table doesn't have: a value a field, in order, or
            () for "" and 0. Or `drop`: such an event is dropped, and counted as
            `dropped.not_in_NAME`.
        column: The table's column with the key; by default named as `key` is.
        doc: For the docs.
    """

    name: str
    key: str
    fields: tuple[Field, ...]
    missing: tuple[str | int | float, ...] | Literal["drop"] = ()
    column: str = ""
    doc: str = ""
