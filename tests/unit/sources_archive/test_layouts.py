"""What keys tell about time, and which keys belong to an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from errors import SettingsError
from sources.archive.layouts import Period, layout_of
from sources.archive.listing import lanes_for, listed, shared_out
from sources.archive.stores import Listed, Wants, everything

HOUR = timedelta(hours=1)
HOUR_US = 3_600_000_000


def period(
    length: timedelta,
    year: int,
    month: int,
    day: int,
    hour: int = 0,
    minute: int = 0,
    second: int = 0,
) -> Period:
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return Period(int(moment.timestamp()) * 1_000_000, int(length.total_seconds()) * 1_000_000)


KEYS = {
    "raw/2026/11/22/10/x": period(HOUR, 2026, 11, 22, 10),
    "2026/11/22/x.json": period(24 * HOUR, 2026, 11, 22),
    "raw/2026/11/22/10/s-1-2026-11-22-10-15-30-ab-cd.gz": period(
        timedelta(seconds=1), 2026, 11, 22, 10, 15, 30
    ),
    "ecomm/p_year=2019/p_month=11/a.csv": period(timedelta(days=30), 2019, 11, 1),
    "year=2019/month=2/day=3/hour=04/a": period(HOUR, 2019, 2, 3, 4),
    "dt=2026-11-22/hour=7/a": period(HOUR, 2026, 11, 22, 7),
    "raw/2026/13/22/10/x": None,
    "raw/2026/02/30/x": None,
    "year=9999/a": None,
    "year=9999/month=12/a": None,
    "a/b.json": None,
}


@pytest.mark.parametrize(("key", "expected"), KEYS.items())
def test_a_key_tells_the_period_of_its_finest_part(key: str, expected: Period | None) -> None:
    assert layout_of("").period_of(key) == expected


def test_a_prefix_of_a_delivery_stream_is_read_back() -> None:
    layout = layout_of("raw/!{timestamp:yyyy}/dt=!{timestamp:yyyy-MM-dd'T'HH}/!{firehose:random}/")
    assert layout.prefix == "raw/"
    assert layout.period_of("raw/2026/dt=2026-11-22T09/xx/y") == period(HOUR, 2026, 11, 22, 9)
    assert layout.includes("raw/2026/dt=2026-11-22T09/xx/y")
    assert not layout.includes("raw/2025/dt=2026-11-22T09/xx/y"), "one year, two numbers"
    assert not layout.includes("raw/other/y")


@pytest.mark.parametrize("prefix", ["!{timestamp:QQ}/", "!{unknown:x}/", "a/!{timestamp:yyyy"])
def test_an_expression_that_means_nothing_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError):
        layout_of(prefix)


def test_folder_markers_and_hidden_names_are_no_objects() -> None:
    layout = layout_of("a/")
    assert [layout.includes(key) for key in ("a/b/", "a/_SUCCESS", "a/.x", "a/x")] == [
        False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "key", "is_included"),
    [
        ("raw/", "raw/_temporary/0/x.json", False),
        ("raw/", "raw/2026/.spark-staging-1/dt=2026-11-22/x.json", False),
        ("", "raw/_delta_log/0000.json", False),
        ("", "raw/2026_$folder$", False),
        ("", "raw/_day=22/x.json", True),
        ("", "raw/a.b_c/x.json", True),
        ("raw/_temporary/", "raw/_temporary/0/x.json", True),
        ("raw/_temporary/", "raw/_temporary/0/_attempt/x.json", False),
        ("_in/!{timestamp:yyyy}/_raw/!{timestamp:MM}/", "_in/2026/_raw/11/x", True),
        ("_in/!{timestamp:yyyy}/_raw/!{timestamp:MM}/", "_in/2026/_raw/11/_temporary/x", False),
    ],
)
def test_folders_that_writers_keep_for_themselves_are_left_out(
    prefix: str, key: str, is_included: bool
) -> None:
    layout = layout_of(prefix)
    assert layout.includes(key) == is_included
    folders = [key[: place + 1] for place, letter in enumerate(key) if letter == "/"]
    assert any(map(layout.hides, folders)) == (not is_included and "$" not in key)


class Flat:
    """A store that looks into no folder: it lists all there is."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys

    def list(self, prefix: str, wants: Wants = everything) -> Iterator[Listed]:
        return (Listed(key, 1, "v") for key in self._keys if key.startswith(prefix))

    def read(self, key: str, size: int, version: str) -> Iterator[bytes]:
        raise AssertionError


