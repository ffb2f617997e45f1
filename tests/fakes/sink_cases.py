"""Every sink behind one face, so that one contract test holds them all.

A `Case` has a sink, items for it, what its destination holds by now (read past the sink, by other
calls), and a way to take the destination away.
"""

from __future__ import annotations

import base64
import errno
import io
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from botocore.config import Config

from messages import AggregateRows, Alert, Digest, Events, Late, Output, Reject
from service.aws import Aws as ServiceAws
from service.search import OpenSearch
from service.settings import Settings
from sinks.base import Part, Sink
from sinks.cloudwatch import CloudWatchOptions, CloudWatchSink
from sinks.delivery import DeliveryOptions
from sinks.files import FilesSink, prepare
from sinks.firehose import FirehoseOptions, FirehoseSink
from sinks.incidents import IncidentsOptions, IncidentsSink
from sinks.kinesis import KinesisOptions, KinesisSink
from sinks.opensearch import OpenSearchOptions, OpenSearchSink
from sinks.stdout import StdoutSink
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.opensearch import FakeOpenSearch
from tests.servers import FAKE_CREDENTIALS, REGION, Clients

START_US = 1_700_000_000_000_000
PATIENT = DeliveryOptions(first_pause_seconds=0.02, longest_pause_seconds=0.1)
IMPATIENT = replace(PATIENT, deadline_seconds=0.4)
SEED_KEY = "userid#{user_id}#appserver#app-server-tomcat-123"
METRIC = "incidents"
SEED_SUBJECT = (
    "Possible DDoS detected, by user_id {user_id} with a number of attempts of : {value}/window"
)


def now_us() -> int:
    return time.time_ns() // 1000


def alert(user_id: int, phase: str = "final", value: int = 6, **changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": f"ecommerce/high_volume/user_id={user_id}/{START_US}",
        "domain": "ecommerce",
        "rule": "high_volume",
        "severity": "warning" if value <= 10 else "high",
        "phase": phase,
        "key": {"user_id": user_id},
        "window_start_us": START_US,
        "window_end_us": START_US + 10_000_000,
        "value": value,
        "value_name": "num_actions_per_watermark",
        "threshold": 5.0 if value <= 10 else 10.0,
        "detected_at_us": now_us(),
    }
    return Alert(**(fields | changes))


def digest(incidents: int = 7, worst: int = 999) -> Digest:
    return Digest(
        id=f"ecommerce/high_volume/digest/{START_US}",
        domain="ecommerce",
        rule="high_volume",
        window_start_us=START_US,
        window_end_us=START_US + 10_000_000,
        incidents=incidents,
        worst=(alert(worst, value=99),),
    )


def rows(first: int, count: int, padding: str = "") -> AggregateRows:
    return AggregateRows(
        "by_minute",
        tuple(
            {"row_id": f"row-{number}", "events": number, "padding": padding}
            for number in range(first, first + count)
        ),
    )


def late(number: int) -> Late:
    return Late(
        "ecommerce", "user_actions", START_US, START_US + 5, "shard-0", str(number), b'{"a": 1}'
    )


def reject(number: int, payload: bytes = b"\xff\xfe") -> Reject:
    return Reject("ecommerce", "json", "not JSON", "shard-0", str(number), payload)


@dataclass
class Case:
    """A sink and its destination."""

    name: str
    sink: Sink
    items: Callable[[int, int], Sequence[Output]]
    arrived: Callable[[], Counter[str]]
    """What is at the destination: names that `names` gives the items."""
    names: Callable[[int, int], set[str]]
    away: Callable[[], AbstractContextManager[object]]
    """Takes the destination away for a while."""
    action: str = ""
    idempotent: bool = False
    """Whether what is written twice is there once."""
    takes_back: bool = False
    """Whether a part opened anew takes back what no snapshot vouches for."""

    def open(self, state: dict[str, Any] | None = None) -> Part:
        return self.sink.open(self.sink.part_of(self.items(0, 1)[0]), state)

    def balance(self, state: dict[str, Any]) -> tuple[int, int]:
        """Return what was taken and what has an outcome, by the part's own account."""
        ledger = state["ledger"]
        taken = sum(n for name, n in ledger.items() if name.endswith((".taken", ".raised")))
        outcomes = (".written", ".already_there", ".dead_lettered", ".dropped")
        settled = sum(
            n
            for name, n in ledger.items()
            if name.endswith(outcomes) and "notifications" not in name and "digests" not in name
        )
        return taken, settled


