"""What many sequences did, and what they must have done for their outcome to mean something."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.reshard.states import State

MINIMA = {
    "sequences": 200,
    "splits": 150,
    "merges": 100,
    "kills": 100,
    "restarts with another process count": 50,
    "reshards while stopped": 20,
}
"""Of the whole form, by what is counted."""

MUST_BE_HIT = tuple(state for state in State if state is not State.AT_END)
"""The states in which a kill must have fallen; AT_END is gone at the next poll."""


@dataclass
class Tally:
    """Counts of sequences; safe to add to from several threads."""

    counts: Counter[str] = field(default_factory=Counter)
    kills: Counter[tuple[str, State]] = field(default_factory=Counter)
    """Kills by server and by the state of a reshard that they fell in; one can be in several."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, other: Tally) -> None:
        """Add a sequence's own."""
        with self._lock:
            self.counts.update(other.counts)
            self.kills.update(other.kills)

    def shortfalls(self, minima: Mapping[str, int] = MINIMA) -> list[str]:
        """Return what there was too little of, a line each."""
        return [
            *(
                f"{name}: {self.counts[name]}, not {least}"
                for name, least in minima.items()
                if self.counts[name] < least
            ),
            *(
                f"no kill -9 fell in the state '{state}'"
                for state in MUST_BE_HIT
                if not any(count for (_, hit), count in self.kills.items() if hit is state)
            ),
        ]

    def table(self) -> str:
        """Return all counts as text."""
        servers = sorted({server for server, _ in self.kills})
        width = max(len(state) for state in State)
        lines = [f"{name}: {count}" for name, count in sorted(self.counts.items())]
        lines.append(f"{'kill -9 in the state':{width}}  " + "  ".join(servers))
        for state in State:
            hits = (f"{self.kills[server, state]:>{len(server)}}" for server in servers)
            lines.append(f"{state:{width}}  " + "  ".join(hits))
        return "\n".join(lines)
