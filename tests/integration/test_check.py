"""`kinewax check` against a real server, and behind a proxy that denies each action in turn."""

import json
import uuid
from collections.abc import Callable

import pytest

from dataflows.ecommerce import ECOMMERCE
from service import settings
from service.aws import Aws
from service.check import Finding, Probe, probes_of, run_probe
from service.job import Job
from service.local_aws import REGION, Resources, create
from tests.fakes.fault_proxy import FaultProxy, fault_proxy

ACTIONS = (
    "kinesis:DescribeStreamSummary",
    "kinesis:ListShards",
    "kinesis:GetShardIterator",
    "kinesis:GetRecords",
    "dynamodb:DescribeTable",
    "dynamodb:UpdateItem",
    "dynamodb:GetItem",
    "dynamodb:Query",
    "sns:GetTopicAttributes",
    "sns:Publish",
    "kinesis:PutRecords",
    "cloudwatch:PutMetricData",
    "firehose:DescribeDeliveryStream",
    "firehose:PutRecordBatch",
)


class Account:
    """An account with all that a run needs, seen through a proxy."""

    def __init__(self, proxy: FaultProxy, name: Callable[[str], str], server) -> None:
        self.proxy = proxy
        self.server = server
        self.names = {
            "table": name("table"),
            "topic": name("topic"),
            "stream": name("second"),
            "aggregates": name("agg"),
            "dead_letters": name("dead"),
        }
        self.source = name("first")
        self.bucket = name("bucket")
        self.aws: Aws | None = None

    def create(self) -> None:
        names = self.names
        create(
            self.server,
            Resources(
                streams=((self.source, 2), (names["stream"], 1)),
                table=names["table"],
                topic=names["topic"],
                queue=self.bucket,
                bucket=self.bucket,
                delivery_streams=(names["aggregates"], names["dead_letters"]),
            ),
        )

    def probes(self, **changed: str) -> list[Probe]:
        source = changed.pop("source", self.source)
        flags = {f"sinks.{key}": value for key, value in {**self.names, **changed}.items()}
        loaded = settings.load(
            domain=ECOMMERCE,
            flags={
                path: settings.Given(value, "test")
                for path, value in {
                    **flags,
                    "sinks.to": "aws",
                    "aws.endpoint_url": self.proxy.url,
                    "aws.region": REGION,
                }.items()
            },
        )
        job = Job("ecommerce", f"kinesis://{source}", loaded.settings)
        # One for all tests: making boto3's clients takes longer than their calls.
        self.aws = self.aws or Aws(loaded.settings.aws)
        return list(probes_of(job, self.aws))

    def findings(self) -> list[Finding]:
        return [run_probe(probe) for probe in self.probes()]


@pytest.fixture(scope="module")
def whole_account(moto):
    with fault_proxy(moto.endpoint) as proxy:
        made = Account(proxy, lambda kind: f"{kind}-check-{uuid.uuid4().hex[:8]}", moto)
        made.create()
        yield made


@pytest.fixture
def account(whole_account):
    whole_account.proxy.mend()
    return whole_account


def by_outcome(findings: list[Finding]) -> dict[str, set[str]]:
    outcomes: dict[str, set[str]] = {}
    for finding in findings:
        outcomes.setdefault(finding.outcome, set()).add(finding.action)
    return outcomes


def test_an_account_that_has_everything_passes(account: Account) -> None:
    findings = account.findings()

    assert [finding for finding in findings if finding.outcome != "ok"] == []
    assert {finding.action for finding in findings} == set(ACTIONS)


def test_trying_the_permissions_changes_nothing(account: Account) -> None:
    account.findings()

    dynamodb, s3 = account.server("dynamodb"), account.server("s3")
    assert dynamodb.scan(TableName=account.names["table"])["Items"] == []
    cloudwatch = account.server("cloudwatch")
    assert cloudwatch.list_metrics(Namespace="ecommerce-namespace-1")["Metrics"] == []
    kinesis = account.server("kinesis")
    for stream in (account.source, account.names["stream"]):
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
            iterator = kinesis.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            assert kinesis.get_records(ShardIterator=iterator)["Records"] == []
    for found in s3.list_objects_v2(Bucket=account.bucket).get("Contents", []):
        assert found["Size"] == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_each_action_that_is_denied_is_named_alone(account: Account, action: str) -> None:
    account.proxy.refuse(action.partition(":")[2], 400, "AccessDeniedException")

    outcomes = by_outcome(account.findings())

    assert outcomes["denied"] == {action}
    untried = {"kinesis:GetRecords"} if action == "kinesis:GetShardIterator" else set()
    assert outcomes.get("untried", set()) == untried
    assert set(outcomes) <= {"ok", "denied", "untried"}


