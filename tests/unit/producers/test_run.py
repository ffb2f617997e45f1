"""A whole run: options, clocks, destinations, truth."""

import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from errors import DeliveryError, MissingResourceError, SettingsError
from producers.run import ProduceOptions, produce

NOW_US = 1_790_000_003_000_000


class FakeClock:
    """Time moves when somebody waits, and after `ends_us` somebody has asked to stop."""

    def __init__(self, ends_us: int | None = None) -> None:
        self.us = NOW_US
        self.ends_us = ends_us

    def now_us(self) -> int:
        return self.us

    def sleep(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)

    def stopped(self) -> bool:
        return self.ends_us is not None and self.us >= self.ends_us


class FakeStream:
    """Takes all it is given; a call takes 7 ms of the clock."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock
        self.records: list[tuple[bytes, str, int]] = []

    def put_records(self, *, StreamName, Records):
        if self.clock:
            self.clock.us += 7_000
        at = self.clock.us if self.clock else 0
        self.records += [(entry["Data"], entry["PartitionKey"], at) for entry in Records]
        return {"FailedRecordCount": 0, "Records": [{} for _ in Records]}


def no_client():
    pytest.fail("a file needs no client")


def run(options: ProduceOptions, clock=None, stream=None):
    return produce(
        options,
        kinesis_client_factory=(lambda: stream) if stream else no_client,
        clock=clock or FakeClock(),
        out=lambda progress: None,
    )


def test_a_file_holds_the_events_and_the_truth_file_what_there_is_to_find(tmp_path):
    to, truth = tmp_path / "deep" / "x.jsonl", tmp_path / "truth.json"
    report = run(
        ProduceOptions(
            "ecommerce",
            f"file://{to}",
            events=5_000,
            rate=100,
            seed=4,
            attackers=6,
            disorder=timedelta(seconds=5),
            truth=truth,
        )
    )
    lines = to.read_bytes().splitlines()
    assert (report.records, report.events, len(lines)) == (5_000, 5_000, 5_000)
    counts = Counter()
    for line in lines:
        event = json.loads(line)
        counts[event["user_id"], event["txn_timestamp"][:18]] += 1
    found = {(int(user), start + "0Z", n) for (user, start), n in counts.items() if n > 5}
    written = json.loads(truth.read_bytes())
    assert {(p["user_id"], p["window_start"], p["count"]) for p in written["incidents"]} == found
    assert len(found) == 6
    assert written["seed"] == 4


def test_the_same_seed_gives_the_same_file_and_a_gzipped_one_too(tmp_path):
    for name in ("1/x.jsonl", "2/x.jsonl", "1/x.jsonl.gz", "2/x.jsonl.gz"):
        run(ProduceOptions("ecommerce", f"file://{tmp_path / name}", events=500, seed=1))
    plain, again, packed, packed_again = (
        (tmp_path / name).read_bytes()
        for name in ("1/x.jsonl", "2/x.jsonl", "1/x.jsonl.gz", "2/x.jsonl.gz")
    )
    assert plain == again == gzip.decompress(packed)
    assert packed == packed_again


def test_a_seed_is_drawn_and_named_so_that_a_run_can_be_repeated(tmp_path):
    first = run(ProduceOptions("ecommerce", f"file://{tmp_path}/a.jsonl", events=100))
    again = run(
        ProduceOptions("ecommerce", f"file://{tmp_path}/b.jsonl", events=100, seed=first.seed)
    )
    assert again.seed == first.seed
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_live_event_is_stamped_with_the_moment_it_is_due_and_sent_within_a_tick():
    clock = FakeClock()
    stream = FakeStream(clock)
    report = run(ProduceOptions("ecommerce", "kinesis://s", rate=100, seconds=12), clock, stream)
    assert report.live
    assert report.events == 1_200
    for payload, _, sent_us in stream.records:
        moment = datetime.fromisoformat(json.loads(payload)["txn_timestamp"]).replace(tzinfo=UTC)
        waited = sent_us - round(moment.timestamp() * 1e6)
        assert 0 <= waited <= 60_000
    assert clock.us - NOW_US == pytest.approx(12_000_000, abs=200_000)


def test_the_truth_says_when_the_sixth_event_of_an_attack_was_written():
    clock = FakeClock()
    stream = FakeStream(clock)
    options = ProduceOptions(
        "ecommerce",
        "kinesis://s",
        rate=100,
        seconds=40,
        attackers=4,
        disorder=timedelta(seconds=2),
        malformed_share=0.05,
    )
    report = run(options, clock, stream)
    assert len(report.incidents) == 4
    for planted in report.incidents:
        written = [
            at for payload, _, at in stream.records if f'"{planted.user_id}"' in str(payload)
        ]
        assert len(written) == planted.count
        assert planted.sixth_written_us == sorted(written)[5]
        assert planted.sixth_sent_us == planted.sixth_written_us - 7_000


def test_a_live_run_without_an_end_is_stopped_and_tells_what_it_sent():
    clock = FakeClock(ends_us=NOW_US + 5_000_000)
    stream = FakeStream(clock)
    report = run(ProduceOptions("ecommerce", "kinesis://s", rate=50), clock, stream)
    assert report.stopped
    assert report.records == len(stream.records)
    assert report.events == pytest.approx(250, abs=5)


def test_a_run_that_is_stopped_before_an_attack_claims_no_incident():
    clock = FakeClock(ends_us=NOW_US + 3_000_000)
    options = ProduceOptions("ecommerce", "kinesis://s", rate=50, seconds=60, attackers=5)
    assert run(options, clock, FakeStream(clock)).incidents == []


def test_aggregated_records_are_fewer_and_the_report_counts_what_was_given():
    plain, packed = FakeStream(), FakeStream()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    options = {"events": 5_000, "rate": 500, "seed": 2, "start": start}
    run(ProduceOptions("ecommerce", "kinesis://s", **options), stream=plain)
    report = run(ProduceOptions("ecommerce", "kinesis://s", kpl=True, **options), stream=packed)
    assert len(plain.records) == report.records == 5_000
    assert len(packed.records) < 1_000


def test_a_csv_goes_to_a_stream_on_the_simulated_clock_at_full_speed(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("category_id,user_id\n" + "".join(f"{n},{n}\n" for n in range(1_000)))
    clock, stream = FakeClock(), FakeStream()
    options = ProduceOptions(
        "ecommerce", "kinesis://s", from_csv=table, start=datetime(2026, 1, 1, tzinfo=UTC)
    )
    report = run(options, clock, stream)
    assert report.events == 1_000
    assert clock.us == NOW_US
    stamps = [json.loads(payload)["txn_timestamp"] for payload, _, _ in stream.records]
    assert stamps[:3] == [
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.250000",
        "2026-01-01T00:00:00.500000",
    ]
    assert stamps[-1] == "2026-01-01T00:04:09.750000"


def test_a_live_csv_is_paced_at_four_rows_a_second(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("category_id,user_id\n" + "".join(f"{n},{n}\n" for n in range(20)))
    clock = FakeClock()
    report = run(
        ProduceOptions("ecommerce", "kinesis://s", from_csv=table), clock, FakeStream(clock)
    )
    assert report.events == 20
    assert clock.us - NOW_US == pytest.approx(4_750_000, abs=60_000)


def test_every_wrong_option_is_named_at_once():
    with pytest.raises(SettingsError) as caught:
        run(
            ProduceOptions(
                "weather",
                "s3://bucket",
                events=-1,
                rate=0,
                malformed_share=2,
                attackers=-3,
                kpl=True,
                pretty=True,
            )
        )
    text = "\n".join(caught.value.problems)
    for flag in ("DOMAIN", "--to", "--events", "--rate", "--malformed-share", "--attackers"):
        assert flag in text
    assert "--kpl" in text
    assert "--pretty" in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("to", ["kinesis://", "file://", "file:///", "x.jsonl", ""])
def test_a_destination_without_a_name_is_refused(to):
    with pytest.raises(SettingsError, match="--to"):
        run(ProduceOptions("ecommerce", to))


def test_a_csv_takes_no_attackers(tmp_path):
    options = ProduceOptions(
        "ecommerce", f"file://{tmp_path}/x", from_csv=tmp_path / "t.csv", attackers=3
    )
    with pytest.raises(SettingsError, match="--attackers"):
        run(options)


def test_a_missing_csv_leaves_no_file_behind(tmp_path):
    options = ProduceOptions(
        "ecommerce", f"file://{tmp_path}/x.jsonl", from_csv=tmp_path / "none.csv"
    )
    with pytest.raises(MissingResourceError, match=r"none\.csv"):
        run(options)
    assert not (tmp_path / "x.jsonl").exists()


def test_a_file_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(SettingsError, match="can't write"):
        run(ProduceOptions("ecommerce", f"file://{tmp_path}/x/y.jsonl", events=10))


def test_an_error_of_the_stream_is_raised_and_no_truth_is_claimed(tmp_path):
    class Broken:
        def put_records(self, *, StreamName, Records):
            msg = "the stream is gone"
            raise DeliveryError(msg)

    options = ProduceOptions("ecommerce", "kinesis://s", seconds=5, truth=tmp_path / "truth.json")
    with pytest.raises(DeliveryError):
        run(options, stream=Broken())
    assert not (tmp_path / "truth.json").exists()


def test_a_high_rate_has_as_many_users_as_it_needs_and_too_few_leave_no_file(tmp_path):
    options = {"events": 20_000, "rate": 20_000, "seed": 1}
    run(ProduceOptions("ecommerce", f"file://{tmp_path}/x.jsonl", **options))
    with pytest.raises(SettingsError, match="too few"):
        run(ProduceOptions("ecommerce", f"file://{tmp_path}/y.jsonl", users=100, **options))
    assert not (tmp_path / "y.jsonl").exists()
