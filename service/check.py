"""What a run needs at AWS: whether it exists, and whether each action is allowed.

Existence is asked with the Describe calls. A permission is tried with the least harmful real call,
since nothing else tells the truth about roles, resource policies, keys and boundaries together:

    kinesis:GetRecords etc.     one real read of at most one record; positions aren't touched
    kinesis:RegisterStream...   a consumer that is there already, or a name that none may have:
                                refused as in use, or as invalid; a real one would be billed
    kinesis:SubscribeToShard    a shard that no stream has: refused as not found; a real one would
                                take the shard from a run
    kinesis:PutRecords          one record with a hash key beyond 2^128 - 1: refused as invalid
    s3:GetObject                a real read, of which nothing is taken
    dynamodb:UpdateItem         a condition that is never true: refused as failed
    dynamodb:GetItem, Query     a real read of at most one row
    sns:Publish                 a JSON message without its `default` entry: refused as invalid
    cloudwatch:PutMetricData    one value that is not a number: refused as invalid
    firehose:PutRecordBatch     one record of no bytes: taken, adds nothing
    es:ESHttpPost               a bulk request without a document: refused as invalid

A refusal for the reason that we provoked proves that the action was allowed. It is assumed that
AWS authorises a call before it judges its content; where a service did it the other way round, a
missing permission would go unseen, never the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from service.aws import Aws, error_code, explain, is_missing
from service.endpoints import KINESIS, stream_of, topic_arn
from service.job import Job
from service.references import objects_of
from service.search import OpenSearch, is_search
from service.setting_values import redact
from service.settings import Sinks
from sinks.opensearch import reply_of

Outcome = Literal["ok", "missing", "denied", "failed", "untried"]

_DENIED = ("AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized")
_BEYOND_HASH_KEYS = "9" * 39
_NEVER = "attribute_exists(ddb_partition_key) AND attribute_not_exists(ddb_partition_key)"
_CHECK_KEY = {"ddb_partition_key": {"S": "kinewax#check"}, "ddb_sort_key": {"N": "0"}}
_NO_SHARD = "shardId-999999999999"
_NO_CONSUMER_NAME = "kinewax check"  # a blank is none of the characters of a consumer's name
_PENDING_INDEX = "pending-notifications"


class _UntriedError(Exception):
    """A probe needs what another one was to bring."""


@dataclass(frozen=True)
class Probe:
    """One call and what it proves.

    Attributes:
        action: The IAM action, as `kinesis:GetRecords`.
        resource: What it is tried on.
        call: Makes it.
        proves: Error codes that are as good as success.
        existence: Whether it only asks if the resource is there.
    """

    action: str
    resource: str
    call: Callable[[], Any]
    proves: tuple[str, ...] = ()
    existence: bool = False


@dataclass(frozen=True)
class Finding:
    """What a probe found.

    Attributes:
        action: The IAM action.
        resource: What it was tried on.
        outcome: `ok`, `missing`, `denied`, `failed` for anything else, or `untried` where what
            it needs was denied before.
        detail: The service's words; empty when all is well.
    """

    action: str
    resource: str
    outcome: Outcome
    detail: str = ""


def run_probe(probe: Probe) -> Finding:
    """Make a probe's call and judge the answer."""

    def found(outcome: Outcome, detail: str = "") -> Finding:
        return Finding(probe.action, probe.resource, outcome, detail)

    try:
        probe.call()
    except ClientError as error:
        code = error_code(error)
        if code in probe.proves:
            return found("ok")
        if any(denied in code for denied in _DENIED):
            return found("denied", f"allow {probe.action} on {probe.resource}")
        if is_missing(error):
            return found("missing", f"{probe.resource} does not exist")
        return found("failed", f"{code}: {error.response['Error'].get('Message', '')}")
    except BotoCoreError as error:
        return found("failed", str(explain(error, probe.resource)))
    except _UntriedError as error:
        return found("untried", str(error))
    return found("ok")


def probes_of(job: Job, aws: Aws) -> Iterator[Probe]:
    """List what a run of this job needs.

    Raises:
        KinewaxError: The account of a topic can't be asked.
    """
    if job.source.startswith(KINESIS):
        stream, reading = stream_of(job.source), job.settings.source
        yield from _source(stream, aws)
        if reading.consumer == "enhanced":
            yield from _consumer(stream, reading.consumer_name, aws)
    for bucket, key in objects_of(job.domain(), job.settings):
        yield _object(bucket, key, aws)
    sinks = job.settings.sinks
    if "aws" in sinks.to:
        yield from _sinks(sinks, aws, notify=job.notify)
    for target in filter(is_search, sinks.to):
        yield _search(target, sinks.index or job.domain().name, aws)


