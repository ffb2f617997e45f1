"""Rows of sessions that are made when a sink reads them.

A finite input ends all sessions at once, and a row takes seven times the memory of the columns that
it is made of. So what travels from a key group to the sinks is the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from messages import Row
from operators.rows import aggregate_rows
from operators.session_spec import SessionWindow
from operators.session_values import SessionValues
from operators.sessions import Sessions
from operators.spec import Field

_MADE_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class SessionRows(Sequence[Row]):
    """One row a session.

    Attributes:
        domain: The domain's name.
        window: Whose sessions.
        fields: The domain's fields, by name.
        sessions: The sessions.
        texts: The texts of their values' codes.
        phase: `interim` or `final`.
        emitted_at: When, as ISO 8601.
        cut_before_us: Sessions that begin before are partial; None when none is.
    """

    domain: str
    window: SessionWindow
    fields: Mapping[str, Field]
    sessions: Sessions
    texts: Mapping[int, str]
    phase: str
    emitted_at: str
    cut_before_us: int | None

    def __len__(self) -> int:
        return len(self.sessions)

    def __iter__(self) -> Iterator[Row]:
        for begin in range(0, len(self), _MADE_AT_ONCE):
            yield from self._made(self.sessions[begin : begin + _MADE_AT_ONCE])

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return list(self)[index]

    def _made(self, sessions: Sessions) -> Sequence[Row]:
        window = self.window
        rows = aggregate_rows(
            self.domain,
            window.name,
            sessions.starts_us,
            sessions.ends_us + window.gap_us,
            window.key,
            sessions.keys,
            SessionValues(window.values).read(sessions.values, self.texts, self.fields),
            {"phase": self.phase, "emitted_at": self.emitted_at},
        ).rows
        if self.cut_before_us is not None:
            for place in np.flatnonzero(sessions.starts_us < self.cut_before_us).tolist():
                rows[place]["partial"] = True
        return rows
