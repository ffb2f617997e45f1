"""From the body of a GetRecords reply to columns.

botocore's own JSON parser costs about 16 us a record, most of it in timestamps and dictionaries.
Its event `before-parse.kinesis.GetRecords` hands over the body before that parser sees it; compiled
loops (`body_kernels`) take the records in, at about 0.3 us each, and leave the rest of the object.
Signing, retries, errors and error classes stay botocore's: the hook touches nothing but a reply
with status 200, and what it cannot decode it leaves alone. The event is in botocore since 1.35.50
and undocumented: without it everything still works, slowly, and a test fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import numpy as np

from messages import Int64s
from payloads import Lines
from sources.kinesis.client import KinesisClient

_USUAL_RECORDS = 10_000  # the most that GetRecords brings
_SHORTEST_RECORD = len('{"Data":"","SequenceNumber":"1","ApproximateArrivalTimestamp":1},')


@dataclass(frozen=True, slots=True)
class Records:
    """The stream records of one reply, as columns.

    Attributes:
        payloads: Their data.
        numbers: Their sequence numbers, digits.
        arrival_us: int64[n], when each arrived.
    """

    payloads: Lines
    numbers: Lines
    arrival_us: Int64s

    def __len__(self) -> int:
        return len(self.arrival_us)


class _ChildShard(msgspec.Struct, rename="pascal"):
    shard_id: str
    hash_key_range: dict[str, str]
    parent_shards: list[str] = []


class _Reply(msgspec.Struct, rename="pascal"):
    """What is in a reply beside its records; names as the service's, but for case."""

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
        customized_response_dict: What botocore lays over its own result; `Records` are `Records`.
    """
    if response_dict["status_code"] != 200:
        return
    taken = take_in(response_dict["body"])
    if taken is None:
        return  # another notation, or a body that was cut: see `client.field`
    records, rest = taken
    try:
        reply = _decode(rest)
    except msgspec.MsgspecError:
        return
    response_dict["body"] = b"{}"
    customized_response_dict["Records"] = records
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


def take_in(body: bytes) -> tuple[Records, bytes] | None:
    """Take the records out of a JSON object.

    Args:
        body: An object with an array `Records`, as GetRecords and SubscribeToShard send it.

    Returns:
        The records, and the object without them; None where it isn't understood.
    """
    from sources.kinesis import body_kernels as kernels  # numba is loaded by those who read
    from sources.kinesis.gather_kernels import gather

    characters = np.frombuffer(body, np.uint8)
    begin = kernels.find_records(characters)
    if begin < 0:
        return None
    for most in (_USUAL_RECORDS, len(body) // _SHORTEST_RECORD + 1):
        spans, arrival_us = np.empty((4, most), np.int64), np.empty(most, np.int64)
        size, end = kernels.locate(characters, begin, spans, arrival_us)
        if size != kernels.TOO_MANY:
            break
    if size < 0:
        return None
    data_begins, data_ends, number_begins, number_ends = spans[:, :size]
    if not kernels.are_digits(characters, number_begins, number_ends):
        return None
    room = kernels.decoded_bytes(characters, data_begins, data_ends)
    if room < 0:
        return None
    text = np.empty(room, np.uint8)
    bounds, braced = np.empty((2, size), np.int64), np.empty(size, np.bool_)
    written = kernels.decode(characters, data_begins, data_ends, text, bounds, braced)
    if written < 0:
        return None
    payloads = Lines(text.data[:written].toreadonly(), bounds, braced)
    digits = np.empty(int((number_ends - number_begins).sum()) + size, np.uint8)
    digit_bounds = np.empty((2, size), np.int64)
    gather(characters, number_begins, number_ends, digits, 0, digit_bounds, 0)
    numbers = Lines(digits.data.toreadonly(), digit_bounds)
    return Records(payloads, numbers, arrival_us[:size].copy()), body[:begin] + body[end:]


def records_of(entries: Iterable[Mapping[str, Any]]) -> Records:
    """Return as columns what botocore's own parser makes of records."""
    entries = list(entries)
    arrived: list[datetime] = [entry["ApproximateArrivalTimestamp"] for entry in entries]
    return columns(
        [entry["Data"] for entry in entries],
        [entry["SequenceNumber"] for entry in entries],
        [round(moment.timestamp() * 1e6) for moment in arrived],
    )


def columns(
    payloads: Sequence[bytes], numbers: Sequence[str], arrival_us: Sequence[int]
) -> Records:
    """Return records as columns."""
    digits = [number.encode() for number in numbers]
    return Records(_lines_of(payloads), _lines_of(digits), np.array(arrival_us, np.int64))


def _lines_of(texts: Sequence[bytes]) -> Lines:
    ended = [text if text.endswith(b"\n") else text + b"\n" for text in texts]
    begins = np.cumsum([0, *map(len, ended)], dtype=np.int64)[:-1]
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    return Lines(b"".join(ended), np.array([begins, begins + sizes]))
