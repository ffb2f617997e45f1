"""`kinewax check` of a run with enhanced fan-out: found without registering or taking a shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dataflows.ecommerce import ECOMMERCE
from service import settings
from service.aws import Aws
from service.check import Finding, missing, probes_of, run_probe
from service.job import Job
from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.servers import REGION, Clients

ACTIONS = {
    "kinesis:DescribeStreamConsumer",
    "kinesis:RegisterStreamConsumer",
    "kinesis:SubscribeToShard",
}


class Account:
    """A stream, seen through a proxy."""

    def __init__(self, proxy: FaultProxy, server: Clients, stream: str) -> None:
        self.proxy = proxy
        self.kinesis = server("kinesis")
        self.stream = stream
        self.kinesis.create_stream(StreamName=stream, ShardCount=1)
        summary = self.kinesis.describe_stream_summary(StreamName=stream)
        self.arn = summary["StreamDescriptionSummary"]["StreamARN"]

    def register(self, name: str) -> str:
        reply = self.kinesis.register_stream_consumer(StreamARN=self.arn, ConsumerName=name)
        arn: str = reply["Consumer"]["ConsumerARN"]
        return arn

    def consumers(self) -> list[str]:
        reply = self.kinesis.list_stream_consumers(StreamARN=self.arn)
        return [consumer["ConsumerName"] for consumer in reply["Consumers"]]

    def job(self, **given: str) -> tuple[Job, Aws]:
        chosen = {
            "source.consumer": "enhanced",
            "aws.endpoint_url": self.proxy.url,
            "aws.region": REGION,
            **{f"source.{key}": value for key, value in given.items()},
        }
        flags = {path: settings.Given(value, "test") for path, value in chosen.items()}
        loaded = settings.load(domain=ECOMMERCE, flags=flags).settings
        return Job("ecommerce", f"kinesis://{self.stream}", loaded), Aws(loaded.aws)

    def findings(self, **given: str) -> dict[str, Finding]:
        found = [run_probe(probe) for probe in probes_of(*self.job(**given))]
        return {finding.action: finding for finding in found if finding.action in ACTIONS}


@pytest.fixture
def account(ministack: Clients, unique_name: Callable[[str], str]) -> Iterator[Account]:
    with fault_proxy(ministack.endpoint) as proxy:
        yield Account(proxy, ministack, unique_name("stream"))


def outcomes(findings: dict[str, Finding]) -> dict[str, Any]:
    return {action: finding.outcome for action, finding in findings.items()}


def test_what_a_registered_consumer_needs_is_tried_and_changes_nothing(account: Account) -> None:
    account.register("kinewax")

    assert outcomes(account.findings()) == dict.fromkeys(ACTIONS, "ok")
    assert account.consumers() == ["kinewax"]
    (subscribed,) = account.proxy.requests("SubscribeToShard")
    assert subscribed["ShardId"] == "shardId-999999999999"


def test_a_consumer_that_a_run_will_register_is_not_registered_by_a_check(account: Account) -> None:
    # The local server takes any name; AWS refuses one with a blank.
    account.proxy.refuse("RegisterStreamConsumer", 400, "ValidationException")

    assert outcomes(account.findings()) == dict.fromkeys(ACTIONS, "ok")
    (registered,) = account.proxy.requests("RegisterStreamConsumer")
    assert registered["ConsumerName"] == "kinewax check"
    (subscribed,) = account.proxy.requests("SubscribeToShard")
    assert subscribed["ConsumerARN"] == f"{account.arn}/consumer/kinewax:1"


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_each_action_of_a_consumer_that_is_denied_is_named_alone(
    account: Account, action: str
) -> None:
    account.register("kinewax")
    account.proxy.refuse(action.partition(":")[2], 400, "AccessDeniedException")
    if action == "kinesis:DescribeStreamConsumer":  # then the name is not known to be taken
        account.proxy.refuse("RegisterStreamConsumer", 400, "ValidationException")

    found = outcomes(account.findings())

    assert found == {**dict.fromkeys(ACTIONS, "ok"), action: "denied"}
    assert account.consumers() == ["kinewax"]


def test_a_consumer_given_by_its_arn_must_be_there_and_is_never_registered(
    account: Account,
) -> None:
    arn = account.register("shared")
    found = outcomes(account.findings(consumer_name=arn))
    assert found == dict.fromkeys(ACTIONS - {"kinesis:RegisterStreamConsumer"}, "ok")
    assert missing(*account.job(consumer_name=arn)) == []

    nowhere = arn + "9"
    assert account.findings(consumer_name=nowhere)["kinesis:DescribeStreamConsumer"].outcome == (
        "missing"
    )
    (finding,) = missing(*account.job(consumer_name=nowhere))
    assert nowhere in finding.resource


def test_polling_needs_no_consumer(account: Account) -> None:
    assert account.findings(consumer="polling") == {}
