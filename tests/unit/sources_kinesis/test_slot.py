"""What a slot says, in which order, and what it remembers."""

from __future__ import annotations

import copy
import logging
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import metrics
from errors import DataLossError, LayoutError, MissingResourceError
from messages import Adopted, Block, Ended, Hello, Idle
from sources.kinesis.slot import KinesisSlot
from tests.fakes.kinesis import FakeKinesis, SteppedStream, aggregate, client_error

ROOT = "shardId-000000000000"
HOUR_US = 3_600_000_000


class Setup:
    """The only slot of a process, over a fake stream."""

    def __init__(
        self,
        stream: FakeKinesis,
        state: dict[str, Any] | None = None,
        *,
        start_us: int | None = None,
        on_data_loss: str = "warn",
    ) -> None:
        self.stream = stream
        self.shared = SteppedStream(stream, start_us=start_us, on_data_loss=on_data_loss)
        self.slot = KinesisSlot("slot-00", 0, self.shared, copy.deepcopy(state))

    def round(self) -> list[Any]:
        """List, read each shard once, poll."""
        self.shared.list_shards()
        before = self.slot.poll()  # starts the readers
        self.shared.fetch_all()
        return before + self.slot.poll()

    def rounds(self, number: int) -> list[Any]:
        return [item for _ in range(number) for item in self.round()]


def state_of(stream: FakeKinesis, rounds: int = 2) -> dict[str, Any]:
    """Return the state of a slot that has read what there is."""
    setup = Setup(stream)
    setup.rounds(rounds)
    return setup.slot.snapshot()


def payloads(items: list[Any]) -> list[bytes]:
    return [p for item in items if isinstance(item, Block) for p in item.payloads]


# ---- what it says -------------------------------------------------------------------------------


def test_nothing_is_said_before_the_first_listing() -> None:
    setup = Setup(FakeKinesis())
    assert setup.slot.poll() == []


def test_shards_are_adopted_before_the_greeting_and_the_greeting_names_them() -> None:
    stream = FakeKinesis()
    one, two = stream.split(ROOT)
    setup = Setup(stream)
    setup.shared.list_shards()
    assert setup.slot.poll() == [
        Adopted(ROOT),
        Adopted(one, (ROOT,)),
        Adopted(two, (ROOT,)),
        Hello("slot-00", (ROOT, one, two)),
    ]
    assert setup.slot.poll() == []


def test_a_slot_without_shards_greets_too() -> None:
    stream = FakeKinesis()
    shared = SteppedStream(stream, slots=2)
    slots = [KinesisSlot(f"slot-0{n}", n, shared, None) for n in range(2)]
    shared.list_shards()
    assert [slot.poll()[-1] for slot in slots] == [Hello("slot-00", (ROOT,)), Hello("slot-01")]


def test_on_resume_the_greeting_needs_no_listing() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    assert Setup(stream, state).slot.poll() == [Adopted(ROOT), Hello("slot-00", (ROOT,))]


def test_a_state_from_before_the_first_listing_still_waits_for_it() -> None:
    stream = FakeKinesis()
    state = Setup(stream, start_us=stream.now_us).slot.snapshot()
    assert state["t0_us"] == stream.now_us
    stream.put(b"new")
    # The time of the first start counts, whatever a later one was told.
    setup = Setup(stream, state, start_us=stream.now_us + HOUR_US)
    assert setup.slot.poll() == []
    assert payloads(setup.rounds(2)) == [b"new"]


def test_a_block_holds_rows_with_their_numbers_and_arrival() -> None:
    stream = FakeKinesis()
    numbers = [stream.put(data) for data in (b"a", b"b")]
    *_, block = Setup(stream).round()
    assert isinstance(block, Block)
    assert block.shard == ROOT
    assert list(block.payloads) == [b"a", b"b"]
    assert list(block.sequence_numbers) == numbers
    assert block.arrival_us is not None
    assert block.arrival_us.tolist() == [stream.now_us - 1_000_000, stream.now_us]


def test_replies_that_wait_travel_in_one_block() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    for data in (b"a", b"b", b"c"):
        stream.put(data)
        setup.shared.fetch_all()
    block, *rest = setup.slot.poll()
    assert list(block.payloads) == [b"a", b"b", b"c"]
    assert len(block.sequence_numbers) == len(block.arrival_us) == 3
    assert rest == []


