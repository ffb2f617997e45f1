"""Aggregates, events, late events and dead letters to Firehose: lines of JSON, events also of CSV.

At least once: what was sent but not yet in a snapshot when a process died is sent again. Each
aggregate row carries `row_id`, the same whenever it is sent, and `emitted_at` (the operators put
them there): of rows with one id the latest wins. Late events and dead letters are told apart by
shard and sequence number. Single events have what their domain declares and no more, so a repeated
one can't always be told from another just like it.

Limits (API reference of PutRecordBatch): 500 records and 4 MiB a call, 1,000 KiB a record before
base64. A record is billed in steps of 5 KiB, so rows are packed into few large records. A payload
too large for one record is written as several lines, `piece` 0 to `pieces` - 1: the payload is
their payloads, one behind the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol

from messages import AggregateRows, Events, Late, Output, Reject
from sinks.base import Part, PartState
from sinks.batched import BatchedPart, ledger_of, part_names, spread
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry
from sinks.failures import Failure, failure_of, reply_field
from sinks.lines import KINDS, Fields, csv_line, late_fields, line, reject_fields
from sinks.tally import Outcome, Tally

RECORD_BYTES = 1000 * 1024
# 4 MiB once it is base64, which the reference leaves open.
CALL_BYTES = 3 * 1024 * 1024
CALL_RECORDS = 500
# JSON writes a control character in six bytes, so that a piece of text stays below a record.
_PIECE_BYTES = 160 * 1024
_DELIVERY = DeliveryOptions(linger_seconds=0.5)
Lines = Literal["json", "csv"]


class FirehoseClient(Protocol):
    """The one call that is made; boto3's client is one."""

    def put_record_batch(self, **request: Any) -> Mapping[str, Any]:
        """Send records; `Any` because boto3 builds its methods at run time, untyped."""


@dataclass(frozen=True, slots=True)
class FirehoseOptions:
    """One delivery stream and what goes there.

    Attributes:
        stream: The delivery stream's name.
        name: Step id, metric label and ledger prefix: `aggregates`, `events`, `dead_letters`.
        accepts: The message types that go there.
        domain: Named in the dead letters of refused rows.
        event_lines: How single events are written: all else is JSON.
        parts: How many writers; constant for the life of a recovery store.
        delivery: Patience; by default a batch waits half a second for more.
    """

    stream: str
    name: str = "aggregates"
    accepts: tuple[type, ...] = (AggregateRows,)
    domain: str = ""
    event_lines: Lines = "json"
    parts: int = 2
    delivery: DeliveryOptions = _DELIVERY


