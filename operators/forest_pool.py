"""Detectors of many keys: one for each, up to a cap.

Rows are taken in their order, but scored a key at a time: a forest that isn't in the processor's
caches is three times as slow for single points, so a key's go together. When there is no room for a
key, the one whose newest event is oldest is forgotten, the least in name if there are several.
What is forgotten depends on the rows and their order alone, never on batches or clocks. A key that
comes back starts anew, with the same seed.

A key costs a few hundred bytes until `sub_sample_size` points have come, then `Forest.nbytes`:
with 100 trees of 256 points and one column 1.6 MB, and 0.36 MB in the snapshot. For thousands of
busy keys take fewer and smaller trees.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from messages import Floats, Int64s
from operators.detector import Detections, Detector, DetectorConfig
from operators.forest import Explanations, seed_of
from operators.state_header import StateHeader

_HEADER = StateHeader("a forest pool", b"kwfp", 1, "QQ")
_ENTRY = struct.Struct("<IqQ")


class _Entry:
    """A key's detector, its newest event's time, and what it was last dumped as."""

    __slots__ = ("detector", "dumped", "key", "newest_us", "rows")

    def __init__(self, key: str, detector: Detector, newest_us: int) -> None:
        self.key = key
        self.detector = detector
        self.newest_us = newest_us
        self.dumped: bytes | None = None
        self.rows: list[int] = []


class ForestPool:
    """Finds anomalies on the streams of many keys.

    Args:
        config: What each key's detector is like.
        domain: The domain's name, for the seeds.
        features: The name of what is scored, for the seeds.
        max_keys: How many keys are kept.

    Attributes:
        forgotten: How many keys had to make room, ever.
    """

    def __init__(
        self, config: DetectorConfig, domain: str, features: str, max_keys: int = 1_000
    ) -> None:
        if max_keys < 1:
            msg = f"max_keys is {max_keys}: it must be 1 or more"
            raise ValueError(msg)
        self._config = config
        self._domain = domain
        self._features = features
        self._max_keys = max_keys
        self._entries: dict[str, _Entry] = {}
        # Each key is here once, under a time of its that is past or present.
        self._oldest: list[tuple[int, str]] = []
        self.forgotten = 0

    def __len__(self) -> int:
        """Return how many keys are kept."""
        return len(self._entries)

    def take(
        self,
        keys: Sequence[str],
        times_us: Int64s,
        points: npt.ArrayLike,
        *,
        explain: bool = False,
    ) -> Detections:
        """Score, grade and judge rows, each by its key, in their order.

        Args:
            keys: Each row's key.
            times_us: Each row's event time in microseconds, int64 [n].
            points: Numbers [n, columns].
            explain: Whether to explain the scores.

        Returns:
            As of `Detector.take`, in the order of the rows.

        Raises:
            ValueError: The arguments don't have the same length, or `points` other columns.
        """
        columns = self._config.forest.columns
        given: Floats = np.asarray(points, np.float64)
        if given.shape != (len(keys), columns) or np.shape(times_us) != (len(keys),):
            msg = (
                f"{len(keys)} keys, {np.shape(times_us)} times, points of the shape {given.shape}: "
                f"it must be n keys, [n] times and [n, {columns}] points"
            )
            raise ValueError(msg)
        scores, grades = np.empty(len(keys)), np.empty(len(keys))
        alarms = np.empty(len(keys), np.int8)
        parts = np.empty((2, *given.shape)) if explain else None
        for entry in self._meet(keys, times_us):
            rows, entry.rows = np.array(entry.rows), []
            found = entry.detector.take(given[rows], times_us[rows], explain=explain)
            scores[rows], grades[rows], alarms[rows] = found.scores, found.grades, found.alarms
            if parts is not None and found.explanations:
                parts[0, rows], parts[1, rows] = found.explanations.above, found.explanations.below
        explanations = Explanations(scores, parts[0], parts[1]) if parts is not None else None
        return Detections(scores, grades, alarms, explanations)

    def dump(self) -> bytes:
        """Return the whole state, as `load` takes it; keys that didn't change cost a copy."""
        parts = [_HEADER.pack(len(self._entries), self.forgotten)]
        for entry in self._entries.values():
            if entry.dumped is None:
                state, key = entry.detector.dump(), entry.key.encode()
                head = _ENTRY.pack(len(key), entry.newest_us, len(state))
                entry.dumped = b"".join([head, key, state])
            parts.append(entry.dumped)
        return b"".join(parts)

    def load(self, state: bytes) -> None:
        """Take over what another pool dumped: what is found further is the same, bit for bit.

        Raises:
            LayoutError: `state` is of another version, of forests with other parameters, or isn't
                whole.
        """
        count, forgotten = _HEADER.unpack(state)
        entries = {entry.key: entry for entry in self._read(state)}
        if len(entries) != count:
            _HEADER.refuse(f"it has {len(entries)} of {count} keys")
        self.forgotten = forgotten
        self._entries = entries
        self._oldest = [(entry.newest_us, key) for key, entry in entries.items()]
        heapq.heapify(self._oldest)
        while len(self._entries) > self._max_keys:
            self._forget()

    def _read(self, state: bytes) -> Iterator[_Entry]:
        at = _HEADER.size
        while at + _ENTRY.size <= len(state):
            key_bytes, newest_us, state_bytes = _ENTRY.unpack_from(state, at)
            begin = at + _ENTRY.size + key_bytes
            key = state[at + _ENTRY.size : begin].decode()
            detector = Detector.load(self._config, state[begin : begin + state_bytes])
            entry = _Entry(key, detector, newest_us)
            entry.dumped = state[at : begin + state_bytes]
            at = begin + state_bytes
            yield entry
        if at != len(state):
            _HEADER.refuse("it isn't as long as it says")

    def _meet(self, keys: Sequence[str], times_us: Int64s) -> list[_Entry]:
        """Give each row to its key's entry, forgetting keys on the way; return those with rows.

        A key that is forgotten and comes back within a batch is two entries.
        """
        met = []
        for row, (key, time_us) in enumerate(zip(keys, times_us.tolist(), strict=True)):
            entry = self._entries.get(key)
            if entry is None:
                if len(self._entries) == self._max_keys:
                    self._forget()
                seed = seed_of(self._domain, self._features, key)
                entry = _Entry(key, Detector(self._config, seed), time_us)
                self._entries[key] = entry
                heapq.heappush(self._oldest, (time_us, key))
            elif time_us > entry.newest_us:
                entry.newest_us = time_us
            if not entry.rows:
                met.append(entry)
            entry.rows.append(row)
            entry.dumped = None
        return met

    def _forget(self) -> None:
        while True:
            time_us, key = self._oldest[0]
            newest_us = self._entries[key].newest_us
            if newest_us == time_us:
                heapq.heappop(self._oldest)
                del self._entries[key]
                self.forgotten += 1
                return
            heapq.heapreplace(self._oldest, (newest_us, key))
