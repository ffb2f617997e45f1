"""The few types that travel between the steps of a dataflow.

A source emits `Block`s (records) and marks; the source step turns both into `Packet`s for the key
groups; key groups emit `Alert`s and `AggregateRows`; sinks write those, and `Late` and `Reject`.

All times are integers: microseconds since the epoch, UTC (`_us`). Everything here is picklable,
because Bytewax sends items between processes with pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise, starmap
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Scalar = int | float | str
Row = dict[str, Scalar | bool | None]
Keys = tuple[tuple[Scalar, ...], ...] | None
Json: TypeAlias = "Scalar | bool | list[Json] | dict[str, Json] | None"


# ---- from sources -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Records of one shard, in sequence order.

    Attributes:
        shard: The shard they came from (for a file: its path).
        payloads: One a record, KPL aggregates already taken apart: `payloads.Lines`, or a list.
        sequence_numbers: As many; a decimal string, with `.n` for the n-th user record of a KPL
            aggregate. Files number their lines from 1 and pass a `range`.
        arrival_us: int64, as many; when each record reached the stream. None where the source
            doesn't know (plain files).
    """

    shard: str
    payloads: Sequence[bytes]
    sequence_numbers: Sequence[str] | range
    arrival_us: Int64s | None = None


@dataclass(frozen=True, slots=True)
class Hello:
    """A slot says which shards it reads, if only to say that it reads none. Idempotent."""

    slot: str
    shards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Adopted:
    """A shard joins, before its first poll, so that it holds the watermark back at once."""

    shard: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """The greatest event time that a shard has shown so far."""

    shard: str
    maximum_us: int


@dataclass(frozen=True, slots=True)
class Idle:
    """A shard had nothing more to read when it was asked at `as_of_us`."""

    shard: str
    as_of_us: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A shard is read to its end; `children` cover its hash-key range."""

    shard: str
    children: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """A finite source has nothing more to come from this slot, ever."""

    slot: str


Mark = Hello | Adopted | Seen | Idle | Ended | EndOfInput


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a source could not read, as one record: it becomes a `Reject`.

    Attributes:
        shard: Where it would have been read from.
        sequence_number: Names the object and the first record of it that is missing.
        reason: One of the `object_...` reasons of a reject.
        detail: What is wrong with it.
    """

    shard: str
    sequence_number: str
    reason: str
    detail: str


# ---- to key groups ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PairCounts:
    """How many events each pair of a key and a text has: columns sorted by both codes.

    Attributes:
        keys: uint64[p], the keys' codes.
        members: uint64[p], the texts' codes.
        counts: int64[p].
        texts: The texts by their codes.
    """

    keys: UInt64s
    members: UInt64s
    counts: Int64s
    texts: dict[int, str]


