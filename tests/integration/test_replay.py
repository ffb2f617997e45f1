"""`kinewax replay` over a local S3 and directories, as users start it."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from messages import VOLATILE
from tests.rig import Aws, Names, Service, event, wait_until
from tests.servers import Clients

BEGIN = datetime(2026, 11, 22, 10, tzinfo=UTC)
LAG = timedelta(minutes=3)
SHARDS = 4


def archive_of(minutes: int, a_minute: int, seed: int = 1) -> tuple[dict[str, bytes], list[bytes]]:
    """What Firehose leaves of a stream whose shards lag up to 3 minutes; and the events in order.

    Objects hold a minute of arrivals, shards mixed.
    """
    rng = random.Random(seed)
    events = []
    for number in range(minutes * a_minute):
        moment = BEGIN + timedelta(minutes=number / a_minute)
        user = 7 if number % 200 < 12 else rng.randrange(100, 5_000)
        arrival = moment + LAG * (user % SHARDS) / SHARDS
        events.append((arrival, moment, json.dumps(event(user, moment)).encode()))
    objects: dict[str, list[bytes]] = {}
    for arrival, _, payload in sorted(events):
        folder = f"{arrival:raw/%Y/%m/%d/%H}"
        objects.setdefault(f"{folder}/s-1-{arrival:%Y-%m-%d-%H-%M}-00-x.gz", []).append(payload)
    packed = {key: gzip.compress(b"\n".join(lines) + b"\n") for key, lines in objects.items()}
    return packed, [payload for _, _, payload in sorted(events, key=lambda one: one[1])]


def written(root: Path, objects: Mapping[str, bytes]) -> str:
    for key, content in objects.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return f"file://{root}/"


def results(directory: Path) -> dict[str, list[str]]:
    """Final incidents and rows, sorted, without what differs from run to run."""
    found = {}
    for path in sorted(directory.rglob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        rows = [row for row in rows if row.get("phase", "final") == "final"]
        kept = ({k: v for k, v in row.items() if k not in VOLATILE} for row in rows)
        found[path.name] = sorted(json.dumps(row, sort_keys=True) for row in kept)
    return found


def summary(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "summary.json").read_text())
    return found


@pytest.fixture
def kinewax(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    started: list[Service] = []

    def start(*arguments: str) -> Service:
        service = Service(list(arguments), {}, tmp_path / f"{len(started)}.log")
        service.start()
        started.append(service)
        return service

    yield start
    for service in started:
        service.kill()


def finished(service: Service, code: int = 0) -> str:
    assert service.process is not None
    assert service.process.wait(120) == code, service.log.read_text()[-3000:]
    return service.log.read_text()


def killed_amid(service: Service, rows: Path) -> None:
    """Kill a worker once rows are written."""
    wait_until(lambda: rows.exists() and rows.stat().st_size > 0, "something is written")
    os.kill(service.workers()[-1], signal.SIGKILL)


def replayed(url: str, out: Path, *more: str) -> Sequence[str]:
    return ("replay", "ecommerce", url, "--sinks", f"file://{out}", *more)


def test_a_replay_from_s3_finds_what_a_live_run_found_whatever_processes_run_and_die(
    kinewax: Callable[..., Service],
    moto: Clients,
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    objects, events = archive_of(minutes=30, a_minute=400)
    live = tmp_path / "live.jsonl"
    live.write_bytes(b"\n".join(events) + b"\n")
    windows = ("--windows", "trade,user_actions,journeys,categories_hourly")
    source = ("--source", live.as_uri(), "--sinks", f"file://{tmp_path / 'live'}")
    finished(kinewax("run", "ecommerce", *source, *windows))
    assert sum(n for k, n in summary(tmp_path / "live")["ledger"].items() if "late" in k) == 0
    expected = results(tmp_path / "live")
    assert len(expected["alerts.jsonl"]) > 10

    bucket = unique_name("archive")
    s3 = moto("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key, content in objects.items():
        s3.put_object(Bucket=bucket, Key=key, Body=content)
    slow = ("--speed", "1000x", "--epoch-interval", "500ms")  # enough to be killed amid it
    for processes, pace in ((1, ()), (2, ()), (3, slow)):
        out = tmp_path / f"out{processes}"
        more = ("--processes", str(processes), "--endpoint-url", moto.endpoint, *pace, *windows)
        service = kinewax(*replayed(f"s3://{bucket}/raw/", out, *more))
        if pace:
            killed_amid(service, out / "aggregates/trade.jsonl")
        said = finished(service)
        assert summary(out)["run"]["restarts"] >= bool(pace)
        assert "the ledger balances" in said
        assert results(out) == expected
        ledger = summary(out)["ledger"]
        assert ledger["records"] == ledger["events"] == len(events)
        assert ledger["objects"] == len(objects)


def test_a_kill_amid_an_object_changes_nothing(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    url = written(tmp_path / "archive", archive_of(minutes=60, a_minute=4_000)[0])
    finished(kinewax(*replayed(url, tmp_path / "whole")))
    out = tmp_path / "out"
    more = ("--recovery", str(tmp_path / "recovery"), "--epoch-interval", "100ms")
    service = kinewax(*replayed(url, out, "--processes", "2", *more))
    killed_amid(service, out / "aggregates/trade.jsonl")
    finished(service)
    assert summary(out)["run"]["restarts"] >= 1
    assert results(out) == results(tmp_path / "whole")
    assert summary(out)["ledger"]["records"] == 240_000


def test_a_replay_says_whether_it_differs_from_the_live_run_by_more_than_late_events(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    objects, events = archive_of(minutes=10, a_minute=100)
    events.append(events.pop(20))  # ten minutes late
    stream, live = tmp_path / "live.jsonl", tmp_path / "live"
    stream.write_bytes(b"\n".join(events) + b"\n")
    windows = ("--windows", "user_actions,trade")
    finished(
        kinewax("run", "ecommerce", *windows, "--source", stream.as_uri(), "--sinks", live.as_uri())
    )
    url = written(tmp_path / "archive", objects)
    out = tmp_path / "out"
    said = finished(kinewax(*replayed(url, out, *windows, "--against", str(live))))
    assert (
        "1 differ: the live run missed late events of theirs (1 of user_actions, 1 of trade)"
        in said
    )
    found = summary(out)["run"]["replay"]["against"]
    assert (found["late"], found["different"], found["missing"], found["added"]) == (1, 0, 0, 0)
    assert found["of"]["rows trade"]["late"] == 1
    assert found["same"] == sum(map(len, results(out).values())) - 1

    trade = live / "aggregates/trade.jsonl"
    rows = trade.read_text().splitlines()
    row = json.loads(rows[2])
    rows[2:4] = [json.dumps({**row, "events": row["events"] + 1})]  # and one is gone
    trade.write_text("\n".join(rows))
    only_compared = ("replay", "ecommerce", url, *windows, "--against", live.as_uri())
    said = finished(kinewax(*only_compared), code=5)
    assert "rows trade: 1 differ, 0 only live, 1 only in the replay" in said
    said = finished(kinewax(*replayed(url, live, *windows, "--against", str(live))), code=2)
    assert "would write over" in said
    assert trade.exists()
    nothing = ("--against", str(tmp_path / "archive"))
    said = finished(kinewax(*replayed(url, out, *windows, *nothing)), code=3)
    assert "holds no rows" in said


def test_duplicates_in_other_objects_are_dropped_by_name_whatever_dies(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    rng = random.Random(3)
    objects: dict[str, list[bytes]] = {}
    again = 0
    for number in range(20_000):
        moment = BEGIN + timedelta(milliseconds=180 * number)
        payload = json.dumps({"id": f"{number}", **event(number % 300, moment)}).encode()
        copies = rng.random() < 0.01
        again += copies
        for minutes in (0, 1 + rng.randrange(10))[: 1 + copies]:
            delivery = moment + timedelta(minutes=minutes)
            key = f"{delivery:%Y/%m/%d/%H}/s-1-{delivery:%Y-%m-%d-%H-%M}-00-x.gz"
            objects.setdefault(key, []).append(payload)
    packed = {key: gzip.compress(b"\n".join(lines)) for key, lines in objects.items()}
    url = written(tmp_path / "archive", packed)
    domain = str(Path(__file__).with_name("identified_domain.py"))
    out = tmp_path / "out"
    more = ("--recovery", str(tmp_path / "recovery"), "--epoch-interval", "50ms")
    slow = ("--speed", "4000x")  # enough to be killed amid it
    service = kinewax(
        "replay", domain, url, "--sinks", out.as_uri(), "--processes", "2", *more, *slow
    )
    killed_amid(service, out / "aggregates/users.jsonl")
    finished(service)
    found = summary(out)
    assert found["run"]["restarts"] >= 1
    assert found["ledger"]["dropped.duplicate"] == again > 100
    assert found["ledger"]["counted.users"] == 20_000
    rows = [json.loads(row) for row in results(out)["users.jsonl"]]
    assert sum(row["events"] for row in rows) == 20_000
    assert len({row["row_id"] for row in rows}) == len(rows) == 300 * 60


def test_only_windows_wholly_inside_the_range_are_written_and_the_rest_is_counted(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    url = written(tmp_path / "archive", archive_of(minutes=60, a_minute=100)[0])
    windows = ("--windows", "trade,user_actions,journeys")
    finished(kinewax(*replayed(url, tmp_path / "whole", *windows)))
    out = tmp_path / "out"
    between = ("--from", "2026-11-22T10:20:30", "--to", "2026-11-22T10:25:00")
    finished(kinewax(*replayed(url, out, *windows, *between)))
    rows = [json.loads(line) for line in results(tmp_path / "whole")["trade.jsonl"]]
    inside = [
        row for row in rows
        if row["window_start"] >= "2026-11-22T10:21" and row["window_end"] <= "2026-11-22T10:25:01"
    ]  # fmt: skip
    assert [json.loads(line) for line in results(out)["trade.jsonl"]] == inside
    ledger = summary(out)["ledger"]
    assert summary(out)["balanced"]
    assert ledger["counted.trade"] == 400
    assert ledger["counted.trade"] + ledger["outside.trade"] == ledger["events"] < 6_000
    assert ledger["outside.journeys"] == ledger["events"]  # one visit, much longer
    assert results(out)["journeys.jsonl"] == []


def test_bad_objects_are_named_and_the_exit_code_tells(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    objects = archive_of(minutes=10, a_minute=100)[0]
    keys = sorted(objects)
    objects[keys[2]] = b"no gzip at all"
    objects[keys[4]] = objects[keys[4]][:-40]
    objects[keys[6]] = b""
    url = written(tmp_path / "archive", objects)
    said = finished(kinewax(*replayed(url, tmp_path / "out")), code=4)
    found = summary(tmp_path / "out")
    assert {one["object"]: one["reason"] for one in found["run"]["replay"]["unreadable"]} == {
        keys[2]: "object_corrupt", keys[4]: "object_truncated", keys[6]: "object_empty",
    }  # fmt: skip
    assert all(key in said for key in (keys[2], keys[4], keys[6]))
    letters = (tmp_path / "out/dead-letters.jsonl").read_text().splitlines()
    reasons = {json.loads(line)["reason"] for line in letters}
    assert {"object_corrupt", "object_truncated", "object_empty"} <= reasons
    assert found["ledger"]["objects_unreadable"] == 3
    assert found["balanced"]


def test_the_shops_own_rows_hold_no_attack_but_the_simulators_clock_makes_one(
    kinewax: Callable[..., Service], shared_data: Path, tmp_path: Path
) -> None:
    url = f"file://{shared_data / 'ecommerce/2019-Oct-sample-5000.csv'}"
    windows = ("--windows", "user_actions")
    finished(kinewax(*replayed(url, tmp_path / "true", "--time", "event_time", *windows)))
    assert results(tmp_path / "true")["alerts.jsonl"] == []
    said = finished(kinewax(*replayed(url, tmp_path / "stamped", "--processing-time", *windows)))
    assert "says nothing about when things happened" in said
    high = [
        row for row in map(json.loads, results(tmp_path / "stamped")["alerts.jsonl"])
        if row["severity"] == "high"
    ]  # fmt: skip
    assert {(row["key"]["user_id"], row["value"]) for row in high} == {(513840435, 14)}


def test_a_replay_into_the_table_tells_nobody_now_or_later_and_changes_nothing_again(
    kinewax: Callable[..., Service],
    moto: Clients,
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    aws = Aws(moto, Names.made_by(unique_name), shards=1)
    url = written(tmp_path / "archive", archive_of(minutes=5, a_minute=400)[0])
    tables = []
    for _ in range(2):
        arguments = ["replay", "ecommerce", url, "--sinks", "aws", "--windows", "user_actions"]
        arguments += ["--endpoint-url", moto.endpoint]
        log = tmp_path / "aws.log"
        service = Service(arguments, aws.names.settings(), log)
        service.start()
        try:
            finished(service)
        finally:
            service.kill()
        tables.append(sorted(aws.rows(), key=lambda row: row["id"]))
    assert tables[0] == tables[1]
    high = [row for row in tables[0] if row["severity"] == "high"]
    assert high
    assert all((row["notified"], row["phase"]) == ("replay", "final") for row in high)
    assert aws.notices() == []
    stream = aws.names.incidents_stream
    kinesis = moto("kinesis")
    (shard,) = kinesis.list_shards(StreamName=stream)["Shards"]
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert kinesis.get_records(ShardIterator=iterator)["Records"] == []


def test_a_replay_that_is_stopped_says_so_compares_nothing_and_goes_on(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    objects, events = archive_of(minutes=10, a_minute=60)
    url = written(tmp_path / "archive", objects)
    live, out, store = tmp_path / "live", tmp_path / "out", tmp_path / "store"
    finished(kinewax(*replayed(url, live)))
    against = ("--against", str(live), "--recovery", str(store))
    slow = ("--speed", "20x", "--epoch-interval", "200ms")
    service = kinewax(*replayed(url, out, *against, *slow))
    wait_until(lambda: f"of {len(objects)} objects" in service.log.read_text(), "it has begun")
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)

    said = finished(service, 75)
    assert f"of {len(objects)} objects unread" in said
    assert "differ" not in said
    assert summary(out)["run"]["drained"]
    assert summary(out)["ledger"]["events"] < len(events)

    said = finished(kinewax(*replayed(url, out, *against)))
    assert "are the same" in said
    assert summary(out)["ledger"]["events"] == len(events)


def test_results_of_another_run_are_not_written_over(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    objects, _ = archive_of(minutes=2, a_minute=60)
    url = written(tmp_path / "archive", objects)
    out = tmp_path / "my out"
    to = ("--sinks", out.as_uri())
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"".join(map(gzip.decompress, objects.values())))
    finished(kinewax("run", "ecommerce", "--source", events.as_uri(), *to))
    before = results(out)

    said = finished(kinewax("replay", "ecommerce", url, *to), 2)
    assert f"holds what a run of ecommerce from {events.as_uri()} wrote" in said
    other = tmp_path / "other"
    finished(kinewax(*replayed(url, other, "--to", "2026-11-22T10:01:00Z")))
    assert "holds what a replay" in finished(kinewax(*replayed(url, other)), 2)
    same = ("--against", f"{tmp_path}/other/../my out")
    assert "write over" in finished(kinewax("replay", "ecommerce", url, *to, *same), 2)

    assert results(out) == before
    finished(kinewax(*replayed(url.rstrip("/"), other, "--to", "2026-11-22T10:01:00Z")))


def test_an_archive_in_which_nothing_is_an_event_has_a_hint(
    kinewax: Callable[..., Service], tmp_path: Path
) -> None:
    lines = [json.dumps({"event_time": "2019-10-01 00:00:00 UTC", "user_id": "1"})] * 3
    url = written(tmp_path / "archive", {"a.json": "\n".join(lines).encode()})
    said = finished(kinewax(*replayed(url, tmp_path / "out")))
    assert "no record was an event, most for rejected.missing_field" in said
    assert "is --time right?" in said
