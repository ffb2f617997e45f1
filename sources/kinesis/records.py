"""From the body of a GetRecords reply to columns.

botocore's own JSON parser costs about 16 us a record, most of it in timestamps and dictionaries.
Its event `before-parse.kinesis.GetRecords` hands over the body before that parser sees it; a typed
msgspec decode with base64 built in costs about 0.5 us. Signing, retries, errors and error classes
stay botocore's: the hook touches nothing but a reply with status 200, and what it cannot decode it
leaves alone. The event is in botocore since 1.35.50 and undocumented: without it everything still
works, slowly, and a test fails.

Guarantee: the columns hold every record of the reply, in order, or every user record in it that
belongs to the shard; `Rows` never hold part of a stream record without saying so in
`sub_sequence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, overload

import msgspec
import numpy as np

from messages import Int64s
from sources.kinesis.client import KinesisClient
from sources.kinesis.kpl import MAGIC, Deaggregator

MAX_ROWS = 10_000
"""The most rows in one `Rows`, so that neither memory nor a tick downstream is at the mercy of a
reply of 10,000 records of 1,000 user records each. Also the most records in a reply."""

_ROW_OVERHEAD_BYTES = 250  # a bytes object, a sequence number of 56 digits, list cells


class Record(msgspec.Struct, rename="pascal", gc=False):
    """The fields of a record that are used; names as in the reply, but for case."""

    sequence_number: str
    data: bytes
    approximate_arrival_timestamp: float  # seconds: 1760000000.123, 1.760000000123E9 or a plain int


class _ChildShard(msgspec.Struct, rename="pascal"):
    shard_id: str
    hash_key_range: dict[str, str]
    parent_shards: list[str] = []


class _Reply(msgspec.Struct, rename="pascal"):
    records: list[Record]
    next_shard_iterator: str | None = None
    millis_behind_latest: int | None = None
    child_shards: list[_ChildShard] | None = None


_decode = msgspec.json.Decoder(_Reply).decode


def use_typed_parse(client: KinesisClient) -> None:
    """Have a boto3 client decode the bodies of GetRecords with `parse_body`."""
    client.meta.events.register("before-parse.kinesis.GetRecords", parse_body)


def parse_body(
    response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    """Decode a good reply's body; botocore's event handler (`Any`: its untyped dictionaries).

    Args:
        response_dict: `status_code` and `body`; a decoded body is replaced by an empty object.
        customized_response_dict: What botocore lays over its own result.
    """
    if response_dict["status_code"] != 200:
        return
    body = response_dict["body"]
    try:
        reply = _decode(body)
    except msgspec.MsgspecError:
        return  # another notation, or a body that was cut: see `client.field`
    response_dict["body"] = b"{}"
    customized_response_dict["Records"] = reply.records
    customized_response_dict["NextShardIterator"] = reply.next_shard_iterator
    customized_response_dict["MillisBehindLatest"] = reply.millis_behind_latest
    if reply.child_shards:
        customized_response_dict["ChildShards"] = [
            {
                "ShardId": child.shard_id,
                "HashKeyRange": child.hash_key_range,
                "ParentShards": child.parent_shards,
            }
            for child in reply.child_shards
        ]


class Numbered(Sequence[str]):
    """Sequence numbers of rows of which some come from aggregates, written out when asked for.

    Few ever are: those of rejects and of late events. To write `.n` behind 56 digits costs as much
    as to take a user record out of its aggregate.

    Args:
        records: The sequence number of each row's stream record.
        places: The place of each row within that record; -1 for a plain record.
    """

    __slots__ = ("places", "records")

    def __init__(self, records: list[str], places: list[int]) -> None:
        self.records = records
        self.places = places

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Numbered: ...
    def __getitem__(self, index: int | slice) -> str | Numbered:
        if isinstance(index, slice):
            return Numbered(self.records[index], self.places[index])
        record, place = self.records[index], self.places[index]
        return record if place < 0 else f"{record}.{place}"


def joined(parts: Sequence[list[str] | Numbered]) -> list[str] | Numbered:
    """Return the sequence numbers of consecutive rows as one."""
    if not any(isinstance(part, Numbered) for part in parts):
        return list(chain.from_iterable(parts))
    whole = Numbered([], [])
    for part in parts:
        if isinstance(part, Numbered):
            whole.records += part.records
            whole.places += part.places
        else:
            whole.records += part
            whole.places += [-1] * len(part)
    return whole


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

    payloads: list[bytes]
    sequence_numbers: list[str] | Numbered
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


def to_rows(
    reply: Mapping[str, Any], deaggregator: Deaggregator, resume: tuple[str, int] | None = None
) -> Iterator[Rows]:
    """Turn a GetRecords reply (`Any`: boto3's) into rows, at most `MAX_ROWS` at a time.

    Args:
        reply: With typed `Record`s in `Records`, or what botocore's own parser makes.
        deaggregator: The shard's.
        resume: Sequence number of a record of which a part was emitted before, and the place of
            the last user record in that part; what came before is left out.
    """
    records: Sequence[Record] = reply["Records"]
    if not records:
        return
    if not isinstance(records[0], Record):
        records = [_from_botocore(record) for record in reply["Records"]]
    payloads = [record.data for record in records]
    # JSON and nearly all text sort before the magic; asking each payload takes three times as long.
    if max(payloads) >= MAGIC:
        yield from _deaggregated(records, deaggregator, resume)
        return
    seconds = [record.approximate_arrival_timestamp for record in records]
    yield Rows(
        payloads=payloads,
        sequence_numbers=[record.sequence_number for record in records],
        arrival_us=_microseconds(seconds),
        sequence=records[-1].sequence_number,
        sub_sequence=None,
        plain=len(records),
        aggregated=0,
        foreign=0,
        payload_bytes=sum(map(len, payloads)),
    )


def _deaggregated(
    records: Sequence[Record], deaggregator: Deaggregator, resume: tuple[str, int] | None
) -> Iterator[Rows]:
    rows = _Gathered()
    for record in records:
        found = deaggregator.user_records(record.data)
        if found is None:
            rows.add(record, [record.data], (-1,))
            rows.plain += 1
            if len(rows.payloads) >= MAX_ROWS:
                yield rows.take(record.sequence_number)
            continue
        payloads, indexes, foreign = found.payloads, found.indexes, found.foreign
        if resume is not None and record.sequence_number == resume[0]:
            skipped = sum(index <= resume[1] for index in indexes)
            payloads, indexes = payloads[skipped:], indexes[skipped:]
            foreign = 0  # counted with the part that was emitted
        rows.foreign += foreign
        while len(payloads) > (room := MAX_ROWS - len(rows.payloads)):
            rows.add(record, payloads[:room], indexes[:room])
            yield rows.take(record.sequence_number, indexes[room - 1])
            payloads, indexes = payloads[room:], indexes[room:]
        rows.add(record, payloads, indexes)
        rows.aggregated += 1
        if len(rows.payloads) >= MAX_ROWS:
            yield rows.take(record.sequence_number)
    if rows.plain or rows.aggregated:
        yield rows.take(records[-1].sequence_number)


class _Gathered:
    """`Rows` in the making."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.payloads: list[bytes] = []
        self.numbers = Numbered([], [])
        self.seconds: list[float] = []
        self.counts: list[int] = []  # how many rows share each of the seconds
        self.plain = self.aggregated = self.foreign = self.payload_bytes = 0

    def add(self, record: Record, payloads: list[bytes], places: Sequence[int]) -> None:
        self.payloads += payloads
        self.numbers.records += [record.sequence_number] * len(payloads)
        self.numbers.places += places
        self.seconds.append(record.approximate_arrival_timestamp)
        self.counts.append(len(payloads))
        self.payload_bytes += sum(map(len, payloads))

    def take(self, sequence: str, sub_sequence: int | None = None) -> Rows:
        rows = Rows(
            payloads=self.payloads,
            sequence_numbers=self.numbers,
            arrival_us=np.repeat(_microseconds(self.seconds), self.counts),
            sequence=sequence,
            sub_sequence=sub_sequence,
            plain=self.plain,
            aggregated=self.aggregated,
            foreign=self.foreign,
            payload_bytes=self.payload_bytes,
        )
        self._clear()
        return rows


def _microseconds(seconds: list[float]) -> Int64s:
    # A float holds microseconds of this century exactly once rounded.
    return np.rint(np.array(seconds, np.float64) * 1e6).astype(np.int64)


def _from_botocore(record: Mapping[str, Any]) -> Record:
    arrival: datetime = record["ApproximateArrivalTimestamp"]
    return Record(record["SequenceNumber"], record["Data"], arrival.timestamp())