@dataclass(frozen=True, slots=True)
class Partial:
    """What one worker tick adds to one window of one key group: columns over distinct keys.

    Attributes:
        start_us: The window's start.
        codes: uint64[k], ascending and distinct: the 64-bit codes of the keys.
        keys: The keys themselves, as many; None where a code can be turned back into its key.
        values: One int64[k] for each accumulator of the window's values, in order (zeros for a
            distinct count, which grows by what is new of `members`).
        members: For each distinct count, in order, one entry an event: the codes of its (key,
            member) pair, uint64[m], and int64[m], the index of its key.
        events: How many events it stands for.
        tops: For each `Top` of the window, in order, what it counts.
    """

    start_us: int
    codes: UInt64s
    keys: Keys
    values: tuple[Int64s, ...]
    members: tuple[tuple[UInt64s, Int64s], ...]
    events: int
    tops: tuple[PairCounts, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionPieces:
    """What one worker tick adds to the sessions of one key group: columns over pieces of sessions.

    A piece is a run of events of a key without a gap. Pieces are sorted by code, then by time.

    Attributes:
        codes: uint64[k], ascending: the 64-bit codes of the keys.
        keys: The keys themselves, as many; None where a code can be turned back into its key.
        starts_us: int64[k], the earliest event of each piece.
        ends_us: int64[k], the latest.
        values: int64[height, k], as `SessionValues` lays them out.
        events: int64[k], how many events each piece stands for.
        texts: The texts whose codes are among the values.
    """

    codes: UInt64s
    keys: Keys
    starts_us: Int64s
    ends_us: Int64s
    values: Int64s
    events: Int64s
    texts: dict[int, str]


@dataclass(frozen=True, slots=True)
class Packet:
    """What one worker tick brings to one key group: marks and data of all the worker's slots."""

    group: str
    marks: tuple[Mark, ...] = ()
    partials: tuple[Partial | SessionPieces, ...] = ()

    def __reduce__(self) -> tuple[Callable[..., Packet], tuple[object, ...]]:
        """Travel with all columns in one run of bytes: they are short, hundreds in a tick."""
        partials = [one for one in self.partials if isinstance(one, Partial)]
        if not partials:  # marks alone, or sessions: a window's partials are all of one kind
            return Packet, (self.group, self.marks, self.partials)
        columns = [
            column.tobytes()
            for one in partials
            for column in (one.codes, *one.values, *chain.from_iterable(one.members))
        ]
        ends = [size // 8 for size in accumulate(map(len, columns))]
        rest = [(one.start_us, one.keys, one.events, one.tops) for one in partials]
        heights = (len(partials[0].values), len(partials[0].members))  # the window's, so all have
        return _packet, (self.group, self.marks, b"".join(columns), ends, heights, rest)


def _packet(
    group: str,
    marks: tuple[Mark, ...],
    columns: bytes,
    ends: list[int],
    heights: tuple[int, int],
    rest: list[tuple[int, Keys, int, tuple[PairCounts, ...]]],
) -> Packet:
    """Undo `Packet.__reduce__`."""
    numbers = np.frombuffer(columns, np.int64)
    codes = numbers.view(np.uint64)
    spans = starmap(slice, pairwise((0, *ends)))
    values, members = heights
    return Packet(
        group,
        marks,
        tuple(
            Partial(
                start_us,
                codes[next(spans)],
                keys,
                tuple([numbers[next(spans)] for _ in range(values)]),
                tuple([(codes[next(spans)], numbers[next(spans)]) for _ in range(members)]),
                events,
                tops,
            )
            for start_us, keys, events, tops in rest
        ),
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """What one closed window of one key group means to a detector: numbers that add up.

    Attributes:
        rule: The detector whose features it feeds.
        window: The declared window's name.
        group: The key group's.
        start_us: The window's start.
        totals: The sum over all keys of each of the window's counts and sums, by value name.
        keys: How many keys there are.
        new_keys: How many of them weren't met within the memory of each `NewKeys`, by its name.
        weights: The sum over all keys of c * log2(c), c being a count, in units of
            `features.WEIGHT_UNIT`, by value name.
        top: The keys with the greatest first value: that value, their code, and the key; the
            greatest first, of equal ones that with the least code.
    """

    rule: str
    window: str
    group: str
    start_us: int
    totals: dict[str, int]
    keys: int
    new_keys: dict[str, int]
    weights: dict[str, int]
    top: tuple[tuple[int, int, tuple[Scalar, ...]], ...]


@dataclass(frozen=True, slots=True)
class Points:
    """Events of one shard as a detector of events sees them, in sequence order.

    Attributes:
        rule: The detector.
        keys: One an event: the declared fields, shard and sequence number.
        times_us: int64[n], event times.
        numbers: float64[n, columns].
    """

    rule: str
    keys: tuple[dict[str, Scalar], ...]
    times_us: Int64s
    numbers: Floats


# ---- to sinks ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Alert:
    """One phase of one incident.

    Attributes:
        id: Deterministic: domain, rule, key, window start. All phases of an incident share it.
        phase: `open` (crossed early), `raised` (a higher severity crossed), `final` (closed).
        severity: The name of the highest level crossed.
        key: Key field names and values, as `{"user_id": 101}`.
        value: The aggregate so far; at `final` its last word.
        value_name: The aggregate's declared name, as `num_actions_per_watermark`.
        threshold: The limit of the level crossed.
        partial: True when the window began before the service did (a start at LATEST).
        notice: What becomes of its notification: `publish`, `digest`, `cooldown` or `none`.
        evidence: What else is known of it, ready for JSON: other values of the key, or what a
            detector found.
    """

    id: str
    domain: str
    rule: str
    severity: str
    phase: str
    key: dict[str, Scalar]
    window_start_us: int
    window_end_us: int
    value: Scalar
    value_name: str
    threshold: float
    detected_at_us: int
    partial: bool = False
    notice: str = "none"
    evidence: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Digest:
    """One notice in place of many: the incidents of a rule and window beyond the first few."""

    id: str
    domain: str
    rule: str
    window_start_us: int
    window_end_us: int
    incidents: int
    worst: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class AggregateRows:
    """Rows of one aggregate, ready for JSON; some are made only when they are read."""

    aggregate: str
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Events:
    """Single events, ready for JSON, of a run that writes them, too.

    Attributes:
        shard: Where they were read.
        rows: One an event, in sequence order.
        ids: As many: what tells each from all others, the same whenever it is read.
        times_us: As many: event times.
    """

    shard: str
    rows: tuple[dict[str, Scalar], ...]
    ids: tuple[str, ...] = ()
    times_us: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Late:
    """An event that came after its window had closed for its shard."""

    domain: str
    aggregate: str
    window_start_us: int
    event_time_us: int
    shard: str
    sequence_number: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """A record, or one object of a record, that could not become an event."""

    domain: str
    reason: str
    detail: str
    shard: str
    sequence_number: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """Who tells a rule that it has closed every window that ends by the watermark."""

    rule: str
    group: str
    watermark_us: int


Output = Alert | Digest | AggregateRows | Events | Late | Reject
VOLATILE = ("detected_at", "emitted_at")
"""Fields of written incidents and rows that say when they were made. All others are the same in
each run over the same events; of rows with one id the one made last counts."""


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens every part of every sink when a process starts.

    The engine opens a part at its first item. A sweeper of pending notices, and a file with lines
    beyond the last snapshot, can't wait for one.
    """


Ledger = dict[str, int]
