"""What a comparison of two runs' outputs says, from lines as sinks write them."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from errors import KinewaxError, MissingResourceError
from service.archives import Replay, moment_us
from service.aws import Aws
from service.comparison import Comparison, compare
from service.job import Job
from service.outputs import Outputs
from service.settings import Settings
from tests.rig import event

SETTINGS = Settings()
NOON = "2026-11-22T12:"


def outputs(directory: Path) -> Outputs:
    return Outputs(directory.as_uri(), SETTINGS, Aws(SETTINGS.aws))


def compared(folder: Path, domain: str = "ecommerce", **replay: Any) -> Comparison:
    job = Job(domain, "s3://archive", SETTINGS, replay=Replay(**replay))
    return compare(job, outputs(folder / "live"), outputs(folder / "replay"))


def trade(minute: int, events: int, brand: str = "apple", **more: Any) -> dict[str, Any]:
    start = f"{NOON}{minute:02d}:00Z"
    return {
        "row_id": f"ecommerce/trade/event_type=view,category_code=,brand={brand}/{start}",
        "domain": "ecommerce", "aggregate": "trade",
        "window_start": start, "window_end": f"{NOON}{minute + 1:02d}:00Z",
        "events": events, "emitted_at": "2026-11-22T13:00:00Z", **more,
    }  # fmt: skip


def written(folder: Path, run: str, lines: list[dict[str, Any]], name: str = "x.jsonl") -> None:
    path = folder / run / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(line) for line in lines))


def test_when_rows_were_made_does_not_matter_and_of_one_id_the_last_counts(tmp_path: Path) -> None:
    again = "2026-11-22T13:00:00.5Z"
    written(tmp_path, "live", [trade(1, 7, emitted_at=again), trade(1, 6), trade(2, 3)])
    written(tmp_path, "replay", [trade(2, 3, emitted_at="2027-01-01T00:00:00Z"), trade(1, 7)])
    found = compared(tmp_path)
    assert (found.total.same, found.total.unexplained) == (2, 0)
    assert found.not_compared == {"incidents": "the live run's outputs hold none"}


def test_what_firehose_delivered_is_read_like_files(tmp_path: Path) -> None:
    lines = [{"kind": "aggregate", **trade(1, 7)}, {"kind": "dead_letter", "reason": "x"}]
    path = tmp_path / "live/2026/11/22/12/x.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    written(tmp_path, "replay", [trade(1, 7)])
    assert compared(tmp_path).total.same == 1
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(KinewaxError, match=r"x\.gz: the gzip data ends"):
        compared(tmp_path)


def test_each_kind_of_difference_is_counted_and_shown(tmp_path: Path) -> None:
    written(tmp_path, "live", [trade(minute, 1) for minute in (1, 2, 3)])
    written(tmp_path, "replay", [trade(1, 1), trade(2, 9), trade(2, 1, "lego"), trade(3, 1)])
    tally = compared(tmp_path).tallies["rows trade"]
    assert (tally.same, tally.different, tally.added, tally.missing) == (2, 1, 1, 0)
    written(tmp_path, "replay", [trade(1, 1), trade(2, 9)])
    found = compared(tmp_path)
    assert (found.total.different, found.total.missing) == (1, 1)
    (changed,) = (one for one in found.examples if "replay" in one)
    assert (changed["live"]["events"], changed["replay"]["events"]) == (1, 9)
    assert any("1 differ, 1 only live, 0 only in the replay" in line for line in found.lines())


def late(minute: int, brand: str) -> dict[str, Any]:
    time = f"{NOON}{minute:02d}:30"
    fields = event(1, datetime.fromisoformat(time))
    return {
        "domain": "ecommerce", "aggregate": "trade", "window_start": f"{NOON}{minute:02d}:00Z",
        "event_time": f"{time}Z", "shard": "a", "sequence_number": "1",
        "event": json.dumps({**fields, "category_code": "", "brand": brand}),
    }  # fmt: skip


def test_a_late_event_accounts_for_its_own_row_only(tmp_path: Path) -> None:
    written(tmp_path, "live", [trade(1, 1), trade(1, 1, "lego"), trade(5, 1), late(1, "lego")])
    written(tmp_path, "replay", [trade(1, 2), trade(1, 2, "lego"), trade(5, 1)])
    found = compared(tmp_path)
    assert (found.total.late, found.total.different) == (1, 1)
    assert found.late_events == {"trade": 1}
    written(tmp_path, "replay", [trade(1, 2), trade(1, 2, "lego"), trade(5, 1), late(5, "apple")])
    assert any("the replay missed late events, too" in line for line in compared(tmp_path).lines())


def test_late_events_of_which_only_the_ledger_tells_are_named(tmp_path: Path) -> None:
    written(tmp_path, "live", [trade(1, 1), trade(1, 1, "lego"), late(1, "lego")])
    ledger = {"late.trade": 1, "late_after_idle.trade": 2, "late.user_actions": 0}
    written(tmp_path, "live", [{"ledger": ledger}], "summary.json")
    written(tmp_path, "replay", [trade(1, 3), trade(1, 2, "lego")])
    found = compared(tmp_path)
    assert (found.total.late, found.total.different) == (1, 1)
    assert found.late_without_lines == {"late_after_idle.trade": 2}
    assert any("kept no lines to tell theirs by (2 of late" in line for line in found.lines())


JOINED = """
from dataflows.domain import Domain
from operators.derived import Difference
from operators.reference_spec import Reference
from operators.spec import Field, Window
from operators.value_spec import Count

