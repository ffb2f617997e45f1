"""Events are due as far apart as they happened, over the speed."""

from __future__ import annotations

from dataflows.pace import Pace


def test_the_first_event_is_due_at_once_and_the_others_by_their_distance() -> None:
    times = iter([1_000, 5_000, 9_000])
    pace = Pace(10, lambda: next(times))
    assert pace.due_us(70_000) == 1_000
    assert pace.due_us(170_000) == 11_000
    assert pace.due_us(60_000) == 0, "what is older than the first is overdue"