def missing(job: Job, aws: Aws) -> list[Finding]:
    """Find what doesn't exist; what can't be asked for is left to the run itself."""
    found = [run_probe(probe) for probe in probes_of(job, aws) if probe.existence]
    return [finding for finding in found if finding.outcome == "missing"]


def _source(stream: str, aws: Aws) -> Iterator[Probe]:
    kinesis = aws("kinesis")
    name = {"StreamARN": stream} if stream.startswith("arn:") else {"StreamName": stream}
    resource = f"stream {stream}"
    known: dict[str, str] = {}  # what one call answers, the next one needs

    def list_shards() -> None:
        shards = kinesis.list_shards(**name, MaxResults=1)["Shards"]
        known["shard"] = shards[0]["ShardId"] if shards else "shardId-000000000000"

    def get_iterator() -> None:
        shard = known.get("shard", "shardId-000000000000")
        answer = kinesis.get_shard_iterator(**name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        known["iterator"] = answer["ShardIterator"]

    def get_records() -> None:
        if "iterator" not in known:
            msg = "needs an iterator, which GetShardIterator did not give"
            raise _UntriedError(msg)
        kinesis.get_records(ShardIterator=known["iterator"], Limit=1)

    yield Probe(
        "kinesis:DescribeStreamSummary",
        resource,
        lambda: kinesis.describe_stream_summary(**name),
        existence=True,
    )
    yield Probe("kinesis:ListShards", resource, list_shards)
    yield Probe("kinesis:GetShardIterator", resource, get_iterator)
    yield Probe("kinesis:GetRecords", resource, get_records)


def _consumer(stream: str, consumer: str, aws: Aws) -> Iterator[Probe]:
    kinesis = aws("kinesis")
    resource = f"consumer {consumer} of stream {stream}"
    is_arn = consumer.startswith("arn:")
    known = {"stream": stream} if stream.startswith("arn:") else {}
    if is_arn:
        known["consumer"] = consumer

    def stream_arn() -> str:
        if "stream" not in known:
            reply = kinesis.describe_stream_summary(StreamName=stream)
            known["stream"] = reply["StreamDescriptionSummary"]["StreamARN"]
        return known["stream"]

    def describe() -> None:
        if is_arn:
            kinesis.describe_stream_consumer(ConsumerARN=consumer)
            return
        reply = kinesis.describe_stream_consumer(StreamARN=stream_arn(), ConsumerName=consumer)
        known["consumer"] = reply["ConsumerDescription"]["ConsumerARN"]

    def register() -> None:
        name = consumer if "consumer" in known else _NO_CONSUMER_NAME
        kinesis.register_stream_consumer(StreamARN=stream_arn(), ConsumerName=name)

    def subscribe() -> None:
        # Policies name a consumer with any time of registration, as this made-up one has.
        arn = known.get("consumer") or f"{stream_arn()}/consumer/{consumer}:1"
        start = {"Type": "LATEST"}
        reply = kinesis.subscribe_to_shard(
            ConsumerARN=arn, ShardId=_NO_SHARD, StartingPosition=start
        )
        reply["EventStream"].close()

    yield Probe(
        "kinesis:DescribeStreamConsumer",
        resource,
        describe,
        proves=() if is_arn else ("ResourceNotFoundException",),  # a run will register it
        existence=is_arn,
    )
    if not is_arn:
        yield Probe(
            "kinesis:RegisterStreamConsumer",
            resource,
            register,
            proves=("ResourceInUseException", "InvalidArgumentException", "ValidationException"),
        )
    yield Probe(
        "kinesis:SubscribeToShard", resource, subscribe, proves=("ResourceNotFoundException",)
    )


def _object(bucket: str, key: str, aws: Aws) -> Probe:
    def get() -> None:
        aws("s3").get_object(Bucket=bucket, Key=key)["Body"].close()

    return Probe("s3:GetObject", f"object s3://{bucket}/{key}", get, existence=True)


def _sinks(sinks: Sinks, aws: Aws, *, notify: bool) -> Iterator[Probe]:
    if sinks.table:
        yield from _table(sinks.table, aws)
    if sinks.table and notify:
        yield from _topic(topic_arn(sinks.topic, aws), aws)
    if sinks.stream:
        yield from _second_stream(sinks.stream, aws)
    if sinks.metric:
        yield from _metric(sinks, aws)
    for name in dict.fromkeys((sinks.aggregates, sinks.events, sinks.dead_letters)):
        if name:
            yield from _delivery_stream(name, aws)


def _search(url: str, index: str, aws: Aws) -> Probe:
    def bulk() -> None:
        reply_of(OpenSearch(url, aws).request("POST", "/_bulk", b""), "Bulk")

    invalid = ("parse_exception", "action_request_validation_exception")
    proves = (*invalid, "illegal_argument_exception", "HTTP 400")
    return Probe("es:ESHttpPost", f"index {index} at {redact(url)}", bulk, proves=proves)


def _table(table: str, aws: Aws) -> Iterator[Probe]:
    dynamodb = aws("dynamodb")
    resource = f"table {table}"
    yield Probe(
        "dynamodb:DescribeTable",
        resource,
        lambda: dynamodb.describe_table(TableName=table),
        existence=True,
    )
    yield Probe(
        "dynamodb:UpdateItem",
        resource,
        lambda: dynamodb.update_item(
            TableName=table, Key=_CHECK_KEY, ConditionExpression=_NEVER, **_NOTHING
        ),
        proves=("ConditionalCheckFailedException",),
    )
    yield Probe(
        "dynamodb:GetItem",
        resource,
        lambda: dynamodb.get_item(TableName=table, Key=_CHECK_KEY),
    )
    yield Probe(
        "dynamodb:Query",
        f"{resource}, index {_PENDING_INDEX}",
        lambda: dynamodb.query(
            TableName=table,
            IndexName=_PENDING_INDEX,
            KeyConditionExpression="notified = :pending",
            ExpressionAttributeValues={":pending": {"S": "pending"}},
            Limit=1,
        ),
    )


_NOTHING: Mapping[str, Any] = {
    "UpdateExpression": "SET checked = :true",
    "ExpressionAttributeValues": {":true": {"BOOL": True}},
}


def _topic(arn: str, aws: Aws) -> Iterator[Probe]:
    sns = aws("sns")
    resource = f"topic {arn}"
    yield Probe(
        "sns:GetTopicAttributes",
        resource,
        lambda: sns.get_topic_attributes(TopicArn=arn),
        existence=True,
    )
    yield Probe(
        "sns:Publish",
        resource,
        lambda: sns.publish(TopicArn=arn, MessageStructure="json", Message="{}"),
        proves=("InvalidParameter", "InvalidParameterValue", "ValidationError"),
    )


def _second_stream(stream: str, aws: Aws) -> Iterator[Probe]:
    kinesis = aws("kinesis")
    resource = f"stream {stream}"
    yield Probe(
        "kinesis:DescribeStreamSummary",
        resource,
        lambda: kinesis.describe_stream_summary(StreamName=stream),
        existence=True,
    )
    yield Probe(
        "kinesis:PutRecords",
        resource,
        lambda: kinesis.put_records(
            StreamName=stream,
            Records=[
                {"Data": b"", "PartitionKey": "kinewax", "ExplicitHashKey": _BEYOND_HASH_KEYS}
            ],
        ),
        proves=("InvalidArgumentException", "ValidationException"),
    )


def _metric(sinks: Sinks, aws: Aws) -> Iterator[Probe]:
    cloudwatch = aws("cloudwatch")
    yield Probe(
        "cloudwatch:PutMetricData",
        f"namespace {sinks.namespace}",
        lambda: cloudwatch.put_metric_data(
            Namespace=sinks.namespace,
            MetricData=[{"MetricName": sinks.metric, "Value": float("nan")}],
        ),
        proves=("InvalidParameterValue", "InvalidParameterValueException", "ValidationError"),
    )


def _delivery_stream(name: str, aws: Aws) -> Iterator[Probe]:
    firehose = aws("firehose")
    resource = f"delivery stream {name}"
    yield Probe(
        "firehose:DescribeDeliveryStream",
        resource,
        lambda: firehose.describe_delivery_stream(DeliveryStreamName=name),
        existence=True,
    )
    yield Probe(
        "firehose:PutRecordBatch",
        resource,
        lambda: firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": b""}]),
    )
