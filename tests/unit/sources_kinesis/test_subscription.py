"""One shard's subscription, call by call, over a real socket to a scripted server."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metrics
from errors import DataLossError, KinewaxError
from sources.kinesis.event_stream import keep_body
from sources.kinesis.lineage import HASH_KEYS, Shard
from sources.kinesis.reader import End, Gone, Position, Tip
from sources.kinesis.records import Rows
from sources.kinesis.share import PAUSED_SECONDS, Share
from sources.kinesis.subscription import Patience, Subscription
from tests.fakes.event_stream import (
    CONSUMER_ARN,
    Arguments,
    CutError,
    EventStreamServer,
    RefusedError,
    child,
    event,
    exception,
    subscriber,
)
from tests.fakes.kinesis import aggregate

SHARD = "shardId-000000000000"
HOUR_US = 3_600_000_000
NOW_US = 1_800_000_000_000_000
AT_ONCE = Patience(call_seconds=0.0, renew_seconds=0.0)
DEADLINE_SECONDS = 20.0


class NamedConsumer:
    def __init__(self) -> None:
        self.arn: str | None = CONSUMER_ARN
        self.doubts = 0

    def doubt(self) -> None:
        self.doubts += 1


class Setup:
    """A subscription to the first shard, and what it told others."""

    def __init__(
        self,
        server: EventStreamServer,
        position: Position | None = None,
        *,
        patience: Patience = AT_ONCE,
        share: Share | None = None,
        fails_on_loss: bool = False,
    ) -> None:
        self.learned: list[Shard] = []
        self.losses: list[str] = []
        self.now_us = NOW_US
        self.fails_on_loss = fails_on_loss
        self.consumer = NamedConsumer()
        client = subscriber(server.endpoint)
        client.meta.events.register("before-parse.kinesis.SubscribeToShard", keep_body)
        self.reader = Subscription(
            Shard(SHARD, 0, HASH_KEYS - 1),
            position or Position(),
            client=client,
            consumer=self.consumer,
            patience=patience,
            stream="subscription-test",
            share=share or Share(1 << 20),
            clock=lambda: self.now_us,
            rng=random.Random(1),
            learn=self.learned.extend,
            on_loss=self.on_loss,
            retention_us=lambda: 24 * HOUR_US,
        )

    def on_loss(self, shard: str, why: str) -> None:
        self.losses.append(why)
        if self.fails_on_loss:
            raise DataLossError(why)

    def items(self) -> list[Any]:
        found = []
        while (item := self.reader.take()) is not None:
            found.append(item)
        return found

    def payloads(self) -> list[bytes]:
        return [p for item in self.items() if isinstance(item, Rows) for p in item.payloads]


@pytest.fixture
def server() -> Iterator[EventStreamServer]:
    with EventStreamServer() as made:
        yield made


def scripted(*scripts: Callable[[], Iterator[bytes]]) -> Callable[[Arguments], Iterator[bytes]]:
    """One script a call; the last one again and again."""
    left = list(scripts)
    return lambda _: (left.pop(0) if len(left) > 1 else left[0])()


def sent(*chunks: bytes, error: Exception | None = None) -> Callable[[], Iterator[bytes]]:
    def script() -> Iterator[bytes]:
        yield from chunks
        if error is not None:
            raise error

    return script


def refused(code: str) -> Callable[[], Iterator[bytes]]:
    return sent(error=RefusedError(code))


def errors_counted(error_type: str) -> float:
    return metrics.source_errors.labels("subscription-test", error_type)._value.get()


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    return thread, results


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def after(sequence: int) -> dict[str, str]:
    return {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": str(sequence)}


# ---- renewal and positions ----


def test_a_subscription_that_ends_is_renewed_after_the_last_continuation_number(server):
    server.subscribe = scripted(
        sent(event([(1, b"a"), (2, b"b")], after=5)),
        sent(event([(6, b"c")], after=6), event(after=9)),
        sent(event([(10, b"d")], after=10)),
    )
    setup = Setup(server)
    assert [setup.reader.step() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert setup.payloads() == [b"a", b"b", b"c", b"d"]
    assert server.positions() == [{"Type": "TRIM_HORIZON"}, after(5), after(9)]


def test_a_start_in_time_and_one_within_an_aggregate_are_asked_for_as_such(server):
    server.subscribe = scripted(sent(event(after=5)))
    Setup(server, Position(start_us=1_700_000_000_123_456)).reader.step()
    Setup(server, Position("77", 3)).reader.step()
    Setup(server, Position("77")).reader.step()
    asked = server.positions()
    assert asked[0] == {"Type": "AT_TIMESTAMP", "Timestamp": pytest.approx(1_700_000_000.123)}
    assert asked[1:] == [{"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": "77"}, after(77)]


def test_an_empty_stretch_moves_the_position_that_the_slot_will_snapshot(server):
    server.subscribe = scripted(sent(event([(1, b"a")], after=1), event(after=8), event(after=9)))
    setup = Setup(server)
    setup.reader.step()
    rows, blank = setup.items()
    assert (list(rows.payloads), rows.sequence) == ([b"a"], "1")
    assert (list(blank.payloads), blank.sequence, blank.plain, blank.aggregated) == ([], "9", 0, 0)


def test_the_rest_of_an_aggregate_comes_though_an_empty_event_came_first(server):
    data = aggregate(b"0", b"1", b"2", b"3")
    server.subscribe = scripted(
        sent(event(after=77)), sent(event([(77, data), (78, b"next")], after=78))
    )
    setup = Setup(server, Position("77", 1))
    setup.reader.step()
    setup.reader.step()
    assert setup.payloads() == [b"2", b"3", b"next"]
    assert server.positions()[1] == {"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": "77"}


def test_no_call_is_made_sooner_than_the_service_allows(server):
    server.subscribe = scripted(
        refused("LimitExceededException"), sent(event([(1, b"a")], after=1))
    )
    setup = Setup(server, patience=Patience(call_seconds=500.0, renew_seconds=1000.0))
    assert 490 < (setup.reader.step() or 0) < 501
    assert 490 < (setup.reader.step() or 0) < 501
    assert len(server.positions()) == 1
    setup.reader._may_call = 0.0
    assert 990 < (setup.reader.step() or 0) <= 1000


def test_nothing_is_asked_for_before_the_consumer_is_known(server):
    setup = Setup(server)
    setup.consumer.arn = None
    assert setup.reader.step() is not None
    assert server.calls == []


# ---- the tip and the end ----


def test_an_empty_event_with_nothing_behind_it_is_the_tip_as_of_the_request(server):
    server.subscribe = scripted(sent(event(after=5)))
    setup = Setup(server)
    setup.reader.step()
    blank, tip = setup.items()
    assert blank.sequence == "5"
    assert tip == Tip(NOW_US)


def test_records_or_a_lag_are_no_tip_and_neither_is_an_empty_event_that_came_at_once(server):
    server.subscribe = scripted(
        sent(event([(1, b"a")], after=1), event(after=1)), sent(event(after=2, behind_ms=9_000))
    )
    setup = Setup(server)
    setup.reader.step()
    setup.reader.step()
    assert not any(isinstance(item, Tip) for item in setup.items())
    gauge = metrics.behind_latest_seconds.labels("subscription-test", SHARD)
    assert gauge._value.get() == 9.0


def test_the_last_event_names_the_children_and_ends_the_shard(server):
    children = [child("left", SHARD, 0, 9), child("right", SHARD, 10)]
    server.subscribe = scripted(sent(event([(1, b"a")], children=children), event(after=5)))
    setup = Setup(server)
    assert setup.reader.step() is None
    rows, end = setup.items()
    assert list(rows.payloads) == [b"a"]
    assert end == End()
    assert setup.learned == [
        Shard("left", 0, 9, (SHARD,)),
        Shard("right", 10, HASH_KEYS - 1, (SHARD,)),
    ]


def test_children_beside_a_continuation_number_are_learned_of_and_end_nothing(server):
    server.subscribe = scripted(
        sent(event([(1, b"a")], after=1, children=[child("c", SHARD)])),
        sent(event([(2, b"b")], after=2)),
    )
    setup = Setup(server)
    assert setup.reader.step() is not None
    assert setup.reader.step() is not None
    assert [shard.id for shard in setup.learned] == ["c"]
    assert setup.payloads() == [b"a", b"b"]


def test_neither_a_continuation_number_nor_children_is_a_failure_and_no_end(server):
    server.subscribe = scripted(
        sent(event([(1, b"a")], after=1), event([(2, b"b")])), sent(event([(2, b"b")], after=2))
    )
    setup = Setup(server)
    assert setup.reader.step() is not None
    setup.reader.step()
    assert setup.payloads() == [b"a", b"b"]
    assert server.positions()[1] == after(1)


# ---- failures ----


@pytest.mark.parametrize(
    ("script", "error_type"),
    [
        (refused("ResourceInUseException"), "in_use"),
        (refused("LimitExceededException"), "throttled"),
        (sent(error=RefusedError("InternalFailure", 500)), "server"),
        (sent(error=CutError()), "network"),
        (sent(event([(2, b"b")], after=2)[:-1], error=CutError()), "network"),
        (sent(event([(2, b"b")], after=2)[:-1]), "network"),
        (sent(event([(2, b"b")], after=2)[:-1] + b"?"), "network"),
        (sent(exception("ResourceInUseException")), "in_use"),
        (sent(exception("InternalFailureException")), "server"),
        (sent(), "network"),
    ],
)
def test_after_a_failure_it_goes_on_behind_the_last_event(server, script, error_type: str):
    server.subscribe = scripted(
        sent(event([(1, b"a")], after=1)), script, sent(event([(2, b"b")], after=2))
    )
    setup = Setup(server)
    counted = errors_counted(error_type)
    setup.reader.step()
    assert setup.reader.step() is not None
    assert errors_counted(error_type) == counted + 1
    setup.reader.step()
    assert setup.payloads() == [b"a", b"b"]
    assert server.positions()[1:] == [after(1), after(1)]


def test_pauses_grow_while_calls_fail_and_an_event_forgets_them(server):
    server.subscribe = scripted(*[refused("LimitExceededException")] * 9, sent(event(after=1)))
    setup = Setup(server)
    pauses = [setup.reader.step() or 0 for _ in range(9)]
    assert max(pauses[:2]) <= 0.5
    assert max(pauses) > 1
    assert len({round(pause, 6) for pause in pauses}) == 9
    assert setup.reader.step() == 0.0
    assert setup.reader._backoff.failures == 0


def test_being_taken_over_again_and_again_is_told(server, caplog: pytest.LogCaptureFixture):
    server.subscribe = scripted(sent(event(after=1), exception("ResourceInUseException")))
    setup = Setup(server)
    for _ in range(6):
        setup.reader.step()
    told = [r for r in caplog.records if getattr(r, "event", "") == "subscription_taken_over"]
    assert len(told) == 1
    assert CONSUMER_ARN in told[0].getMessage()


def test_a_shard_or_consumer_that_is_gone_is_told_to_the_slot_and_the_consumer_doubted(server):
    server.subscribe = scripted(refused("ResourceNotFoundException"))
    setup = Setup(server)
    assert setup.reader.step() is None
    assert setup.items() == [Gone()]
    assert setup.consumer.doubts == 1


def test_a_position_that_is_refused_is_a_loss_and_reading_goes_on_at_the_oldest(server):
    server.subscribe = scripted(
        refused("InvalidArgumentException"), sent(event([(9, b"x")], after=9))
    )
    setup = Setup(server, Position("5"))
    setup.reader.step()
    setup.reader.step()
    assert len(setup.losses) == 1
    assert server.positions() == [after(5), {"Type": "TRIM_HORIZON"}]
    assert setup.payloads() == [b"x"]
    strict = Setup(server, Position("5"), fails_on_loss=True)
    server.subscribe = scripted(refused("InvalidArgumentException"))
    with pytest.raises(DataLossError):
        strict.reader.step()


def test_a_refusal_for_good_names_the_permission(server):
    server.subscribe = scripted(refused("AccessDeniedException"))
    with pytest.raises(KinewaxError) as raised:
        Setup(server).reader.step()
    assert "kinesis:SubscribeToShard" in raised.value.hint


# ---- the watchdog ----


def test_a_subscription_on_which_nothing_comes_is_hung_up_by_the_watchdog(server):
    def silent() -> Iterator[bytes]:
        yield event([(1, b"a")], after=1)
        yield from server.stall()

    server.subscribe = scripted(silent, sent(event([(2, b"b")], after=2)))
    setup = Setup(server, patience=Patience(0.05, call_seconds=0.0, renew_seconds=0.0))
    counted = errors_counted("stalled")
    thread, results = in_thread(setup.reader.step)

    def hung_up() -> bool:
        setup.reader.watch()
        return not thread.is_alive()

    until(hung_up)
    assert results != [None]
    assert errors_counted("stalled") == counted + 1
    setup.reader.step()
    assert setup.payloads() == [b"a", b"b"]
    assert server.positions() == [{"Type": "TRIM_HORIZON"}, after(1)]


def test_bytes_that_never_make_an_event_are_no_sign_of_life(server):
    def dripping() -> Iterator[bytes]:
        for byte in event([(1, b"a" * 1000)], after=1):
            if server.over.wait(0.02):
                break
            yield bytes([byte])

    server.subscribe = scripted(dripping)
    setup = Setup(server, patience=Patience(0.1, call_seconds=0.0, renew_seconds=0.0))
    counted = errors_counted("stalled")
    thread, _ = in_thread(setup.reader.step)

    def hung_up() -> bool:
        setup.reader.watch()
        return not thread.is_alive()

    until(hung_up)
    assert errors_counted("stalled") == counted + 1
    assert setup.items() == []


def test_events_that_say_there_is_more_and_never_bring_it_are_given_up(server):
    def busy_with_nothing() -> Iterator[bytes]:
        while not server.over.wait(0.01):
            yield event(after=1, behind_ms=60_000)

    server.subscribe = scripted(busy_with_nothing, sent(event([(2, b"b")], after=2)))
    setup = Setup(server, patience=Patience(0.1, call_seconds=0.0, renew_seconds=0.0))
    counted = errors_counted("stalled")
    assert setup.reader.step() is not None
    assert errors_counted("stalled") == counted + 1
    setup.reader.step()
    assert setup.payloads() == [b"b"]


def test_a_subscription_that_outlives_its_five_minutes_is_renewed_all_the_same(server):
    def endless() -> Iterator[bytes]:
        number = 0
        while not server.over.wait(0.01):
            number += 1
            yield event(after=number)

    server.subscribe = scripted(endless)
    patience = Patience(most_seconds=0.05, call_seconds=0.0, renew_seconds=0.0)
    thread, results = in_thread(Setup(server, patience=patience).reader.step)
    until(lambda: not thread.is_alive())
    assert results == [0.0]


def test_falling_behind_retention_between_two_subscriptions_is_told_once(server):
    hours_behind = 20
    server.subscribe = scripted(
        sent(event([(1, b"a")], after=1, behind_ms=hours_behind * 3_600_000)),
        sent(event([(9, b"b")], after=9, behind_ms=24 * 3_600_000)),
    )
    setup = Setup(server)
    setup.reader.step()
    assert setup.losses == []
    setup.now_us += 5 * HOUR_US  # held up for so long: an hour has expired
    setup.reader.step()
    assert len(setup.losses) == 1
    assert "by 1.0 hours" in setup.losses[0]
    setup.reader.step()
    assert len(setup.losses) == 1
    assert setup.payloads() == [b"a", b"b", b"b"]


# ---- a slow slot, and closing ----


def test_a_slow_slot_holds_up_the_subscription_and_then_ends_it_with_little_in_memory(server):
    came = 0

    def endless() -> Iterator[bytes]:
        nonlocal came
        first = int(server.positions()[-1].get("SequenceNumber", 0)) + 1
        for number in range(first, 100):
            came = number
            yield event([(number, b"x" * 50_000)], after=number)

    server.subscribe = lambda _: endless()
    share = Share(800_000)
    share.readers = 4
    patience = Patience(full_seconds=0.1, call_seconds=0.0, renew_seconds=0.0)
    setup = Setup(server, share=share, patience=patience)
    assert setup.reader.step() == 0.0  # given up, though 97 events were to come
    assert setup.reader.rows_waiting() == 2
    assert setup.reader.step() is not None  # no room: nothing is asked for
    assert len(server.positions()) == 1
    rows = setup.items()
    assert sum(item.memory_bytes for item in rows) <= 100_000 + 50_250
    setup.reader.step()
    assert server.positions()[1] == after(2)
    assert [item.sequence for item in rows + setup.items()] == ["1", "2", "3", "4"]


def test_a_held_up_subscription_goes_on_when_the_slot_takes_rows(server):
    server.subscribe = scripted(sent(*[event([(n, b"x" * 50_000)], after=n) for n in range(1, 20)]))
    share = Share(100_000)
    share.readers = 1
    setup = Setup(server, share=share)
    thread, results = in_thread(setup.reader.step)
    taken: list[Any] = []

    def all_taken() -> bool:
        taken.extend(setup.items())
        return not thread.is_alive()

    until(all_taken)
    taken += setup.items()
    assert [item.sequence for item in taken] == [str(n) for n in range(1, 20)]
    assert results == [0.0]
    assert len(server.positions()) == 1


def test_a_large_event_is_read_when_the_process_has_room_for_it_and_not_before(server):
    large, small = b"x" * 300_000, b"x" * 100
    scripts = [sent(event([(1, small)], after=1), event([(2, large)], after=2))]
    server.subscribe = scripted(*scripts, sent(event([(2, large)], after=2)))
    share = Share(2_000_000)
    share.readers = 1
    patience = Patience(full_seconds=0.2, call_seconds=0.0, renew_seconds=0.0)
    setup = Setup(server, share=share, patience=patience)
    other = share.join()
    reserved = share.reserve(other, 500_000)  # a reply that is under way to another reader
    assert reserved is not None
    assert setup.reader.step() == 0.0  # given up after the small event, which has come whole
    assert setup.payloads() == [small]
    share.release(reserved, None)
    setup.reader.step()
    assert setup.payloads() == [large]
    assert server.positions()[1] == after(1)
    assert share.reserve(other, 650_000) is not None  # nothing is kept reserved


def test_an_event_larger_than_all_the_room_is_read_alone(server):
    large = b"x" * 3_000_000
    server.subscribe = scripted(sent(event([(1, large)], after=1)))
    share = Share(1_000_000)
    share.readers = 1
    patience = Patience(full_seconds=0.0, call_seconds=0.0, renew_seconds=0.0)
    setup = Setup(server, share=share, patience=patience)
    setup.reader.step()
    assert setup.payloads() == [large]


def test_room_is_given_back_when_a_large_event_breaks_off(server):
    cut = event([(1, b"x" * 300_000)], after=1)[:200_000]
    server.subscribe = scripted(sent(cut))
    share = Share(2_000_000)
    share.readers = 1
    setup = Setup(server, share=share)
    setup.reader.step()
    assert share.reserve(share.join(), 650_000) is not None


def test_waiting_for_room_is_no_stall_of_the_service(server):
    server.subscribe = scripted(sent(event([(1, b"x" * 300_000)], after=1)))
    share = Share(2_000_000)
    share.readers = 1
    patience = Patience(stall_seconds=0.0, full_seconds=600.0, call_seconds=0.0, renew_seconds=0.0)
    setup = Setup(server, share=share, patience=patience)
    other = share.join()
    reserved = share.reserve(other, 600_000)
    assert reserved is not None
    thread, _ = in_thread(setup.reader.step)
    until(lambda: bool(share._line))  # it was refused room
    setup.reader.watch()
    share.release(reserved, None)
    until(lambda: not thread.is_alive())
    assert len(setup.payloads()) == 1


def test_a_shard_that_is_ahead_looks_four_times_a_second_whether_it_still_is(server):
    server.subscribe = scripted(sent(event([(4_000, b"x")], after=4_000)))
    share = Share(1 << 20, max_drift_seconds=300.0)
    share.readers = 2
    patience = Patience(full_seconds=0.0, call_seconds=0.0, renew_seconds=0.0)
    setup = Setup(server, share=share, patience=patience)
    slow = share.join()
    slow.next_us, slow.waiting_bytes = 1_700_000_000_000_000, 1
    setup.reader.step()
    assert setup.payloads() == [b"x"]
    assert [setup.reader.step() for _ in range(3)] == [PAUSED_SECONDS] * 3
    assert len(server.positions()) == 1


def test_closing_ends_a_subscription_at_once_whatever_it_waits_for(server):
    def silent() -> Iterator[bytes]:
        yield event([(1, b"x" * 50_000)], after=1)
        yield from server.stall()

    server.subscribe = scripted(silent)
    patience = Patience(full_seconds=600.0, call_seconds=0.0, renew_seconds=0.0)
    waiting, held_up = Setup(server), Setup(server, share=Share(1), patience=patience)
    for setup in (waiting, held_up):
        thread, results = in_thread(setup.reader.step)
        until(lambda setup=setup: setup.reader.rows_waiting() > 0)
        setup.reader.close()
        thread.join(DEADLINE_SECONDS)
        assert results == [None]
        assert setup.reader.step() is None
