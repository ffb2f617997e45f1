"""Which events are duplicates: a property of a record in its shard, within bounded memory."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dataflows.ecommerce import ECOMMERCE
from messages import Block, Seen, Unreadable
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.event_ids import DELIVERED_AGAIN_US, NO_ID, RecentIds
from operators.filter_spec import Drop, Where
from operators.filters import Drops
from operators.intake import Intake
from operators.spec import Field
from tests.rig import event

KEEP_US = 40
EVENTS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 9)), max_size=60)


def one_by_one(codes: list[int], reached_us: list[int]) -> list[bool]:
    """The definition, an event at a time."""
    seen: dict[int, int] = {}
    found = []
    for code, now_us in zip(codes, reached_us, strict=True):
        bucket = now_us // (KEEP_US // 4)
        is_new = code not in seen or seen[code] < bucket - 4
        found.append(is_new)
        if is_new:
            seen[code] = bucket
    return found


@given(EVENTS, st.lists(st.integers(1, 20), min_size=1, max_size=20))
def test_duplicates_are_the_same_in_any_batches_and_after_any_snapshot(
    events: list[tuple[int, int]], sizes: list[int]
) -> None:
    codes = [code for code, _ in events]
    reached_us = np.cumsum([steps for _, steps in events], dtype=np.int64)
    ids = RecentIds(KEEP_US)
    found: list[bool] = []
    done = 0
    for number in range(len(events)):
        some = slice(done, done + sizes[number % len(sizes)])
        done = some.stop
        found += ids.are_new(np.array(codes, np.uint64)[some], reached_us[some]).tolist()
        ids = RecentIds(KEEP_US, pickle.loads(pickle.dumps(ids.snapshot())))
    assert found == one_by_one(codes, reached_us.tolist())


def test_ids_are_forgotten_so_that_memory_is_bounded_by_event_time() -> None:
    ids = RecentIds(KEEP_US)
    for minute in range(1_000):
        codes = np.arange(100, dtype=np.uint64) + np.uint64(100 * minute)
        assert ids.are_new(codes, np.full(100, minute * 10)).all()
        assert sum(map(len, ids.snapshot().values())) <= 100 * 5


def test_events_without_an_id_are_never_duplicates() -> None:
    ids = RecentIds(KEEP_US)
    for _ in range(2):
        assert ids.are_new(np.full(3, NO_ID, np.uint64), np.zeros(3, np.int64)).all()
    assert not ids.snapshot()


def intake(state: dict[str, Any] | None = None) -> Intake:
    fields = (*ECOMMERCE.fields, Field("id", "text", required=False))
    decoder = Decoder(fields, "txn_timestamp", TextCodes())
    return Intake("shop", decoder, ECOMMERCE.windows[:1], 10_000_000, state, event_id="id")


def block(shard: str, seconds: int, *ids: str) -> Block:
    moment = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=seconds)
    payloads = [json.dumps({"id": one, **event(1, moment)}).encode() for one in ids]
    arrivals_us = np.full(len(ids), round(moment.timestamp() * 1e6))
    return Block(shard, payloads, [f"{seconds}.{n}" for n in range(len(ids))], arrivals_us)


def test_duplicates_are_dropped_by_name_within_a_shard_and_after_a_crash() -> None:
    first = intake()
    taken = first.take([block("a", 0, "x", "y", "x"), block("b", 0, "x"), block("a", 60, "y", "z")])
    assert [part.events for part in taken.rows] == [2, 1, 1]
    second = intake(pickle.loads(pickle.dumps(first.snapshot())))
    longest_seconds = 10 + DELIVERED_AGAIN_US // 1_000_000
    taken = second.take([block("a", longest_seconds, "x"), block("a", 2 * longest_seconds, "x")])
    assert [part.events for part in taken.rows] == [1]  # so long after that it is forgotten
    assert second.ledger["dropped.duplicate"] == 3
    assert second.ledger["events"] == 5


def test_a_shard_of_which_all_is_dropped_still_moves_on() -> None:
    texts = TextCodes()
    fields = (Field("user_id", "integer"), Field("event_type", "text"))
    drops = Drops((Drop("views", Where("event_type", "view")),), texts)
    under_test = Intake("shop", Decoder(fields, "txn_timestamp", texts), (), 0, drops=drops)
    taken = under_test.take([block("a", 0, "x"), block("a", 60, "y")])
    seen = [mark.maximum_us for mark in taken.marks if isinstance(mark, Seen)]
    assert len(taken.rows) == 0
    assert seen[1] - seen[0] == 60_000_000
    assert under_test.ledger["dropped.views"] == 2


def test_a_state_from_before_events_had_ids_is_taken_over() -> None:
    state = Intake("shop", Decoder((), "txn_timestamp", TextCodes()), (), 0).snapshot()
    assert "ids" not in state
    assert intake({**state, "shards": {"a": (5, ())}}).take([Unreadable("a", "1", "r", "")]).aside
