"""A range of a long archive is listed without the folders of other times, from a local S3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sources.archive.layouts import layout_of
from sources.archive.listing import listed
from sources.archive.stores import S3Store
from tests.servers import Clients

HOUR_US = 3_600_000_000
BEGIN = datetime(2026, 1, 30, tzinfo=UTC)


class Counting:
    """A client that remembers what it was asked to list."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.listed: list[str] = []

    def list_objects_v2(self, **request: Any) -> Any:
        self.listed.append(request["Prefix"])
        return self._client.list_objects_v2(**request)

    def get_object(self, **request: Any) -> Any:
        return self._client.get_object(**request)


def test_two_hours_of_a_year_need_a_few_calls(
    moto: Clients, unique_name: Callable[[str], str]
) -> None:
    bucket = unique_name("archive")
    s3 = moto("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for number in range(120):
        key = (BEGIN + timedelta(hours=2.5 * number)).strftime("raw/%Y/%m/%d/%H/x")
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    client = Counting(s3)
    wanted = BEGIN + timedelta(days=2)
    from_us = round(wanted.timestamp() * 1e6)
    listing = listed(
        "u", S3Store(client, bucket), layout_of("raw/"),
        arrived_us=(from_us, from_us + 2 * HOUR_US), most_lanes=8, drift_us=HOUR_US,
    )  # fmt: skip
    assert [one.key for one in listing.objects] == [
        "raw/2026/01/31/23/x", "raw/2026/02/01/02/x",
    ]  # fmt: skip
    assert "raw/2026/02/01/" in client.listed
    assert "raw/2026/02/05/" not in client.listed
    assert len(client.listed) <= 12
    assert listing.folders_left_out > 10
