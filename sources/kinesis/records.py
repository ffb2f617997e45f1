"""From the records of a reply to the rows that a slot takes over.

Guarantee: rows hold every record of the reply, in order, or every user record in it that belongs to
the shard; `Rows` never hold part of a stream record without saying so in `sub_sequence`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from messages import Int64s
from payloads import Lines, joined
from sources.kinesis.kpl import MAGIC, Deaggregator, UserRecords
from sources.kinesis.lineage import HASH_KEYS
from sources.kinesis.replies import Records, records_of, take_in

MAX_ROWS = 10_000
"""The most rows in one `Rows`, so that neither memory nor a tick downstream is at the mercy of a
reply of 10,000 records of 1,000 user records each. Also the most records in a reply."""

PLAIN = -1
"""The place of a plain record, in place of that within an aggregate."""

_ROW_OVERHEAD_BYTES = 120  # a sequence number of 56 digits, and where it and the payload stand


class Numbered(Sequence[str]):
    """Sequence numbers of rows, written out when asked for.

    Few ever are: those of rejects and of late events.

    Args:
        records: Those of stream records.
        of: int64[n], the place of each row's record among these.
        places: int64[n], that of each row within its record, or `PLAIN`.
    """

    __slots__ = ("of", "places", "records")

    def __init__(self, records: Lines, of: Int64s, places: Int64s) -> None:
        self.records = records
        self.of = of
        self.places = places

    def __len__(self) -> int:
        return len(self.of)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Numbered: ...
    def __getitem__(self, index: int | slice) -> str | Numbered:
        if isinstance(index, slice):
            return Numbered(self.records, self.of[index], self.places[index])
        record, place = self.records[int(self.of[index])].decode(), int(self.places[index])
        return record if place == PLAIN else f"{record}.{place}"


def numbers_joined(parts: Sequence[Numbered]) -> Numbered:
    """Return the sequence numbers of consecutive rows as one."""
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.records) for part in parts)])
    return Numbered(
        joined([part.records for part in parts]),
        np.concatenate([part.of + at for part, at in zip(parts, offsets, strict=False)]),
        np.concatenate([part.places for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one shard on their way from its reader to its slot.

    Attributes:
        payloads: One a plain record or user record.
        sequence_numbers: As many; `.n` behind that of the n-th user record of an aggregate.
        arrival_us: As many.
        sequence: The sequence number of the last stream record they come from.
        sub_sequence: When that record goes on in the next `Rows`: the place of the last user
            record in these.
        plain: How many plain records end in these.
        aggregated: How many aggregated records end in these.
        foreign: How many user records were dropped on the way.
        payload_bytes: The payloads' length.
    """

    payloads: Lines
    sequence_numbers: Numbered
    arrival_us: Int64s
    sequence: str
    sub_sequence: int | None
    plain: int
    aggregated: int
    foreign: int
    payload_bytes: int

    @property
    def memory_bytes(self) -> int:
        """What they take in memory, about."""
        return self.payload_bytes + _ROW_OVERHEAD_BYTES * len(self.payloads)


def prepare() -> None:
    """Load the compiled loops, or compile them, so that no reply waits for it."""
    message = b"\x0a\x01k\x1a\x04\x08\x00\x1a\x00"  # a key, and one record, empty
    digest = hashlib.md5(message, usedforsecurity=False).digest()
    texts = (b"", base64.b64encode(MAGIC + message + digest))
    entry = b'{"Data":"%s","SequenceNumber":"1","ApproximateArrivalTimestamp":1}'
    taken = take_in(b'{"Records":[%s]}' % b",".join(entry % text for text in texts))
    assert taken is not None
    (rows,) = to_rows({"Records": taken[0]}, Deaggregator(0, HASH_KEYS - 1))
    assert list(rows.sequence_numbers) == ["1", "1.0"]


