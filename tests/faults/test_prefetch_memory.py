"""Memory while a backlog is read, when the server sends all it may, whatever it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.kinesis_to_alerts import SHARDS, measure, prepare, serving

pytestmark = pytest.mark.deploy

RECORDS = 2 * SHARDS * 10_000
PAYLOAD_BYTES = 1_000
"""Replies of 10,000 records of this size are the largest there are: 10 MB."""


def test_a_server_that_ignores_limit_can_not_make_a_process_grow_beyond_bounds(
    tmp_path: Path,
) -> None:
    shards = tmp_path / "shards"
    prepare(shards, RECORDS, PAYLOAD_BYTES)
    with serving(shards) as endpoint:
        measured = measure(endpoint, RECORDS, "kinewax")
    assert measured["records"] == RECORDS
    assert measured["peak_rss_mb"] <= measured["idle_rss_mb"] + 200, measured
