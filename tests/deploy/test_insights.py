"""`kinewax insights` answers from any archive, and says what it could not read."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import duckdb
import orjson
import pytest

from dataflows.decoders import decoder_of
from dataflows.ecommerce import ECOMMERCE
from errors import MissingResourceError
from operators.codes import TextCodes
from producers.kpl import aggregate
from producers.records import Record
from service.cli import run_command
from service.insights.answers import Insights, answer
from tests.conftest import CommandLine
from tests.deploy.expectations import answers_of
from tests.deploy.test_redshift import CLICKS
from tests.servers import REGION, Clients


def rows_by_name(insights: Insights) -> dict[str, list[dict[str, Any]]]:
    content = cast("dict[str, Any]", insights.as_json())
    return {one["name"]: one["rows"] for one in content["insights"]}


def as_parquet(sample: Path, folder: Path) -> None:
    source = f"read_csv('{sample}', header = true)"
    duckdb.execute(f"COPY (SELECT * FROM {source}) TO '{folder / 'x.parquet'}' (FORMAT parquet)")


def as_csv(sample: Path, folder: Path) -> None:
    content = sample.read_bytes()
    (folder / "x.csv").write_bytes(b"\xef\xbb\xbf" + content)


def as_gzip_lines(sample: Path, folder: Path) -> None:
    lines = as_lines(sample)
    for number in range(3):
        below = folder / "2019" / "10" / "01" / f"{number:02d}"
        below.mkdir(parents=True)
        (below / "archive-1").write_bytes(gzip.compress(b"\n".join(lines[number::3])))


def as_zstd_lines(sample: Path, folder: Path) -> None:
    options = "(FORMAT json, COMPRESSION zstd)"
    source = f"read_csv('{sample}', header = true, all_varchar = true)"
    duckdb.execute(f"COPY (SELECT * FROM {source}) TO '{folder / 'archive-1'}' {options}")


def as_pretty_objects(sample: Path, folder: Path) -> None:
    objects = (orjson.dumps(orjson.loads(x), option=orjson.OPT_INDENT_2) for x in as_lines(sample))
    (folder / "archive-1").write_bytes(b"".join(objects))


def as_zip(sample: Path, folder: Path) -> None:
    lines = as_lines(sample)
    with zipfile.ZipFile(folder / "archive-1", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.json", b"\n".join(lines[:2_000]))
        archive.writestr("two.json", b"\n".join(lines[2_000:3_000]))
    with zipfile.ZipFile(folder / "archive-2.zip", "w") as archive:
        pretty = (orjson.dumps(orjson.loads(x), option=orjson.OPT_INDENT_2) for x in lines[3_000:])
        archive.writestr("three.json", b"".join(pretty))


def as_producer_library(sample: Path, folder: Path) -> None:
    """Write aggregates of the KPL amid plain records, as an archive without deaggregation has."""
    lines = as_lines(sample)
    first, second = (
        b"".join(one.payload for one in aggregate([Record(line, "key") for line in own]))
        for own in (lines[100:4_000], lines[4_000:])
    )
    content = b"\n".join(lines[:100]) + b"\n" + first
    (folder / "archive-1.gz").write_bytes(gzip.compress(content))
    (folder / "archive-2").write_bytes(second)


def as_numbers(sample: Path, folder: Path) -> None:
    """Write what are numbers as numbers, and a time that has a zone of its own."""
    lines = []
    for line in as_lines(sample):
        event = orjson.loads(line)
        day, clock, _ = event["event_time"].split(" ")
        hour = int(clock[:2])
        lines.append(
            {
                **event,
                "user_id": int(event["user_id"]),
                "price": float(event["price"]),
                "brand": event["brand"] or None,
                "event_time": f"{day}T{hour + 2:02d}{clock[2:]}+02:00",
            }
        )
    (folder / "archive-1").write_bytes(b"\n".join(map(orjson.dumps, lines)))


def as_lines(sample: Path) -> list[bytes]:
    with sample.open(newline="") as file:
        return [orjson.dumps(row) for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    "write",
    [
        as_csv,
        as_parquet,
        as_gzip_lines,
        as_zstd_lines,
        as_zip,
        as_producer_library,
        as_pretty_objects,
        as_numbers,
    ],
)
def test_the_sample_gives_every_expected_number_however_it_is_archived(
    write: Callable[[Path, Path], None], sample: Path, expected: dict[str, Any], tmp_path: Path
):
    write(sample, tmp_path)

    insights = answer(tmp_path, "here")

    assert answers_of(rows_by_name(insights)) == expected
    (reading,) = insights.readings
    assert (reading.records, reading.rejected) == (4_999, 0)


def test_what_is_no_event_is_counted_and_stops_nothing(sample: Path, tmp_path: Path):
    lines = as_lines(sample)[:100]
    first = orjson.loads(lines[0])
    bad = [
        b"not json",
        b"[1]",
        b'{"brand": "\xff"}',
        orjson.dumps({**first, "user_id": "x"}),
        orjson.dumps({**first, "event_time": "2019-99-99 00:00:00 UTC"}),
        orjson.dumps({key: value for key, value in first.items() if key != "event_type"}),
    ]
    (tmp_path / "archive-1").write_bytes(b"\n".join([*lines[:50], *bad, *lines[50:]]))
    content = [
        b"event_time,event_type,price,user_id,brand",
        b"2019-10-01 00:00:00 UTC,view,1,7,",
        b"2019-10-01 00:00:00 UTC,view,1,8,a,b,c",
        b"2019-10-01 00:00:00 UTC,view",
        b"2019-10-01 00:00:00 UTC,view,1,9,\xff",
        b'2019-10-01 00:00:00 UTC,view,1,10,"a',
        b'b, ""c"""',
    ]
    (tmp_path / "archive.csv").write_bytes(b"\n".join(content))

    insights = answer(tmp_path, "here")

    (reading,) = insights.readings
    assert (reading.files, reading.records, reading.rejected) == (2, 111, 9)
    assert rows_by_name(insights)["daily_visitors"][0]["events"] == 102


