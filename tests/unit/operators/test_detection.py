"""A detector at work: windows scored in order, once all groups have closed them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from messages import AggregateRows, Alert, Closed, Summary
from operators.detection import MAXIMUM_GAP_WINDOWS, Detection, DetectorOutput
from operators.feature_spec import Evidence, Keys, Share, StreamForest, Total
from operators.filter_spec import Where
from operators.spec import Level, Window
from operators.value_spec import Count

SECOND = 1_000_000
LENGTH_US = 10 * SECOND
WINDOW = Window(
    "clients", 10, ("client",), (Count("requests"), Count("errors", where=Where("class", "5xx")))
)
SPEC = StreamForest(
    name="unusual",
    features=(
        Total("rate", "clients", "requests"),
        Share("errors", "clients", "errors", of="requests"),
        Keys("clients", "clients"),
    ),
    levels=(Level("warning", above=0.98), Level("high", above=0.999, notify=True)),
    evidence=(Evidence("top_clients", "clients", top=2),),
    number_of_trees=30,
    sub_sample_size=32,
    warm_up=200,
    quiet_seconds=100,
)
GROUPS = ("clients/0", "clients/1")


def detection(state: bytes | None = None, spec: StreamForest = SPEC, **options: Any) -> Detection:
    options = {"clock": lambda: 0, "started_at_us": None, **options}
    return Detection(spec, "logs", {"clients": WINDOW}, GROUPS, state=state, **options)


def summary(number: int, group: str, requests: int, errors: int, keys: int) -> Summary:
    return Summary(
        rule="unusual",
        window="clients",
        group=group,
        start_us=number * LENGTH_US,
        totals={"requests": requests, "errors": errors},
        keys=keys,
        new_keys={},
        weights={},
        top=((requests, 1 if group == GROUPS[0] else 2, (f"client of {group}",)),),
    )


def traffic(windows: int, flood: int | None = None, seed: int = 1) -> list[list[Summary]]:
    """Return the summaries of each window, of both groups; a flood lasts for three windows."""
    rng = random.Random(seed)
    found = []
    for number in range(windows):
        factor = 20 if flood is not None and flood <= number < flood + 3 else 1
        found.append(
            [
                summary(
                    number, group, factor * rng.randint(90, 110), rng.randint(0, 3), factor * 50
                )
                for group in GROUPS
            ]
        )
    return found


def closed(number: int) -> list[Closed]:
    """Tell that both groups have closed the window of this number."""
    return [Closed("unusual", group, (number + 1) * LENGTH_US) for group in GROUPS]


def run(one: Detection, windows: list[list[Summary]], first: int = 0) -> list[DetectorOutput]:
    found: list[DetectorOutput] = []
    for number, summaries in enumerate(windows, first):
        found += one.take([*summaries, *closed(number)])
    return found


def rows_of(found: list[DetectorOutput]) -> list[dict[str, Any]]:
    return [row for item in found if isinstance(item, AggregateRows) for row in item.rows]


def alerts_of(found: list[DetectorOutput]) -> list[Alert]:
    return [item for item in found if isinstance(item, Alert)]


def test_a_window_is_scored_once_all_groups_have_closed_it() -> None:
    one = detection()
    (window,) = traffic(1)
    assert rows_of(one.take([*window, closed(0)[0]])) == []
    (row,) = rows_of(one.take([closed(0)[1]]))
    requests = sum(part.totals["requests"] for part in window)
    assert row["rate"] == requests / 10
    assert row["clients"] == 100
    assert row["errors"] == pytest.approx(
        sum(part.totals["errors"] for part in window) / requests, abs=1e-6
    )
    assert row["row_id"] == "logs/unusual/1970-01-01T00:00:00Z"


def test_levels_of_the_score_find_a_flood_before_there_are_grades() -> None:
    windows = traffic(100, flood=90)
    by_score = replace(SPEC, levels=(Level("high", above=2.5),), levels_of="score")
    (alert,) = alerts_of(run(detection(spec=by_score), windows))
    assert alert.window_start_us == 90 * LENGTH_US
    assert alert.value_name == "score"
    assert float(alert.value) > alert.threshold == 2.5
    assert alert.evidence["grade"] == 0, "it isn't warm yet"
    assert alerts_of(run(detection(), windows)) == []


def test_a_flood_is_one_incident_a_level_that_names_its_evidence() -> None:
    found = run(detection(), traffic(400, flood=390))
    alerts = alerts_of(found)
    flood = [alert for alert in alerts if alert.window_start_us >= 390 * LENGTH_US]
    assert len(flood) == 1
    (alert,) = flood
    assert (alert.rule, alert.severity, alert.phase) == ("unusual", "high", "final")
    assert alert.window_start_us == 390 * LENGTH_US
    assert float(alert.value) > 0.999
    evidence: Any = alert.evidence
    assert evidence["features"]["clients"] == 2000
    parts = evidence["attribution"]
    attribution = {name: part["ATTRIBUTION_SCORE"] for name, part in parts.items()}
    assert sum(attribution.values()) == pytest.approx(evidence["score"], abs=1e-5)
    assert attribution["errors"] == min(attribution.values())
    assert parts["rate"]["DIRECTION"] == "HIGH"
    assert len(evidence["top_clients"]) == 2
    assert evidence["top_clients"][0]["requests"] >= evidence["top_clients"][1]["requests"]


def with_factors(factors: dict[int, float], windows: int = 130) -> list[list[Summary]]:
    """Return traffic in which some windows have so many times the usual requests."""
    found = traffic(windows)
    for number, factor in factors.items():
        found[number] = [
            replace(part, totals={name: round(factor * n) for name, n in part.totals.items()})
            for part in found[number]
        ]
    return found


BY_SCORE = replace(
    SPEC,
    levels=(Level("warning", above=2), Level("high", above=3.3, notify=True)),
    levels_of="score",
)
"""Levels that two windows of chosen traffic reach for certain, without a long warm-up."""


MILD, STRONG = 1.2, 400
"""Times the usual requests: scores of about 2.5, and of 3.9 and more."""


def told(factors: dict[int, float]) -> list[tuple[int, str]]:
    """Return the incidents of traffic: number of the window, and severity."""
    alerts = alerts_of(run(detection(spec=BY_SCORE), with_factors(factors)))
    return [(alert.window_start_us // LENGTH_US, alert.severity) for alert in alerts]


def test_an_anomaly_that_grows_is_told_of_again_when_it_reaches_the_next_level() -> None:
    assert told({100: MILD, 101: MILD}) == [(100, "warning")]
    growing = {100: MILD, 101: STRONG, 102: STRONG}
    assert told(growing) == [(100, "warning"), (101, "high")]


def test_one_that_begins_at_the_highest_level_is_told_of_once() -> None:
    assert told({100: STRONG, 101: MILD, 102: STRONG}) == [(100, "high")]


@pytest.mark.parametrize(("again", "is_new"), [(109, False), (110, True), (125, True)])
def test_the_next_one_is_told_of_when_nothing_was_alarming_for_the_quiet_time(
    again: int, is_new: bool
) -> None:
    first = [(100, "high")]
    assert told({100: STRONG, again: 1000 * STRONG}) == first + [(again, "high")] * is_new


@pytest.mark.parametrize("gap", [3, MAXIMUM_GAP_WINDOWS, MAXIMUM_GAP_WINDOWS + 1])
def test_a_restart_amid_silent_windows_changes_nothing(gap: int) -> None:
    windows = with_factors({100: STRONG}, windows=106)
    behind = [
        [replace(part, start_us=part.start_us + gap * LENGTH_US) for part in parts]
        for parts in windows[103:]
    ]

    def rest(one: Detection) -> list[DetectorOutput]:
        found: list[DetectorOutput] = []
        for number, parts in enumerate(behind, 103 + gap):
            found += one.take([*parts, *closed(number)])
        return found

    plain = detection(spec=BY_SCORE)
    run(plain, windows[:103])
    cut = detection(plain.snapshot(), spec=BY_SCORE)
    assert rows_of(plain.take(closed(104))) == rows_of(cut.take(closed(104))) == []
    again = detection(cut.snapshot(), spec=BY_SCORE)
    found, expected = rest(again), rest(plain)
    assert found == expected
    assert len(rows_of(found)) == len(behind) + (gap if gap <= MAXIMUM_GAP_WINDOWS else 0)
    assert again.ledger == plain.ledger
    assert again.snapshot() == plain.snapshot()


def test_the_order_of_groups_and_the_size_of_batches_change_nothing() -> None:
    windows = traffic(300, flood=280)
    whole = rows_of(run(detection(), windows))
    rng = random.Random(7)
    one = detection()
    found: list[DetectorOutput] = []
    items: list[Summary | Closed] = []
    for number, parts in enumerate(windows):
        items += [*parts, *closed(number)]
    # Each group's own words stay in order; those of the two groups mix as they like.
    own = [[item for item in items if item.group == group] for group in GROUPS]
    while any(own):
        group = rng.choice([queue for queue in own if queue])
        batch = group[: rng.randint(1, 9)]
        del group[: len(batch)]
        found += one.take(batch)
    assert rows_of(found) == whole


def test_it_goes_on_from_its_snapshot_bit_for_bit() -> None:
    windows = traffic(300, flood=290)
    whole = run(detection(), windows)
    one = detection()
    first = run(one, windows[:291])
    one.take([windows[291][0]])  # waits in the snapshot
    again = detection(one.snapshot())
    second = again.take([windows[291][1], *closed(291)])
    second += run(again, windows[292:], first=292)
    assert rows_of(first + second) == rows_of(whole)
    assert alerts_of(first + second) == alerts_of(whole)


def test_a_window_in_which_nothing_happened_is_scored_too_but_no_long_silence() -> None:
    one = detection()
    windows = traffic(2)
    run(one, windows[:1])
    late = [replace(part, start_us=4 * LENGTH_US) for part in windows[1]]
    rows = rows_of(one.take([*late, *closed(4)]))
    assert [row["rate"] for row in rows[:-1]] == [0.0, 0.0, 0.0]
    assert len(rows) == 4
    far = 5 + MAXIMUM_GAP_WINDOWS + 1
    later = [replace(part, start_us=far * LENGTH_US) for part in windows[1]]
    assert len(rows_of(one.take([*later, *closed(far)]))) == 1


def test_a_window_that_the_start_has_cut_is_not_scored() -> None:
    one = detection(started_at_us=LENGTH_US + 1)
    rows = rows_of(run(one, traffic(4)))
    assert [row["window_start"] for row in rows] == ["1970-01-01T00:00:20Z", "1970-01-01T00:00:30Z"]
    assert one.ledger["windows_cut"] == 2
    assert one.ledger["windows_scored"] == 2


def test_it_tells_its_notices_how_far_it_has_come() -> None:
    told = [item for item in run(detection(), traffic(2)) if isinstance(item, Closed)]
    assert {item.group for item in told} == {"unusual"}
    assert told[-1].watermark_us == 2 * LENGTH_US
