"""One row an incident, at its final value, to a second Kinesis stream.

`{"user_id": 101, "num_actions_per_watermark": 6, "window_start": "..."}`: the key's fields, the
value under its declared name, and the window's start; the partition key is the key. At least once:
readers tell a row that comes twice by key and window start.

Limits (API reference of PutRecords): 500 records and 5 MiB a call with partition keys, 1 MiB a
record, 256 characters a partition key. FailedRecordCount is read, and failed records alone are sent
again; the order of a key's rows is theirs to restore by `window_start`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from messages import Alert, Output
from sinks.base import Part, PartState
from sinks.batched import BatchedPart, ledger_of, part_names, spread
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry
from sinks.failures import Failure, failure_of, reply_field
from sinks.keys import bounded
from sinks.lines import iso, line
from sinks.tally import Outcome, Tally

CALL_BYTES = 5 * 1024 * 1024
CALL_RECORDS = 500
PARTITION_KEY_CHARACTERS = 256

_DELIVERY = DeliveryOptions()


class KinesisClient(Protocol):
    """The one call that is made; boto3's client is one."""

    def put_records(self, **request: Any) -> Mapping[str, Any]:
        """Send records; `Any` because boto3 builds its methods at run time, untyped."""


@dataclass(frozen=True, slots=True)
class KinesisOptions:
    """The second stream.

    Attributes:
        stream: Its name.
        name: Step id, metric label and ledger prefix.
        parts: How many writers; constant for the life of a recovery store.
        delivery: Patience.
    """

    stream: str
    name: str = "kinesis"
    parts: int = 2
    delivery: DeliveryOptions = _DELIVERY


@dataclass(frozen=True, slots=True)
class Record:
    """One record of PutRecords."""

    partition_key: str
    data: bytes
    domain: str


class KinesisSink:
    """A Kinesis stream that gets final alerts."""

    accepts: tuple[type, ...] = (Alert,)

    def __init__(
        self,
        client: KinesisClient,
        options: KinesisOptions,
        *,
        rng: random.Random,
        dead_letters: Callable[[], Part] | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._rng = rng
        self._dead_letters = dead_letters
        self.name = options.name
        self.parts = part_names(options.parts)

    def wants(self, item: Output) -> bool:
        """Take each incident once: at its final value."""
        return isinstance(item, Alert) and item.phase == "final"

    def part_of(self, item: Output) -> str:
        """Keep an incident in one part."""
        return self.parts[spread(getattr(item, "id", ""), len(self.parts))]

    def open(self, part: str, state: PartState | None) -> BatchedPart[Record]:  # noqa: ARG002
        """Open a part and its thread."""
        options = self._options
        tally = Tally(self.name, ledger_of(state))
        desk = DeadLetterDesk(self.name, self._dead_letters)
        destination = f"stream {options.stream}"

        def send(records: Sequence[Record]) -> list[Outcome | Failure]:
            return put(self._client, options.stream, records)

        def refuse(entry: Entry[Record], failure: Failure) -> None:
            desk.take(entry.body.domain, failure, entry.body.data, destination)

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
        return BatchedPart(encode=encode, courier=courier, desk=desk, tally=tally)


# ---- encode: pure -----------------------------------------------------------------------------


def encode(items: Sequence[Output]) -> Iterator[Entry[Record]]:
    """Make a record of each final alert."""
    for item in items:
        if not isinstance(item, Alert):
            continue
        data = line(
            {
                **item.key,
                item.value_name: item.value,
                "window_start": iso(item.window_start_us),
            }
        )
        key = "#".join(str(value) for value in item.key.values()) or "-"
        record = Record(bounded(key, PARTITION_KEY_CHARACTERS), data, item.domain)
        yield Entry(record, len(data) + len(record.partition_key.encode()))


# ---- call -------------------------------------------------------------------------------------


def put(client: KinesisClient, stream: str, records: Sequence[Record]) -> list[Outcome | Failure]:
    """Make one call; each record's own answer says whether it was taken."""
    answer = client.put_records(
        StreamName=stream,
        Records=[{"Data": record.data, "PartitionKey": record.partition_key} for record in records],
    )
    if not reply_field(answer, "FailedRecordCount"):
        return ["acknowledged"] * len(records)
    return [
        failure_of(str(response["ErrorCode"]), str(response.get("ErrorMessage", "")))
        if response.get("ErrorCode")
        else "acknowledged"
        for response in answer["Records"]
    ]
