"""Rules of the form "too great a part of": judged once, when the window closes."""

from __future__ import annotations

import numpy as np
import pytest

from messages import Alert, Partial
from operators.codes import TextCodes
from operators.filter_spec import Where
from operators.rules import Rule
from operators.spec import Field, Level, Ratio, Window
from operators.value_spec import Count, Mean
from operators.windows import Change, OpenWindows

SECOND = 1_000_000
NOON_US = 1_767_355_200 * SECOND
FIELDS = {"site": Field("site", "text"), "bytes": Field("bytes", "integer")}
# A mean has two accumulators, so no other value's place is its accumulator's.
WINDOW = Window(
    "sites",
    60,
    ("site",),
    (Mean("bytes", "bytes"), Count("failed", Where("class", "5xx")), Count("requests")),
)
FAILING = Ratio(
    "failing",
    "sites",
    "failed",
    "requests",
    (Level("warning", above=0.1), Level("high", above=0.25, notify=True)),
    at_least=20,
)


def rule(spec: Ratio = FAILING, started_at_us: int | None = None) -> Rule:
    return Rule("logs", spec, WINDOW, FIELDS, lambda: NOON_US + 1, started_at_us)


def add(windows: OpenWindows, **sites: tuple[int, int]) -> Change:
    """Add (failed, requests) by site."""
    texts = TextCodes()
    codes = texts.of(list(sites), len(sites)).astype(np.uint64)
    order = np.argsort(codes)
    names = [list(sites)[place] for place in order.tolist()]
    failed, requests = (
        np.array([sites[name][which] for name in names], np.int64) for which in (0, 1)
    )
    keys = tuple((name,) for name in names)
    events = int(requests.sum())
    return windows.add(
        Partial(
            NOON_US, codes[order], keys, (requests * 500, requests, failed, requests), (), events
        )
    )


def finals(under_test: Rule, **sites: tuple[int, int]) -> dict[str, Alert]:
    windows = OpenWindows(WINDOW)
    add(windows, **sites)
    ((start_us, window),) = windows.close(2**62)
    return {str(alert.key["site"]): alert for alert in under_test.finals(start_us, window)}


def test_a_part_above_a_limit_is_an_incident_and_one_at_it_is_none() -> None:
    found = finals(rule(), a=(2, 20), b=(3, 20), c=(5, 20), d=(6, 20), e=(20, 20), f=(0, 20))
    assert {site: (alert.severity, alert.threshold) for site, alert in found.items()} == {
        "b": ("warning", 0.1),
        "c": ("warning", 0.1),
        "d": ("high", 0.25),
        "e": ("high", 0.25),
    }


def test_the_alert_is_final_and_says_the_part_and_both_counts() -> None:
    (alert,) = finals(rule(), a=(7, 21)).values()
    assert alert == Alert(
        id="logs/failing/site=a/2026-01-02T12:00:00Z",
        domain="logs",
        rule="failing",
        severity="high",
        phase="final",
        key={"site": "a"},
        window_start_us=NOON_US,
        window_end_us=NOON_US + 60 * SECOND,
        value=0.333333,
        value_name="share_of_failed",
        threshold=0.25,
        detected_at_us=NOON_US + 1,
        evidence={"bytes": 500.0, "failed": 7, "requests": 21},
    )


def test_keys_with_too_few_events_are_left_alone() -> None:
    assert set(finals(rule(), few=(19, 19), enough=(20, 20))) == {"enough"}


@pytest.mark.parametrize("at_least", [0, 1])
def test_nothing_of_nothing_is_no_part(at_least: int) -> None:
    lax = Ratio("any", "sites", "failed", "requests", (Level("warning", 0),), at_least=at_least)
    assert set(finals(rule(lax), none=(0, 0), some=(1, 1_000_000))) == {"some"}


def test_nothing_is_said_while_the_window_is_open() -> None:
    windows, under_test = OpenWindows(WINDOW), rule()
    assert list(under_test.crossings(NOON_US, add(windows, a=(20, 20)))) == []
    # More requests that succeed bring the part below the limit again: no incident at all.
    assert list(under_test.crossings(NOON_US, add(windows, a=(0, 980)))) == []
    ((start_us, window),) = windows.close(2**62)
    assert list(under_test.finals(start_us, window)) == []


@pytest.mark.parametrize(
    ("failed", "requests", "above", "crosses"),
    [
        (29, 100, 0.29, False),  # 0.29 * 100 is 28.999999999999996
        (30, 100, 0.29, True),
        (7, 100, 0.07, False),  # 0.07 * 100 is 7.000000000000001
        (1, 3, 0.333333, True),
        (333_333, 1_000_000, 0.333333, False),
        (1, 1, 1.0, False),
    ],
)
def test_a_limit_is_the_decimal_that_it_is_written_as(
    failed: int, requests: int, above: float, crosses: bool
) -> None:
    spec = Ratio("r", "sites", "failed", "requests", (Level("warning", above),))
    assert bool(finals(rule(spec), a=(failed, requests))) is crosses


def test_the_part_is_rounded_but_what_is_judged_is_not() -> None:
    spec = Ratio("r", "sites", "failed", "requests", (Level("warning", 0.1),))
    (alert,) = finals(rule(spec), a=(1_000_001, 10_000_000)).values()
    assert alert.value == 0.1
    assert alert.severity == "warning"


@pytest.mark.parametrize(
    ("started_at_us", "partial"), [(None, False), (NOON_US, False), (NOON_US + 1, True)]
)
def test_a_window_that_began_before_the_service_is_partial(
    started_at_us: int | None, partial: bool
) -> None:
    (alert,) = finals(rule(started_at_us=started_at_us), a=(20, 20)).values()
    assert alert.partial is partial
