"""Which event times to believe, and which events are late: properties of a record in its shard.

Late: its window's end <= its shard's running maximum before it - the allowed disorder, in sequence
order. So the answer never depends on batches, other shards, processes or crashes. The state is a
shard's running maximum.

A clock far ahead must not close every window:
- With arrival times, an event time more than 5 minutes ahead of its arrival is rejected.
- Without (plain files), a jump of more than an hour ahead of the running maximum is believed only
  if the two events behind it in the shard are as far ahead too, and it is within an hour of the
  earliest of the three. The last one or two events of a block may have to wait for the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from messages import Int64s

MAXIMUM_AHEAD_US = 5 * 60 * 1_000_000
MAXIMUM_JUMP_US = 60 * 60 * 1_000_000
NO_TIME = np.iinfo(np.int64).min
"""The running maximum of a shard that has shown no event time."""

_WITNESSES = 3
_SCAN_ROWS = 1024  # so that many jumps in one block cost no more than rows * 1024


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of n event times, in sequence order.

    Attributes:
        accepted: int64[m], rows to go on with.
        rejected: int64[r], rows whose clock is wrong.
        waiting: int64[w], w < 3, the last rows: wait for what comes next.
        before_us: int64[m], for each accepted row its shard's running maximum before it.
        maximum_us: The running maximum after them.
    """

    accepted: Int64s
    rejected: Int64s
    waiting: Int64s
    before_us: Int64s
    maximum_us: int


def judge_by_arrival(times_us: Int64s, arrival_us: Int64s, maximum_us: int) -> Judged:
    """Reject event times ahead of their arrival.

    Args:
        times_us: int64[n], event times in sequence order.
        arrival_us: int64[n], when each reached the stream.
        maximum_us: The shard's running maximum so far, or `NO_TIME`.
    """
    believed = times_us - arrival_us <= MAXIMUM_AHEAD_US
    return _judged(times_us, np.flatnonzero(believed), np.flatnonzero(~believed), 0, maximum_us)


def judge_by_jump(times_us: Int64s, maximum_us: int, *, at_end: bool) -> Judged:
    """Hold back event times that jump ahead until two more agree.

    Args:
        times_us: int64[n], event times in sequence order.
        maximum_us: The shard's running maximum so far, or `NO_TIME`.
        at_end: Nothing comes behind them: don't wait, decide.
    """
    size = len(times_us)
    believed = np.ones(size, bool)
    row, waiting, running = 0, 0, maximum_us
    while row < size:
        ahead = times_us[row : row + _SCAN_ROWS]
        before = _running_before(ahead, running)
        jumps = np.flatnonzero(_is_jump(ahead, before))
        if len(jumps) == 0:
            running = max(running, int(ahead.max()))
            row += len(ahead)
            continue
        first = int(jumps[0])
        running = int(before[first])
        row += first
        witnesses = times_us[row : row + _WITNESSES]
        undecided = len(witnesses) < _WITNESSES and not at_end
        if undecided and _is_jump(witnesses, np.full(len(witnesses), running)).all():
            waiting = len(witnesses)
            break
        believed[row] = _believes(witnesses, running)
        if believed[row]:
            running = max(running, int(times_us[row]))
        row += 1
    judged = size - waiting
    accepted = np.flatnonzero(believed[:judged])
    return _judged(times_us, accepted, np.flatnonzero(~believed[:judged]), waiting, maximum_us)


def late_rows(
    times_us: Int64s, before_us: Int64s, length_us: int, disorder_us: int
) -> npt.NDArray[np.bool_]:
    """Tell which events are late for windows of one length.

    Args:
        times_us: int64[n], event times.
        before_us: int64[n], the shard's running maximum before each.
        length_us: The windows' length.
        disorder_us: The allowed disorder.

    Returns:
        bool[n].
    """
    if (times_us >= before_us - disorder_us).all():  # the usual case: a later time is never late
        return np.zeros(len(times_us), bool)
    ends_us = times_us - times_us % length_us + length_us
    late: npt.NDArray[np.bool_] = (before_us != NO_TIME) & (ends_us <= before_us - disorder_us)
    return late


def _believes(witnesses: Int64s, running: int) -> bool:
    """Decide on the first of at most three event times in a row, the first of them a jump."""
    if len(witnesses) == _WITNESSES:
        if not _is_jump(witnesses, np.full(_WITNESSES, running)).all():
            return False
    elif running != NO_TIME:
        return False  # the input ends before two more agree
    return bool(witnesses[0] - witnesses.min() <= MAXIMUM_JUMP_US)


def _is_jump(times_us: Int64s, before_us: Int64s) -> npt.NDArray[np.bool_]:
    """A shard that has shown nothing yet is jumped ahead of by any time."""
    jumps: npt.NDArray[np.bool_] = (before_us == NO_TIME) | (times_us > before_us + MAXIMUM_JUMP_US)
    return jumps


def _running_before(times_us: Int64s, maximum_us: int) -> Int64s:
    before = np.empty(len(times_us), np.int64)
    if len(before):
        before[0] = maximum_us
        np.maximum.accumulate(times_us[:-1], out=before[1:])
        np.maximum(before, maximum_us, out=before)
    return before


def _judged(
    times_us: Int64s, accepted: Int64s, rejected: Int64s, waiting: int, maximum_us: int
) -> Judged:
    kept = times_us if len(accepted) == len(times_us) else times_us[accepted]
    size = len(times_us)
    return Judged(
        accepted=accepted,
        rejected=rejected,
        waiting=np.arange(size - waiting, size),
        before_us=_running_before(kept, maximum_us),
        maximum_us=max(maximum_us, int(kept.max())) if len(kept) else maximum_us,
    )
