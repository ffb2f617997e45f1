"""docs/how-to/templates.md, followed word by word."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from producers.template_helpers import HELPERS, Draw
from producers.templates import Template
from service import local_aws
from tests.rig import wait_until
from tests.servers import Clients

PAGE = (Path(__file__).resolve().parents[2] / "docs/how-to/templates.md").read_text()
COMMANDS = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("kinewax ")]
DRAW = Draw(random.Random(1), 1_767_225_600_123_456)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (template,) = re.findall(r"Save this as `scans.json`:\n\n```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "scans.json").write_text(template)
    return tmp_path


def run(kinewax, folder: Path, command: list[str]):
    return kinewax.run(*(word.replace("$PWD", str(folder)) for word in command[1:]))


def test_the_template_makes_events_of_its_shape(kinewax, folder: Path) -> None:
    ended = run(kinewax, folder, COMMANDS[0])

    assert ended.returncode == 0, ended.stderr
    events = [json.loads(line) for line in (folder / "scans.jsonl").read_text().splitlines()]
    assert len(events) == 1_000
    assert {event["depot"] for event in events} == {"Ulm", "Bonn"}
    assert 5 <= Counter(event["result"] for event in events)["misread"] <= 40
    assert all(0.1 <= event["weight"] <= 30 for event in events)
    assert datetime.fromisoformat(events[0]["scanned_at"]).year == 2026


def test_events_come_on_a_stream_until_they_are_stopped(kinewax, folder: Path, moto: Clients):
    kinesis = moto("kinesis")
    kinesis.create_stream(StreamName="parcels", ShardCount=1)
    kinesis.get_waiter("stream_exists").wait(
        StreamName="parcels", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    environment = local_aws.local_environment(moto.endpoint)

    process = kinewax.start(*COMMANDS[1][1:], environment=environment)

    (shard,) = kinesis.list_shards(StreamName="parcels")["Shards"]
    iterator = kinesis.get_shard_iterator(
        StreamName="parcels", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    wait_until(
        lambda: len(kinesis.get_records(ShardIterator=iterator)["Records"]) > 5, "events come"
    )
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert json.loads(records[0]["Data"]).keys() == {
        "depot", "parcel", "result", "weight", "scanned_at",
    }  # fmt: skip
    assert len({record["PartitionKey"] for record in records}) == len(records)


def test_what_is_wrong_is_told_as_the_page_shows(kinewax, folder: Path) -> None:
    path = folder / "scans.json"
    for wrong, right in re.findall(r"`([^`]+)`\s+for\s+`([^`]+)`", PAGE):
        assert right in path.read_text()
        path.write_text(path.read_text().replace(right, wrong))
    (told,) = re.findall(r"```\n(error: .*?)```", PAGE, re.DOTALL)

    ended = run(kinewax, folder, COMMANDS[0])

    assert ended.returncode == 2
    assert told in ended.stderr


def test_clicks_have_the_bursts_that_the_truth_names(kinewax, folder: Path) -> None:
    ended = run(kinewax, folder, COMMANDS[2])

    assert ended.returncode == 0, ended.stderr
    clicks = [json.loads(line) for line in (folder / "clicks.jsonl").read_text().splitlines()]
    incidents = json.loads((folder / "truth.json").read_text())["incidents"]
    assert len(incidents) == 2
    made = Counter(click["customerId"] for click in clicks)
    assert all(made[one["customer_id"]] == one["count"] >= 45 for one in incidents)


def test_every_helper_is_on_the_page_and_every_example_makes_something() -> None:
    examples = re.findall(r"`(\{\{.*?\}\})`(?=[, ])", PAGE.partition("## The helpers")[2])

    assert {re.split(r"[({}]+", example)[1] for example in examples} == set(HELPERS)
    for example in examples:
        assert Template(example, "page").make(DRAW).strip(), example
