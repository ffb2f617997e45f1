"""Stacks of deploy/ on a local server, made as `aws cloudformation deploy` makes them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfnlint.decode import cfn_yaml

from tests.servers import Clients

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TEMPLATES = sorted([*DEPLOY.glob("aws/*.yaml"), *DEPLOY.glob("ecs/*.yaml")])
_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Stack:
    """A stack that was made.

    Attributes:
        outputs: By key.
        resources: Physical ids by logical id, of what the server says it has made.
    """

    outputs: Mapping[str, str]
    resources: Mapping[str, str]


def template(path: Path) -> dict[str, Any]:
    """Read a template (`Any`: YAML)."""
    read: dict[str, Any] = cfn_yaml.load(str(path))
    return read


def parameters(domain: str) -> dict[str, str]:
    """Return the names that deploy/aws/parameters has for a domain."""
    read: dict[str, str] = json.loads((DEPLOY / f"aws/parameters/{domain}.json").read_text())[
        "Parameters"
    ]
    return read


def deploy(clients: Clients, name: str, path: Path, given: Mapping[str, str]) -> Stack:
    """Make a stack; parameters that the template doesn't know are left out."""
    cloudformation = clients("cloudformation")
    known = template(path)["Parameters"]
    cloudformation.create_stack(
        StackName=name,
        TemplateBody=path.read_text(),
        Parameters=[
            {"ParameterKey": key, "ParameterValue": value}
            for key, value in given.items()
            if key in known
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        if not stack["StackStatus"].endswith("IN_PROGRESS"):
            break
        assert time.monotonic() < deadline, stack
        time.sleep(0.1)
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    made = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
    return Stack(
        outputs={one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])},
        resources={
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for one in made
            if one.get("LogicalResourceId")  # moto lists what it left out, without a name
        },
    )
