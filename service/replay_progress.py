"""How a replay gets on: a bar on a terminal, a plain line every few seconds elsewhere.

A thread of the supervisor reads what the lanes say on their board, and the workers' counters of
late and rejected events. It only reads: a replay is the same without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from service.progress import counted
from sources.archive.board import Board, Progress
from sources.archive.listing import Listing

_BAR_SECONDS = 0.25
_LINE_SECONDS = 5.0
_LATE = "kinewax_late_events"
_REJECTED = "kinewax_rejected_records"


class ReplayProgress:
    """The thread; leave the `with` block and it has stopped.

    Args:
        listing: What is read.
        board: Where the lanes tell how far they are.
        metrics: The directory of the workers' metrics.
        console: Where to show it; None for nowhere.
        monotonic: Seconds of a clock that never goes back.
    """

    def __init__(
        self,
        listing: Listing,
        board: Path,
        metrics: Path,
        console: Console | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listing = listing
        self._board = Board(listing.lanes, board)
        self._metrics = metrics
        self._console = console
        self._monotonic = monotonic
        self._begun: tuple[float, Progress] | None = None  # when lanes first told, and what
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replay-progress", daemon=True)

    def __enter__(self) -> ReplayProgress:
        if self._console is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def line(self) -> str:
        """Say how far it is, how fast it goes, and how long it will take.

        What an earlier start has read counts as done, but not for the speed of this one.
        """
        done = self._board.progress()
        now = self._monotonic()
        if self._begun is None and any(done):
            self._begun = now, done
        since, before = self._begun or (now, done)
        seconds = max(now - since, 1e-3)
        seen = counted(self._metrics, (_LATE, _REJECTED))
        total = self._listing.total_bytes
        read = done.bytes - before.bytes
        left = f", {seconds * (total - done.bytes) / read:,.0f} s left" if read else ""
        return (
            f"{done.objects:,} of {len(self._listing.objects):,} objects, "
            f"{done.bytes / 1e6:,.1f} of {total / 1e6:,.1f} MB, "
            f"{done.records:,} records, {(done.records - before.records) / seconds:,.0f} "
            f"records/s, {seen.get(_LATE, 0):,.0f} late, {seen.get(_REJECTED, 0):,.0f} rejected"
            f"{left}"
        )

    def _run(self) -> None:
        assert self._console is not None, "only a console has a thread"
        if not self._console.is_terminal:
            self.line()  # from here on speed is reckoned
            while not self._ended.wait(_LINE_SECONDS):
                self._console.print(self.line(), highlight=False, soft_wrap=True)
            return
        while not any(self._board.progress()):  # what is logged at the start stays above the bar
            if self._ended.wait(_BAR_SECONDS):
                return
        columns = (TextColumn("replaying"), BarColumn(bar_width=None), TaskProgressColumn())
        with _BarOverText(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=max(1, self._listing.total_bytes))
            while not self._ended.wait(_BAR_SECONDS):
                bar.text = self.line()
                bar.update(task, completed=self._board.progress().bytes)


class _BarOverText(Bar):
    """A bar as wide as the terminal, and below it a text that goes on in the next line."""

    text = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.text)