def test_a_broken_object_amid_objects_that_are_no_lines_costs_no_others(
    sample: Path, tmp_path: Path
):
    objects = [orjson.dumps(orjson.loads(x), option=orjson.OPT_INDENT_2) for x in as_lines(sample)]
    objects.insert(2_000, b'{"broken": }')
    (tmp_path / "archive-1").write_bytes(b"\n".join(objects))

    (reading,) = answer(tmp_path, "here").readings

    assert (reading.broken, reading.records, reading.rejected) == ({}, 5_000, 1)


def test_events_behind_many_lines_that_are_none_are_found(sample: Path, tmp_path: Path):
    lines = [b'{"health": "ok"}'] * 400 + as_lines(sample)[:100]
    (tmp_path / "archive-1").write_bytes(b"\n".join(lines))

    (reading,) = answer(tmp_path, "here").readings

    assert (reading.records, reading.rejected) == (500, 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "12.6"),
        ("user_id", "0x10"),
        ("user_id", "1_000"),
        ("user_id", " 7 "),
        ("user_id", "+7"),
        ("user_id", "7.0"),
        ("user_id", 7),
        ("price", "0.125"),
        ("price", "0.135"),
        ("price", "1e2"),
        ("price", 2.675),
        ("price", "-3"),
        ("price", "ten"),
        ("event_time", "1569888000.5"),
    ],
)
def test_odd_values_are_what_they_are_to_the_pipeline(
    sample: Path, tmp_path: Path, field: str, value: object
):
    event = {**orjson.loads(as_lines(sample)[0]), "event_type": "purchase", field: value}
    lines = [event] * 1_000 + [orjson.loads(as_lines(sample)[1])]
    (tmp_path / "archive").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    decoder = decoder_of(ECOMMERCE, ECOMMERCE.fields, "event_time", TextCodes())
    decoded = decoder.decode([orjson.dumps(event)], None)

    found = answer(tmp_path, "here")

    (reading,) = found.readings
    assert reading.rejected == 1_000 * len(decoded.rejected)
    if not decoded.rejected:
        cents = 1_000 * int(decoded.columns["price"][0])
        (minute,) = rows_by_name(found)["trade"]
        assert minute["revenue"] == pytest.approx(cents / 100, abs=1e-9)


