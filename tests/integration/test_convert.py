"""`kinewax convert`: what it makes of every layout replays as its source does."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyarrow import parquet

from dataflows.clickstream import CLICKSTREAM
from dataflows.ecommerce import ECOMMERCE
from dataflows.wiki import WIKI
from operators.decode import ARRIVAL
from producers.kpl import aggregate
from producers.records import Record as ToWrite
from service import convert
from service.convert_rows import RowMaker
from sources.archive.layouts import layout_of
from tests.archives import Record, finals_of, run_replay, stream_of
from tests.conftest import CommandLine
from tests.servers import Clients


def lines(payloads: list[bytes]) -> bytes:
    return b"".join(one + b"\n" for one in payloads)


def zipped(payloads: list[bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.json", lines(payloads))
    return packed.getvalue()


def table(payloads: list[bytes]) -> bytes:
    text = io.StringIO()
    events = [json.loads(one) for one in payloads]
    names = list(dict.fromkeys(name for one in events for name in one))
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(events)
    return "\ufeff".encode() + text.getvalue().encode()


def columns(payloads: list[bytes]) -> bytes:
    packed = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([json.loads(one) for one in payloads]), packed)
    return packed.getvalue()


def of_library(payloads: list[bytes]) -> bytes:
    return b"".join(one.payload for one in aggregate([ToWrite(one, "k") for one in payloads]))


def pretty(payloads: list[bytes]) -> bytes:
    return b"\n".join(json.dumps(json.loads(one), indent=2).encode() for one in payloads)


LAYOUTS: dict[str, Callable[[list[bytes]], bytes]] = {
    "gz": lambda payloads: gzip.compress(lines(payloads)),
    "json": b"".join,
    "txt": pretty,
    "csv": table,
    "csv.gz": lambda payloads: gzip.compress(table(payloads)),
    "zip": zipped,
    "zst": lambda payloads: pa.Codec("zstd").compress(lines(payloads), asbytes=True),
    "parquet": columns,
    "kpl": of_library,
}


def archived(records: list[Record], root: Path, seconds: int = 60) -> int:
    """Write a stream as Firehose and others leave it: an object a minute, layouts by turns."""
    objects: dict[int, list[Record]] = {}
    for one in records:
        objects.setdefault(one.arrival_us // (seconds * 1_000_000), []).append(one)
    layouts = list(LAYOUTS)
    for number, own in enumerate(objects.values()):
        suffix = layouts[number % len(layouts)]
        moment = datetime.fromtimestamp(own[0].arrival_us / 1e6, UTC)
        path = root / f"{moment:%Y/%m/%d/%H}/s-1-{moment:%Y-%m-%d-%H-%M-%S}-{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LAYOUTS[suffix]([one.payload for one in own]))
    return len(objects)


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_converted_archive_of_any_layout_replays_as_its_source(
    kinewax: CommandLine, tmp_path: Path
) -> None:
    records = stream_of(Random(7), shards=3, minutes=30)
    objects = archived(records, tmp_path / "raw")
    assert objects > 2 * len(LAYOUTS)

    ended = kinewax.run(
        "convert",
        "ecommerce",
        f"file://{tmp_path}/raw/",
        f"file://{tmp_path}/parquet/",
        "--json",
    )

    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["events"] == told["records"] == len(records)
    assert told["written"] == told["objects"] == objects
    assert all(
        "/p_hour=" in key and key.endswith(".parquet") for key in contents(tmp_path / "parquet")
    )
    for name in ("raw", "parquet"):
        run_replay(ECOMMERCE, tmp_path / name, tmp_path / f"of_{name}")
    expected = finals_of(tmp_path / "of_raw")
    assert expected["alerts.jsonl"]
    assert finals_of(tmp_path / "of_parquet") == expected


def test_bad_objects_leave_nothing_and_bad_records_cost_no_others_and_again_changes_nothing(
    kinewax: CommandLine, moto: Clients, unique_name: Callable[[str], str]
) -> None:
    s3, bucket = moto("s3"), unique_name("convert")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    payloads = [one.payload for one in stream_of(Random(1), shards=1, minutes=5)]
    folder = "raw/2026/11/22/10/s-1-2026-11-22-10"
    timeless = json.dumps({**json.loads(payloads[0]), "txn_timestamp": "noon"}).encode()
    whole = gzip.compress(lines(payloads))
    objects = {
        f"{folder}-15-30-a.gz": whole,
        f"{folder}-16-30-b.gz": gzip.compress(
            lines([payloads[0], b'{"user_id": "x"}', timeless, payloads[1]])
        ),
        f"{folder}-17-30-c.gz": whole[:-40],
        f"{folder}-18-30-d.gz": b"no gzip at all",
        f"{folder}-19-30-e.gz": gzip.compress(b"[]\n"),
    }
    for key, content in objects.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    arguments = ("convert", "ecommerce", f"s3://{bucket}/raw/", f"s3://{bucket}/parquet")
    arguments += ("--endpoint-url", moto.endpoint, "--json")

    def converted() -> dict[str, str]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="parquet/")["Contents"]
        return {one["Key"]: one["ETag"] for one in listed}

    seen = []
    for _ in range(2):
        ended = kinewax.run(*arguments)
        assert ended.returncode == 4, ended.stderr
        assert "2 objects could not be read to their ends" in ended.stderr
        told = json.loads(ended.stdout)
        assert {one["object"]: one["reason"] for one in told["unreadable"]} == {
            f"{folder}-17-30-c.gz": "object_truncated",
            f"{folder}-18-30-d.gz": "object_corrupt",
        }
        assert (told["events"], told["written"]) == (len(payloads) + 2, 2)
        assert told["rejected"] == {"bad_time": 1, "not_an_object": 1, "wrong_type": 1}
        assert told["records"] == len(payloads) + 5
        seen.append(converted())
    assert seen[0] == seen[1]
    names = [
        key.removeprefix("parquet/p_year=2026/p_month=11/p_day=22/p_hour=10/") for key in seen[0]
    ]
    assert [name.partition("s-1-2026-11-22-10-")[2][:7] for name in sorted(names)] == [
        "16-30-b", "19-30-e", "15-30-a", "16-30-b",
    ]  # fmt: skip
    letters = [key for key in seen[0] if "/_raw." in key]
    content = s3.get_object(Bucket=bucket, Key=letters[0])["Body"].read()
    letter, _ = map(json.loads, content.splitlines())
    assert letter["payload"] == '{"user_id": "x"}'
    assert letter["sequence_number"] == f"{folder}-16-30-b.gz:2"
    # A replay, which lists all there is, passes the dead letters over.
    assert [layout_of("parquet/").includes(key) for key in letters] == [False, False]


def test_memory_holds_a_group_of_rows_not_an_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "GROUP_BYTES", 1)
    records = stream_of(Random(3), shards=1, minutes=5)
    path = tmp_path / "raw" / "2026/11/22/10/x.gz"
    path.parent.mkdir(parents=True)
    text = lines([one.payload for one in records] * 40)
    path.write_bytes(gzip.compress(text))
    one = convert.Converting(
        "ecommerce", None, f"file://{tmp_path}/raw", f"file://{tmp_path}/to", *settings_and_aws()
    )
    one.run(lambda _: None)
    (made,) = (tmp_path / "to").rglob("*.parquet")
    found = parquet.ParquetFile(made).metadata
    assert found.num_rows == 40 * len(records)
    assert found.num_row_groups > 1


def settings_and_aws() -> tuple[convert.Settings, convert.Aws]:
    settings = convert.Settings()
    return settings, convert.Aws(settings.aws)


@pytest.mark.parametrize(
    ("key", "folders"),
    [
        (
            "raw/2026/11/22/10/s-1-2026-11-22-10-15-30-x.gz",
            "p_year=2026/p_month=11/p_day=22/p_hour=10/",
        ),
        ("raw/2026/11/22/10/x.gz", "p_year=2026/p_month=11/p_day=22/p_hour=10/"),
        ("raw/2026/11/22/x.gz", "p_year=2026/p_month=11/p_day=22/"),
        ("p_year=2019/p_month=11/2019-Nov.csv", "p_year=2019/p_month=11/"),
        ("year=2019/x.csv", "p_year=2019/"),
        ("2019-Oct.csv", ""),
    ],
)
def test_folders_go_as_far_as_a_key_tells_and_tell_the_same_again(key: str, folders: str) -> None:
    period = layout_of("").period_of(key)
    assert convert.folders_of(period) == folders
    made = f"{folders}{convert.name_of(key)}.parquet"
    assert layout_of("").period_of(made) == period


def test_objects_of_one_name_in_two_folders_have_two_names() -> None:
    keys = ["a/x.json.gz", "b/x.json.gz", "a/x.csv"]
    assert len({convert.name_of(key) for key in keys}) == 3
    assert [convert.name_of(key).partition("!")[0] for key in keys] == ["a.x", "b.x", "a.x"]


@given(st.text("a1-/", max_size=4), st.text("a1-/", max_size=4))
def test_names_have_the_order_of_keys(one: str, other: str) -> None:
    assume(one != other)
    first, second = sorted(["raw/" + one, "raw/" + other])
    assert convert.name_of(first) < convert.name_of(second)


def test_a_long_key_makes_a_name_that_a_file_can_have() -> None:
    keys = [f"raw/{'é' * 120}/{number}.json" for number in range(2)]
    names = [convert.name_of(key) for key in keys]
    assert len(set(names)) == 2
    assert all(len(f".{name}.parquet.part".encode()) <= 255 for name in names)


@pytest.mark.parametrize(
    ("source", "target", "inside"),
    [
        ("s3://b/raw/", "s3://b/raw/parquet/", True),
        ("s3://b/raw", "s3://b/raw-parquet/", True),  # a prefix is plain text
        ("s3://b/raw/", "s3://b/raw-parquet", False),
        ("s3://b/raw/", "s3://b/raw", True),
        ("s3://b/raw/!{timestamp:yyyy}/", "s3://b/raw/parquet/", True),
        ("s3://b/", "s3://c/", False),
        ("file:///d/raw", "file:///d/x/../raw/pq", True),
        ("file:///d/my in", "file:///d/my%20in/pq", True),
        ("file:///d/raw", "file:///d/raw-parquet/", False),
        ("file:///d/raw", "s3://d/raw/", False),
    ],
)
def test_a_place_inside_the_source_is_seen(source: str, target: str, inside: bool) -> None:
    assert convert._lies_in(target, source) is inside


def test_values_stay_as_they_stood_and_seconds_become_times() -> None:
    maker = RowMaker(WIKI, "timestamp")
    event = {"id": 12345678901234567, "type": "edit", "wiki": "enwiki", "timestamp": 1_795_344_930}
    event |= {"bot": True, "user": 'a"b\u00e9', "length": {"new": 10}, "meta": None, "more": [1]}
    (row,), _ = maker.rows([json.dumps(event).encode()])
    assert row == {
        "timestamp": "2026-11-22T10:55:30Z",
        "id": "12345678901234567",
        "type": "edit",
        "wiki": "enwiki",
        "user": 'a"b\u00e9',
        "bot": "true",
        "title": None,
        "length": {"new": "10", "old": None},
        "meta": None,
    }


def test_events_without_a_time_of_their_own_keep_what_they_have_and_get_none() -> None:
    maker = RowMaker(CLICKSTREAM, ARRIVAL)
    click = {"customerId": "7", "event": {"type": "search", "product": "", "amount": 60}}
    (row,), rejected = maker.rows([json.dumps(click).encode(), b"{"])
    assert (row["customerId"], row["timestamp"]) == ("7", None)
    assert row["event"] == {"type": "search", "product": "", "amount": "60"}
    assert [reason for _, reason, _, _ in rejected] == ["not_json"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("access_logs", "raw/", "to/"), "lines of text"),
        (("ecommerce", "raw/", "to/", "--time", "noon"), "have no time 'noon'"),
        (("ecommerce", "raw/", "raw/parquet/"), "lies in"),
        (("ecommerce", "nowhere/", "to/"), "there is no file or directory"),
    ],
)
def test_what_makes_no_sense_is_refused(
    kinewax: CommandLine, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    archived(stream_of(Random(3), shards=1, minutes=5), tmp_path / "raw")
    domain, *places = arguments[:3]
    urls = [f"file://{tmp_path}/{place}" for place in places]
    ended = kinewax.run("convert", domain, *urls, *arguments[3:])
    assert ended.returncode in (2, 3)
    assert said in ended.stderr