class FirehoseSink:
    """A delivery stream."""

    def __init__(
        self,
        client: FirehoseClient,
        options: FirehoseOptions,
        *,
        rng: random.Random,
        dead_letters: Callable[[], Part] | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._rng = rng
        self._dead_letters = dead_letters
        self.name = options.name
        self.accepts = options.accepts
        self.parts = part_names(options.parts)

    def wants(self, item: Output) -> bool:
        """Take all of the accepted types."""
        return isinstance(item, self.accepts)

    def part_of(self, item: Output) -> str:
        """Keep an aggregate, or the events or refused records of a shard, in one part."""
        name = item.aggregate if isinstance(item, AggregateRows) else getattr(item, "shard", "")
        return self.parts[spread(name, len(self.parts))]

    def open(self, part: str, state: PartState | None) -> BatchedPart[bytes]:  # noqa: ARG002
        """Open a part and its thread."""
        options = self._options
        tally = Tally(self.name, ledger_of(state))
        desk = DeadLetterDesk(self.name, self._dead_letters)
        destination = f"delivery stream {options.stream}"

        def send(chunks: Sequence[bytes]) -> list[Outcome | Failure]:
            return put(self._client, options.stream, chunks)

        def refuse(entry: Entry[bytes], failure: Failure) -> None:
            desk.take(options.domain, failure, entry.body, destination)

        courier = Courier(
            sink=self.name,
            destination=destination,
            send=send,
            tally=tally,
            limits=BatchLimits(CALL_RECORDS, CALL_BYTES),
            options=options.delivery,
            rng=random.Random(self._rng.random()),
            refuse=refuse,
        )
        write = partial(encode, event_lines=options.event_lines)
        return BatchedPart(encode=write, courier=courier, desk=desk, tally=tally)


# ---- encode: pure -----------------------------------------------------------------------------


def encode(items: Sequence[Output], event_lines: Lines = "json") -> Iterator[Entry[bytes]]:
    """Write items as chunks of whole lines."""
    for item in items:
        yield from chunks_of(item, event_lines)


def chunks_of(item: Output, event_lines: Lines = "json") -> Iterator[Entry[bytes]]:
    """Write an item as chunks of whole lines, none larger than a record unless one line is."""
    if isinstance(item, Late | Reject):
        lines = list(_payload_lines(item))
        for position, text in enumerate(lines):
            # An item is counted once, with its last piece.
            yield Entry(text, len(text), count=int(position == len(lines) - 1))
        return
    if not isinstance(item, AggregateRows | Events):
        msg = f"Firehose lines are declared for rows, events and rejects, not {item!r}"
        raise TypeError(msg)
    chunk = bytearray()
    count = 0
    is_csv = isinstance(item, Events) and event_lines == "csv"
    for row in item.rows:
        text = csv_line(row.values()) if is_csv else line(row)
        if chunk and len(chunk) + len(text) > RECORD_BYTES:
            yield Entry(bytes(chunk), len(chunk), count)
            chunk.clear()
            count = 0
        chunk += text
        count += 1
    if chunk:
        yield Entry(bytes(chunk), len(chunk), count)


def _payload_lines(item: Late | Reject) -> Iterator[bytes]:
    whole = line(_payload_item_fields(item))
    if len(whole) <= RECORD_BYTES:
        yield whole
        return
    pieces = list(_pieces(item.payload))
    for number, piece in enumerate(pieces):
        fields = _payload_item_fields(replace(item, payload=piece))
        yield line({**fields, "piece": number, "pieces": len(pieces)})


def _payload_item_fields(item: Late | Reject) -> Fields:
    fields = late_fields(item) if isinstance(item, Late) else reject_fields(item)
    return {"kind": KINDS[type(item)], **fields}


def _pieces(payload: bytes) -> Iterator[bytes]:
    """Cut a payload; text is cut between characters, so that its pieces stay text."""
    try:
        payload.decode()
        is_text = True
    except UnicodeDecodeError:
        is_text = False
    start = 0
    while start < len(payload):
        end = min(start + _PIECE_BYTES, len(payload))
        while is_text and end < len(payload) and payload[end] & 0xC0 == 0x80:
            end -= 1
        yield payload[start:end]
        start = end


def pack(chunks: Sequence[bytes]) -> list[list[int]]:
    """Put chunks into records, in order; return the positions of each record's chunks."""
    records: list[list[int]] = []
    room = -1
    for position, chunk in enumerate(chunks):
        if len(chunk) > room or not records:
            records.append([])
            room = RECORD_BYTES
        records[-1].append(position)
        room -= len(chunk)
    return records


# ---- call -------------------------------------------------------------------------------------


def put(client: FirehoseClient, stream: str, chunks: Sequence[bytes]) -> list[Outcome | Failure]:
    """Make one call; a failed record fails all of its chunks, and no others."""
    records = pack(chunks)
    answer = client.put_record_batch(
        DeliveryStreamName=stream,
        Records=[{"Data": b"".join(chunks[position] for position in record)} for record in records],
    )
    results: list[Outcome | Failure] = ["acknowledged"] * len(chunks)
    responses = reply_field(answer, "RequestResponses")
    for record, response in zip(records, responses, strict=True):
        code = response.get("ErrorCode")
        if code:
            failure = failure_of(str(code), str(response.get("ErrorMessage", "")))
            for position in record:
                results[position] = failure
    return results