def test_a_file_that_breaks_off_is_named_and_all_others_are_read(sample: Path, tmp_path: Path):
    lines = as_lines(sample)
    for number in range(8):
        content = gzip.compress(b"\n".join(lines[number::8]))
        # One breaks off in the middle, one at its very beginning.
        kept = {3: len(content) // 2, 6: 10}.get(number, len(content))
        (tmp_path / f"{number}.gz").write_bytes(content[:kept])

    insights = answer(tmp_path, "here")

    assert {path.name for path in insights.others} == {"3.gz", "6.gz"}
    whole = sum(len(lines[number::8]) for number in range(8) if number not in (3, 6))
    (reading,) = insights.readings
    assert (reading.files, reading.records, reading.rejected) == (6, whole, 0)
    assert insights.as_json()["left"] == {str(path): why for path, why in insights.others.items()}


def test_a_zip_archive_that_breaks_off_is_named_and_all_others_are_read(
    sample: Path, tmp_path: Path
):
    as_zip(sample, tmp_path)
    broken = (tmp_path / "archive-2.zip").read_bytes()
    (tmp_path / "archive-2.zip").write_bytes(broken[:-100])

    insights = answer(tmp_path, "here")

    assert {path.name for path in insights.others} == {"archive-2.zip"}
    (reading,) = insights.readings
    assert (reading.files, reading.records, reading.rejected) == (1, 3_000, 0)


def test_an_event_time_in_seconds_is_a_time_and_one_beyond_all_years_is_none(tmp_path: Path):
    change = {"type": "edit", "wiki": "enwiki", "timestamp": 1_795_344_930}
    changes = [change, {**change, "timestamp": 10**18}, {**change, "timestamp": "noon"}]
    (tmp_path / "wiki").write_bytes(b"\n".join(map(orjson.dumps, changes)))
    (tmp_path / "clicks").write_bytes(CLICKS)

    (_, reading) = sorted(answer(tmp_path, "here").readings, key=lambda one: one.table)

    assert reading.table == "wiki_raw"
    assert (reading.records, reading.rejected) == (3, 2)


@pytest.mark.parametrize("turn", [1, -1])
def test_of_rows_emitted_at_one_time_the_final_one_is_seen_in_whatever_order(
    delivered: Path, tmp_path: Path, turn: int
):
    (path,) = (delivered / "aggregates").glob("visitors_daily.jsonl")
    row = orjson.loads(path.read_bytes().splitlines()[-1])
    told = [{**row, "phase": "final", "visitors": 3}, {**row, "phase": "interim", "visitors": 4}]
    (tmp_path / "rows").write_bytes(b"\n".join(map(orjson.dumps, told[::turn])))

    (day,) = rows_by_name(answer(tmp_path, "here"))["daily_visitors"]

    assert day["visitors"] == 3


def test_the_files_of_a_run_are_answered_from_its_aggregates(
    delivered: Path, sample: Path, expected: dict[str, Any]
):
    insights = answer(delivered, "here")

    assert {one.question.asks for one in insights.answers} == {"aggregates"}
    # Bursts of 10 s are told by events alone.
    bursts = rows_by_name(answer(sample, "there"))["bursts"]
    assert answers_of({**rows_by_name(insights), "bursts": bursts}) == expected


def test_events_are_asked_where_there_are_both(delivered: Path, sample: Path, tmp_path: Path):
    (tmp_path / "results").symlink_to(delivered)
    for file in (delivered / "aggregates").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "raw.csv").write_bytes(sample.read_bytes())

    insights = answer(tmp_path, "here")

    assert {one.table for one in insights.readings} == {"ecommerce_rows", "ecommerce_raw"}
    assert {one.question.asks for one in insights.answers} == {"events"}


def test_clicks_have_questions_of_their_own(tmp_path: Path):
    (tmp_path / "archive-1").write_bytes(CLICKS)

    found = rows_by_name(answer(tmp_path, "here"))

    assert found["total"] == [{"events": 5}]
    assert found["purchases_by_product"] == [
        {"product": "bags", "purchases": 2, "amount": 150},
        {"product": "shoes", "purchases": 1, "amount": 50},
    ]


def test_rows_that_no_question_is_asked_of_are_one_line_and_a_hint(tmp_path: Path):
    row = {"row_id": "a", "domain": "access_logs", "aggregate": "agents_60s"}
    times = dict.fromkeys(("window_start", "window_end", "emitted_at"), "2019-10-01T00:00:00Z")
    (tmp_path / "rows").write_bytes(orjson.dumps({**row, **times}))

    with pytest.raises(MissingResourceError, match="only access_logs_rows") as raised:
        answer(tmp_path, "here")
    assert raised.value.hint


def test_where_nothing_can_be_read_the_hint_says_why(sample: Path, tmp_path: Path):
    whole = gzip.compress(sample.read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingResourceError) as raised:
        answer(tmp_path, "here")
    assert "cut.csv.gz can't be read to its end" in raised.value.hint

    (tmp_path / "cut.csv.gz").unlink()
    event = {**orjson.loads(as_lines(sample)[0]), "price": "ten"}
    (tmp_path / "archive").write_bytes(orjson.dumps(event))
    with pytest.raises(MissingResourceError) as raised:
        answer(tmp_path, "here")
    assert "all 1 records of ecommerce_raw" in raised.value.hint


