"""The replayed CSV: what the original producer sent, row by row."""

import csv
import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from errors import MissingResourceError, SettingsError
from producers.csv_replay import CsvReplay, stamp

START_US = 1_767_225_600_000_000
FOREVER_US = START_US * 2
REAL = Path(__file__).parents[3] / "../shared/data/ecommerce/2019-Oct-sample-5000.csv"


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.csv"
    path.write_text(
        "event_time,event_type,category_id,brand,user_id\n"
        "2019-10-01 00:00:00 UTC,view,11,,7\n"
        '2019-10-01 00:00:01 UTC,cart,22,"o, ""neill""",8\n'
        "2019-10-01 00:00:01 UTC,view,33,sony,9\n"
    )
    return path


def test_a_row_is_a_json_object_of_strings_with_a_stamp_and_its_category_as_key(small):
    records = CsvReplay(small, 4, START_US).advance(FOREVER_US)
    assert [record.partition_key for record in records] == ["11", "22", "33"]
    assert json.loads(records[1].payload) == {
        "event_time": "2019-10-01 00:00:01 UTC",
        "event_type": "cart",
        "category_id": "22",
        "brand": 'o, "neill"',
        "user_id": "8",
        "txn_timestamp": "2026-01-01T00:00:00.250000",
    }


def test_a_stamp_has_microseconds_and_no_fraction_where_it_is_zero():
    assert stamp(START_US) == "2026-01-01T00:00:00"
    assert stamp(START_US + 1) == "2026-01-01T00:00:00.000001"


def test_rows_come_when_they_are_due(small):
    replay = CsvReplay(small, 4, START_US)
    assert replay.advance(START_US) == []
    assert len(replay.advance(START_US + 250_000)) == 1
    assert len(replay.advance(START_US + 250_001)) == 1
    assert not replay.done
    assert len(replay.advance(FOREVER_US)) == 1
    assert replay.done


def test_as_many_rows_as_asked_for(small):
    replay = CsvReplay(small, 4, START_US, rows=2)
    assert len(replay.advance(FOREVER_US)) == 2
    assert replay.done


def test_pretty_json_has_line_breaks_as_the_originals_had(small):
    (first, *_) = CsvReplay(small, 4, START_US, pretty=True).advance(FOREVER_US)
    assert first.payload.decode() == json.dumps(json.loads(first.payload), indent=2)


def test_a_gzipped_csv_is_read(small, tmp_path):
    packed = tmp_path / "small.csv.gz"
    packed.write_bytes(gzip.compress(small.read_bytes()))
    assert CsvReplay(packed, 4, START_US).advance(FOREVER_US) == CsvReplay(
        small, 4, START_US
    ).advance(FOREVER_US)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingResourceError, match=r"none\.csv"):
        CsvReplay(tmp_path / "none.csv", 4, START_US)


def test_a_row_with_too_few_fields_is_named_by_its_line(small):
    with small.open("a") as text:
        text.write("2019-10-01 00:00:02 UTC,view\n")
    with pytest.raises(SettingsError, match="line 5: 2 fields"):
        CsvReplay(small, 4, START_US).advance(FOREVER_US)


def test_a_file_that_is_no_csv_is_refused_in_one_line(tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(SettingsError, match="can't read"):
        CsvReplay(wrong, 4, START_US)
    wrong.write_text("a,b\n1,2\n")
    with pytest.raises(SettingsError, match="category_id"):
        CsvReplay(wrong, 4, START_US)


@pytest.mark.skipif(not REAL.exists(), reason="the real sample is not on this machine")
def test_the_real_sample_at_four_rows_a_second_holds_exactly_one_attack():
    by_stamp: Counter[tuple[str, int]] = Counter()
    by_event_time: Counter[tuple[str, int]] = Counter()
    records = CsvReplay(REAL, 4, START_US).advance(FOREVER_US)
    with REAL.open(newline="") as text:
        assert len(records) == sum(1 for _ in csv.DictReader(text))
    for record in records:
        event = json.loads(record.payload)
        stamped = datetime.fromisoformat(event["txn_timestamp"]).replace(tzinfo=UTC)
        happened = datetime.strptime(event["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(
            tzinfo=UTC
        )
        by_stamp[event["user_id"], int(stamped.timestamp()) // 10] += 1
        by_event_time[event["user_id"], int(happened.timestamp()) // 10] += 1
    assert [(user, n) for (user, _), n in by_stamp.items() if n > 5] == [("513840435", 14)]
    assert max(by_event_time.values()) <= 4
