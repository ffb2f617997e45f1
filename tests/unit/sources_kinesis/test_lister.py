"""Discovery of shards, listing by listing."""

from __future__ import annotations

import logging
import random
import threading

import pytest

import metrics
from errors import KinewaxError, MissingResourceError
from sources.kinesis.lineage import Shard
from sources.kinesis.lister import Lister
from tests.fakes.kinesis import FakeKinesis, client_error

ROOT = "shardId-000000000000"


def lister_of(stream: FakeKinesis) -> Lister:
    return Lister(stream, "listed", random.Random(1), on_failure=lambda _: None)


def test_a_listing_holds_all_pages() -> None:
    stream = FakeKinesis(7)
    stream.page_size = 3
    lister = lister_of(stream)
    assert 10 <= lister.step() <= 30
    assert lister.listing is not None
    assert sorted(lister.listing.shards) == sorted(stream.shards)
    assert lister.listing.retention_us == 24 * 3_600_000_000
    pages = [arguments for operation, arguments in stream.calls if operation == "list_shards"]
    # A page's token stands for the stream: the service refuses both together.
    assert pages == [{"StreamName": "listed"}, {"NextToken": "3"}, {"NextToken": "6"}]


def test_a_stream_that_does_not_exist_is_named_with_a_way_out() -> None:
    stream = FakeKinesis()
    stream.faults = lambda *_: client_error("ResourceNotFoundException")
    with pytest.raises(MissingResourceError, match="listed") as raised:
        lister_of(stream).step()
    assert "create-stream" in raised.value.hint


def test_refused_access_is_an_error_with_a_hint() -> None:
    stream = FakeKinesis()
    stream.faults = lambda *_: client_error("AccessDeniedException")
    with pytest.raises(KinewaxError) as raised:
        lister_of(stream).step()
    assert "kinesis:ListShards" in raised.value.hint


def test_passing_failures_are_counted_and_tried_again() -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)
    counter = metrics.source_errors.labels("listed", "throttled")
    before = counter._value.get()
    stream.faults = lambda *_: client_error("LimitExceededException")
    pauses = [lister.step() for _ in range(3)]
    assert all(0 <= pause <= 1.0 for pause in pauses)
    assert counter._value.get() == before + 3
    assert lister.listing is None
    stream.faults = lambda *_: None
    lister.step()
    assert lister.listing is not None


def test_listings_that_fail_in_a_row_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)
    stream.faults = lambda *_: client_error("LimitExceededException")
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            lister.step()
        assert caplog.text == ""
        for _ in range(20):
            lister.step()
    assert len(caplog.records) == 1
    assert "throttled" in caplog.text


def test_a_token_that_expired_between_two_pages_begins_the_listing_anew() -> None:
    stream = FakeKinesis(4)
    stream.page_size = 2
    lister = lister_of(stream)
    expired = [client_error("ExpiredNextTokenException")]
    stream.faults = lambda operation, arguments: (
        expired.pop() if "NextToken" in arguments and expired else None
    )
    lister.step()
    assert lister.listing is None
    lister.step()
    assert lister.listing is not None
    assert sorted(lister.listing.shards) == sorted(stream.shards)


def test_a_page_that_fails_fails_the_listing_and_the_last_one_stands() -> None:
    stream = FakeKinesis(4)
    lister = lister_of(stream)
    lister.step()
    stream.page_size = 2
    stream.faults = lambda operation, arguments: (
        client_error("InternalFailure", 500) if "NextToken" in arguments else None
    )
    listing = lister.listing
    lister.step()
    assert lister.listing is listing


def test_children_that_a_shard_named_are_known_until_they_are_listed_and_after() -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)
    lister.learn([Shard("early", 0, 1)])  # before the first listing there is nothing to add to
    lister.step()
    assert lister.listing is not None
    assert set(lister.listing.shards) == {ROOT}
    first = lister.listing
    one, two = stream.split(ROOT)
    stream.shards[two].listed = False
    lister.learn([Shard(one, 0, 1, (ROOT,)), Shard(two, 2, 3, (ROOT,))])
    assert set(lister.listing.shards) == {ROOT, one, two}
    assert lister.listing.round_number == first.round_number
    assert set(first.shards) == {ROOT}  # a listing is a value
    lister.step()
    assert set(lister.listing.shards) == {ROOT, one, two}
    stream.shards[two].listed = True
    lister.step()
    stream.expire(one)
    lister.step()
    assert set(lister.listing.shards) == {ROOT, two}