def test_visits_and_days_that_go_on_have_no_outcome_yet(delivered: Path, tmp_path: Path):
    aggregates = delivered / "aggregates"
    rows = [
        orjson.loads(line)
        for line in (aggregates / "journeys.jsonl").read_bytes().split(b"\n")
        if line
    ]
    looked = [row for row in rows if not row["purchases"]]
    bought = [row for row in rows if row["purchases"]]
    told = [{**row, "phase": "interim"} for row in rows]
    (tmp_path / "journeys").write_bytes(b"\n".join(map(orjson.dumps, told)))
    days = (aggregates / "brands_daily.jsonl").read_bytes().split(b"\n")
    first = [{**orjson.loads(line), "phase": "final"} for line in days if line]
    today = [
        {
            **row,
            "row_id": f"{row['row_id']} again",
            "window_start": row["window_start"].replace("10-01", "10-02"),
            "revenue": row["revenue"] + 1,
            "phase": "interim",
        }
        for row in first
    ]
    (tmp_path / "brands").write_bytes(b"\n".join(map(orjson.dumps, first + today)))

    found = rows_by_name(answer(tmp_path, "here"))

    visits = {row["outcome"]: row["visits"] for row in found["journeys"]}
    assert visits == {
        "bought": len({row["user_session"] for row in bought}),
        "still open": len(
            {row["user_session"] for row in looked} - {row["user_session"] for row in bought}
        ),
    }
    assert found["movers"] == [], "a day that isn't over is compared with none"


# ---- the command --------------------------------------------------------------------------------


def test_objects_in_s3_are_answered_from(
    kinewax: CommandLine,
    moto: Clients,
    unique_name: Callable[[str], str],
    sample: Path,
    expected: dict[str, Any],
):
    bucket = unique_name("archive")
    moto("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    lines = as_lines(sample)
    for number in range(4):
        body = gzip.compress(b"\n".join(lines[number::4]))
        moto("s3").put_object(Bucket=bucket, Key=f"raw/2019/10/01/{number:02d}/a", Body=body)
    moto("s3").put_object(Bucket=bucket, Key="other/a", Body=b"{}")

    done = kinewax.run("insights", f"s3://{bucket}/raw/", "--json", "--endpoint-url", moto.endpoint)

    assert done.returncode == 0, done.stderr
    found = {one["name"]: one["rows"] for one in json.loads(done.stdout)["insights"]}
    assert answers_of(found) == expected


def test_tables_are_printed_for_people(sample: Path, capsys: pytest.CaptureFixture[str]):
    assert run_command(["insights", str(sample)]) == 0

    printed = capsys.readouterr().out
    assert "4,999 records of ecommerce_raw in 1 file" in printed
    assert "Carts that nobody paid for" in printed
    assert "electronics.smartphone" in printed


def test_a_narrow_terminal_costs_no_digit(
    sample: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "40")
    assert run_command(["insights", str(sample)]) == 0

    printed = capsys.readouterr().out
    assert "…" not in printed
    (day,) = rows_by_name(answer(sample, "here"))["daily_visitors"]
    assert f"{day['visitors']:,}" in printed
    assert f"{day['events']:,}" in printed


def test_a_page_is_written_where_it_is_asked_for(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    page = tmp_path / "page.html"

    assert run_command(["insights", str(sample), "--html", str(page)]) == 0
    assert "<svg" in page.read_text()
    assert capsys.readouterr().out == f"wrote {page}\n"

    assert run_command(["insights", str(sample), "--html", str(tmp_path / "no" / "page")]) == 2
    assert "can't write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("nowhere", 3, "there is nothing at nowhere"),
        ("empty", 3, "holds neither rows of aggregates nor events"),
        ("http://example", 2, "can't be read"),
        ("s3://", 2, "names no bucket"),
    ],
)
def test_a_place_with_nothing_in_it_is_one_line_and_a_hint(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    code: int,
    words: str,
):
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()

    assert run_command(["insights", place]) == code
    told = capsys.readouterr().err
    assert words in told
    assert "hint: " in told
    assert len(told.splitlines()) == 2


def test_a_missing_bucket_is_one_line_and_a_hint(
    moto: Clients, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_REGION", REGION)

    code = run_command(["insights", "s3://no-such-bucket/x", "--endpoint-url", moto.endpoint])

    assert code == 3
    assert "s3://no-such-bucket/x does not exist" in capsys.readouterr().err