class Aws:
    """Resources of one test on a shared server: made past the proxy, used through it."""

    def __init__(self, server: Clients, proxy: FaultProxy, name: str) -> None:
        self.server = server
        self.proxy = proxy
        self.url = proxy.url
        self.name = name

    @classmethod
    def behind(cls, url: str, name: str) -> Aws:
        """Return the same place as another process sees it: sinks only."""
        place = cls.__new__(cls)
        place.url = url
        place.name = name
        return place

    def client(self, service: str, read_timeout: float = 2.0) -> Any:
        """Return a client as the service makes them: no retries of its own."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(
                connect_timeout=2,
                read_timeout=read_timeout,
                retries={"total_max_attempts": 1},
                max_pool_connections=32,
            ),
        )

    # ---- incidents ----

    def table(self, *, index: bool = True) -> str:
        keys: list[Any] = [
            {"AttributeName": "ddb_partition_key", "KeyType": "HASH"},
            {"AttributeName": "ddb_sort_key", "KeyType": "RANGE"},
        ]
        attributes: list[Any] = [
            {"AttributeName": "ddb_partition_key", "AttributeType": "S"},
            {"AttributeName": "ddb_sort_key", "AttributeType": "N"},
        ]
        indexes: dict[str, Any] = {}
        if index:
            attributes.append({"AttributeName": "notified", "AttributeType": "S"})
            indexes["GlobalSecondaryIndexes"] = [
                {
                    "IndexName": "pending-notifications",
                    "KeySchema": [{"AttributeName": "notified", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ]
        self.server("dynamodb").create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=keys,
            AttributeDefinitions=attributes,
            **indexes,
        )
        return self.name

    def topic(self) -> str:
        """Make a topic and the queue of somebody who subscribed to it."""
        arn: str = self.server("sns").create_topic(Name=self.name)["TopicArn"]
        url = self.server("sqs").create_queue(QueueName=self.name)["QueueUrl"]
        queue = self.server("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        self.server("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
        return arn

    def received(self) -> list[dict[str, Any]]:
        """Take what the subscriber got: subject, and message as JSON."""
        url = self.server("sqs").get_queue_url(QueueName=self.name)["QueueUrl"]
        found = []
        while (
            messages := self.server("sqs")
            .receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            .get("Messages")
        ):
            for message in messages:
                body = orjson.loads(message["Body"])
                found.append({"subject": body["Subject"], "body": orjson.loads(body["Message"])})
                self.server("sqs").delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )
        return found

    def scan(self) -> list[dict[str, Any]]:
        """Read all rows, each attribute as its bare value."""
        pages = (
            self.server("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.name, ConsistentRead=True)
        )
        return [
            {name: next(iter(value.values())) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def incidents(
        self, dead_letters: Callable[[], Part] | None = None, **options: Any
    ) -> IncidentsSink:
        given: dict[str, Any] = {
            "topic_arn": f"arn:aws:sns:{REGION}:123456789012:{self.name}",
            "domain": "ecommerce",
            "table": self.name,
            "key_templates": {"high_volume": SEED_KEY},
            "subject_templates": {"high_volume": SEED_SUBJECT},
            "delivery": PATIENT,
            "notify_seconds": 20.0,
        }
        return IncidentsSink(
            self.client("dynamodb"),
            self.client("sns"),
            IncidentsOptions(**(given | options)),
            clock=now_us,
            rng=random.Random(1),
            dead_letters=dead_letters,
        )

    # ---- Firehose ----

    def delivery_stream(self) -> str:
        self.server("s3").create_bucket(
            Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.server("firehose").create_delivery_stream(
            DeliveryStreamName=self.name,
            ExtendedS3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/any",
                "BucketARN": f"arn:aws:s3:::{self.name}",
            },
        )
        return self.name

    def delivered_lines(self) -> list[dict[str, Any]]:
        """Read all lines that reached the bucket."""
        pages = self.server("s3").get_paginator("list_objects_v2").paginate(Bucket=self.name)
        blobs = (
            self.server("s3").get_object(Bucket=self.name, Key=item["Key"])["Body"].read()
            for page in pages
            for item in page.get("Contents", [])
        )
        return [orjson.loads(text) for blob in blobs for text in blob.splitlines()]

    def firehose(
        self, dead_letters: Callable[[], Part] | None = None, **options: Any
    ) -> FirehoseSink:
        given = {"stream": self.name, "delivery": PATIENT, "domain": "ecommerce"}
        return FirehoseSink(
            self.client("firehose"),
            FirehoseOptions(**(given | options)),
            rng=random.Random(1),
            dead_letters=dead_letters,
        )

    # ---- Kinesis ----

    def stream(self) -> str:
        self.server("kinesis").create_stream(StreamName=self.name, ShardCount=2)
        self.server("kinesis").get_waiter("stream_exists").wait(StreamName=self.name)
        return self.name

    def records(self) -> list[dict[str, Any]]:
        """Read the whole stream: partition key and data of each record."""
        kinesis = self.server("kinesis")
        found = []
        for shard in kinesis.list_shards(StreamName=self.name)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=self.name,
                ShardId=shard["ShardId"],
                ShardIteratorType="TRIM_HORIZON",
            )["ShardIterator"]
            found += kinesis.get_records(ShardIterator=iterator)["Records"]
        return [
            {"partition_key": record["PartitionKey"], **orjson.loads(record["Data"])}
            for record in found
        ]

    def kinesis(
        self, dead_letters: Callable[[], Part] | None = None, **options: Any
    ) -> KinesisSink:
        given: dict[str, Any] = {"stream": self.name, "delivery": PATIENT}
        return KinesisSink(
            self.client("kinesis"),
            KinesisOptions(**(given | options)),
            rng=random.Random(1),
            dead_letters=dead_letters,
        )

    # ---- CloudWatch ----

    def counted(self, severity: str) -> dict[str, float]:
        """Read the metric's sum and number of samples."""
        end = datetime.now(UTC) + timedelta(hours=1)
        points = self.server("cloudwatch").get_metric_statistics(
            Namespace=self.name,
            MetricName=METRIC,
            Dimensions=[{"Name": "severity", "Value": severity}],
            StartTime=end - timedelta(days=2),
            EndTime=end,
            Period=60,
            Statistics=["Sum", "SampleCount"],
        )["Datapoints"]
        return {
            "sum": sum(point["Sum"] for point in points),
            "samples": sum(point["SampleCount"] for point in points),
        }

    def cloudwatch(self, **options: Any) -> CloudWatchSink:
        given = {"namespace": self.name, "metric": METRIC, "delivery": PATIENT}
        return CloudWatchSink(
            self.client("cloudwatch"), CloudWatchOptions(**(given | options)), rng=random.Random(1)
        )

    @contextmanager
    def without(self, *actions: str) -> Iterator[None]:
        """Let nothing through to the destination."""
        for action in actions:
            self.proxy.drop(action)
        yield
        self.proxy.mend()


