"""Everything to standard output: the lines of the file sink, each with its `kind` in front.

At least once: what a dead process printed after its last snapshot is printed again, for nobody can
take back what a pipe has carried off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from errors import DeliveryError
from messages import AggregateRows, Alert, Events, Late, Ledger, Output, Reject
from sinks.base import PartState
from sinks.batched import VERSION, ledger_of
from sinks.lines import kind_lines_of
from sinks.tally import Tally

_NAMES: Mapping[type, str] = {
    Alert: "alerts",
    AggregateRows: "aggregates",
    Events: "events",
    Late: "late",
    Reject: "dead_letters",
}


class StdoutSink:
    """A stream of bytes, as `sys.stdout.buffer`; one part, so that lines never mix."""

    accepts: tuple[type, ...] = (Alert, AggregateRows, Events, Late, Reject)
    parts: tuple[str, ...] = ("stdout",)

    def __init__(self, stream: BinaryIO, *, name: str = "stdout") -> None:
        self._stream = stream
        self.name = name

    def wants(self, item: Output) -> bool:
        """Take all of the accepted types."""
        return isinstance(item, self.accepts)

    def part_of(self, item: Output) -> str:  # noqa: ARG002 - the contract's signature
        """Name the only part."""
        return self.parts[0]

    def open(self, part: str, state: PartState | None) -> StdoutPart:  # noqa: ARG002
        """Go on printing."""
        return StdoutPart(self.name, self._stream, state)


class StdoutPart:
    """The writer."""

    def __init__(self, sink: str, stream: BinaryIO, state: PartState | None) -> None:
        self._stream = stream
        ledger = ledger_of(state)
        self._tallies = {}
        for kind, name in _NAMES.items():
            prefix = f"{sink}.{name}"
            own = {key: n for key, n in ledger.items() if key.rpartition(".")[0] == prefix}
            self._tallies[kind] = Tally(prefix, own, label=sink)
        self._unflushed: Counter[type] = Counter()
        self._error: DeliveryError | None = None

    def write(self, items: Sequence[Output]) -> None:
        """Print the lines of items; each call's are seen at once.

        Raises:
            DeliveryError: Nobody reads any more.
        """
        lines: list[bytes] = []
        for item in items:
            before = len(lines)
            lines.extend(kind_lines_of(item))
            self._tallies[type(item)].take(len(lines) - before)
            self._unflushed[type(item)] += len(lines) - before
        self._print(b"".join(lines))

    def flush(self) -> None:
        """Return once all lines are handed to the reader's pipe.

        Raises:
            DeliveryError: Nobody reads any more.
        """
        self._print(b"")
        for kind, lines in self._unflushed.items():
            self._tallies[kind].settle("acknowledged", lines)
        self._unflushed.clear()

    def state(self) -> PartState:
        """Return the account; a pipe has no position."""
        ledger: Ledger = {}
        for tally in self._tallies.values():
            ledger |= tally.ledger()
        return {"version": VERSION, "ledger": ledger}

    def close(self) -> None:
        """Leave the stream open: it isn't ours."""

    def _print(self, text: bytes) -> None:
        if self._error is not None:
            raise self._error
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            msg = f"cannot write to standard output: {error.strerror or error}"
            hint = "whoever reads it must go on reading until the run ends"
            self._error = DeliveryError(msg, hint=hint)
            raise self._error from error