def to_rows(
    reply: Mapping[str, Any], deaggregator: Deaggregator, resume: tuple[str, int] | None = None
) -> Iterator[Rows]:
    """Turn a GetRecords reply (`Any`: boto3's) into rows, at most `MAX_ROWS` at a time.

    Args:
        reply: With `Records`, or what botocore's own parser makes.
        deaggregator: The shard's.
        resume: Sequence number of a record of which a part was emitted before, and the place of
            the last user record in that part; what came before is left out.
    """
    found = reply["Records"]
    records = found if isinstance(found, Records) else records_of(found)
    if not len(records):
        return
    rows = _Gathered(records)
    plain_from = 0
    for record in _beginning_with_magic(records.payloads):
        aggregate = deaggregator.user_records(records.payloads[record])
        if aggregate is None:
            continue
        yield from rows.add_plain(plain_from, record)
        plain_from = record + 1
        begin = 0
        if resume is not None and records.numbers[record].decode() == resume[0]:
            begin = int(np.searchsorted(aggregate.indexes, resume[1], side="right"))
        else:  # else they were counted with the part that was emitted
            rows.foreign += aggregate.foreign
        while len(aggregate.indexes) - begin > (room := MAX_ROWS - rows.size):
            rows.add(record, aggregate, begin, begin + room)
            begin += room
            yield rows.take(record, int(aggregate.indexes[begin - 1]))
        rows.add(record, aggregate, begin, len(aggregate.indexes))
        rows.aggregated += 1
        if rows.size >= MAX_ROWS:
            yield rows.take(record)
    yield from rows.add_plain(plain_from, len(records))
    if rows.plain or rows.aggregated:
        yield rows.take(len(records) - 1)


def blank(sequence: str) -> Rows:
    """Return rows that say only how far the shard has been read."""
    none = np.empty(0, np.int64)
    nothing = Lines(b"", np.empty((2, 0), np.int64))
    return Rows(nothing, Numbered(nothing, none, none), none, sequence, None, 0, 0, 0, 0)


def _beginning_with_magic(payloads: Lines) -> list[int]:
    """Return which payloads may be aggregates; what is short may be told wrongly to begin so."""
    characters = np.frombuffer(payloads.buffer, np.uint8)
    begins = payloads.bounds[0]
    begin_so = np.ones(len(begins), np.bool_)
    for place, byte in enumerate(MAGIC):
        begin_so &= characters.take(begins + place, mode="clip") == byte
    return np.flatnonzero(begin_so).tolist()


class _Gathered:
    """`Rows` in the making, of the records of a reply."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._clear()

    def _clear(self) -> None:
        # Buffers, and where in each the payloads stand.
        self._pieces: list[tuple[bytes | memoryview, Int64s]] = []
        self._of: list[Int64s] = []
        self._places: list[Int64s] = []
        self.size = self.plain = self.aggregated = self.foreign = 0

    def add(self, record: int, aggregate: UserRecords, begin: int, end: int) -> None:
        """Add user records of one stream record, from one to before another."""
        places = aggregate.indexes[begin:end]
        spans = aggregate.spans[:, begin:end]
        self._add(aggregate.data, spans, np.full(len(places), record), places)

    def add_plain(self, begin: int, end: int) -> Iterator[Rows]:
        """Add plain records, from one to before another; yield rows whenever they are full."""
        payloads = self._records.payloads
        while begin < end:
            behind = min(end, begin + MAX_ROWS - self.size)
            of = np.arange(begin, behind)
            spans = payloads.bounds[:, begin:behind]
            self._add(payloads.buffer, spans, of, np.full(len(of), PLAIN))
            self.plain += len(of)
            begin = behind
            if self.size >= MAX_ROWS:
                yield self.take(behind - 1)

    def _add(self, buffer: bytes | memoryview, spans: Int64s, of: Int64s, places: Int64s) -> None:
        self._pieces.append((buffer, spans))
        self._of.append(of)
        self._places.append(places)
        self.size += len(of)

    def take(self, last: int, sub_sequence: int | None = None) -> Rows:
        """Return the rows, of records up to `last`, and begin anew."""
        of, records = np.concatenate(self._of), self._records
        is_whole = len(of) == len(records) == self.plain
        payloads = records.payloads if is_whole else self._payloads()
        rows = Rows(
            payloads=payloads,
            sequence_numbers=Numbered(records.numbers, of, np.concatenate(self._places)),
            arrival_us=records.arrival_us[of],
            sequence=records.numbers[last].decode(),
            sub_sequence=sub_sequence,
            plain=self.plain,
            aggregated=self.aggregated,
            foreign=self.foreign,
            payload_bytes=int(np.diff(payloads.bounds, axis=0).sum()),
        )
        self._clear()
        return rows

    def _payloads(self) -> Lines:
        from sources.kinesis import gather_kernels as kernels  # numba is loaded by those who read

        room = sum(int(ends.sum() - begins.sum()) for _, (begins, ends) in self._pieces) + self.size
        text, bounds = np.empty(room, np.uint8), np.empty((2, self.size), np.int64)
        written = first = 0
        for buffer, (begins, ends) in self._pieces:
            source = np.frombuffer(buffer, np.uint8)
            written = kernels.gather(source, begins, ends, text, written, bounds, first)
            first += len(begins)
        return Lines(text.data[:written].toreadonly(), bounds)
