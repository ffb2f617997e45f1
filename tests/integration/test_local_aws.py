"""The local AWS server: there when asked for, on loopback only, gone afterwards."""

import json
import os
import sys
from pathlib import Path

import pytest

from errors import KinewaxError, MissingResourceError
from service import local_aws, settings
from service.aws import Aws
from service.local_aws import REGION, LocalAws, Resources, create, local_environment

RESOURCES = Resources(
    streams=(("in-stream", 4), ("out-stream", 1)),
    table="incidents",
    topic="notices",
    queue="reader",
    bucket="rows-bucket",
    delivery_streams=("aggregates", "dead-letters"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalAws(tmp_path_factory.mktemp("local-aws")) as running:
        yield running


@pytest.fixture(scope="module")
def clients(server):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in local_environment(server.endpoint).items():
            patch.setenv(name, value)
        yield Aws(settings.Aws(endpoint_url=server.endpoint, region=REGION))


@pytest.fixture(scope="module")
def queue_url(clients):
    return create(clients, RESOURCES)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def listening_addresses(pid: int) -> set[str]:
    """Return the local addresses on which a process listens, from the kernel's tables."""
    sockets = {
        os.readlink(link).removeprefix("socket:[").rstrip("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(link).startswith("socket:[")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in sockets:
                found.add(columns[1].split(":")[0])
    return found


def test_it_listens_on_loopback_alone(server):
    assert listening_addresses(server.pid) == {"0100007F"}


def test_everything_a_domain_needs_is_created(clients, queue_url):
    shards = clients("kinesis").list_shards(StreamName="in-stream")["Shards"]
    assert len(shards) == 4
    table = clients("dynamodb").describe_table(TableName="incidents")["Table"]
    assert table["TableStatus"] == "ACTIVE"
    assert {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]} == {
        "ddb_partition_key": "HASH",
        "ddb_sort_key": "RANGE",
    }
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "pending-notifications"
    ttl = clients("dynamodb").describe_time_to_live(TableName="incidents")
    assert ttl["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "expires_at",
    }
    names = clients("firehose").list_delivery_streams()["DeliveryStreamNames"]
    assert set(names) == {"aggregates", "dead-letters"}


def test_a_row_is_in_the_pending_index_only_while_it_is_pending(clients, queue_url):
    dynamodb = clients("dynamodb")
    key = {"ddb_partition_key": {"S": "userid#1"}, "ddb_sort_key": {"N": "1767225600"}}

    def pending() -> int:
        return dynamodb.query(
            TableName="incidents",
            IndexName="pending-notifications",
            KeyConditionExpression="notified = :p",
            ExpressionAttributeValues={":p": {"S": "pending"}},
        )["Count"]

    dynamodb.put_item(TableName="incidents", Item=key | {"notified": {"S": "pending"}})
    assert pending() == 1
    dynamodb.update_item(TableName="incidents", Key=key, UpdateExpression="REMOVE notified")
    assert pending() == 0


def test_a_notice_reaches_the_queue_with_its_subject(clients, queue_url):
    topic = clients("sns").list_topics()["Topics"][0]["TopicArn"]
    clients("sns").publish(TopicArn=topic, Subject="a subject", Message="a body")
    answer = clients("sqs").receive_message(QueueUrl=queue_url, WaitTimeSeconds=5)
    envelope = json.loads(answer["Messages"][0]["Body"])
    assert (envelope["Subject"], envelope["Message"]) == ("a subject", "a body")


def test_rows_handed_to_firehose_arrive_in_the_bucket_under_its_name(clients, queue_url):
    firehose, s3 = clients("firehose"), clients("s3")
    firehose.put_record_batch(
        DeliveryStreamName="aggregates", Records=[{"Data": b'{"a":1}\n'}, {"Data": b'{"a":2}\n'}]
    )
    found = s3.list_objects_v2(Bucket="rows-bucket", Prefix="aggregates/")["Contents"]
    bodies = [s3.get_object(Bucket="rows-bucket", Key=o["Key"])["Body"].read() for o in found]
    assert b"".join(bodies) == b'{"a":1}\n{"a":2}\n'


def test_it_is_gone_after_the_block_and_also_after_an_error_in_it(tmp_path):
    class Unlucky(Exception):
        pass

    seen = []

    def unlucky() -> None:
        with LocalAws(tmp_path) as running:
            seen.append(running.pid)
            assert alive(running.pid)
            raise Unlucky

    with pytest.raises(Unlucky):
        unlucky()
    assert not alive(seen[0])


def test_a_missing_server_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))
    with pytest.raises(MissingResourceError, match="not installed") as caught, LocalAws(tmp_path):
        pass
    assert "make setup" in caught.value.hint
    assert caught.value.exit_code == 3


def test_a_server_that_ends_at_once_is_an_error_with_its_last_words(tmp_path, monkeypatch):
    program = tmp_path / "moto_server"
    program.write_text("#!/bin/sh\necho something is wrong\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(local_aws, "_program", lambda: program)
    with pytest.raises(KinewaxError, match="something is wrong"), LocalAws(tmp_path / "home"):
        pass


def test_its_environment_hides_every_real_account():
    environment = local_environment("http://127.0.0.1:1")
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert (
        environment["AWS_CONFIG_FILE"] == environment["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    )
    assert environment["AWS_EC2_METADATA_DISABLED"] == "true"
