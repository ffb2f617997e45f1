"""The narrow part of the Kinesis API that the source uses, and who a stream is.

The real client is boto3's, injected: signing, credentials, endpoints and error classes are its.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from botocore.parsers import ResponseParserError

from errors import MissingResourceError
from sources.kinesis.failures import classify


class KinesisClient(Protocol):
    """Five calls of boto3's Kinesis client; `Any` because botocore builds it at run time."""

    meta: Any
    """`meta.events.register(event, handler)` is used for the typed GetRecords parse."""

    def describe_stream_summary(self, **arguments: Any) -> dict[str, Any]:
        """Tell ARN, creation time, retention."""

    def list_shards(self, **arguments: Any) -> dict[str, Any]:
        """List one page of shards."""

    def get_shard_iterator(self, **arguments: Any) -> dict[str, Any]:
        """Turn a position into an iterator."""

    def get_records(self, **arguments: Any) -> dict[str, Any]:
        """Read from an iterator."""

    def close(self) -> None:
        """Close the connection pool."""


class FanOutClient(KinesisClient, Protocol):
    """What enhanced fan-out calls besides."""

    def describe_stream_consumer(self, **arguments: Any) -> dict[str, Any]:
        """Tell a consumer's ARN and status."""

    def register_stream_consumer(self, **arguments: Any) -> dict[str, Any]:
        """Make a consumer."""

    def subscribe_to_shard(self, **arguments: Any) -> dict[str, Any]:
        """Be sent the records of a shard."""


@dataclass(frozen=True, slots=True)
class StreamIdentity:
    """What tells a stream from another of the same name, and how long it keeps records."""

    arn: str
    created_us: int
    open_shards: int
    retention_us: int


def stream_argument(stream: str) -> dict[str, str]:
    """Return how to name the stream in a call: by ARN (also another account's) or by name."""
    return {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}


def field(reply: Mapping[str, Any], name: str) -> Any:
    """Return a field that every reply has (`Any`: a boto3 reply).

    botocore reads a body that was cut as an empty reply, without a word. Taken at its word, an
    empty reply to GetRecords would be the end of the shard.

    Raises:
        ResponseParserError: It's not there; a passing failure of the network.
    """
    if name not in reply:
        message = f"A reply without {name}: its body was cut or is not Kinesis's"
        raise ResponseParserError(message)
    return reply[name]


def missing_stream(stream: str) -> MissingResourceError:
    """Return the error for a stream that doesn't exist."""
    message = f"Kinesis stream {stream!r} does not exist"
    hint = (
        "check its name, region and account, or create it: "
        f"aws kinesis create-stream --stream-name {stream} --shard-count 1"
    )
    return MissingResourceError(message, hint=hint)


def resolve_stream(client: KinesisClient, stream: str) -> StreamIdentity:
    """Ask who a stream is.

    Raises:
        MissingResourceError: There is no such stream.
    """
    try:
        reply = client.describe_stream_summary(**stream_argument(stream))
    except Exception as error:
        if classify(error) == "missing":
            raise missing_stream(stream) from error
        raise
    summary = field(reply, "StreamDescriptionSummary")
    return StreamIdentity(
        arn=summary["StreamARN"],
        created_us=round(summary["StreamCreationTimestamp"].timestamp() * 1e6),
        open_shards=summary["OpenShardCount"],
        retention_us=summary["RetentionPeriodHours"] * 3600 * 1_000_000,
    )