def test_a_hole_in_the_key_space_is_listed_again_soon_and_then_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = FakeKinesis(3)
    lister = lister_of(stream)
    lister.step()
    hidden = list(stream.shards.values())[1]
    hidden.listed = False
    with caplog.at_level(logging.WARNING):
        assert [lister.step() for _ in range(2)] == [1.0, 1.0]
        assert caplog.text == ""
        lister.step()
        assert str(hidden.first_hash) in caplog.text
    hidden.listed = True
    with caplog.at_level(logging.INFO):
        assert lister.step() >= 10
        assert "all hash keys" in caplog.text


def test_a_hole_that_persists_is_told_again_and_again_but_not_at_each_listing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = FakeKinesis(3)
    lister = lister_of(stream)
    list(stream.shards.values())[1].listed = False
    with caplog.at_level(logging.WARNING):
        for _ in range(1_300):
            lister.step()
    told = [record for record in caplog.records if record.event == "coverage_hole"]
    assert len(told) == 3  # at the third listing, and every 600, which are ten minutes


def test_a_first_listing_with_a_hole_is_not_taken_before_the_third_time() -> None:
    stream = FakeKinesis(2)
    next(iter(stream.shards.values())).listed = False
    lister = lister_of(stream)
    lister.step()
    lister.step()
    assert lister.listing is None
    lister.step()
    assert lister.listing is not None


def test_a_refresh_names_a_round_that_begins_after_it() -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)
    lister.step()
    assert lister.listing is not None
    wanted = lister.refresh()
    assert wanted > lister.listing.round_number
    lister.step()
    assert lister.listing.round_number == wanted


def test_the_thread_lists_ends_when_closed_and_tells_of_a_failure() -> None:
    stream = FakeKinesis()
    listed, failed = threading.Event(), threading.Event()
    stream.faults = lambda *_: listed.set()
    lister = Lister(stream, "listed", random.Random(1), on_failure=lambda _: failed.set())
    lister.start()
    assert listed.wait(10)
    lister.close()
    lister.join(10)
    assert not lister._thread.is_alive()
    assert not failed.is_set()

    stream.faults = lambda *_: client_error("ResourceNotFoundException")
    lister = Lister(stream, "listed", random.Random(1), on_failure=lambda _: failed.set())
    lister.start()
    assert failed.wait(10)
    lister.join(10)
    assert not lister._thread.is_alive()


def test_ranges_without_a_shard_are_counted_until_they_are_filled() -> None:
    stream = FakeKinesis(4)
    lister = lister_of(stream)
    gauge = metrics.kinesis_coverage_holes.labels("listed")
    lister.step()
    assert gauge._value.get() == 0
    for name in ("shardId-000000000000", "shardId-000000000002"):
        stream.shards[name].listed = False
    lister.step()
    assert gauge._value.get() == 2
    stream.shards["shardId-000000000000"].listed = True
    lister.step()
    assert gauge._value.get() == 1


def test_a_longer_retention_is_noticed() -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)
    lister.step()
    stream.retention_hours = 168
    for _ in range(10):
        lister.step()
    assert lister.listing is not None
    assert lister.listing.retention_us == 168 * 3_600_000_000


def test_who_the_stream_is_is_asked_when_somebody_doubts_it_and_now_and_then() -> None:
    stream = FakeKinesis()
    lister = lister_of(stream)

    def asked() -> int:
        return sum(operation == "describe_stream_summary" for operation, _ in stream.calls)

    lister.step()
    lister.step()
    assert asked() == 1
    assert lister.listing is not None
    first = lister.listing.created_us
    stream.recreate()
    lister.doubt()
    lister.step()
    assert asked() == 2
    assert lister.listing.created_us != first
    for _ in range(10):
        lister.step()
    assert asked() == 3