class Tree(Flat):
    """A store that looks into every folder of which only some is wanted, as S3's does."""

    def list(self, prefix: str, wants: Wants = everything) -> Iterator[Listed]:
        share = wants(prefix)
        own = [key for key in self._keys if key.startswith(prefix)]
        if share == "all":
            yield from super().list(prefix)
        elif share == "some":
            tails = {key[len(prefix) :] for key in own}
            yield from (Listed(prefix + tail, 1, "v") for tail in tails if "/" not in tail)
            for folder in sorted({tail.partition("/")[0] for tail in tails if "/" in tail}):
                yield from self.list(f"{prefix}{folder}/", wants)


HOURS = [datetime(2025, 11, 20, tzinfo=UTC) + timedelta(hours=7 * n) for n in range(2_000)]


@pytest.mark.parametrize(
    ("prefix", "form"),
    [
        ("raw/", "raw/%Y/%m/%d/%H/x"),
        ("raw/", "raw/%Y/%m/%d/s-1-%Y-%m-%d-%H-%M-%S-x"),
        ("raw/", "raw/shop/%Y/%m/%d/%H/x"),
        ("raw/", "raw/p_year=%Y/p_month=%m/x-%d-%H"),
        ("raw/", "raw/year=%Y/month=%m/day=%d/hour=%H/x"),
        ("raw/", "raw/dt=%Y-%m-%d/x%H"),
        ("raw/", "raw/%Y%m%d%H"),
        (
            "raw/!{timestamp:yyyy}/d=!{timestamp:MM-dd}/!{firehose:random-string}/",
            "raw/%Y/d=%m-%d/a%H/x",
        ),
        ("!{timestamp:yyyy/MM}/!{timestamp:dd/HH}/", "%Y/%m/%d/%H/x"),
    ],
)
@pytest.mark.parametrize("bounds", [(True, True), (True, False), (False, True)])
def test_leaving_out_folders_by_their_dates_leaves_out_no_object_that_is_wanted(
    prefix: str, form: str, bounds: tuple[bool, bool]
) -> None:
    keys = [moment.strftime(form) for moment in HOURS]
    for first, hours in ((900, 3), (903, 40), (850, 24 * 40)):
        from_us = round(HOURS[first].timestamp() * 1e6)
        wanted_us = (
            from_us if bounds[0] else None, from_us + hours * HOUR_US if bounds[1] else None
        )  # fmt: skip
        flat, tree = (
            listed(
                "u", store(keys), layout_of(prefix),
                arrived_us=wanted_us, most_lanes=8, drift_us=HOUR_US,
            )
            for store in (Flat, Tree)
        )  # fmt: skip
        assert tree.objects == flat.objects
        assert len(tree.objects) >= hours // 7
        is_dated = form != "raw/%Y%m%d%H"
        assert (tree.folders_left_out > 0) == (is_dated and hours < 24 * 300)
        assert (tree.left_out < flat.left_out) == is_dated


def test_objects_are_read_in_order_of_arrival_within_what_is_asked_for() -> None:
    keys = [f"2026/11/22/{hour:02d}/x" for hour in (5, 3, 9, 4)] + ["_x"]
    begin = period(HOUR, 2026, 11, 22, 4).begin_us
    listing = listed(
        "u", Flat(keys), layout_of(""),
        arrived_us=(begin, begin + HOUR_US), most_lanes=8, drift_us=HOUR_US,
    )  # fmt: skip
    # 3 o'clock's object may have gathered for 15 minutes, and clocks may be 5 minutes ahead.
    assert [one.key[11:13] for one in listing.objects] == ["03", "04", "05"]
    assert (listing.left_out, listing.ignored) == (1, 1)


def test_objects_far_apart_get_fewer_lanes() -> None:
    hours = [Period(n * HOUR_US, HOUR_US) for n in range(24)]
    minutes = [Period(n * HOUR_US // 60, 1) for n in range(24)]
    assert lanes_for(hours, 8, HOUR_US) == 2
    assert lanes_for(minutes, 8, HOUR_US) == 8
    assert lanes_for([None] * 3, 8, HOUR_US) == 3
    assert lanes_for(hours[:1], 8, HOUR_US) == 1


def test_every_object_is_in_one_lane_and_bytes_are_shared() -> None:
    sizes = [1_000_000, 10, 500_000, 10, 400_000, 900_000, 10, 10]
    lanes = shared_out(sizes, 3)
    assert sorted(rank for lane in lanes for rank in lane) == list(range(8))
    assert all(list(lane) == sorted(lane) for lane in lanes)
    assert max(sum(sizes[rank] for rank in lane) for lane in lanes) < 1_500_000
