"""Writes records to a Kinesis stream: batched, and only what failed is sent again.

Guarantee: when `write` returns, Kinesis has acknowledged every record; else it raises
`DeliveryError` and says how many are missing. Records of one shard keep their order, but for those
that were refused and sent again. A call whose answer got lost is repeated, so a record may be there
twice.

Limits (Kinesis API reference, PutRecords): 500 records a call; 5 MiB a call, with partition keys
(raised to 10 MiB in 2025; the older bound holds everywhere); 1 MiB a record with its key, unless
the stream was configured for more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, NoCredentialsError

from errors import DeliveryError, MissingResourceError
from producers.records import Record

MAX_RECORDS_PER_CALL = 500
MAX_CALL_BYTES = 5 * 1024 * 1024
MAX_RECORD_BYTES = 1024 * 1024
DEADLINE_SECONDS = 20.0
_FIRST_BACKOFF_SECONDS = 0.05
_LONGEST_BACKOFF_SECONDS = 2.0

_PASSING_CODES = frozenset(
    {
        "InternalFailure",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
    }
)


class KinesisClient(Protocol):
    """What is used of boto3's Kinesis client."""

    # Any: boto3's clients are made at run time and untyped.
    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        """Write up to 500 records."""


class KinesisWriter:
    """Writes to one stream; used by one thread.

    Args:
        client: boto3's Kinesis client.
        stream: The stream's name.
        sleep: Waits for so many seconds.
        monotonic: A clock in seconds that only goes forward.
        rng: Jitter comes from here.
        pack: Turns records into those that travel, as KPL aggregates.
        deadline_seconds: How long a batch may take, with all attempts.

    Attributes:
        written: Records that Kinesis acknowledged.
        retried: Records sent again, once counted for each time.
        calls: PutRecords calls made.
    """

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        *,
        sleep: Callable[[float], None],
        monotonic: Callable[[], float],
        rng: random.Random,
        pack: Callable[[Sequence[Record]], list[Record]] | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._client = client
        self._stream = stream
        self._sleep = sleep
        self._monotonic = monotonic
        self._rng = rng
        self._pack = pack
        self._deadline_seconds = deadline_seconds
        self.written = 0
        self.retried = 0
        self.calls = 0

    def write(self, records: Sequence[Record]) -> None:
        """Write all records; return when they are acknowledged.

        Raises:
            DeliveryError: Some were refused, or not taken within the deadline.
            MissingResourceError: There is no such stream.
        """
        for batch in batches(self._pack(records) if self._pack else records):
            self._write_batch([{"Data": r.payload, "PartitionKey": r.partition_key} for r in batch])

    def close(self) -> None:
        """Nothing is left: `write` has waited for everything."""

    def _write_batch(self, entries: list[dict[str, Any]]) -> None:
        """Send a batch until nothing of it is missing, or its time is over."""
        deadline = self._monotonic() + self._deadline_seconds
        attempt = 0
        while True:
            sent = len(entries)
            entries, reason = self._send(entries)
            self.written += sent - len(entries)
            if not entries:
                return
            attempt += 1
            # Full jitter: writers that were refused together don't come back together.
            backoff = min(_FIRST_BACKOFF_SECONDS * 2**attempt, _LONGEST_BACKOFF_SECONDS)
            pause = self._rng.uniform(0, backoff)
            if self._monotonic() + pause >= deadline:
                msg = (
                    f"stream {self._stream}: {len(entries):,} records could not be written in "
                    f"{attempt} attempts over {self._deadline_seconds:g} s: {reason}"
                )
                throttled = "ThroughputExceeded" in reason or "Throttling" in reason
                hint = "lower the rate or add shards" if throttled else "check the network"
                raise DeliveryError(msg, hint=f"{hint}, then run it again")
            self._sleep(pause)
            self.retried += len(entries)

    def _send(self, entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
        """Make one call; return the entries that are still to be written, and why."""
        self.calls += 1
        try:
            answer = self._client.put_records(StreamName=self._stream, Records=entries)
        except ClientError as error:
            return entries, self._passing(error)
        except (ConnectionError, HTTPClientError) as error:
            return entries, str(error)
        except NoCredentialsError as error:
            msg = f"stream {self._stream}: {error}"
            raise DeliveryError(msg, hint="set up AWS credentials") from error
        if "FailedRecordCount" not in answer:
            # botocore reads a body that was cut as an empty reply: nobody knows what was written.
            return entries, "a reply that was cut"
        if not answer["FailedRecordCount"]:
            return [], ""
        results = answer["Records"]
        failed = [
            entry for entry, result in zip(entries, results, strict=True) if result.get("ErrorCode")
        ]
        codes = sorted({result["ErrorCode"] for result in results if result.get("ErrorCode")})
        return failed, ", ".join(codes)

    def _passing(self, error: ClientError) -> str:
        """Return the name of an error that may pass; raise any other."""
        code = error.response.get("Error", {}).get("Code", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _PASSING_CODES or status >= 500:
            return code or f"HTTP {status}"
        if code == "ResourceNotFoundException":
            msg = f"there is no stream {self._stream}"
            raise MissingResourceError(msg, hint="create it, or name another") from error
        msg = f"stream {self._stream}: {error}"
        raise DeliveryError(msg) from error


def batches(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records into calls.

    Raises:
        DeliveryError: A record is larger than Kinesis takes.
    """
    first = size = 0
    for index, record in enumerate(records):
        weight = len(record.payload) + len(record.partition_key.encode())
        if weight > MAX_RECORD_BYTES:
            msg = (
                f"a record of {weight:,} bytes is larger than Kinesis takes ({MAX_RECORD_BYTES:,})"
            )
            raise DeliveryError(msg)
        if index - first == MAX_RECORDS_PER_CALL or size + weight > MAX_CALL_BYTES:
            yield records[first:index]
            first, size = index, 0
        size += weight
    if first < len(records):
        yield records[first:]