def test_idle_comes_behind_the_rows_that_were_read_before_it() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    stream.put(b"a")
    setup.shared.fetch_all(2)
    block, idle = setup.slot.poll()
    assert list(block.payloads) == [b"a"]
    assert idle == Idle(ROOT, stream.now_us)


def test_a_closed_shard_is_never_idle_since_its_children_may_have_older_rows() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.shared.list_shards()
    setup.slot.poll()
    stream.split(ROOT)
    setup.shared.list_shards()
    setup.slot.poll()
    # kinesalite says of a closed shard without records that it is empty before it ends it.
    setup.slot._readers[ROOT]._put_tip(stream.now_us)
    assert setup.slot.poll() == []


def test_a_poll_is_bounded_and_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.kinesis.slot._POLL_ROWS", 10)
    stream = FakeKinesis(2)
    for shard in stream.open_shards():
        for _ in range(15):
            stream.put(b"x", shard.first_hash)
    setup = Setup(stream)
    setup.shared.list_shards()
    setup.slot.poll()
    setup.shared.fetch_all()
    first, second = setup.slot.poll(), setup.slot.poll()
    assert len(payloads(first)) == len(payloads(second)) == 15
    assert {block.shard for block in first + second} == set(stream.shards)


def test_the_end_names_the_children_behind_the_last_rows() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.round()
    stream.put(b"b")
    children = stream.split(ROOT)
    setup.shared.fetch_all()
    found = [item for item in setup.slot.poll() if not isinstance(item, Adopted)]
    block, ended = found
    assert list(block.payloads) == [b"b"]
    assert ended == Ended(ROOT, children)


def test_children_named_by_the_last_reply_are_adopted_without_a_listing() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    children = stream.split(ROOT)
    setup.shared.fetch_all()
    found = setup.slot.poll() + setup.slot.poll()
    assert [item for item in found if isinstance(item, Adopted)] == [
        Adopted(child, (ROOT,)) for child in children
    ]


def test_the_end_waits_until_the_children_cover_the_parent() -> None:
    stream = FakeKinesis(names_children=False)
    setup = Setup(stream)
    setup.round()
    one, two = stream.split(ROOT)
    stream.shards[two].listed = False
    assert Ended not in map(type, setup.rounds(3))
    assert setup.slot.snapshot()["shards"][ROOT]["state"] == "drained"
    stream.shards[two].listed = True
    assert Ended(ROOT, (one, two)) in setup.round()


def test_both_parents_of_a_merge_end_with_the_same_child() -> None:
    stream = FakeKinesis(2)
    setup = Setup(stream)
    setup.round()
    one, two = list(stream.shards)
    child = stream.merge(one, two)
    found = setup.rounds(2)
    assert Adopted(child, (one, two)) in found
    assert Ended(one, (child,)) in found
    assert Ended(two, (child,)) in found


# ---- when it wants to be asked ------------------------------------------------------------------


def test_slots_wake_together_on_multiples_of_a_tenth_of_a_second() -> None:
    stream = FakeKinesis()
    slot = Setup(stream).slot
    stream.now_us = 1_700_000_000_123_456
    base = datetime(1970, 1, 1, tzinfo=UTC)
    assert slot.next_awake() == base + timedelta(microseconds=1_700_000_000_200_000)
    stream.now_us = 1_700_000_000_200_000
    assert slot.next_awake() == base + timedelta(microseconds=1_700_000_000_300_000)


def test_a_slot_with_many_rows_wakes_at_once_and_one_with_few_waits() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    stream.put(b"few")
    setup.shared.fetch_all()
    assert setup.slot.next_awake() is not None
    for _ in range(1000):
        stream.put(b"x")
    setup.shared.fetch_all(2)
    assert setup.slot.next_awake() is None
    setup.slot.poll()
    assert setup.slot.next_awake() is not None


# ---- what it remembers --------------------------------------------------------------------------


def test_the_position_moves_only_with_what_a_poll_returned() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.shared.list_shards()
    setup.slot.poll()
    setup.shared.fetch_all()
    assert setup.slot.snapshot()["shards"][ROOT]["sequence"] is None
    assert setup.slot.snapshot()["ledger"]["records"] == 0
    setup.slot.poll()
    assert setup.slot.snapshot()["shards"][ROOT]["sequence"] == "1"
    assert setup.slot.snapshot()["ledger"]["records"] == 1


