"""A replay of a live run's archive gives what the live run gave, but for its late events."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.ecommerce import ECOMMERCE
from service.archives import Replay
from service.aws import Aws
from service.comparison import Comparison, compare
from service.job import Job
from service.outputs import Outputs
from service.settings import Settings
from tests.archives import (
    BEGIN_US,
    IDENTIFIED,
    delivered,
    delivered_again,
    finals_of,
    lines_of,
    run_live,
    run_replay,
    stream_of,
)
from tests.effort import examples

SHARDS = st.integers(1, 4)
MINUTES = st.integers(5, 40)
SECONDS_AN_OBJECT = st.sampled_from((60, 200, 300, 600))
SEEDS = st.integers(0, 2**32)


@contextmanager
def both_runs(
    seed: int, shards: int, minutes: int, seconds: int, stragglers: float
) -> Iterator[tuple[Path, Path]]:
    """Run live, deliver to an archive, replay that; the directories of both runs."""
    with tempfile.TemporaryDirectory(prefix="kinewax-test-") as folder:
        rng = Random(seed)
        root, live, replayed = (Path(folder, name) for name in ("archive", "live", "replayed"))
        records = stream_of(rng, shards, minutes, stragglers)
        run_live(ECOMMERCE, records, shards, rng, live)
        delivered(records, root, rng, seconds)
        run_replay(ECOMMERCE, root, replayed)
        yield live, replayed


def compared(live: Path, replayed: Path) -> Comparison:
    chosen = Settings()
    aws = Aws(chosen.aws)
    job = Job("ecommerce", "s3://archive", chosen, replay=Replay())
    return compare(job, *(Outputs(path.as_uri(), chosen, aws) for path in (live, replayed)))


@settings(max_examples=examples(15), deadline=None)
@given(SEEDS, SHARDS, MINUTES, SECONDS_AN_OBJECT)
def test_without_late_events_a_replay_gives_the_same_incidents_and_rows(
    seed: int, shards: int, minutes: int, seconds: int
) -> None:
    with both_runs(seed, shards, minutes, seconds, stragglers=0) as (live, replayed):
        assert lines_of(live / "late.jsonl") == []
        expected = finals_of(live)
        assert all(expected[name] for name in ("trade.jsonl", "journeys.jsonl"))
        assert finals_of(replayed) == expected
        found = compared(live, replayed)
        assert found.total.same == sum(map(len, expected.values()))
        assert found.total.late == found.total.unexplained == found.total.beyond == 0


@settings(max_examples=examples(15), deadline=None)
@given(SEEDS, SHARDS, MINUTES, SECONDS_AN_OBJECT)
def test_with_late_events_a_replay_differs_by_exactly_their_rows(
    seed: int, shards: int, minutes: int, seconds: int
) -> None:
    with both_runs(seed, shards, minutes, seconds, stragglers=0.02) as (live, replayed):
        assert lines_of(replayed / "late.jsonl") == []
        expected: dict[str, set[str]] = {"trade": set(), "categories_hourly": set()}
        late = [line for line in lines_of(live / "late.jsonl") if line["aggregate"] in expected]
        for line in late:
            event, name = json.loads(line["event"]), line["aggregate"]
            fields = ("event_type", "category_code", "brand")
            key = ",".join(f"{field}={event[field]}" for field in fields)
            if name == "categories_hourly":
                key = f"category_code={event['category_code']}"
            expected[name].add(f"ecommerce/{name}/{key}/{line['window_start']}")
        one, other = finals_of(live), finals_of(replayed)
        for name, ids in expected.items():
            rows, others = one[f"{name}.jsonl"], other[f"{name}.jsonl"]
            assert {
                row for row in rows.keys() | others.keys() if rows.get(row) != others.get(row)
            } == ids
        found = compared(live, replayed)
        assert found.total.unexplained == found.total.beyond == 0
        assert {name: found.tallies[f"rows {name}"].late for name in expected} == {
            name: len(ids) for name, ids in expected.items()
        }


@settings(max_examples=examples(10), deadline=None)
@given(SEEDS, SHARDS, MINUTES, SECONDS_AN_OBJECT)
def test_an_archive_with_duplicates_gives_the_same_where_events_have_ids(
    seed: int, shards: int, minutes: int, seconds: int
) -> None:
    with tempfile.TemporaryDirectory(prefix="kinewax-test-") as folder:
        rng = Random(seed)
        root, live, replayed = (Path(folder, name) for name in ("archive", "live", "replayed"))
        records = stream_of(rng, shards, minutes)
        run_live(IDENTIFIED, records, shards, rng, live)
        delivered(delivered_again(records, rng, share=0.01), root, rng, seconds)
        run_replay(IDENTIFIED, root, replayed)
        assert finals_of(replayed) == finals_of(live)


@settings(max_examples=examples(15), deadline=None)
@given(SEEDS, st.integers(20, 150), SECONDS_AN_OBJECT, st.data())
def test_a_range_gives_the_rows_of_the_whole_archive_that_lie_wholly_inside(
    seed: int, minutes: int, seconds: int, data: st.DataObject
) -> None:
    begin_us = BEGIN_US + data.draw(st.integers(0, minutes - 1)) * 60_000_000
    end_us = begin_us + data.draw(st.integers(1, minutes)) * 60_000_000
    with tempfile.TemporaryDirectory(prefix="kinewax-test-") as folder:
        rng = Random(seed)
        root, whole, part = (Path(folder, name) for name in ("archive", "whole", "part"))
        delivered(stream_of(rng, 3, minutes), root, rng, seconds)
        run_replay(ECOMMERCE, root, whole)
        run_replay(ECOMMERCE, root, part, between_us=(begin_us, end_us))
        inside = {
            file: {name: row for name, row in rows.items() if _is_inside(row, begin_us, end_us)}
            for file, rows in finals_of(whole).items()
        }
        assert finals_of(part) == inside


def _is_inside(row: str, begin_us: int, end_us: int) -> bool:
    span = (json.loads(row)[name] for name in ("window_start", "window_end"))
    first_us, last_us = (round(datetime.fromisoformat(one).timestamp() * 1e6) for one in span)
    return begin_us <= first_us and last_us <= end_us
