"""What the page on replays says, held against the code."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from errors import DifferenceError, UnreadableInputError
from messages import VOLATILE
from service.commands.replay import _LOST_ORDER
from sources.archive.listing import BUFFERING_US
from sources.archive.source import DEFAULT_LANES

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/replay.md").read_text()


def test_the_page_names_the_fields_that_differ_from_run_to_run():
    assert " and ".join(f"`{name}`" for name in VOLATILE) in PAGE


def test_the_page_tells_the_exit_codes():
    assert f"makes the exit code {DifferenceError.exit_code}" in PAGE
    assert f"the exit code is {UnreadableInputError.exit_code}" in PAGE


def test_the_page_tells_the_lanes_and_the_minutes():
    assert f"share the lanes ({DEFAULT_LANES}," in PAGE
    assert timedelta(minutes=15) == _LOST_ORDER
    assert timedelta(microseconds=BUFFERING_US) == _LOST_ORDER
    assert "the live one and 15 minutes" in PAGE
    assert "Firehose gathers for up to 15" in PAGE
