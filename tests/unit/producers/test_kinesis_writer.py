"""Writing to a stream: batches, and what happens when Kinesis refuses."""

import random

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from errors import DeliveryError, MissingResourceError
from producers.kinesis_writer import MAX_CALL_BYTES, MAX_RECORD_BYTES, KinesisWriter
from producers.records import Record


def records(count: int, size: int = 10) -> list[Record]:
    return [Record(f"{n:0{size}d}".encode(), f"key-{n}") for n in range(count)]


class Script:
    """A Kinesis that follows a script: `refuse[call]` are the entries it refuses in that call."""

    def __init__(self, refuse=(), errors=()):
        self.refuse = dict(refuse)
        self.errors = dict(errors)
        self.calls: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.now = 0.0
        self.pauses: list[float] = []

    def put_records(self, *, StreamName, Records):
        call = len(self.calls)
        self.calls.append([entry["Data"] for entry in Records])
        if call in self.errors:
            raise self.errors[call]
        refused = self.refuse.get(call, set())
        results = []
        for index, entry in enumerate(Records):
            if refused == "all" or index in refused:
                results.append({"ErrorCode": "ProvisionedThroughputExceededException"})
            else:
                self.taken.append(entry["Data"])
                results.append({"SequenceNumber": "1", "ShardId": "shardId-000000000000"})
        failed = sum("ErrorCode" in result for result in results)
        return {"FailedRecordCount": failed, "Records": results}

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def writer(script: Script, **options) -> KinesisWriter:
    return KinesisWriter(
        script,
        "a-stream",
        sleep=script.sleep,
        monotonic=lambda: script.now,
        rng=random.Random(1),
        **options,
    )


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}},
        "PutRecords",
    )


def test_a_call_takes_five_hundred_records_and_order_is_kept():
    script = Script()
    sent = records(1_201)
    writer(script).write(sent)
    assert [len(call) for call in script.calls] == [500, 500, 201]
    assert script.taken == [record.payload for record in sent]


def test_a_call_takes_five_mebibytes_with_the_keys():
    script = Script()
    writer(script).write(records(12, size=1024 * 1024 - 10))
    assert [len(call) for call in script.calls] == [5, 5, 2]
    assert all(
        sum(len(data) + len("key-10") for data in call) <= MAX_CALL_BYTES for call in script.calls
    )


def test_nothing_to_write_makes_no_call():
    script = Script()
    writer(script).write([])
    assert script.calls == []


def test_a_refused_entry_is_sent_again_alone():
    script = Script(refuse={0: {1, 3}, 1: {1}})
    sent = records(5)
    wrote = writer(script)
    wrote.write(sent)
    assert script.calls[1] == [sent[1].payload, sent[3].payload]
    assert script.calls[2] == [sent[3].payload]
    assert sorted(script.taken) == [record.payload for record in sent]
    assert (wrote.written, wrote.retried, wrote.calls) == (5, 3, 3)


def test_pauses_between_attempts_are_jittered_and_bounded():
    script = Script(refuse=dict.fromkeys(range(8), "all"))
    writer(script, deadline_seconds=60).write(records(1))
    assert len(script.pauses) == 8
    assert len(set(script.pauses)) == 8
    assert all(0 <= pause <= 2 for pause in script.pauses)


def test_what_is_still_refused_at_the_deadline_is_an_error_with_its_number():
    script = Script(refuse={0: {0}} | dict.fromkeys(range(1, 1000), "all"))
    wrote = writer(script, deadline_seconds=20)
    with pytest.raises(
        DeliveryError, match=r"1 records could not be written.*ProvisionedThroughputExceeded"
    ) as caught:
        wrote.write(records(3))
    assert "add shards" in caught.value.hint
    assert wrote.written == 2
    assert script.now <= 20


def test_an_endpoint_that_never_answers_is_an_error_that_speaks_of_the_network():
    gone = EndpointConnectionError(endpoint_url="http://127.0.0.1:1")
    script = Script(errors=dict.fromkeys(range(1000), gone))
    with pytest.raises(DeliveryError, match="3 records could not be written") as caught:
        writer(script).write(records(3))
    assert "network" in caught.value.hint


@pytest.mark.parametrize(
    "error",
    [
        client_error("ProvisionedThroughputExceededException"),
        client_error("InternalFailure", 500),
        client_error("Whatever", 503),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    ],
)
def test_a_call_that_fails_for_now_is_made_again(error):
    script = Script(errors={0: error})
    writer(script).write(records(3))
    assert script.calls[0] == script.calls[1]
    assert len(script.taken) == 3


def test_a_call_that_fails_for_good_is_not_made_again():
    script = Script(errors={0: client_error("AccessDeniedException")})
    with pytest.raises(DeliveryError, match="AccessDenied"):
        writer(script).write(records(3))
    assert len(script.calls) == 1


def test_a_missing_stream_is_named():
    script = Script(errors={0: client_error("ResourceNotFoundException")})
    with pytest.raises(MissingResourceError, match="a-stream") as caught:
        writer(script).write(records(3))
    assert caught.value.exit_code == 3


def test_a_record_too_large_for_kinesis_is_refused_before_any_call():
    script = Script()
    with pytest.raises(DeliveryError, match="larger than Kinesis takes"):
        writer(script).write([Record(b"x" * MAX_RECORD_BYTES, "key")])
    assert script.calls == []


def test_an_empty_payload_is_written():
    script = Script()
    writer(script).write([Record(b"", "key")])
    assert script.taken == [b""]
