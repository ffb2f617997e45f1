"""Each role may make the calls that its command makes, and no other.

The calls are those that a server has recorded, with the service they were signed for.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.stacks import DEPLOY, template
from tests.fakes.opensearch import fake_opensearch
from tests.rig import Aws, Feeder, Names, Service, event, wait_until
from tests.servers import Clients

pytestmark = pytest.mark.deploy

NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}

WHO = "kinewax-itself"
"""The key that kinewax signs with; tests have another."""

_SIGNED_FOR = re.compile(rf"Credential={WHO}/\d+/[^/]+/([a-z0-9]+)/")


@pytest.fixture
def aws(moto: Clients, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=2)


def test_the_run_role_may_make_the_calls_of_a_run_and_of_its_check_and_no_other(
    aws: Aws, tmp_path: Path
) -> None:
    bucket = aws.names.bucket
    settings = {
        **aws.names.settings(),
        "AWS_ACCESS_KEY_ID": WHO,
        "KINEWAX_RUNTIME__SNAPSHOTS": f"s3://{bucket}/copies",
        "KINEWAX_RUNTIME__SNAPSHOT_INTERVAL": "1s",
        "KINEWAX_AWS__ENDPOINT_URL": aws.clients.endpoint,
    }
    source = ("ecommerce", "--source", f"kinesis://{aws.names.stream}", "--sinks", "aws")
    feeder = Feeder(aws, attackers=2, honest=5)
    service = Service(
        arguments=[
            *("run", *source, "--start", "TRIM_HORIZON", "--disorder", "2s"),
            *("--epoch-interval", "500ms", "--recovery", str(tmp_path / "recovery")),
        ],
        environment=settings,
        log=tmp_path / "service.log",
    )
    with recorded(aws.clients) as calls:
        service.start()
        feeder.start()
        try:
            wait_until(lambda: bool(aws.rows() and aws.notices()), "somebody is told")
            wait_until(lambda: "s3:DeleteObject" in calls(), "old copies are taken away")
            feeder.stop()
            assert service.drain() == 0, service.log.read_text()[-3000:]
            (tmp_path / "recovery").rename(tmp_path / "gone")
            service.start()  # fetches a copy
            wait_until(lambda: (tmp_path / "recovery").is_dir(), "a copy is fetched")
            wait_until(lambda: bool(service.workers()), "it has started")
            assert service.drain() == 0, service.log.read_text()[-3000:]
        finally:
            feeder.stop()
            service.kill()
        for consumer in ("polling", "enhanced"):
            kinewax(
                "check", *source, environment={**settings, "KINEWAX_SOURCE__CONSUMER": consumer}
            )
        made = calls()
    assert without_search(allowed("RunRole")) == made


def test_the_replay_role_may_make_the_calls_of_a_replay_and_no_other(aws: Aws) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    lines = [json.dumps(event(7, now)) for _ in range(9)] + ["rubbish"]
    aws.clients("s3").put_object(
        Bucket=aws.names.bucket,
        Key="ecommerce-raw/2026/01/02/03/a-1-2026-01-02-03-04-05-x.gz",
        Body=gzip.compress("\n".join(lines).encode()),
    )
    with recorded(aws.clients) as calls:
        kinewax(
            *("replay", "ecommerce", f"s3://{aws.names.bucket}/ecommerce-raw/"),
            *("--sinks", "aws"),
            environment={
                **aws.names.settings(),
                "KINEWAX_AWS__ENDPOINT_URL": aws.clients.endpoint,
            },
        )
        made = calls()
    assert aws.rows()
    assert without_search(allowed("ReplayRole")) == made


@pytest.mark.parametrize(
    ("role", "commands"), [("RunRole", ("check", "run")), ("ReplayRole", ("replay",))]
)
def test_roles_may_make_the_calls_of_the_search_index_and_no_other(
    role: str, commands: tuple[str, ...], tmp_path: Path
) -> None:
    archive = tmp_path / "2026/01/02/03/changes-1-2026-01-02-03-04-05-x"
    archive.parent.mkdir(parents=True)
    kinewax("produce", "wiki", "--to", archive.as_uri(), "--events", "200")
    with fake_opensearch() as server:
        for command in commands:
            whole = command == "replay"
            source = f"{tmp_path.as_uri()}/" if whole else archive.as_uri()
            given = (source,) if whole else ("--source", source)
            kinewax(command, "wiki", *given, "--sinks", server.url)
        made = {f"es:ESHttp{one.method.capitalize()}" for one in server.requests}
    assert server.documents()
    assert allowed(role) - without_search(allowed(role)) == made


def test_the_produce_role_may_make_the_calls_of_producers_and_no_other(aws: Aws) -> None:
    with recorded(aws.clients) as calls:
        kinewax(
            *("produce", "ecommerce", "--to", f"kinesis://{aws.names.stream}", "--events", "50"),
            *("--endpoint-url", aws.clients.endpoint),
        )
        made = calls()
    assert allowed("ProduceRole") == made


# ---- what is allowed, what was called -----------------------------------------------------------


def allowed(role: str) -> set[str]:
    """Return the actions of a role's policies, those under a condition too."""
    properties = template(DEPLOY / "aws/roles.yaml")["Resources"][role]["Properties"]
    return {
        action
        for policy in properties["Policies"]
        for statement in _statements(policy["PolicyDocument"]["Statement"])
        for action in _listed(statement["Action"])
    }


