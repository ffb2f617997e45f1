"""A Kinesis whose replies are ready: for measuring a reader that no real local server could feed.

It answers GetRecords from files in which the records stand as a reply has them, so that a reply is
a head, a slice of a file and a tail: some thousand replies of 5 MB a CPU-second. It knows no
signatures, no quotas and no resharding; a shard that is read to its end is at its tip for ever.
Its iterators say which record of which shard comes next.

    python -m bench.canned_kinesis DIRECTORY [--obey-limit]

writes the port that it took to standard output. Without `--obey-limit` every reply has up to 10,000
records, whatever was asked for, as a server would that ignores Limit.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import mmap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

HASH_KEYS = 1 << 128
_FIRST_SEQUENCE = 49_600_000_000_000 * 10**42
REPLY_RECORDS = 10_000


def write_shards(directory: Path, payloads: Iterable[bytes], shards: int, arrival: float) -> None:
    """Write the records of a stream, dealt out to its shards in turn, where `serve` finds them."""
    files = [(directory / f"{number}.records").open("wb") for number in range(shards)]
    ends: list[list[int]] = [[0] for _ in files]
    for number, payload in enumerate(payloads):
        shard = number % shards
        entry = written(payload, number, arrival)
        ends[shard].append(ends[shard][-1] + files[shard].write(entry))
    for shard, file in enumerate(files):
        file.close()
        np.save(directory / f"{shard}.npy", np.array(ends[shard], np.int64))


def written(payload: bytes, number: int, arrival: float) -> bytes:
    """Return a record as it stands in a reply, and a comma."""
    data = base64.b64encode(payload).decode()
    return (
        f'{{"Data":"{data}","PartitionKey":"2103807459595387724",'
        f'"ApproximateArrivalTimestamp":{arrival:.3f},'
        f'"SequenceNumber":"{_FIRST_SEQUENCE + number}"}},'
    ).encode()


def replied(iterator: str, behind_ms: int, records: bytes) -> bytes:
    """Return a reply to GetRecords; `records` as `written`, the last comma included."""
    head = f'{{"MillisBehindLatest":{behind_ms},"NextShardIterator":"{iterator}","Records":['
    return b"".join((head.encode(), memoryview(records)[:-1], b"]}"))


def described(shards: int) -> bytes:
    """Return a reply to DescribeStreamSummary."""
    summary = {
        "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/canned",
        "StreamName": "canned",
        "StreamStatus": "ACTIVE",
        "StreamCreationTimestamp": 1_700_000_000,
        "RetentionPeriodHours": 24,
        "EnhancedMonitoring": [],
        "OpenShardCount": shards,
    }
    return json.dumps({"StreamDescriptionSummary": summary}).encode()


def listed(shards: int) -> bytes:
    """Return a reply to ListShards: so many that divide the key space equally."""
    entries = [
        {
            "ShardId": f"shardId-{number:012d}",
            "HashKeyRange": {
                "StartingHashKey": str(HASH_KEYS * number // shards),
                "EndingHashKey": str(HASH_KEYS * (number + 1) // shards - 1),
            },
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        }
        for number in range(shards)
    ]
    return json.dumps({"Shards": entries}).encode()


class Stream(Protocol):
    """What answers."""

    def answer(self, operation: str, asked: dict[str, Any]) -> bytes:
        """Return the body of a reply (`Any`: JSON)."""


class _Shards:
    """The shards of a directory, mapped into memory."""

    def __init__(self, directory: Path, *, obey_limit: bool) -> None:
        self.ends = [
            np.load(directory / f"{number}.npy")
            for number in range(len([*directory.glob("*.npy")]))
        ]
        self._data = []
        for number in range(len(self.ends)):
            with (directory / f"{number}.records").open("rb") as file:
                self._data.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._obey_limit = obey_limit

    def answer(self, operation: str, asked: dict[str, Any]) -> bytes:
        """Return the body of a reply."""
        match operation:
            case "GetRecords":
                return self._records(asked)
            case "GetShardIterator":
                shard = int(asked["ShardId"][-12:])
                return json.dumps(
                    {"ShardIterator": f"{shard} {self._place(asked, shard)}"}
                ).encode()
            case "ListShards":
                return listed(len(self.ends))
            case "DescribeStreamSummary":
                return described(len(self.ends))
        message = f"No such operation here: {operation}"
        raise ValueError(message)

    def _records(self, asked: dict[str, Any]) -> bytes:
        shard, first = map(int, asked["ShardIterator"].split())
        ends = self.ends[shard]
        most = min(asked["Limit"], REPLY_RECORDS) if self._obey_limit else REPLY_RECORDS
        last = min(first + most, len(ends) - 1)
        behind_ms = 0 if last == len(ends) - 1 else 60_000
        records = self._data[shard][int(ends[first]) : int(ends[last])]
        return replied(f"{shard} {last}", behind_ms, records)

    def _place(self, asked: dict[str, Any], shard: int) -> int:
        if "StartingSequenceNumber" not in asked:
            return 0
        number = int(asked["StartingSequenceNumber"]) - _FIRST_SEQUENCE
        after = asked["ShardIteratorType"] == "AFTER_SEQUENCE_NUMBER"
        place = (number - shard) // len(self.ends)
        return place + 1 if after else place


async def _converse(
    stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:]
            fields = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head)
            }
            asked = json.loads(await reader.readexactly(int(fields["content-length"])))
            body = stream.answer(fields["x-amz-target"].rpartition(".")[2], asked)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body)
            )
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(stream: Stream) -> None:
    """Answer until ended."""
    server = await asyncio.start_server(
        lambda reader, writer: _converse(stream, reader, writer), "127.0.0.1", 0, backlog=1000
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A Kinesis whose replies are ready.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--obey-limit", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(serve(_Shards(arguments.directory, obey_limit=arguments.obey_limit)))