EVENTS = (Count("events"),)
DOMAIN = Domain(
    name="joined",
    summary="Keys that are made, and keys that a table gives.",
    fields=(Field("user_id", "integer"), Field("product_id", "integer")),
    derived=(Difference("apart", "product_id", "user_id"),),
    references=(Reference("users", "user_id", (Field("team", "text"),)),),
    times=("txn_timestamp",),
    windows=(Window("teams", 60, ("team",), EVENTS), Window("gaps", 60, ("apart",), EVENTS)),
    rules=(),
)
"""


def test_late_events_account_for_keys_that_are_made_and_for_windows_of_keys_from_a_table(
    tmp_path: Path,
) -> None:
    domain = tmp_path / "joined.py"
    domain.write_text(JOINED)

    def row(name: str, minute: int, key: str, events: int) -> dict[str, Any]:
        start = f"{NOON}{minute:02d}:00Z"
        return {
            **trade(minute, events),
            "aggregate": name,
            "row_id": f"joined/{name}/{key}/{start}",
        }

    rows = [("teams", 1, "team=a"), ("teams", 2, "team=a"), ("gaps", 1, "apart=6")]
    lates = [{**late(1, "apple"), "aggregate": name} for name in ("teams", "gaps")]
    for one in lates:  # of user 1
        one["event"] = json.dumps({**json.loads(one["event"]), "product_id": "7"})
    written(tmp_path, "live", [*(row(*which, 1) for which in rows), *lates])
    written(tmp_path, "replay", [row(*which, 2) for which in rows])
    found = compared(tmp_path, str(domain))
    assert (found.tallies["rows teams"].late, found.tallies["rows teams"].different) == (1, 1)
    assert (found.tallies["rows gaps"].late, found.tallies["rows gaps"].different) == (1, 0)


def test_windows_that_the_live_run_had_in_part_or_not_are_beyond(tmp_path: Path) -> None:
    written(tmp_path, "live", [trade(3, 1, partial=True), trade(4, 5), trade(5, 5)])
    rows = [trade(2, 9), trade(3, 9), trade(4, 5), trade(5, 5), trade(6, 1)]
    written(tmp_path, "replay", rows)
    found = compared(tmp_path)
    assert (found.total.same, found.total.beyond, found.total.unexplained) == (2, 3, 0)


def test_of_a_range_only_windows_wholly_inside_are_compared(tmp_path: Path) -> None:
    written(tmp_path, "live", [trade(minute, 5) for minute in range(9)])
    written(tmp_path, "replay", [trade(minute, 5) for minute in (3, 4)])
    found = compared(
        tmp_path, from_us=moment_us(f"{NOON}02:30"), to_us=moment_us(f"{NOON}05:00")
    )  # fmt: skip
    assert (found.total.same, found.total.unexplained) == (2, 0)
    assert compared(tmp_path).total.missing == 7


def test_interim_rows_and_early_incidents_are_left_out(tmp_path: Path) -> None:
    incident = {
        "id": "ecommerce/high_volume/user_id=7/x", "rule": "high_volume", "value": 6,
        "window_start": f"{NOON}01:00Z", "window_end": f"{NOON}01:10Z",
        "phase": "open", "detected_at": f"{NOON}01:05Z",
    }  # fmt: skip
    final = {**incident, "value": 9, "phase": "final"}
    written(tmp_path, "live", [trade(1, 3, phase="interim"), trade(1, 5)])
    written(tmp_path, "live", [incident, final], "alerts.jsonl")
    written(tmp_path, "replay", [trade(1, 5), final])
    found = compared(tmp_path)
    assert (found.total.same, found.total.unexplained) == (2, 0)


def site(minute: int, score: float) -> dict[str, Any]:
    start = f"{NOON}{minute:02d}:00Z"
    return {
        "row_id": f"access_logs/unusual_traffic/{start}", "domain": "access_logs",
        "aggregate": "unusual_traffic", "window_start": start,
        "window_end": f"{NOON}{minute:02d}:10Z", "score": score,
    }  # fmt: skip


def test_a_detector_is_compared_if_both_runs_began_alike(tmp_path: Path) -> None:
    written(tmp_path, "live", [site(1, 0.5), site(2, 0.7)])
    written(tmp_path, "replay", [site(1, 0.5), site(2, 0.8)])
    found = compared(tmp_path, "access_logs")
    assert (found.total.same, found.total.different) == (1, 1)
    written(tmp_path, "replay", [site(2, 0.8)])
    found = compared(tmp_path, "access_logs")
    assert found.total.unexplained == found.total.same == 0
    assert "began elsewhere" in found.not_compared["unusual_traffic"]
    written(tmp_path, "replay", [site(1, 0.5), site(2, 0.8)])
    found = compared(tmp_path, "access_logs", from_us=moment_us("2026-11-22"))
    assert "unusual_traffic" in found.not_compared


def test_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResourceError, match="no file or directory"):
        outputs(tmp_path / "nowhere")
