"""A notice that a dead process left pending is published by the next one, without any traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rig import Aws, Names, Service, event, wait_until


@pytest.fixture
def aws(moto: Any, unique_name: Callable[[str], str]) -> Aws:
    return Aws(moto, Names.made_by(unique_name), shards=1)


@pytest.fixture
def service(aws: Aws, tmp_path: Path) -> Iterator[Service]:
    made = Service(
        arguments=[
            "run",
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", "aws"),
            *("--epoch-interval", "500ms"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        environment=aws.names.settings(),
        log=tmp_path / "service.log",
    )
    yield made
    made.kill()


def test_a_pending_notice_is_published_at_start_though_nothing_is_read(
    aws: Aws, service: Service
) -> None:
    _leave_pending(aws)
    service.start()
    wait_until(lambda: bool(aws.notices()), "the notice arrives")
    assert aws.notices() == [{"id": "left behind"}]
    wait_until(lambda: "notified" not in aws.rows()[0], "the row is out of the index")
    assert service.drain() == 0, service.log.read_text()[-3000:]


def test_a_replay_leaves_to_others_what_a_live_run_has_left_pending(
    aws: Aws, tmp_path: Path
) -> None:
    _leave_pending(aws)
    archive = tmp_path / "archive" / "2026" / "01" / "02" / "03"
    archive.mkdir(parents=True)
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    lines = [json.dumps(event(8, now)) + "\n" for _ in range(20)]
    (archive / "a-1-2026-01-02-03-04-05-x").write_text("".join(lines))
    replay = Service(
        arguments=[
            *("replay", "ecommerce", (tmp_path / "archive").as_uri(), "--sinks", "aws"),
            *("--endpoint-url", aws.clients.endpoint),
        ],
        environment=aws.names.settings(),
        log=tmp_path / "replay.log",
    )
    replay.start()
    assert replay.process is not None
    assert replay.process.wait(60) == 0, replay.log.read_text()

    notified = {row["ddb_partition_key"].split("#")[1]: row["notified"] for row in aws.rows()}
    assert notified == {"7": "pending", "8": "replay"}
    assert aws.notices() == []


def _leave_pending(aws: Aws) -> None:
    aws.clients("dynamodb").put_item(
        TableName=aws.names.table,
        Item={
            "ddb_partition_key": {"S": "userid#7#appserver#app-server-tomcat-123"},
            "ddb_sort_key": {"N": "1795385340"},
            "domain": {"S": "ecommerce"},
            "phase": {"S": "raised"},
            "notified": {"S": "pending"},
            "notice_phase": {"S": "raised"},
            "notice_subject": {"S": "Possible DDoS detected"},
            "notice_body": {"S": '{"id": "left behind"}'},
        },
    )
