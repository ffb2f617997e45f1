"""What a replay says of how it gets on."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from service.replay_progress import ReplayProgress, _BarOverText
from sources.archive.board import Board, Progress
from sources.archive.listing import ArchiveObject, Listing
from tests.rig import wait_until

MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def progress_of(folder: Path, clock: Clock) -> tuple[ReplayProgress, Board]:
    objects = tuple(ArchiveObject(f"{n}", 10 * MB, "", None) for n in range(4))
    board = folder / "board"
    lanes = Board(1, board)
    listing = Listing("file:///x/", objects, 1)
    return ReplayProgress(listing, board, folder, None, clock), lanes


def test_speed_and_time_left_are_those_of_this_start(tmp_path: Path) -> None:
    clock = Clock()
    progress, lanes = progress_of(tmp_path, clock)
    lanes.tell(0, 2, Progress(2, 20 * MB, 1_000_000))  # a lane that goes on in the middle
    assert "s left" not in progress.line()
    clock.seconds = 10.0
    lanes.tell(0, 3, Progress(3, 30 * MB, 1_500_000))
    assert progress.line() == (
        "3 of 4 objects, 30.0 of 40.0 MB, 1,500,000 records, 50,000 records/s, 0 late, 0 rejected, "
        "10 s left"
    )


def test_the_time_before_the_first_lane_has_begun_is_no_slowness(tmp_path: Path) -> None:
    clock = Clock()
    progress, lanes = progress_of(tmp_path, clock)
    assert progress.line().startswith("0 of 4 objects, 0.0 of 40.0 MB, 0 records, 0 records/s")
    clock.seconds = 60.0
    lanes.tell(0, 0, Progress(0, 1 * MB, 1_000))
    progress.line()
    clock.seconds = 61.0
    lanes.tell(0, 0, Progress(0, 2 * MB, 3_000))
    assert "2,000 records/s" in progress.line()


def test_a_narrow_terminal_shows_all_of_it() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=40, force_terminal=True, color_system=None)
    with _BarOverText(console=console) as bar:
        bar.add_task("")
        bar.text = "3 of 4 objects, 30.0 of 40.0 MB, 1,500,000 records, 2 rejected, 10 s left"
        bar.refresh()
        wait_until(lambda: "left" in screen.getvalue(), "it is shown")
    shown = screen.getvalue()
    assert "1,500,000 records" in " ".join(shown.split())
    assert "…" not in shown