def test_the_position_is_behind_the_last_of_several_replies() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    for data in (b"a", b"b", b"c"):
        stream.put(data)
        setup.shared.fetch_all()
    setup.slot.poll()
    assert setup.slot.snapshot()["shards"][ROOT]["sequence"] == "3"


def test_an_aggregate_is_taken_up_where_the_snapshot_left_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sources.kinesis.records.MAX_ROWS", 2)
    monkeypatch.setattr("sources.kinesis.slot._POLL_ROWS", 2)
    stream = FakeKinesis()
    stream.put(aggregate(b"a", b"b", b"c"))
    stream.put(b"d")
    setup = Setup(stream)
    assert payloads(setup.round()) == [b"a", b"b"]
    state = setup.slot.snapshot()
    assert (state["shards"][ROOT]["sequence"], state["shards"][ROOT]["sub_sequence"]) == ("1", 1)
    assert state["ledger"]["records"] == 0  # none is whole yet
    assert state["ledger"]["user_records"] == 2
    resumed = Setup(stream, state)
    assert payloads(resumed.rounds(2)) == [b"c", b"d"]
    ledger = resumed.slot.snapshot()["ledger"]
    assert ledger == {
        "records": 2,
        "plain": 1,
        "aggregated": 1,
        "user_records": 4,
        "foreign_user_records": 0,
    }
    assert resumed.slot.snapshot()["shards"][ROOT]["sub_sequence"] is None


def test_a_snapshot_is_a_plain_versioned_value_of_its_own() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.rounds(2)
    state = setup.slot.snapshot()
    assert pickle.loads(pickle.dumps(state)) == state
    assert state == {
        "version": 1,
        "t0_us": None,
        "listed": True,
        "created_us": 0,
        "shards": {
            ROOT: {
                "sequence": "1",
                "sub_sequence": None,
                "start_us": None,
                "read_until_us": stream.now_us,
                "parents": [],
                "hash_range": ["0", str(2**128 - 1)],
                "state": "reading",
            }
        },
        "ledger": {
            "records": 1,
            "plain": 1,
            "aggregated": 0,
            "user_records": 1,
            "foreign_user_records": 0,
        },
    }
    kept = copy.deepcopy(state)
    stream.put(b"b")
    setup.rounds(2)
    assert state == kept


def test_reading_goes_on_after_the_last_record() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    stream.put(b"b")
    setup = Setup(stream, state)
    assert payloads(setup.rounds(2)) == [b"b"]
    assert setup.slot.snapshot()["ledger"]["records"] == 2


def test_a_state_of_another_version_is_refused() -> None:
    stream = FakeKinesis()
    state = state_of(stream) | {"version": 99}
    with pytest.raises(ValueError, match="version 99"):
        Setup(stream, state)


def test_a_first_start_at_a_time_holds_for_children_and_parents() -> None:
    stream = FakeKinesis()
    stream.put(b"old")
    one, two = stream.split(ROOT)
    stream.put(b"old too")
    setup = Setup(stream, start_us=stream.now_us + 1_000)
    stream.put(b"new")
    found = setup.rounds(3)
    assert payloads(found) == [b"new"]
    assert Ended(ROOT, (one, two)) in found


def test_a_shard_that_appears_later_is_read_from_its_oldest_record() -> None:
    stream = FakeKinesis(names_children=False)
    setup = Setup(stream, start_us=stream.now_us + 60_000_000)  # our clock is a minute ahead
    setup.round()
    one, _ = stream.split(ROOT)
    stream.put(b"first of the child")
    assert payloads(setup.rounds(3)) == [b"first of the child"]
    kinds = {
        arguments["ShardId"]: arguments["ShardIteratorType"]
        for operation, arguments in stream.calls
        if operation == "get_shard_iterator"
    }
    assert kinds[ROOT] == "AT_TIMESTAMP"
    assert kinds[one] == "TRIM_HORIZON"


