"""The consumer: found, registered, waited for, looked for again."""

from __future__ import annotations

import random
from typing import Any

import pytest

from errors import KinewaxError, MissingResourceError
from sources.kinesis.consumer import Consumer
from tests.fakes.kinesis import FakeKinesis, client_error

STREAM_ARN = "arn:aws:kinesis:eu-west-1:1:stream/s"


class FakeConsumers(FakeKinesis):
    """A stream's consumers, who become active when asked about for the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.consumers: dict[str, dict[str, Any]] = {}
        self.registered = 0

    def describe_stream_consumer(self, **arguments: Any) -> dict[str, Any]:
        self._call("describe_stream_consumer", arguments)
        for name, consumer in self.consumers.items():
            if arguments.get("ConsumerName") == name:
                assert arguments["StreamARN"] == STREAM_ARN
            elif arguments.get("ConsumerARN") != consumer["ConsumerARN"]:
                continue
            found = dict(consumer)
            consumer["ConsumerStatus"] = "ACTIVE"
            return {"ConsumerDescription": found}
        code = "ResourceNotFoundException"
        raise client_error(code)

    def register_stream_consumer(self, **arguments: Any) -> dict[str, Any]:
        self._call("register_stream_consumer", arguments)
        assert arguments["StreamARN"] == STREAM_ARN
        name = arguments["ConsumerName"]
        if name in self.consumers:
            code = "ResourceInUseException"
            raise client_error(code)
        self.registered += 1
        arn = f"{STREAM_ARN}/consumer/{name}:{self.registered}"
        self.consumers[name] = {"ConsumerARN": arn, "ConsumerStatus": "CREATING"}
        return {"Consumer": dict(self.consumers[name])}


def consumer_of(client: FakeConsumers, name: str = "job") -> Consumer:
    return Consumer(client, "s", name, random.Random(1))


def test_a_consumer_is_registered_once_and_known_when_it_is_active():
    client = FakeConsumers()
    consumer = consumer_of(client)
    arns = []
    for _ in range(4):
        consumer.step()
        arns.append(consumer.arn)
    arn = f"{STREAM_ARN}/consumer/job:1"
    assert arns == [None, None, arn, arn]
    assert client.registered == 1
    asked = len(client.calls)
    consumer.step()
    assert len(client.calls) == asked  # nothing more to ask
    other = consumer_of(client)
    other.step()
    assert other.arn == arn
    assert client.registered == 1


def test_a_consumer_that_another_process_registers_meanwhile_is_found():
    client = FakeConsumers()

    def just_registered(operation: str, _: dict[str, Any]) -> Exception | None:
        if operation == "register_stream_consumer":
            arn = f"{STREAM_ARN}/consumer/job:7"
            client.consumers["job"] = {"ConsumerARN": arn, "ConsumerStatus": "CREATING"}
        return None

    client.faults = just_registered
    consumer = consumer_of(client)
    for _ in range(3):
        consumer.step()
    assert consumer.arn == f"{STREAM_ARN}/consumer/job:7"
    assert client.registered == 0


def test_a_consumer_that_was_deregistered_is_registered_again():
    client = FakeConsumers()
    consumer = consumer_of(client)
    for _ in range(3):
        consumer.step()
    del client.consumers["job"]
    consumer.doubt()
    assert consumer.arn is None
    for _ in range(3):
        consumer.step()
    assert consumer.arn == f"{STREAM_ARN}/consumer/job:2"


def test_a_consumer_given_by_its_arn_is_never_registered():
    client = FakeConsumers()
    client.register_stream_consumer(StreamARN=STREAM_ARN, ConsumerName="job")
    arn = client.consumers["job"]["ConsumerARN"]
    consumer = consumer_of(client, arn)
    consumer.step()
    consumer.step()
    assert consumer.arn == arn
    with pytest.raises(MissingResourceError, match="job:9"):
        consumer_of(client, f"{STREAM_ARN}/consumer/job:9").step()
    assert client.registered == 1


def test_throttles_are_waited_out_and_told_when_they_go_on(caplog: pytest.LogCaptureFixture):
    client = FakeConsumers()
    client.faults = lambda operation, _: (
        client_error("LimitExceededException") if operation == "register_stream_consumer" else None
    )
    consumer = consumer_of(client)
    pauses = [consumer.step() or 0 for _ in range(8)]
    assert max(pauses) > 1
    told = [r for r in caplog.records if getattr(r, "event", "") == "calls_failing"]
    assert len(told) == 1
    client.faults = lambda *_: None
    for _ in range(3):
        consumer.step()
    assert consumer.arn is not None


def test_what_a_person_must_mend_is_raised():
    client = FakeConsumers()
    client.faults = lambda operation, _: (
        client_error("AccessDeniedException") if operation == "describe_stream_consumer" else None
    )
    with pytest.raises(KinewaxError) as raised:
        consumer_of(client).step()
    assert "kinesis:DescribeStreamConsumer" in raised.value.hint
    client.faults = lambda *_: client_error("ResourceNotFoundException")
    with pytest.raises(MissingResourceError, match="'s'"):
        consumer_of(client).step()
