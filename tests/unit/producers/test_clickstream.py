"""Clicks from a template, and the bursts among them: what the truth file says is so."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from errors import SettingsError
from producers.clickstream import FEWEST_EVENTS, HONEST_MOST, MOST_EVENTS
from producers.clock import SystemClock
from producers.options import ProduceOptions
from producers.run import ProduceReport, produce
from producers.templates import FOLDER
from tests.golden.output import no_client

TIMED = FOLDER / "clickstream_timed.json"
START = datetime(2026, 1, 5, tzinfo=UTC)


def run(path: Path, domain: str = "clickstream", **more: Any) -> ProduceReport:
    options = {"events": 10_000, "rate": 200, "start": START, "seed": 5, "template": TIMED}
    return produce(
        ProduceOptions(domain=domain, to=f"file://{path}", **(options | more)),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def window_of(event: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(event["timestamp"]).timestamp()) // 10 * 10_000_000


def test_bursts_are_what_the_truth_says_and_nobody_else_comes_near(tmp_path: Path):
    report = run(tmp_path / "clicks", attackers=6, disorder=timedelta(seconds=3))

    events = events_of(tmp_path / "clicks")
    counts = Counter((event["customerId"], window_of(event)) for event in events)
    planted = {(one.customer_id, one.window_start_us): one.count for one in report.incidents}
    assert report.events == len(events) == 10_000
    assert len(planted) == 6
    assert all(FEWEST_EVENTS <= count <= MOST_EVENTS for count in planted.values())
    assert planted == {key: counts[key] for key in planted}
    assert all(n <= HONEST_MOST for key, n in counts.items() if key not in planted)
    assert all(one.raising_written_us >= one.raising_sent_us > 0 for one in report.incidents)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        run(tmp_path / name, seed=seed, attackers=2, malformed_share=0.01)

    one, two, three = ((tmp_path / name).read_bytes() for name in ("one", "two", "three"))
    assert one == two
    assert one != three


def test_late_events_and_no_others_come_beyond_the_disorder_and_a_window(tmp_path: Path):
    report = run(tmp_path / "clicks", disorder=timedelta(seconds=2), late_share=0.02)

    maximum, behind = "", 0
    for event in events_of(tmp_path / "clicks"):
        maximum = max(maximum, event["timestamp"])
        moments = map(datetime.fromisoformat, (maximum, event["timestamp"]))
        behind += next(moments) - next(moments) > timedelta(seconds=2)
    assert 100 < report.late < 300
    # The last ones have nobody before them who would say how late they are.
    assert 0 <= report.late - behind < 10


def test_without_a_template_events_are_as_the_original_ones_were(tmp_path: Path):
    run(tmp_path / "clicks", template=None, events=100)

    assert all("timestamp" not in event for event in events_of(tmp_path / "clicks"))


def test_a_template_makes_events_for_any_domain(tmp_path: Path):
    (template := tmp_path / "my.json").write_text(
        '{"id": {{random.number(9)}}, "t": "{{date.now}}"}'
    )

    report = run(tmp_path / "events", domain="mine", template=template, events=50)

    assert report.events == 50
    assert [event.keys() for event in events_of(tmp_path / "events")] == [{"id", "t"}] * 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"customerId": "{{random.number(3)}}"}', "too few different customerId"),
        ('{"customer": "{{random.number(500)}}"}', "has no customerId"),
        ("[1]", "has no customerId"),
        ("{{random.word}}", "isn't JSON"),
    ],
)
def test_a_template_that_clicks_can_not_be_made_from_is_refused(
    tmp_path: Path, text: str, said: str
):
    (template := tmp_path / "my.json").write_text(text)

    with pytest.raises(SettingsError, match=said):
        run(tmp_path / "clicks", template=template)


@pytest.mark.parametrize(
    ("domain", "more", "said"),
    [
        ("mine", {"template": None}, "others need a --template"),
        ("ecommerce", {"attackers": 1}, "only for clickstream"),
        ("ecommerce", {"malformed_share": 0.1}, "only for clickstream"),
        ("ecommerce", {"from_csv": Path("x.csv")}, "only one of them"),
        ("clickstream", {"attackers": 500}, "ask for more events or fewer attackers|make"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, domain: str, more: dict[str, Any], said: str
):
    with pytest.raises(SettingsError, match=said):
        run(tmp_path / "clicks", domain=domain, **more)
