"""The templates of deploy/aws are clean, say what the code says, and make what a run needs.

Each stack is made by two servers. moto leaves some kinds of resources out and still says that all
is complete, so each resource is used through boto3, and what moto has left out is listed here.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import generate
from service.local_aws import create_table
from tests.deploy.scanners import findings
from tests.deploy.stacks import DEPLOY, TEMPLATES, Stack, deploy, parameters, template
from tests.rig import Aws, Feeder, Names, Service, wait_until
from tests.servers import Clients

pytestmark = pytest.mark.deploy

LEFT_OUT_BY_MOTO = {
    "AWS::CloudWatch::Alarm",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
}
_OWN_KEYS = "keys that AWS manages: own ones are a choice of the account's"
ACCEPTED = {
    "pipeline.yaml": {
        "CKV_AWS_18": "access to objects is CloudTrail's to log, for all buckets of an account",
        "CKV_AWS_21": "the state bucket keeps three copies by itself; old ones are of no use",
        "CKV_AWS_119": _OWN_KEYS,
    },
    "warehouse.yaml": {"CKV_AWS_149": _OWN_KEYS},
    "service.yaml": {"CKV_AWS_158": _OWN_KEYS},
}
PIPELINE = DEPLOY / "aws/pipeline.yaml"


def test_the_linter_of_templates_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([linter, *TEMPLATES], capture_output=True, text=True, check=False)

    assert len(TEMPLATES) >= 5
    assert (done.returncode, done.stdout) == (0, "")


# Of Glue's tables it knows nothing.
@pytest.mark.parametrize(
    "path",
    [path for path in TEMPLATES if path.name != "raw-tables.yaml"],
    ids=lambda path: path.name,
)
def test_checkov_finds_only_what_is_accepted(path: Path) -> None:
    found = {check for check, _ in findings("cloudformation", path)}

    assert found == set(ACCEPTED.get(path.name, {}))


def test_what_is_written_from_declarations_is_as_they_are() -> None:
    for name, text in generate.templates().items():
        assert (DEPLOY / name).read_text() == text, f"deploy/{name}: run `make docs`"


def test_redshift_is_loaded_as_the_scripts_load_it() -> None:
    delivery = template(DEPLOY / "aws/warehouse.yaml")["Resources"]["AggregateDelivery"]
    command = delivery["Properties"]["RedshiftDestinationConfiguration"]["CopyCommand"]
    rows = (DEPLOY / "redshift/copy.sql").read_text().split("COPY kinewax.ecommerce_rows")[1]

    assert command["CopyOptions"] in rows.split(";")[0]


def test_the_table_is_that_of_the_demo_with_rows_that_expire(moto: Clients) -> None:
    """Neither server sets a time to live from a template, so the template itself is read."""
    create_table(moto("dynamodb"), "the-demos")
    demo = moto("dynamodb").describe_table(TableName="the-demos")["Table"]
    declared = template(PIPELINE)["Resources"]["Incidents"]["Properties"]

    assert declared["KeySchema"] == demo["KeySchema"]
    assert declared["AttributeDefinitions"] == demo["AttributeDefinitions"]
    index, own = demo["GlobalSecondaryIndexes"][0], declared["GlobalSecondaryIndexes"][0]
    assert {name: index[name] for name in own} == own
    ttl = moto("dynamodb").describe_time_to_live(TableName="the-demos")["TimeToLiveDescription"]
    assert declared["TimeToLiveSpecification"]["AttributeName"] == ttl["AttributeName"]


def test_no_name_differs_between_the_templates_and_what_kinewax_takes_by_default() -> None:
    known = [set(template(path)["Parameters"]) for path in TEMPLATES]
    for path in DEPLOY.glob("aws/parameters/*.json"):
        for name in parameters(path.stem):
            assert any(name in names for names in known), f"{path.name}: {name}"


# ---- made by local servers ----------------------------------------------------------------------


@pytest.fixture
def names(unique_name: Callable[[str], str]) -> dict[str, str]:
    """The parameters of ecommerce, under names that nobody else uses."""
    own = {
        name: unique_name(name.lower())
        for name in parameters("ecommerce")
        if name not in ("Domain", "Namespace", "Metric")
    }
    return {**parameters("ecommerce"), **own, "Email": "someone@example.com"}


@pytest.fixture(params=["moto", "ministack"])
def server(request: pytest.FixtureRequest, moto: Clients, ministack: Clients) -> Clients:
    return {"moto": moto, "ministack": ministack}[request.param]


@pytest.fixture
def stack(server: Clients, names: dict[str, str], unique_name: Callable[[str], str]) -> Stack:
    return deploy(server, unique_name("stack"), PIPELINE, names)


def test_every_resource_is_made_but_those_that_moto_is_known_to_leave_out(
    request: pytest.FixtureRequest, stack: Stack, names: dict[str, str]
) -> None:
    declared = template(PIPELINE)
    wanted = {
        name: resource["Type"]
        for name, resource in declared["Resources"].items()
        if resource.get("Condition") not in ("HasEvents", "HasParquetArchive")  # not asked for
    }
    missing = {kind for name, kind in wanted.items() if name not in stack.resources}

    is_moto = request.node.callspec.params["server"] == "moto"
    assert missing == (LEFT_OUT_BY_MOTO if is_moto else set())


def test_streams_table_topic_and_buckets_do_what_a_run_asks_of_them(
    server: Clients, stack: Stack, names: dict[str, str]
) -> None:
    kinesis, dynamodb, s3 = server("kinesis"), server("dynamodb"), server("s3")
    for stream in (names["Stream"], names["SecondStream"]):
        kinesis.get_waiter("stream_exists").wait(
            StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        kinesis.put_record(StreamName=stream, Data=b"{}", PartitionKey="1")
    summary = kinesis.describe_stream_summary(StreamName=names["Stream"])
    assert summary["StreamDescriptionSummary"]["RetentionPeriodHours"] == 48

    key = {"ddb_partition_key": {"S": "a"}, "ddb_sort_key": {"N": "1"}}
    dynamodb.put_item(TableName=names["Table"], Item={**key, "notified": {"S": "pending"}})
    pending = dynamodb.query(
        TableName=names["Table"],
        IndexName="pending-notifications",
        KeyConditionExpression="notified = :pending",
        ExpressionAttributeValues={":pending": {"S": "pending"}},
    )
    assert pending["Count"] == 1

    assert server("sns").publish(TopicArn=stack.outputs["TopicArn"], Message="told")["MessageId"]
    for bucket in (stack.outputs["ArchiveBucket"], stack.outputs["StateBucket"]):
        s3.put_object(Bucket=bucket, Key="a/b", Body=b"x")
        assert s3.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"x"
        encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        assert encryption["Rules"]


def test_delivery_streams_take_records_and_alarms_can_go_off(
    ministack: Clients, names: dict[str, str], unique_name: Callable[[str], str]
) -> None:
    """What moto leaves out."""
    stack = deploy(ministack, unique_name("stack"), PIPELINE, names)
    firehose, cloudwatch = ministack("firehose"), ministack("cloudwatch")
    for name in (names["Aggregates"], names["DeadLetters"]):
        answer = firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": b"{}\n"}])
        assert answer["FailedPutCount"] == 0
    raw = firehose.describe_delivery_stream(DeliveryStreamName=f"{names['Stream']}-raw")
    assert raw["DeliveryStreamDescription"]["DeliveryStreamType"] == "KinesisStreamAsSource"

    alarms = [stack.resources[name] for name in ("ReaderIsBehind", "WritersAreThrottled")]
    alarms.append(stack.resources["ArchiveIsBehind"])
    for alarm in alarms:
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    found = cloudwatch.describe_alarms(AlarmNames=alarms)["MetricAlarms"]
    assert [one["StateValue"] for one in found] == ["ALARM"] * len(alarms)


def test_the_service_runs_on_what_the_template_made(
    ministack: Clients, names: dict[str, str], unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    stack = deploy(ministack, unique_name("stack"), PIPELINE, names)
    queue = _subscribed(ministack, stack.outputs["TopicArn"], unique_name("queue"))
    made = Aws(ministack, _named(names), queue_url=queue)
    feeder = Feeder(made, attackers=3, honest=20)
    service = Service(
        arguments=[
            *("run", "ecommerce", "--source", f"kinesis://{names['Stream']}", "--sinks", "aws"),
            *("--start", "TRIM_HORIZON", "--disorder", "2s", "--epoch-interval", "1s"),
            *("--recovery", str(tmp_path / "recovery"), "--endpoint-url", ministack.endpoint),
        ],
        environment={
            **made.names.settings(),
            "KINEWAX_SINKS__NAMESPACE": names["Namespace"],
            "KINEWAX_RUNTIME__SNAPSHOTS": f"s3://{stack.outputs['StateBucket']}/ecommerce",
        },
        log=tmp_path / "service.log",
    )
    service.start()
    feeder.start()
    try:
        wait_until(lambda: len(made.rows()) >= 3, "incidents stand in the table")
        wait_until(lambda: bool(made.notices()), "the topic's reader is told")
        feeder.stop()
        assert service.drain() == 0, service.log.read_text()[-3000:]
    finally:
        feeder.stop()
        service.kill()
    delivered = _keys(ministack, stack.outputs["ArchiveBucket"])
    assert any(key.startswith("ecommerce-aggregates/20") for key in delivered), delivered
    copies = _keys(ministack, stack.outputs["StateBucket"])
    assert any(key.endswith(".json") for key in copies), copies


def _named(names: dict[str, str]) -> Names:
    return Names(
        stream=names["Stream"],
        incidents_stream=names["SecondStream"],
        table=names["Table"],
        topic=names["Topic"],
        queue="",
        bucket="",
        aggregates=names["Aggregates"],
        dead_letters=names["DeadLetters"],
        namespace=names["Namespace"],
    )


def _subscribed(clients: Clients, topic_arn: str, name: str) -> str:
    """Return the address of a queue that is told what the topic is told."""
    sqs = clients("sqs")
    url: str = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    clients("sns").subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=attributes["QueueArn"])
    return url


def _keys(clients: Clients, bucket: str) -> list[str]:
    listed = clients("s3").list_objects_v2(Bucket=bucket).get("Contents", [])
    return [one["Key"] for one in listed]