def test_an_ended_shard_is_remembered_until_the_stream_has_forgotten_it() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    stream.split(ROOT)
    setup.rounds(3)
    assert setup.slot.snapshot()["shards"][ROOT]["state"] == "ended"
    stream.now_us += 25 * HOUR_US
    setup.rounds(4)
    assert ROOT in setup.slot.snapshot()["shards"]  # it is listed
    stream.expire(ROOT)
    setup.rounds(2)
    assert ROOT in setup.slot.snapshot()["shards"]  # one listing could be wrong
    setup.rounds(2)
    assert ROOT not in setup.slot.snapshot()["shards"]


def test_an_ended_shard_that_listings_leave_out_for_a_while_is_not_read_again() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.round()
    stream.split(ROOT)
    setup.rounds(3)
    stream.shards[ROOT].listed = False
    setup.rounds(30)  # seconds apart, while somebody waits for children
    resumed = Setup(stream, setup.slot.snapshot())
    resumed.rounds(30)
    stream.shards[ROOT].listed = True
    assert payloads(resumed.rounds(3)) == []


def test_an_ended_shard_is_not_adopted_again_on_resume() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    stream.put(b"a")
    children = stream.split(ROOT)
    setup.rounds(3)
    resumed = Setup(stream, setup.slot.snapshot())
    found = resumed.rounds(3)
    assert [item.shard for item in found if isinstance(item, Adopted)] == list(children)
    assert payloads(found) == []


# ---- what is lost -------------------------------------------------------------------------------


def losses() -> float:
    return metrics.source_errors.labels("stepped", "data_loss")._value.get()


