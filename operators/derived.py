"""Fields that are made of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from messages import Int64s
from operators.decode import Column
from operators.spec import Field


@dataclass(frozen=True, slots=True)
class Difference:
    """One integer field less another, within 64 bits; one that isn't there is 0.

    Attributes:
        name: Its name.
        of: The field.
        less: What is taken from it.
        absolute: Whether the sign is left out.
        doc: For the docs.
    """

    name: str
    of: str
    less: str
    absolute: bool = False
    doc: str = ""

    @property
    def field(self) -> Field:
        """What windows and rules see of it."""
        return Field(self.name, "integer", required=False, doc=self.doc)


def derive(derived: Sequence[Difference], columns: dict[str, Column]) -> None:
    """Add the columns of derived fields whose sources are decoded."""
    for one in derived:
        if one.of in columns and one.less in columns:
            values: Int64s = columns[one.of].view(np.int64) - columns[one.less].view(np.int64)
            columns[one.name] = np.abs(values) if one.absolute else values