def without_search(actions: set[str]) -> set[str]:
    """Leave out what goes to OpenSearch, which has a server of its own here."""
    return {action for action in actions if not action.startswith("es:")}


def _statements(given: list[Any]) -> Iterator[dict[str, Any]]:
    for statement in given:
        yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def _listed(action: str | list[str]) -> list[str]:
    return [action] if isinstance(action, str) else list(action)


@contextmanager
def recorded(clients: Clients) -> Iterator[Callable[[], set[str]]]:
    """Let moto record what it is asked; yields what tells the IAM actions of it."""
    recorder = f"{clients.endpoint}/moto-api/recorder"

    def post(what: str) -> bytes:
        request = urllib.request.Request(f"{recorder}/{what}", method="POST")
        with urllib.request.urlopen(request) as answer:
            body: bytes = answer.read()
            return body

    def calls() -> set[str]:
        with urllib.request.urlopen(f"{recorder}/download-recording") as answer:
            text = answer.read().decode()
        return set(map(_action, _objects(text))) - NEEDS_NO_PERMISSION - {""}

    post("reset-recording")
    post("start-recording")
    try:
        yield calls
    finally:
        post("stop-recording")


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield recorded calls: threads write them, so two may share a line."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        call, end = decoder.raw_decode(text)
        yield call
        text = text[end:]


def _action(call: Mapping[str, Any]) -> str:
    """Return the IAM action of a recorded call."""
    headers = {name.lower(): value for name, value in call["headers"].items()}
    signed = _SIGNED_FOR.search(headers.get("authorization", ""))
    if signed is None:
        return ""
    service = {"monitoring": "cloudwatch"}.get(signed[1], signed[1])
    parts = urllib.parse.urlsplit(call["url"])
    if service == "s3":
        return f"s3:{_object_action(call['method'], parts)}"
    if "x-amz-target" in headers:
        return f"{service}:{headers['x-amz-target'].rpartition('.')[2]}"
    if "/operation/" in parts.path:
        return f"{service}:{parts.path.rpartition('/')[2]}"
    body = base64.b64decode(call["body"]).decode() if call["body_encoded"] else call["body"]
    return f"{service}:{dict(urllib.parse.parse_qsl(body))['Action']}"


def _object_action(method: str, parts: urllib.parse.SplitResult) -> str:
    is_object = "/" in parts.path.strip("/")
    if method == "POST" and parts.query.startswith("delete"):
        return "DeleteObject"
    if method in ("GET", "HEAD"):
        return "GetObject" if is_object else "ListBucket"
    return {"PUT": "PutObject", "POST": "PutObject", "DELETE": "DeleteObject"}[method]


def kinewax(*arguments: str, environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("kinewax"), *arguments],
        env={**os.environ, "AWS_ACCESS_KEY_ID": WHO, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1, 4), done.stderr
