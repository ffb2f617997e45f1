"""How a replay gets on: a bar on a terminal, a plain line every few seconds elsewhere.

A thread of the supervisor reads what the lanes say on their board, and the workers' counters of
late and rejected events. It only reads: a replay is the same without it.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from service.progress import counted
from sources.archive.board import Board
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
    """

    def __init__(
        self, listing: Listing, board: Path, metrics: Path, console: Console | None
    ) -> None:
        self._listing = listing
        self._board = Board(listing.lanes, board)
        self._metrics = metrics
        self._console = console
        self._ended = threading.Event()
        self._begun = time.monotonic()
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
        """Say how far it is."""
        done = self._board.progress()
        seconds = max(time.monotonic() - self._begun, 1e-3)
        seen = counted(self._metrics, (_LATE, _REJECTED))
        return (
            f"{done.objects:,} of {len(self._listing.objects):,} objects, "
            f"{done.bytes / 1e6:,.1f} of {self._listing.total_bytes / 1e6:,.1f} MB, "
            f"{done.records:,} records, {done.records / seconds:,.0f} records/s, "
            f"{seen.get(_LATE, 0):,.0f} late, {seen.get(_REJECTED, 0):,.0f} rejected"
        )

    def _run(self) -> None:
        assert self._console is not None, "only a console has a thread"
        if not self._console.is_terminal:
            while not self._ended.wait(_LINE_SECONDS):
                self._console.print(f"{self.line()}{self._left()}", highlight=False, soft_wrap=True)
            return
        columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Bar(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("", total=max(1, self._listing.total_bytes))
            while not self._ended.wait(_BAR_SECONDS):
                done = self._board.progress()
                bar.update(task, completed=done.bytes, description=self.line())

    def _left(self) -> str:
        done = self._board.progress().bytes
        if not done:
            return ""
        seconds = time.monotonic() - self._begun
        return f", {seconds * (self._listing.total_bytes - done) / done:,.0f} s left"
