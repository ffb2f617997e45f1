"""Which events came before in their shard, told by the id that their domain declares.

An event is a duplicate when one with its id was counted before in its shard, and the shard has not
moved on by more than `keep_us` of event time since. Like lateness that is a property of a record
in its shard, so it doesn't depend on batches, other shards, processes or crashes. How old an event
itself is doesn't matter, only how long ago its shard had it first.

Memory: 8 bytes an id that came within `keep_us`, in buckets that are forgotten whole, so an id may
stay for a quarter longer. Ids are told apart by their 64-bit codes: integers exactly; of n texts
that are remembered two are taken for one with a probability of about n^2 / 2^65.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from messages import Int64s, UInt64s
from operators.codes import TextCodes, first_of_runs

DELIVERED_AGAIN_US = 15 * 60 * 1_000_000
"""How far apart, beyond the allowed disorder, copies of an event may come. Firehose delivers an
object again when its first attempt was not acknowledged, and gathers for 15 minutes at most."""

NO_ID = TextCodes()[""]
"""The code of a text that isn't there: such events are never duplicates."""

_BUCKETS = 4
State = Mapping[int, UInt64s]


class RecentIds:
    """The ids that one shard has shown lately.

    Args:
        keep_us: How long an id is remembered at least.
        state: What `snapshot` returned, or None.
    """

    def __init__(self, keep_us: int, state: State | None = None) -> None:
        self._width_us = max(1, -(-keep_us // _BUCKETS))
        self._seen: dict[int, UInt64s] = dict(state or {})  # ascending codes by bucket

    def snapshot(self) -> State:
        """Return the state; its arrays are never changed, only replaced."""
        return dict(self._seen)

    def are_new(self, codes: UInt64s, reached_us: Int64s) -> npt.NDArray[np.bool_]:
        """Tell which events are no duplicates, and remember those.

        Args:
            codes: uint64[n], the codes of the events' ids, in sequence order.
            reached_us: int64[n], the shard's greatest event time up to and with each: never falls.

        Returns:
            bool[n].
        """
        is_new = np.ones(len(codes), bool)
        buckets = reached_us // self._width_us
        ends = [*first_of_runs(buckets)[1:].tolist(), len(codes)]
        begin = 0
        for end in ends if len(codes) else ():
            is_new[begin:end] = self._take(codes[begin:end], int(buckets[begin]))
            begin = end
        return is_new

    def _take(self, codes: UInt64s, bucket: int) -> npt.NDArray[np.bool_]:
        """Take in events of one bucket."""
        for old in [one for one in self._seen if one < bucket - _BUCKETS]:
            del self._seen[old]
        distinct, first = np.unique(codes, return_index=True)
        fresh = np.ones(len(distinct), bool)
        for seen in self._seen.values():
            at = np.minimum(np.searchsorted(seen, distinct), len(seen) - 1)
            fresh &= seen[at] != distinct
        fresh &= distinct != NO_ID
        is_new: npt.NDArray[np.bool_] = codes == NO_ID
        is_new[first[fresh]] = True
        own = distinct[fresh]
        if len(own):
            seen = self._seen.get(bucket, own[:0])
            self._seen[bucket] = np.insert(seen, np.searchsorted(seen, own), own)
        return is_new
