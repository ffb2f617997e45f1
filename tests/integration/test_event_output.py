"""Single events, as the original's pre-processor made them: to Firehose and to a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers.access_logs import Website
from producers.crowd import Traffic
from tests.conftest import CommandLine
from tests.servers import REGION, Clients

pytestmark = pytest.mark.deploy

LINE = re.compile(
    r'(?P<host_address>\S+) - - \[(?P<request_time>[^]]+)\] "(?P<request_method>\S+) '
    r'(?P<request_path>\S+) (?P<request_protocol>\S+)" (?P<response_code>\d+) '
    r'(?P<response_size>\d+) "(?P<referrer_host>[^"]*)" "(?P<user_agent>[^"]*)"'
)
START = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten minutes of a site; some lines come late, and some aren't lines of a log."""
    start_us = int(START.timestamp()) * 1_000_000
    traffic = Traffic(
        start_us, 600_000_000, rate=5, users=500, late_share=0.02, malformed_share=0.02
    )
    site = Website(traffic, 7)
    records = site.advance(start_us + 3_600_000_000)
    assert site.done
    assert site.late
    path = tmp_path / "access.log"
    path.write_bytes(b"\n".join(record.payload for record in records) + b"\n")
    return path


def expected_of(log: Path) -> list[dict[str, str]]:
    """Read a log with a plain expression: an event for each line that it fits."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if match := LINE.fullmatch(line):
            moment = datetime.strptime(match["request_time"], "%d/%b/%Y:%H:%M:%S %z")
            if moment.year < 9000:  # one of the malformed, a clock far ahead
                found.append({**match.groupdict(), "request_time": moment.isoformat()})
    return found


def lines_of(blob: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in blob.splitlines()]


def test_every_event_is_written_out_late_ones_too_to_firehose_and_to_a_file(
    log: Path,
    kinewax: CommandLine,
    moto: Clients,
    unique_name: Callable[[str], str],
    tmp_path: Path,
) -> None:
    delivery_stream = _delivery_stream(moto, unique_name)
    ran = kinewax.run(
        *("run", "access_logs", "--source", f"file://{log}", "--processes", "2"),
        *("--sinks", f"aws,file://{tmp_path / 'out'}", "--endpoint-url", moto.endpoint),
        environment={"KINEWAX_SINKS__EVENTS": delivery_stream},
    )
    assert ran.returncode == 0, ran.stderr
    expected = expected_of(log)
    assert len(expected) > 2_900

    assert lines_of((tmp_path / "out" / "events.jsonl").read_text()) == expected
    delivered = lines_of(_delivered(moto, delivery_stream))
    assert sorted(map(str, delivered)) == sorted(map(str, expected))
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["balanced"]
    assert summary["ledger"]["late.traffic_10s"] > 0
    assert (
        summary["ledger"]["events.taken"]
        == summary["ledger"]["files.events.taken"]
        == summary["ledger"]["events_passed_on"]
        == len(expected)
    )


def test_nothing_is_written_out_unasked(log: Path, kinewax: CommandLine, tmp_path: Path) -> None:
    ran = kinewax.run(
        *("run", "access_logs", "--source", f"file://{log}"),
        *("--sinks", f"file://{tmp_path / 'out'}", "--windows", "traffic_60s"),
    )
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "out" / "events.jsonl").exists()


def test_events_of_a_shop_have_no_such_form(kinewax: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "none.jsonl").write_text("")
    ran = kinewax.run(
        *("run", "ecommerce", "--source", f"file://{tmp_path / 'none.jsonl'}"),
        environment={"KINEWAX_SINKS__EVENTS": "events"},
    )
    assert ran.returncode == 2
    assert "sinks.events: domain ecommerce doesn't write out single events" in ran.stderr


def test_changes_of_wikis_reach_firehose_in_the_five_columns_of_the_original(
    kinewax: CommandLine, moto: Clients, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    changes = [
        {"id": 7, "type": "edit", "wiki": "enwiki", "timestamp": 1756449916},
        {"type": "log", "wiki": 'odd,"wiki"', "timestamp": 1756449917},
        {"id": None, "type": "new", "wiki": "dewiki", "timestamp": 1756449918, "length": None},
    ]
    source = tmp_path / "changes.jsonl"
    source.write_text("".join(json.dumps(change) + "\n" for change in changes))
    delivery_stream = _delivery_stream(moto, unique_name)
    ran = kinewax.run(
        *("run", "wiki", "--source", f"file://{source}"),
        *("--sinks", "aws", "--endpoint-url", moto.endpoint),
        environment={"KINEWAX_SINKS__EVENTS": delivery_stream},
    )
    assert ran.returncode == 0, ran.stderr
    assert _delivered(moto, delivery_stream) == (
        "7,edit,enwiki,2025-08-29 06:45:16,1756449916\n"
        ',log,"odd,""wiki""",2025-08-29 06:45:17,1756449917\n'
        ",new,dewiki,2025-08-29 06:45:18,1756449918\n"
    )


def _delivery_stream(moto: Clients, unique_name: Callable[[str], str]) -> str:
    """Make a delivery stream and the bucket of its name that it fills."""
    name = unique_name("events")
    moto("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    moto("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/any",
            "BucketARN": f"arn:aws:s3:::{name}",
        },
    )
    return name


def _delivered(moto: Clients, bucket: str) -> str:
    s3 = moto("s3")
    return "".join(
        s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
        for item in s3.list_objects_v2(Bucket=bucket)["Contents"]
    )
