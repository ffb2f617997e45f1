"""What readers divide: bytes in queues and under way, and how far apart they may be."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

import metrics
from sources.kinesis.kpl import Deaggregator
from sources.kinesis.lineage import HASH_KEYS, Shard
from sources.kinesis.pacing import Pacing
from sources.kinesis.polling import PollingReader
from sources.kinesis.reader import End, Position
from sources.kinesis.records import Rows, to_rows
from sources.kinesis.replies import columns
from sources.kinesis.share import PAUSED_SECONDS, Share, Standing
from tests.fakes.kinesis import FakeKinesis

MIB = 1 << 20
ASKER = Standing()
SECOND = 1_000_000


@pytest.fixture(autouse=True)
def always_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.kinesis.share._LOOK_EVERY_SECONDS", 0.0)
    monkeypatch.setattr("sources.kinesis.polling._WAITS_FOR_ROOM", False)  # all is one thread


def rows(*arrivals_us: int, payload_bytes: int = 0) -> Rows:
    count = len(arrivals_us)
    records = columns([b""] * count, ["1"] * count, arrivals_us)
    (found,) = to_rows({"Records": records}, Deaggregator(0, HASH_KEYS - 1))
    return replace(found, payload_bytes=payload_bytes)


def reader_of(stream: FakeKinesis, number: int, share: Share) -> PollingReader:
    shard = stream.shards[f"shardId-{number:012d}"]
    return PollingReader(
        Shard(shard.id, shard.first_hash, shard.last_hash),
        Position(),
        client=stream,
        pacing=Pacing(shard_calls_per_second=1e9),  # a call need bring nothing
        stream="share-test",
        share=share,
        clock=stream.clock,
        rng=random.Random(1),
        learn=lambda children: None,
        on_loss=lambda shard, why: None,
    )


def drain(reader: PollingReader) -> list[bytes]:
    found = []
    while (item := reader.take()) is not None:
        found += item.payloads if isinstance(item, Rows) else []
    return found


# ---- time -----------------------------------------------------------------------------------


def put_at(stream: FakeKinesis, shard: int, second: int) -> None:
    first = stream.shards[f"shardId-{shard:012d}"].first_hash
    stream.now_us = (second - 1) * SECOND
    stream.put(b"%d" % second, first)


def limited(share: Share, records: int) -> None:
    """Let a reader ask for so few records."""
    share.readers = 2
    share.bytes_each = lambda: 2 * records * 1024  # type: ignore[method-assign]


def two_shards_apart() -> tuple[FakeKinesis, Share]:
    """Two shards of 100 s; the first is read first."""
    stream = FakeKinesis(2)
    for second in range(1, 101):
        put_at(stream, 0, second)
    for second in range(1, 101):
        put_at(stream, 1, second)
    share = Share(1 << 30, max_drift_seconds=10)
    limited(share, 5)
    return stream, share


def test_a_shard_far_ahead_waits_for_the_slowest() -> None:
    stream, share = two_shards_apart()
    fast, slow = reader_of(stream, 0, share), reader_of(stream, 1, share)
    slow.step()
    drain(slow)  # at second 5, and not at its tip
    emitted: list[bytes] = []
    for _ in range(50):
        fast.step()
        emitted += drain(fast)
    assert 15 <= int(emitted[-1]) <= 20
    assert fast.step() == PAUSED_SECONDS
    slow.step()
    slow.step()
    drain(slow)
    assert fast.step() != PAUSED_SECONDS


def test_the_slowest_is_judged_by_what_was_emitted_and_not_by_what_was_fetched() -> None:
    stream, share = two_shards_apart()
    fast, slow = reader_of(stream, 0, share), reader_of(stream, 1, share)
    limited(share, 30)
    slow.step()  # fetched up to second 30, none of it taken
    fast.step()
    assert drain(fast)[-1] == b"30"
    assert fast.step() == PAUSED_SECONDS
    drain(slow)
    assert fast.step() != PAUSED_SECONDS


def test_a_shard_at_its_tip_is_not_the_slowest() -> None:
    stream, share = two_shards_apart()
    stream.shards["shardId-000000000001"].records = stream.shards["shardId-000000000001"].records[
        :1
    ]
    fast, idle = reader_of(stream, 0, share), reader_of(stream, 1, share)
    idle.step()
    assert drain(idle) == [b"1"]
    emitted: list[bytes] = []
    for _ in range(25):
        fast.step()
        emitted += drain(fast)
    assert len(emitted) == 100


def test_an_ended_and_a_closed_shard_are_not_the_slowest() -> None:
    stream, share = two_shards_apart()
    fast, other = reader_of(stream, 0, share), reader_of(stream, 1, share)
    other.step()
    drain(other)
    for _ in range(10):
        fast.step()
        drain(fast)
    assert fast.step() == PAUSED_SECONDS
    other.close()  # as its slot does when it takes `End`
    assert fast.step() != PAUSED_SECONDS


def test_a_shard_that_has_shown_nothing_yet_holds_nobody_up() -> None:
    stream, share = two_shards_apart()
    fast, unknown = reader_of(stream, 0, share), reader_of(stream, 1, share)
    emitted: list[bytes] = []
    for _ in range(25):
        fast.step()
        emitted += drain(fast)
    assert len(emitted) == 100
    assert unknown.rows_waiting() == 0


def test_paused_shards_are_counted_and_how_far_the_last_is_behind_the_tip_and_the_retention() -> (
    None
):
    stream, _ = two_shards_apart()
    hour_us = 3_600_000_000
    share = Share(
        1 << 30, max_drift_seconds=10, stream="share-metrics", retention_us=lambda: hour_us
    )
    limited(share, 5)
    fast, slow = reader_of(stream, 0, share), reader_of(stream, 1, share)
    slow.step()
    drain(slow)
    for _ in range(10):
        fast.step()
        drain(fast)
    share.is_ahead(Standing())
    paused = metrics.kinesis_shards_paused.labels("share-metrics")._value.get()
    behind = metrics.kinesis_max_behind_latest_seconds.labels("share-metrics")._value.get()
    assert (paused, behind) == (1, 95)  # the fake says a second a record
    used = metrics.kinesis_retention_used_ratio.labels("share-metrics")._value.get()
    assert used == 95 / 3600


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_in_whichever_order_all_is_read(seed: int) -> None:
    """Random shards, gaps, ends, bounds, order of steps and takes: never a deadlock."""
    rng = random.Random(seed)
    stream = FakeKinesis(rng.randint(2, 6))
    count = len(stream.shards)
    for shard in range(count):
        second = rng.randrange(200)
        for _ in range(rng.randrange(60)):
            second += rng.choice((0, 1, 2, 30))
            put_at(stream, shard, second)
    stream.now_us = 10_000 * SECOND
    for shard_ in stream.shards.values():
        shard_.closed = rng.random() < 0.3
    share = Share(rng.choice((2_000, 1 << 30)), max_drift_seconds=20)
    limited(share, rng.randint(1, 8))
    readers = [reader_of(stream, number, share) for number in range(count)]
    left = {number: len(stream.shards[f"shardId-{number:012d}"].records) for number in range(count)}
    for _ in range(5_000):
        number = rng.randrange(count)
        reader = readers[number]
        if reader.closed:
            continue
        if rng.random() < 0.5:
            reader.step()
        else:
            item: Any = reader.take()
            if isinstance(item, End):
                reader.close()
            elif isinstance(item, Rows):
                left[number] -= len(item.payloads)
    assert not any(left.values())


# ---- memory ---------------------------------------------------------------------------------


def test_a_call_begins_only_when_its_reply_has_room() -> None:
    share = Share(30 * MIB)
    first = share.reserve(ASKER, 4 * MIB)
    assert first == 12 * MIB
    assert share.reserve(ASKER, 4 * MIB) == 12 * MIB
    assert share.reserve(ASKER, 4 * MIB) is None
    share.release(first, 4 * MIB)
    assert share.reserve(ASKER, 4 * MIB) is not None


def test_what_waits_takes_room_until_it_is_taken_or_its_reader_closed() -> None:
    share = Share(30 * MIB)
    one, other = share.join(), share.join()
    large = rows(1, payload_bytes=20 * MIB)
    share.put(one, large)
    assert share.reserve(ASKER, 4 * MIB) is None
    share.took(one, large)
    reserved = share.reserve(ASKER, 4 * MIB)
    assert reserved is not None
    share.release(reserved, None)
    share.put(other, large)
    assert share.reserve(ASKER, 4 * MIB) is None
    share.leave(other)
    share.leave(other)
    share.put(other, large)  # a call that was under way when it was closed
    share.took(other, large)
    assert share.reserve(ASKER, 4 * MIB) is not None


def test_a_large_reply_gets_its_room_though_small_ones_never_end() -> None:
    share = Share(60 * MIB)
    large = share.join()
    under_way = [share.reserve(share.join(), 3 * MIB) or 0 for _ in range(6)]
    for _ in range(100):
        if share.reserve(large, 13 * MIB) is not None:
            break
        # As many small ones as find room; one of them ends meanwhile.
        while (reserved := share.reserve(share.join(), 3 * MIB)) is not None:
            under_way.append(reserved)
        share.release(under_way.pop(0), 3 * MIB)
    else:
        pytest.fail("it starved")


def test_readers_get_room_in_the_order_in_which_they_were_refused_it() -> None:
    share = Share(30 * MIB)
    under_way = share.reserve(ASKER, 10 * MIB)
    assert under_way is not None
    line = [share.join() for _ in range(5)]
    for standing in line:
        assert share.reserve(standing, 10 * MIB) is None
    served: list[int] = []
    while len(served) < len(line):
        share.release(under_way, 10 * MIB)
        for number, standing in reversed([*enumerate(line)]):
            if number not in served and (reserved := share.reserve(standing, 10 * MIB)) is not None:
                under_way = reserved
                served.append(number)
    assert served == [0, 1, 2, 3, 4]


def test_who_leaves_or_pauses_leaves_the_line() -> None:
    share = Share(60 * MIB, max_drift_seconds=10)
    leaver, ahead, slow = share.join(), share.join(), share.join()
    share.put(slow, rows(1 * SECOND))
    share.put(ahead, rows(100 * SECOND))
    assert share.reserve(ASKER, 10 * MIB) is not None
    assert share.reserve(leaver, 13 * MIB) is None
    share.leave(leaver)
    assert share.reserve(leaver, 13 * MIB) is None  # by a step that was under way
    assert share.reserve(ahead, 13 * MIB) is None
    assert share.reserve(ASKER, 5 * MIB) is None
    assert share.is_ahead(ahead)
    assert share.reserve(ASKER, 5 * MIB) is not None


def test_who_waits_is_given_room_as_soon_as_there_is_some_and_in_order() -> None:
    share = Share(30 * MIB)
    under_way = share.reserve(ASKER, 10 * MIB)
    assert under_way is not None
    served: list[int] = []
    threads = []
    for number in range(5):

        def wait(number: int = number) -> None:
            reserved = share.reserve(share.join(), 10 * MIB, waits=True)
            assert reserved is not None
            served.append(number)
            share.release(reserved, 10 * MIB)

        threads.append(threading.Thread(target=wait, daemon=True))
        threads[-1].start()
        while len(share._line) <= number:
            time.sleep(0.001)
    share.release(under_way, 10 * MIB)
    for thread in threads:
        thread.join(10)
    assert served == [0, 1, 2, 3, 4]
    assert share.reserve(ASKER, 10 * MIB) is not None


def test_who_waits_behind_one_who_asks_no_more_is_given_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sources.kinesis.share._KEPT_SECONDS", 0.05)
    share = Share(60 * MIB)
    under_way = share.reserve(ASKER, 10 * MIB)
    assert under_way is not None
    assert share.reserve(share.join(), 15 * MIB) is None
    waiter = share.join()
    found: list[int | None] = []
    thread = threading.Thread(
        target=lambda: found.append(share.reserve(waiter, 13 * MIB, waits=True)), daemon=True
    )
    thread.start()
    share.release(under_way, None)
    thread.join(10)
    assert found == [39 * MIB]


def test_who_waits_for_room_and_leaves_is_let_go() -> None:
    share = Share(30 * MIB)
    assert share.reserve(ASKER, 10 * MIB) is not None
    leaver = share.join()
    found: list[int | None] = []
    thread = threading.Thread(
        target=lambda: found.append(share.reserve(leaver, 10 * MIB, waits=True)), daemon=True
    )
    thread.start()
    while not share._line:
        time.sleep(0.001)
    share.leave(leaver)
    thread.join(10)
    assert found == [None]
    assert share.reserve(leaver, 10 * MIB, waits=True) is None


def test_a_thousand_readers_with_full_queues_do_not_keep_the_threads_busy() -> None:
    share = Share(MIB)
    share.readers = 1_000
    assert 1_000 / share.room_seconds() <= 2_000


def test_room_is_not_kept_for_one_who_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sources.kinesis.share.time.monotonic", lambda: now[0])
    share = Share(60 * MIB)
    assert share.reserve(ASKER, 10 * MIB) is not None
    assert share.reserve(share.join(), 13 * MIB) is None
    assert share.reserve(ASKER, 5 * MIB) is None
    now[0] += 3.0
    assert share.reserve(ASKER, 5 * MIB) is not None


def test_a_reply_larger_than_all_the_room_is_asked_for_alone() -> None:
    share = Share(MIB)
    reserved = share.reserve(ASKER, 10 * MIB)
    assert reserved is not None
    assert share.reserve(ASKER, 1) is None
    share.release(reserved, 10 * MIB)
    assert share.reserve(ASKER, 1) is not None


def test_of_unknown_shards_the_worst_is_expected_until_replies_say_better() -> None:
    share = Share(64 * MIB)
    first = share.reserve(ASKER, None)
    assert first == 3 * 13 * MIB
    assert share.reserve(ASKER, None) is None
    share.release(first, 1000)
    for _ in range(40):
        share.release(0, 1000)
    reserved = share.reserve(ASKER, None)
    assert reserved is not None
    assert reserved < MIB
    share.release(reserved, 9 * MIB)
    assert share.reserve(ASKER, None) == 27 * MIB


def test_calls_that_fail_give_their_room_back() -> None:
    stream = FakeKinesis(1)
    share = Share(MIB)
    share.readers = 1
    reader = reader_of(stream, 0, share)
    stream.faults = lambda *_: ReadTimeoutError(endpoint_url="x")
    for _ in range(5):
        reader.step()
    stream.faults = lambda *_: None
    stream.put(b"a")
    reader.step()
    assert drain(reader) == [b"a"]