# ---- the cases ----------------------------------------------------------------------------------


def _finals(first: int, count: int) -> list[Alert]:
    return [alert(number) for number in range(first, first + count)]


def incidents_case(aws: Aws, delivery: DeliveryOptions) -> Case:
    aws.table()
    sink = aws.incidents(topic_arn=aws.topic(), parts=1, delivery=delivery)
    return Case(
        name="incidents",
        sink=sink,
        items=_finals,
        arrived=lambda: Counter(row["user_id"] for row in aws.scan()),
        names=lambda first, count: {str(number) for number in range(first, first + count)},
        away=lambda: aws.without("UpdateItem"),
        action="UpdateItem",
        idempotent=True,
    )


def aggregates_case(aws: Aws, delivery: DeliveryOptions) -> Case:
    aws.delivery_stream()
    return Case(
        name="aggregates",
        sink=aws.firehose(delivery=delivery),
        # Rows of 200 KiB: five make a record, so that a call has several.
        items=lambda first, count: [
            rows(number, 1, padding="x" * 200_000) for number in range(first, first + count)
        ],
        arrived=lambda: Counter(line["row_id"] for line in aws.delivered_lines()),
        names=lambda first, count: {f"row-{number}" for number in range(first, first + count)},
        away=lambda: aws.without("PutRecordBatch"),
        action="PutRecordBatch",
    )


def dead_letters_case(aws: Aws, delivery: DeliveryOptions) -> Case:
    aws.delivery_stream()
    return Case(
        name="dead_letters",
        sink=aws.firehose(name="dead_letters", accepts=(Late, Reject), delivery=delivery),
        items=lambda first, count: [
            late(number) if number % 2 else reject(number, b"\xff" * 200_000)
            for number in range(first, first + count)
        ],
        arrived=lambda: Counter(line["sequence_number"] for line in aws.delivered_lines()),
        names=lambda first, count: {str(number) for number in range(first, first + count)},
        away=lambda: aws.without("PutRecordBatch"),
        action="PutRecordBatch",
    )


def kinesis_case(aws: Aws, delivery: DeliveryOptions) -> Case:
    aws.stream()
    return Case(
        name="kinesis",
        sink=aws.kinesis(delivery=delivery),
        items=_finals,
        arrived=lambda: Counter(str(record["user_id"]) for record in aws.records()),
        names=lambda first, count: {str(number) for number in range(first, first + count)},
        away=lambda: aws.without("PutRecords"),
        action="PutRecords",
    )


