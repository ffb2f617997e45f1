"""How the demo judges and shows what it found: without any server."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from dataflows.registry import find_domain
from errors import SettingsError
from producers.demo_plans import PLANS, Plan
from service.demo import MARKER, Moment, _own_directory
from service.outside import Notice, SeenRow, Vitals, parse_vitals
from service.panel import PlainView, draw, summarise
from service.verdict import Verdict, compare, gathered, judge, percentile

START = 1_767_225_600

GOOD = Verdict(
    planted=2,
    found=2,
    missing=[],
    unexpected=[],
    wrong=[],
    balanced=True,
    unbalanced=[],
    ledger={"events": 100, "rejected.empty": 1, "rejected.not_json": 2},
    produced=100,
    malformed=3,
    unread=0,
    latency_p50_ms=300.0,
    latency_p99_ms=500.0,
    latency_worst_ms=500.0,
    notices=2,
    notices_due=2,
    notice=Notice("Possible DDoS detected", {"key": {"user_id": 7}}),
    rows_in_bucket={"aggregates": 12},
    replayed_same=14,
    replayed_otherwise=0,
    seconds=30.0,
    out="/tmp/somewhere",
)


def row(who: int, value: int, phase: str = "final", window: int = START) -> SeenRow:
    return SeenRow(str(who), window, value, phase, "high", START * 1_000_000)


def judged(planted: dict[int, int], rows: list[SeenRow]):
    return compare(
        {(str(user), START): {"count": count} for user, count in planted.items()},
        {one.key: one for one in rows},
        who="user",
    )


def test_all_found_with_the_right_counts_is_right():
    assert judged({1: 12, 2: 30}, [row(1, 12), row(2, 30)]) == ([], [], [])


def test_an_attack_without_a_row_is_missing():
    missing, unexpected, wrong = judged({1: 12, 2: 30}, [row(1, 12)])
    assert missing == ["user 2 in the window of 00:00:00"]
    assert not unexpected
    assert not wrong


def test_a_row_of_an_honest_user_or_of_another_window_is_unexpected():
    _, unexpected, _ = judged({1: 12}, [row(1, 12), row(9, 6), row(1, 12, window=START + 10)])
    assert len(unexpected) == 2


def test_another_count_or_no_last_word_is_wrong():
    _, _, wrong = judged({1: 12, 2: 30}, [row(1, 11), row(2, 30, "raised")])
    assert len(wrong) == 2


LASTING = Plan("flood", ("client",), "client", "requests", 1, 10, lasts=True)


def test_the_windows_of_an_attack_that_lasts_are_one_and_others_are_not():
    planted = {("9", START + 4): {"start_us": (START + 4) * 10**6, "end_us": (START + 21) * 10**6}}
    rows = [row(9, 100, window=START + second) for second in (0, 10, 20, 30)]

    found = gathered([*rows, row(8, 60)], planted, LASTING)

    assert {key: one.value for key, one in found.items()} == {
        ("9", START + 4): 300,
        ("9", START + 30): 100,
        ("8", START): 60,
    }


def test_an_attack_that_lasts_is_final_when_all_its_windows_are():
    planted = {("9", START): {"start_us": START * 10**6, "end_us": (START + 20) * 10**6}}
    for phases in (("final", "open"), ("open", "final")):
        rows = [row(9, 100, phase, START + 10 * nth) for nth, phase in enumerate(phases)]
        (found,) = gathered(rows, planted, LASTING).values()
        assert found.phase == "open"


def test_what_the_ends_of_an_attack_may_hide_is_not_wrong():
    planted, rows = {("9", START): {"count": 300}}, {("9", START): row(9, 250)}

    assert compare(planted, rows, who="client", unseen=50)[2] == []
    assert len(compare(planted, rows, who="client", unseen=49)[2]) == 1
    assert len(compare(planted, {("9", START): row(9, 301)}, who="client", unseen=50)[2]) == 1


def test_only_a_flawless_demo_is_ok():
    assert GOOD.ok
    for flaw in (
        {"missing": ["x"]},
        {"unexpected": ["x"]},
        {"wrong": ["x"]},
        {"balanced": False},
        {"unread": 1},
        {"planted": 0, "found": 0},
    ):
        assert not replace(GOOD, **flaw).ok


def test_records_that_were_sent_and_not_read_are_told(tmp_path):
    sent = [
        {"records": 6, "events": 5, "malformed": {"empty": 1}},
        {"records": 4, "events": 4, "malformed": {}},
    ]
    plan = PLANS["ecommerce"]
    for read, unread in ((10, 0), (9, 1)):
        report = judge(
            {},
            {},
            next(rule for rule in find_domain("ecommerce").rules if rule.name == plan.rule),
            plan,
            summary={"balanced": True, "identities": [], "ledger": {"records": read}},
            sent=sent,
            notices={},
            rows_in_bucket={},
            replayed={"same": 0, "different": 0, "missing": 0, "added": 0},
            seconds=1.0,
            out=tmp_path,
        )
        assert (report.produced, report.malformed, report.unread) == (9, 1, unread)


def test_a_percentile_is_a_value_that_was_measured():
    values = [float(n) for n in range(1, 201)]
    assert percentile(values, 50) == 100.0
    assert percentile(values, 99) == 198.0
    assert percentile([5.0], 99) == 5.0
    assert percentile([], 99) is None


def test_an_older_demo_is_replaced_and_other_directories_are_left_alone(tmp_path):
    made = _own_directory(tmp_path / "out" / "demo")
    (made / "alerts.jsonl").touch()
    assert _own_directory(made) == made
    assert not (made / "alerts.jsonl").exists()
    assert (made / MARKER).exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").touch()
    with pytest.raises(SettingsError, match="not an older demo"):
        _own_directory(precious)
    assert (precious / "thesis.txt").exists()


def test_metrics_are_summed_over_windows_and_the_slowest_counts():
    vitals = parse_vitals(
        "# TYPE kinewax_events_total counter\n"
        'kinewax_events_total{domain="ecommerce"} 1200\n'
        "# TYPE kinewax_rejected_records_total counter\n"
        'kinewax_rejected_records_total{domain="ecommerce",reason="empty"} 2\n'
        'kinewax_rejected_records_total{domain="ecommerce",reason="not_json"} 3\n'
        "# TYPE kinewax_dropped_events_total counter\n"
        'kinewax_dropped_events_total{stage="decode",intentional="true",reason="canary"} 4\n'
        "# TYPE kinewax_watermark_lag_seconds gauge\n"
        'kinewax_watermark_lag_seconds{domain="ecommerce"} 2.5\n'
        "# TYPE kinewax_kinesis_behind_latest_seconds gauge\n"
        'kinewax_kinesis_behind_latest_seconds{shard="b",stream="s"} 1.5\n'
        'kinewax_kinesis_behind_latest_seconds{shard="a",stream="s"} 0\n'
        "# TYPE kinewax_windows_open gauge\n"
        'kinewax_windows_open{domain="ecommerce",window="user_actions"} 64\n'
    )
    assert vitals == Vitals(
        events=1200,
        rejected=5,
        dropped=4,
        watermark_lag_seconds=2.5,
        behind_seconds={"a": 0.0, "b": 1.5},
        windows_open={"user_actions": 64},
    )
    assert vitals.taken == 1200 + 5 + 4


MOMENT = Moment(
    elapsed_seconds=7,
    events_per_second=498,
    vitals=Vitals(3_500, 7, 0, 2.5, {"shardId-000000000000": 0.2}, {"user_actions": 64}),
    open_windows={"user_actions": 2},
    rows=[row(7, 6, "open")],
    notices=1,
    plan=PLANS["ecommerce"],
)


def text_of(thing) -> str:
    console = Console(file=io.StringIO(), width=110)
    console.print(thing)
    return console.file.getvalue()


def test_the_panel_shows_rate_watermark_lag_windows_and_alerts():
    shown = text_of(draw(MOMENT, "producing"))
    for part in ("498", "2.5 s behind", "shardId-000000000000", "2 user_actions", "user 7: 6"):
        assert part in shown


def test_a_panel_before_anything_is_known_is_drawn_too():
    empty = Moment(0, 0, Vitals(), {}, [], 0, PLANS["ecommerce"])
    assert "none yet" in text_of(draw(empty, "starting"))


def test_plain_lines_tell_each_phase_of_an_alert_once():
    console = Console(file=io.StringIO(), width=200)
    view = PlainView(console)
    view.show(MOMENT)
    view.show(MOMENT)
    view.show(replace(MOMENT, rows=[row(7, 14, "final")]))
    lines = [line for line in console.file.getvalue().splitlines() if "alert " in line]
    assert [line.split()[1] for line in lines] == ["open", "final"]


def test_the_summary_names_what_is_wrong():
    console = Console(file=io.StringIO(), width=200)
    bad = replace(GOOD, found=1, missing=["user 2"], balanced=False, unbalanced=["a = b"], unread=2)
    summarise(bad, console)
    text = console.file.getvalue()
    assert "FAIL 1 of 2 planted attacks found: user 2" in text
    assert "does not balance" in text
    assert "FAIL 2 of the records that were sent were not read" in text
    assert "a = b" in text


def test_the_summary_shows_latency_rows_and_a_notice():
    console = Console(file=io.StringIO(), width=200)
    summarise(GOOD, console)
    text = console.file.getvalue()
    assert "FAIL" not in text
    assert "p50 300 ms, p99 500 ms" in text
    assert "12 in aggregates" in text
    assert "Subject: Possible DDoS detected" in text
    assert "/tmp/somewhere" in text
