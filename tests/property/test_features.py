"""Features of a stream: as a plain count over all events says, however the keys are shared out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages import Partial, Summary
from operators.codes import group_edges, integer_codes
from operators.feature_spec import Entropy, Evidence, Keys, NewKeys, Share, StreamForest, Total
from operators.features import Merged, Summariser, as_seen
from operators.filter_spec import Where
from operators.spec import Level, Window
from operators.value_spec import Count, Sum
from operators.windows import OpenWindow, OpenWindows

LENGTH_SECONDS = 10
LENGTH_US = LENGTH_SECONDS * 1_000_000
WINDOW = Window(
    "clients",
    LENGTH_SECONDS,
    ("client",),
    (Count("requests"), Sum("bytes", of="bytes"), Count("errors", where=Where("class", "5xx"))),
)
DETECTOR = StreamForest(
    name="unusual",
    features=(
        Total("rate", "clients", "requests"),
        Total("volume", "clients", "bytes"),
        Share("error_share", "clients", "errors", of="requests"),
        Keys("clients", "clients"),
        NewKeys("new_clients", "clients", memory_seconds=20),
        Entropy("spread", "clients", "requests"),
    ),
    levels=(Level("high", above=0.99),),
    evidence=(Evidence("top_clients", "clients", top=3),),
)

Event = tuple[int, int, bool]  # client, bytes, whether it is an error
events = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9_999), st.booleans()), max_size=60)


def open_window(found: list[Event]) -> OpenWindow | None:
    """Count events as the dataflow would; None where there are none."""
    clients = sorted({client for client, _, _ in found})
    if not clients:
        return None
    codes = integer_codes(np.array(clients, np.int64))
    order = np.argsort(codes)
    of = {client: [one for one in found if one[0] == client] for client in clients}
    values = (
        [len(of[client]) for client in clients],
        [sum(size for _, size, _ in of[client]) for client in clients],
        [sum(is_error for _, _, is_error in of[client]) for client in clients],
    )
    windows = OpenWindows(WINDOW)
    arrays = tuple(np.array(value, np.int64)[order] for value in values)
    windows.add(Partial(0, codes[order], None, arrays, (), len(found)))
    ((_, window),) = windows.close(LENGTH_US)
    return window


def group_of(client: int, groups: int) -> int:
    code = integer_codes(np.array([client], np.int64))[0]
    return int(np.searchsorted(group_edges(groups), code, side="right"))


def merged(windows: list[list[Event]], groups: int) -> list[Merged]:
    """Summarise windows in so many groups, one after the other."""
    found = []
    summarisers = [Summariser(DETECTOR, WINDOW, f"clients/{g}") for g in range(groups)]
    for number, window in enumerate(windows):
        one = Merged()
        for group, summariser in enumerate(summarisers):
            share = open_window([e for e in window if group_of(e[0], groups) == group])
            if share is not None:
                one.add(summariser.summarise(number * LENGTH_US, share))
        found.append(one)
    return found


def plainly(windows: list[list[Event]]) -> list[list[float]]:
    """Compute the features from the definitions, without groups."""
    found = []
    for number, window in enumerate(windows):
        counts = Counter(client for client, _, _ in window)
        before = {client for one in windows[max(0, number - 2) : number] for client, _, _ in one}
        parts = [count / len(window) for count in counts.values()]
        found.append(
            [
                len(window) / LENGTH_SECONDS,
                sum(size for _, size, _ in window) / LENGTH_SECONDS,
                sum(is_error for _, _, is_error in window) / len(window) if window else 0.0,
                len(counts),
                len(counts.keys() - before),
                -sum(part * math.log2(part) for part in parts),
            ]
        )
    return found


@given(windows=st.lists(events, min_size=1, max_size=6), groups=st.integers(1, 5))
def test_features_are_what_a_plain_count_says(windows: list[list[Event]], groups: int) -> None:
    for one, expected in zip(merged(windows, groups), plainly(windows), strict=True):
        features = one.features(DETECTOR.features, LENGTH_SECONDS)
        assert features == pytest.approx(expected, abs=1e-5)


@given(windows=st.lists(events, min_size=1, max_size=4), data=st.data())
def test_features_are_the_same_bit_for_bit_in_any_number_of_groups(
    windows: list[list[Event]], data: st.DataObject
) -> None:
    groups = data.draw(st.integers(2, 6))
    for one, other in zip(merged(windows, 1), merged(windows, groups), strict=True):
        assert one.features(DETECTOR.features, LENGTH_SECONDS) == other.features(
            DETECTOR.features, LENGTH_SECONDS
        )
        assert one.top("clients", 3) == other.top("clients", 3)


@given(window=events)
def test_the_greatest_keys_are_named_the_greatest_first(window: list[Event]) -> None:
    counts = Counter(client for client, _, _ in window)
    (one,) = merged([window], groups=3)
    top = one.top("clients", 3)
    assert [count for count, _ in top] == sorted(counts.values(), reverse=True)[:3]
    assert all(counts[int(key)] == count for count, (key,) in top)


@given(windows=st.lists(events, min_size=2, max_size=5), data=st.data())
def test_a_summariser_goes_on_from_its_snapshot(
    windows: list[list[Event]], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(windows) - 1))
    whole = Summariser(DETECTOR, WINDOW, "clients/0")
    found: list[list[Summary]] = [[], []]
    halves: list[Summary] = []
    part = Summariser(DETECTOR, WINDOW, "clients/0")
    for number, events_of_window in enumerate(windows):
        if number == cut:
            part = Summariser(DETECTOR, WINDOW, "clients/0", part.snapshot())
        window = open_window(events_of_window)
        if window is not None:
            found[0].append(whole.summarise(number * LENGTH_US, window))
            halves.append(part.summarise(number * LENGTH_US, window))
    assert halves == found[0]


def test_amounts_are_seen_by_their_logarithms_and_shares_as_they_are() -> None:
    seen = as_seen(DETECTOR.features, [math.e - 1, 0.0, 0.5, math.e - 1, 0.0, 3.0])
    assert seen == pytest.approx([1.0, 0.0, 0.5, 1.0, 0.0, 3.0])


def test_a_silent_window_is_all_zeros() -> None:
    assert Merged().features(DETECTOR.features, LENGTH_SECONDS) == [0.0] * 6