@pytest.mark.parametrize(
    ("setting", "resource"),
    [
        ("source", "stream"),
        ("table", "table"),
        ("topic", "topic"),
        ("stream", "stream"),
        ("aggregates", "delivery stream"),
    ],
)
def test_what_does_not_exist_is_missing_by_its_name(
    account: Account, setting: str, resource: str
) -> None:
    findings = [run_probe(probe) for probe in account.probes(**{setting: "nowhere"})]

    missing = {finding.resource for finding in findings if finding.outcome == "missing"}
    assert any(name.startswith(resource) and "nowhere" in name for name in missing)
    assert all("nowhere" in name for name in missing)


def test_a_server_that_is_not_there_is_told_in_one_line(account: Account) -> None:
    probes = account.probes()
    account.proxy.drop("ListShards")

    (found,) = [run_probe(probe) for probe in probes if probe.action == "kinesis:ListShards"]

    assert found.outcome == "failed"
    assert "\n" not in found.detail


def test_the_command_exits_with_3_for_what_is_missing_and_names_it(kinewax, account: Account):
    arguments = ("--endpoint-url", account.proxy.url, "--source", f"kinesis://{account.source}")

    ended = kinewax.run("check", "ecommerce", *arguments, "--json")

    assert ended.returncode == 3
    findings = json.loads(ended.stdout)["findings"]
    missing = {one["resource"] for one in findings if one["outcome"] == "missing"}
    assert "table ddb-ecommerce-tab-1" in missing
    assert "table ddb-ecommerce-tab-1" in kinewax.run("check", "ecommerce", *arguments).stdout


def test_a_run_whose_table_is_missing_exits_with_3_before_anything_starts(
    kinewax, account: Account
):
    ended = kinewax.run(
        "run",
        "ecommerce",
        "--sinks",
        "aws",
        "--source",
        f"kinesis://{account.source}",
        "--endpoint-url",
        account.proxy.url,
    )

    assert ended.returncode == 3
    assert "table ddb-ecommerce-tab-1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_run_whose_stream_is_missing_exits_with_3_and_names_it(kinewax, account: Account):
    ended = kinewax.run(
        "run", "ecommerce", "--source", "kinesis://nowhere", "--endpoint-url", account.proxy.url
    )

    assert ended.returncode == 3
    assert "nowhere" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 2


def test_a_domain_alone_is_checked_without_any_account(kinewax) -> None:
    ended = kinewax.run("check", "ecommerce")

    assert ended.returncode == 0
    assert ended.stdout.startswith("domain ecommerce is sound\n")
    assert json.loads(kinewax.run("check", "ecommerce", "--json").stdout)["rules"] == [
        "high_volume"
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_all_that_is_wrong_with_a_file_is_told_line_by_line(kinewax, tmp_path, command) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataflows.domain import Domain\n"
        "from operators.spec import Field, Window\n"
        "from operators.value_spec import Count\n"
        "DOMAIN = Domain(\n"
        "    name='mine',\n"
        "    summary='',\n"
        "    fields=(Field('user', 'integer'),),\n"
        "    times=(),\n"
        "    windows=(Window('users', 10, ('usr',), (Count('n'),)),),\n"
        "    rules=(),\n"
        ")\n"
    )

    source = () if command == "check" else ("--source", "file:///nowhere.jsonl")
    ended = kinewax.run(command, f"{path}:DOMAIN", *source)

    assert ended.returncode == 2
    first, second = ended.stderr.strip().splitlines()
    assert first.startswith("error: ./mine.py:4: no event time is declared; ")
    assert second.startswith("error: ./mine.py:9: window users uses the field 'usr', ")
    assert second.endswith("did you mean 'user'?")
