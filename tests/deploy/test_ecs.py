"""The task of deploy/ecs is one that ECS takes, and what it starts runs on what deploy/aws made."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from tests.deploy.stacks import DEPLOY, deploy, parameters, template
from tests.rig import Aws, Feeder, Names, Service, wait_until
from tests.servers import REGION, Clients

pytestmark = pytest.mark.deploy

SERVICE = DEPLOY / "ecs/service.yaml"


@pytest.fixture
def aws(moto: Clients, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=2)


@pytest.fixture
def task(aws: Aws, unique_name: Callable[[str], str]) -> dict[str, Any]:
    """The task definition that the template makes (`Any`: boto3's)."""
    names = aws.names
    ecs, ec2 = aws.clients("ecs"), aws.clients("ec2")
    cluster, stack = unique_name("cluster"), unique_name("stack")
    ecs.create_cluster(clusterName=cluster)
    subnet = ec2.describe_subnets()["Subnets"][0]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    made = deploy(
        aws.clients,
        stack,
        SERVICE,
        {
            **parameters("ecommerce"),
            "Image": "registry.example/kinewax@sha256:0",
            "RepositoryArn": f"arn:aws:ecr:{REGION}:123456789012:repository/kinewax",
            "Cluster": cluster,
            "SubnetIds": subnet["SubnetId"],
            "SecurityGroupId": groups[0]["GroupId"],
            "TaskRoleArn": "arn:aws:iam::123456789012:role/run",
            "StateBucket": names.bucket,
            "Stream": names.stream,
            "Table": names.table,
            "Topic": names.topic,
            "Namespace": names.namespace,
            "SecondStream": names.incidents_stream,
            "Aggregates": names.aggregates,
            "DeadLetters": names.dead_letters,
        },
    )
    found = ecs.describe_task_definition(taskDefinition=made.outputs["TaskDefinitionArn"])
    described: dict[str, Any] = found["taskDefinition"]
    return described


def test_ecs_would_take_the_task() -> None:
    """moto makes a task without its roles and size, so this is read from the template."""
    given = _as_api(template(SERVICE)["Resources"]["Task"]["Properties"])
    model = botocore.session.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape

    assert ParamValidator().validate(given, shape).generate_report() == ""
    assert set(given) <= set(shape.members)
    assert given["taskRoleArn"] != given["executionRoleArn"]
    [container] = given["containerDefinitions"]
    assert container["readonlyRootFilesystem"] is True
    assert 30 <= container["stopTimeout"] <= 120  # more than a drain takes, no more than Fargate's


def _as_api(value: Any) -> Any:
    """Return properties as the API takes them: other capitals, each function as a text."""
    if isinstance(value, dict):
        if "Ref" in value or any(name.startswith("Fn::") for name in value):
            return str(value)
        return {
            name if name.startswith("awslogs") else name[0].lower() + name[1:]: _as_api(one)
            for name, one in value.items()
        }
    return [_as_api(one) for one in value] if isinstance(value, list) else value


def test_every_command_of_the_page_is_marked_as_needing_an_account() -> None:
    page = (DEPLOY.parent / "docs/how-to/deploy-ecs.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"\bdeploy/[\w./-]+\w", page))

    assert len(blocks) >= 5
    assert [block for block in blocks if not block.startswith("# AWS\n")] == []
    assert {name for name in named if not (DEPLOY.parent / name).exists()} == set()


def test_two_tasks_never_run_at_a_time() -> None:
    service = template(SERVICE)["Resources"]["Service"]["Properties"]

    assert service["DeploymentConfiguration"]["MaximumPercent"] == 100
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 0
    assert template(SERVICE)["Parameters"]["DesiredCount"]["MaxValue"] == 1


def test_what_the_task_starts_finds_attacks_and_goes_on_when_its_disk_went_with_it(
    aws: Aws, task: dict[str, Any], tmp_path: Path
) -> None:
    [container] = task["containerDefinitions"]
    given = {one["name"]: one["value"] for one in container["environment"]}
    disk = tmp_path / "store"  # in place of the volume, which is the task's own
    service = Service(
        arguments=[*container["command"], "--start", "TRIM_HORIZON", "--disorder", "2s"],
        environment={
            **given,
            "TMPDIR": str(tmp_path),
            "KINEWAX_RUNTIME__RECOVERY": str(disk),
            "KINEWAX_RUNTIME__EPOCH_INTERVAL": "500ms",
            "KINEWAX_AWS__ENDPOINT_URL": aws.clients.endpoint,
        },
        log=tmp_path / "service.log",
    )
    feeder = Feeder(aws, attackers=3, honest=10)
    service.start()
    feeder.start()
    try:
        wait_until(lambda: len(aws.rows()) >= 3, "incidents stand in the table")
        feeder.stop()
        assert service.drain(container["stopTimeout"]) == 0, service.log.read_text()[-3000:]
        disk.rename(tmp_path / "gone")
        service.start()
        wait_until(
            lambda: "fetched" in service.log.read_text(),
            "the copy of the recovery store is fetched",
        )
        feeder.close_windows()
        expected = feeder.incidents()
        wait_until(lambda: _finals(aws) == expected, "every incident stands at its final value")
        assert service.drain(container["stopTimeout"]) == 0, service.log.read_text()[-3000:]
    finally:
        feeder.stop()
        service.kill()


def _finals(aws: Aws) -> dict[tuple[int, int], int]:
    return {
        (row["user_id"], row["ddb_sort_key"]): row["num_actions_per_watermark"]
        for row in aws.rows()
        if row.get("phase") == "final"
    }
