"""Producing onto a stream over real sockets, and reading it back with plain boto3."""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from errors import MissingResourceError
from producers.clock import SystemClock
from producers.run import ProduceOptions, produce

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def stream(moto, unique_name):
    name = unique_name("stream")
    moto("kinesis").create_stream(StreamName=name, ShardCount=3)
    moto("kinesis").get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return name


def read_all(kinesis, stream: str) -> list[dict]:
    records = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=iterator)
            if not answer["Records"]:
                break
            records += answer["Records"]
            iterator = answer["NextShardIterator"]
    return records


def run(moto, options: ProduceOptions):
    return produce(
        options,
        kinesis_client_factory=lambda: moto("kinesis"),
        clock=SystemClock(),
        out=lambda progress: None,
    )


def test_every_event_is_on_the_stream_once_and_a_category_on_one_shard(moto, stream):
    options = ProduceOptions(
        "ecommerce", f"kinesis://{stream}", events=3_000, seed=1, start=START, attackers=3
    )
    report = run(moto, options)
    records = read_all(moto("kinesis"), stream)
    assert len(records) == report.events == 3_000
    assert len({record["Data"] for record in records}) == 3_000
    for record in records[:100]:
        assert record["PartitionKey"] == json.loads(record["Data"])["category_id"]
    users = Counter(json.loads(record["Data"])["user_id"] for record in records)
    assert all(users[str(p.user_id)] == p.count for p in report.incidents)
    assert all(p.sixth_sent_us <= p.sixth_written_us for p in report.incidents)


def test_aggregated_events_come_out_of_aws_own_deaggregator(moto, stream):
    options = ProduceOptions(
        "ecommerce", f"kinesis://{stream}", events=2_000, seed=1, start=START, kpl=True
    )
    run(moto, options)
    records = read_all(moto("kinesis"), stream)
    assert len(records) < 500
    user_records = list(iter_deaggregate_records(records, data_format="Boto3"))
    assert len(user_records) == 2_000


def test_malformed_records_and_a_mebibyte_of_rubbish_reach_the_stream(moto, stream):
    options = ProduceOptions(
        "ecommerce",
        f"kinesis://{stream}",
        events=900,
        seed=1,
        start=START,
        malformed_share=0.02,
    )
    report = run(moto, options)
    records = read_all(moto("kinesis"), stream)
    assert len(records) == report.records
    assert sum(report.malformed.values()) == 18
    assert max(len(record["Data"]) for record in records) > 1_000_000


def test_a_missing_stream_ends_the_run_with_its_name(moto):
    with pytest.raises(MissingResourceError, match="nowhere"):
        run(moto, ProduceOptions("ecommerce", "kinesis://nowhere", events=10, start=START))
