"""A local AWS server as a child process, and the resources of a domain on it.

For the demo and for trying things out: loopback only, a free port, all in memory, gone when it is
stopped. It is moto's server, from the extra `local`; why that one, and what it can't do, is in
docs/decisions/0005-local-aws-server.md. No real account is ever reached: children and clients are
to run with `local_environment`, whose credentials are made up and whose address is the server's.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from errors import KinewaxError, MissingResourceError
from service.signals import uninterrupted
from service.tied import tied

REGION = "eu-west-1"
ACCOUNT = "123456789012"
"""The account that moto plays."""
PENDING_INDEX = "pending-notifications"

_PROGRAM = "moto_server"
_HEALTH = "/moto-api/"
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_ATTEMPTS = 3
_POLL_SECONDS = 0.05


def local_environment(endpoint: str) -> dict[str, str]:
    """Return variables with which a process can reach the local server and nothing else."""
    return {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


class LocalAws:
    """A running server; leave the `with` block and it is stopped.

    Args:
        home: A directory for its log.

    Attributes:
        endpoint: Its address.

    Raises:
        MissingResourceError: The server is not installed.
        KinewaxError: It didn't start.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    def __enter__(self) -> LocalAws:
        self.start()
        return self

    def start(self) -> None:
        """Start it, and return when it answers."""
        program = _program()
        self._home.mkdir(parents=True, exist_ok=True)
        log = self._home / "local-aws.log"
        try:
            # A port that was free may be taken by the time the server binds it: try another.
            for _ in range(_ATTEMPTS):
                if self._start(program, log):
                    return
                self.stop()
        except BaseException:
            self.stop()
            raise
        lines = log.read_text(errors="replace").strip().splitlines()
        msg = f"{_PROGRAM} didn't start: {lines[-1] if lines else 'it said nothing'}"
        raise KinewaxError(msg, hint=f"see {log}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return None if self._process is None else self._process.pid

    def stop(self) -> None:
        """Stop the server by its process id; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, program: Path, log: Path) -> bool:
        """Start it on a free port; True once it answers, False when it ended or never did."""
        port = _free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        with log.open("wb") as output, uninterrupted():
            self._process = subprocess.Popen(
                tied([str(program), "-H", "127.0.0.1", "-p", str(port)]),
                cwd=self._home,
                env={**os.environ, **local_environment(self.endpoint)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: we stop it when all else has ended
            )
        process = self._process
        # Straight to the socket: a proxy set for the machine must not see loopback traffic.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with opener.open(self.endpoint + _HEALTH, timeout=2) as answer:
                    # Another program on that port would answer too: ours must still be alive.
                    return bool(answer.status == 200) and process.poll() is None
            except (urllib.error.URLError, OSError):
                time.sleep(_POLL_SECONDS)
        return False


@dataclass(frozen=True, slots=True)
class Resources:
    """What a domain needs at AWS, by name.

    Attributes:
        streams: Kinesis streams and how many shards each has.
        table: The DynamoDB table of incidents.
        topic: The SNS topic of notices.
        queue: An SQS queue that subscribes to the topic.
        bucket: The S3 bucket that the delivery streams write to.
        delivery_streams: Firehose delivery streams; each is its own prefix in the bucket.
    """

    streams: tuple[tuple[str, int], ...]
    table: str
    topic: str
    queue: str
    bucket: str
    delivery_streams: tuple[str, ...]


def create(clients: Callable[[str], Any], resources: Resources) -> str:
    """Create all resources and wait until they are there.

    Args:
        clients: Makes a boto3 client of a service (untyped: made at run time).
        resources: What to create.

    Returns:
        The address of the queue.
    """
    kinesis = clients("kinesis")
    for name, shards in resources.streams:
        kinesis.create_stream(StreamName=name, ShardCount=shards)
    create_table(clients("dynamodb"), resources.table)
    clients("s3").create_bucket(
        Bucket=resources.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    _create_delivery_streams(clients("firehose"), resources.delivery_streams, resources.bucket)
    queue_url = _create_topic(clients("sns"), clients("sqs"), resources.topic, resources.queue)
    for name, _ in resources.streams:
        kinesis.get_waiter("stream_exists").wait(
            StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    return queue_url


def create_table(dynamodb: Any, name: str) -> None:
    """Create an incidents table: the original's keys, TTL, and the sparse index of pending ones.

    Args:
        dynamodb: boto3's client (untyped: made at run time).
        name: The table's name.
    """
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": "ddb_partition_key", "AttributeType": "S"},
            {"AttributeName": "ddb_sort_key", "AttributeType": "N"},
            {"AttributeName": "notified", "AttributeType": "S"},
        ],
        KeySchema=[
            {"AttributeName": "ddb_partition_key", "KeyType": "HASH"},
            {"AttributeName": "ddb_sort_key", "KeyType": "RANGE"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": PENDING_INDEX,
                "KeySchema": [
                    {"AttributeName": "notified", "KeyType": "HASH"},
                    {"AttributeName": "ddb_sort_key", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    dynamodb.get_waiter("table_exists").wait(
        TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    dynamodb.update_time_to_live(
        TableName=name,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"},
    )


def _create_delivery_streams(firehose: Any, names: Sequence[str], bucket: str) -> None:
    for name in names:
        firehose.create_delivery_stream(
            DeliveryStreamName=name,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration={
                "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/firehose",
                "BucketARN": f"arn:aws:s3:::{bucket}",
                "Prefix": f"{name}/",
                "ErrorOutputPrefix": f"{name}-errors/",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
            },
        )


def _create_topic(sns: Any, sqs: Any, topic: str, queue: str) -> str:
    topic_arn = sns.create_topic(Name=topic)["TopicArn"]
    queue_url: str = sqs.create_queue(QueueName=queue)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])[
        "Attributes"
    ]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
            }
        ],
    }
    sqs.set_queue_attributes(
        QueueUrl=queue_url, Attributes={"Policy": orjson.dumps(policy).decode()}
    )
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)
    return queue_url


def _program() -> Path:
    """Find the server beside the Python that runs us."""
    program = Path(sys.executable).with_name(_PROGRAM)
    if not program.exists():
        msg = f"the local AWS server is not installed beside {sys.executable}"
        raise MissingResourceError(msg, hint="install the extra `local`, as `make setup` does")
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
