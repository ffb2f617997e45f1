"""The calls that the incident table is used through: one conditional write, and the outbox's three.

Every call may raise what the client raises; who calls judges it by `failures.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from botocore.exceptions import ClientError

from sinks.failures import classify, reply_field
from sinks.incident_rows import PENDING, AttributeValue, RowKey, key_attributes

log = logging.getLogger("kinewax.sinks")

RowItem = Mapping[str, AttributeValue]

_SWEEP_ROWS = 1000


class DynamoDbClient(Protocol):
    """The calls that are made; boto3's client is one.

    `Any` because boto3 builds its methods at run time, untyped.
    """

    def update_item(self, **request: Any) -> Mapping[str, Any]:
        """Write one row under a condition."""

    def get_item(self, **request: Any) -> Mapping[str, Any]:
        """Read one row."""

    def query(self, **request: Any) -> Mapping[str, Any]:
        """Read the index of pending notices."""


class IncidentTable:
    """A DynamoDB table with incidents, used by several threads."""

    def __init__(self, client: DynamoDbClient, table: str, pending_index: str) -> None:
        self._client = client
        self._table = table
        self._index = pending_index
        self._has_index = True

    def write(self, update: Mapping[str, Any]) -> bool:
        """Make one conditional write; return whether its condition held."""
        try:
            self._client.update_item(TableName=self._table, **update)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def read(self, key: RowKey) -> RowItem | None:
        """Read a row as of now."""
        answer = self._client.get_item(
            TableName=self._table,
            Key=key_attributes(key),
            ConsistentRead=True,
            ReturnConsumedCapacity="TOTAL",
        )
        # A reply without an item is a good one, and so looks one that was cut. But for this field.
        reply_field(answer, "ConsumedCapacity")
        row: RowItem | None = answer.get("Item")
        return row

    def clear(self, key: RowKey, phase: str, published_at: str) -> None:
        """Take a notice that was published out of the outbox, unless a later one lies there."""
        self.write(
            {
                "Key": key_attributes(key),
                "UpdateExpression": "SET published_at = :at "
                "REMOVE notified, notice_subject, notice_body",
                "ConditionExpression": "notified = :pending AND notice_phase = :phase",
                "ExpressionAttributeValues": {
                    ":at": {"S": published_at},
                    ":pending": {"S": PENDING},
                    ":phase": {"S": phase},
                },
            }
        )

    def pending(self) -> Iterator[RowKey]:
        """List rows with an unpublished notice, as the index knows them: a little behind.

        A table without the index lists none, said once: notices that this process's parts know of
        are published all the same, those of a lost recovery store are not.
        """
        start: dict[str, Any] = {}
        listed = 0
        while self._has_index and listed < _SWEEP_ROWS:
            try:
                answer = self._client.query(
                    TableName=self._table,
                    IndexName=self._index,
                    KeyConditionExpression="notified = :pending",
                    ExpressionAttributeValues={":pending": {"S": PENDING}},
                    **start,
                )
            except ClientError as error:
                failure = classify(error)
                if failure is None or failure.kind not in ("rejected", "missing"):
                    raise
                self._has_index = False
                log.warning("table %s has no index %s", self._table, self._index)
                return
            for item in reply_field(answer, "Items"):
                listed += 1
                yield item["ddb_partition_key"]["S"], item["ddb_sort_key"]["N"]
            if not answer.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