def test_a_parent_that_expired_while_stopped_is_ended_with_its_living_descendants(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    one, two = stream.split(ROOT)
    three, four = stream.split(one)
    stream.put(b"b")
    stream.expire(ROOT)
    stream.expire(one)
    before = losses()
    setup = Setup(stream, state)
    with caplog.at_level(logging.WARNING):
        found = setup.rounds(4)
    assert Ended(ROOT, tuple(sorted((two, three, four)))) in found
    assert payloads(found) == [b"b"]
    assert losses() == before + 1
    assert ROOT in caplog.text


def test_an_expired_parent_stops_the_job_when_the_policy_says_so() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    stream.split(ROOT)
    stream.expire(ROOT)
    setup = Setup(stream, state, on_data_loss="fail")
    with pytest.raises(DataLossError):
        setup.rounds(3)


def test_a_shard_that_the_service_denied_by_a_slip_is_read_on() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.round()
    stream.put(b"b")
    slips = [client_error("ResourceNotFoundException")]
    stream.faults = lambda operation, _: (
        slips.pop() if operation == "get_records" and slips else None
    )
    before = losses()
    assert payloads(setup.rounds(3)) == [b"b"]
    assert losses() == before


def test_only_a_listing_that_began_after_the_denial_tells_whether_a_shard_is_lost() -> None:
    stream = FakeKinesis(2)
    root, other = stream.shards.values()
    stream.put(b"a", root.first_hash)
    state = state_of(stream)
    root.listed = False  # not there in the first listing by a slip
    setup = Setup(stream, state)
    for _ in range(3):
        setup.shared.list_shards()
    setup.slot.poll()
    stream.faults = lambda _, arguments: (
        client_error("ResourceNotFoundException") if arguments.get("ShardId") == root.id else None
    )
    setup.shared.fetch_all()
    setup.slot.poll()
    before = losses()
    stream.split(other.id)
    setup.shared.fetch_all()  # names children: what is known changes, but not by a listing
    setup.slot.poll()
    setup.slot.poll()
    stream.faults = lambda *_: None
    root.listed = True
    stream.put(b"b", root.first_hash)
    assert payloads(setup.rounds(2)) == [b"b"]
    assert losses() == before


def test_a_parent_that_expired_is_one_loss_though_its_position_expired_too() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    stream.split(ROOT)
    stream.now_us += 25 * HOUR_US
    stream.expire(ROOT)
    before = losses()
    setup = Setup(stream, state)
    setup.rounds(4)
    assert losses() == before + 1


def recreated(stream: FakeKinesis) -> FakeKinesis:
    stream.recreate()
    # A number of the old stream is none of the new one's.
    stream.faults = lambda _, arguments: (
        client_error("InvalidArgumentException") if "StartingSequenceNumber" in arguments else None
    )
    return stream


def test_a_stream_that_was_deleted_and_created_again_while_reading_ends_the_job() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.rounds(2)
    recreated(stream)
    stream.faults = lambda operation, arguments: (
        client_error("ExpiredIteratorException")
        if operation == "get_records" and arguments["ShardIterator"] == f"{ROOT}|1"
        else client_error("InvalidArgumentException")
        if "StartingSequenceNumber" in arguments
        else None
    )
    with pytest.raises(LayoutError, match="created again"):
        setup.rounds(4)


def test_a_stream_that_was_created_again_with_the_ids_of_ended_shards_ends_the_job() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    stream.split(ROOT)
    setup.rounds(3)
    recreated(stream)  # its only shard has the id of one that has ended
    with pytest.raises(LayoutError, match="created again"):
        setup.rounds(4)


def test_a_stream_that_was_created_again_while_stopped_ends_the_job() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    with pytest.raises(LayoutError, match="created again"):
        Setup(recreated(stream), state).round()


def test_a_state_that_does_not_know_its_stream_takes_the_one_it_finds() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    del state["created_us"]  # as a move between stores leaves it
    setup = Setup(stream, state)
    setup.round()
    assert setup.slot.snapshot()["created_us"] == 0


@pytest.mark.parametrize("policy", ["warn", "fail"])
def test_records_that_expired_while_stopped_are_a_loss(policy: str) -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    state = state_of(stream)
    stream.now_us += 25 * HOUR_US
    stream.put(b"b")
    before = losses()
    setup = Setup(stream, state, on_data_loss=policy)
    if policy == "fail":
        with pytest.raises(DataLossError):
            setup.rounds(2)
        return
    assert payloads(setup.rounds(2)) == [b"b"]
    assert losses() == before + 1
    setup.rounds(3)
    assert losses() == before + 1


def test_a_shard_that_was_quiet_and_watched_lost_nothing() -> None:
    stream = FakeKinesis()
    stream.put(b"a")
    setup = Setup(stream)
    setup.rounds(2)
    stream.now_us += 25 * HOUR_US
    setup.rounds(2)  # asked again, nothing new: its last record is old, but all was read
    before = losses()
    Setup(stream, setup.slot.snapshot(), on_data_loss="fail").rounds(3)
    assert losses() == before


# ---- failures, end ------------------------------------------------------------------------------


def test_what_fails_in_the_background_is_raised_by_the_next_poll() -> None:
    stream = FakeKinesis()
    stream.faults = lambda *_: client_error("ResourceNotFoundException")
    setup = Setup(stream)
    setup.shared.list_shards()
    for _ in range(2):
        with pytest.raises(MissingResourceError, match="stepped"):
            setup.slot.poll()


def test_closing_the_last_slot_closes_the_client_and_forgets_the_shards() -> None:
    stream = FakeKinesis()
    shared = SteppedStream(stream, slots=2)
    slots = [KinesisSlot(f"slot-0{n}", n, shared, None) for n in range(2)]
    shared.list_shards()
    for slot in slots:
        slot.poll()
    reading = metrics.source_shards.labels("stepped", "reading")
    assert reading._value.get() == 1
    slots[0].close()
    assert not stream.closed
    assert reading._value.get() == 0
    slots[1].close()
    assert stream.closed


def test_the_labels_of_a_shard_go_when_it_ends() -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    stream.put(b"a")
    setup.round()
    labels = ("stepped", ROOT)
    assert labels in metrics.source_records._metrics
    stream.split(ROOT)
    setup.rounds(2)
    for metric in metrics.OF_SHARDS:
        assert labels not in metric._metrics, metric


def test_where_labels_can_not_be_removed_the_shard_is_marked_as_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = FakeKinesis()
    setup = Setup(stream)
    setup.round()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "somewhere")
    stream.split(ROOT)
    setup.rounds(2)
    waiting = metrics.kinesis_prefetch_bytes.labels("stepped", ROOT)
    assert waiting._value.get() == metrics.CLOSED


def test_every_metric_with_a_series_a_shard_is_among_those_that_are_removed() -> None:
    of_shards = {metric for metric in metrics.METRICS if "shard" in metric._labelnames}
    assert of_shards == set(metrics.OF_SHARDS)