def cloudwatch_case(aws: Aws, delivery: DeliveryOptions) -> Case:
    hour_us = 3_600_000_000
    end_us = (now_us() // hour_us - 1) * hour_us

    def items(first: int, count: int) -> list[Alert]:
        return [
            alert(number, severity=f"level-{number}", window_end_us=end_us)
            for number in range(first, first + count)
        ]

    def arrived() -> Counter[str]:
        sums = {f"level-{n}": int(aws.counted(f"level-{n}")["sum"]) for n in range(12)}
        return Counter({name: count for name, count in sums.items() if count})

    return Case(
        name="cloudwatch",
        sink=aws.cloudwatch(delivery=delivery),
        items=items,
        arrived=arrived,
        names=lambda first, count: {f"level-{number}" for number in range(first, first + count)},
        away=lambda: aws.without("PutMetricData"),
        action="PutMetricData",
    )


def files_case(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    prepare(directory, ["by_minute"])

    @contextmanager
    def full_disk() -> Iterator[None]:
        def write(descriptor: int, content: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            yield

    def arrived() -> Counter[str]:
        lines = (directory / "alerts.jsonl").read_bytes().splitlines()
        return Counter(str(orjson.loads(text)["key"]["user_id"]) for text in lines)

    return Case(
        name="files",
        sink=FilesSink(directory, ["by_minute"]),
        items=_finals,
        arrived=arrived,
        names=lambda first, count: {str(number) for number in range(first, first + count)},
        away=full_disk,
        takes_back=True,
    )


class Pipe(io.RawIOBase):
    """A reader's end that can go away."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.gone = False

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        if self.gone:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        self.written += bytes(content)
        return len(content)


def stdout_case() -> Case:
    pipe = Pipe()

    @contextmanager
    def gone() -> Iterator[None]:
        pipe.gone = True
        yield
        pipe.gone = False

    return Case(
        name="stdout",
        sink=StdoutSink(pipe),  # type: ignore[arg-type]
        items=_finals,
        arrived=lambda: Counter(
            str(orjson.loads(text)["key"]["user_id"]) for text in pipe.written.splitlines()
        ),
        names=lambda first, count: {str(number) for number in range(first, first + count)},
        away=gone,
    )


SEARCH_PROPERTIES = {
    "id": {"type": "text"},
    "type": {"type": "keyword"},
    "wiki": {"type": "keyword"},
    "change_datetime": {"type": "date", "format": "yyyy-MM-dd HH:mm:ss"},
    "change_timestamp": {"type": "long"},
}


def change(number: int, **changes: Any) -> Events:
    """Return one event as a wiki's, in a message of its own."""
    row: dict[str, Any] = {
        "id": str(number),
        "type": "edit",
        "wiki": "enwiki",
        "change_datetime": "2023-11-14 22:13:20",
        "change_timestamp": START_US // 1_000_000,
    }
    return Events("shard-0", (row | changes,), (f"change-{number}",), (START_US,))


def search_sink(
    server: FakeOpenSearch,
    delivery: DeliveryOptions = PATIENT,
    dead_letters: Callable[[], Part] | None = None,
    **options: Any,
) -> OpenSearchSink:
    given: dict[str, Any] = {
        "index": "wiki",
        "properties": SEARCH_PROPERTIES,
        "domain": "wiki",
        "delivery": delivery,
    }
    return OpenSearchSink(
        OpenSearch(server.url, ServiceAws(Settings().aws)),
        OpenSearchOptions(**(given | options)),
        rng=random.Random(1),
        dead_letters=dead_letters,
    )


def search_case(server: FakeOpenSearch, delivery: DeliveryOptions) -> Case:
    return Case(
        name="search",
        sink=search_sink(server, delivery),
        items=lambda first, count: [change(number) for number in range(first, first + count)],
        arrived=lambda: Counter(server.documents().keys()),
        names=lambda first, count: {f"change-{number}" for number in range(first, first + count)},
        away=server.away,
        idempotent=True,
    )


def payload_of(line: dict[str, Any]) -> bytes:
    """Read a payload back, in whichever way it was written."""
    if "payload_base64" in line:
        return base64.b64decode(line["payload_base64"])
    return str(line.get("payload", line.get("event"))).encode()


AWS_CASES: dict[str, Callable[[Aws, DeliveryOptions], Case]] = {
    "incidents": incidents_case,
    "aggregates": aggregates_case,
    "dead_letters": dead_letters_case,
    "kinesis": kinesis_case,
    "cloudwatch": cloudwatch_case,
}
ALL_CASES = (*AWS_CASES, "search", "files", "stdout")


@contextmanager
def opened(case: Case, state: dict[str, Any] | None = None) -> Iterator[Part]:
    """Yield the part that the case's items belong to, closed afterwards."""
    part = case.open(state)
    try:
        yield part
    finally:
        part.close()
