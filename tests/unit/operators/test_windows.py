"""Open windows of a group. Random partials against a dictionary; runs: tests/property."""

from __future__ import annotations

import pickle
from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from messages import PairCounts, Partial, UInt64s
from operators.codes import integer_codes, mix
from operators.spec import Window
from operators.value_spec import ApproxDistinct, Count, Distinct, Maximum, Minimum, Sum, Top
from operators.windows import OpenWindow, OpenWindows

SECOND = 1_000_000
SPEC = Window(
    "w",
    10,
    ("user",),
    (
        Distinct("kinds", "kind"),
        Sum("sum", "n"),
        Minimum("least", "n"),
        Maximum("most", "n"),
        Distinct("shops", "shop"),
    ),
)
GREATEST, LEAST = 2**63 - 1, -(2**63)

Event = tuple[int, int, int, int]  # user, n, kind, shop
events = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(-5, 5), st.integers(0, 3), st.integers(0, 1)
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


def pair(user: int, member: int) -> int:
    return int(mix(np.array([user * 1000 + member], np.uint64))[0])


def code(user: int) -> int:
    return int(integer_codes(np.array([user], np.int64))[0])


def partial_of(found: list[Event], start_us: int = 0, named: bool = False) -> Partial:
    """What `Partials` makes of these events of one window, made by hand."""
    users = sorted({user for user, *_ in found}, key=code)
    own = {user: [event for event in found if event[0] == user] for user in users}
    numbers = [[n for _, n, _, _ in own[user]] for user in users]
    at = np.array([users.index(user) for user, *_ in found])
    return Partial(
        start_us=start_us,
        codes=np.array([code(user) for user in users], np.uint64),
        keys=tuple((f"user {user}",) for user in users) if named else None,
        values=(
            np.zeros(len(users), np.int64),
            *(np.array([add(own) for own in numbers]) for add in (sum, min, max)),
            np.zeros(len(users), np.int64),
        ),
        members=(
            (np.array([pair(user, kind) for user, _, kind, _ in found], np.uint64), at),
            (np.array([pair(user, shop) for user, _, _, shop in found], np.uint64), at),
        ),
        events=len(found),
    )


def table(window: OpenWindow) -> dict[int, tuple[int, ...]]:
    keys = [key for (key,) in window.keys_of(window.codes)]
    return dict(
        zip(keys, zip(*(array.tolist() for array in window.arrays), strict=True), strict=True)
    )


def expected(found: list[Event]) -> dict[int, tuple[int, ...]]:
    own: dict[int, list[Event]] = defaultdict(list)
    for event in found:
        own[event[0]].append(event)
    return {
        user: (
            len({kind for _, _, kind, _ in events}),
            sum(n for _, n, _, _ in events),
            min(n for _, n, _, _ in events),
            max(n for _, n, _, _ in events),
            len({shop for *_, shop in events}),
        )
        for user, events in own.items()
    }


@given(st.lists(st.tuples(st.integers(0, 2), events), max_size=8), st.integers(0, 8))
def test_partials_merge_into_what_a_dictionary_holds(
    partials: list[tuple[int, list[Event]]], restart_at: int
) -> None:
    windows = OpenWindows(SPEC)
    so_far: dict[int, list[Event]] = defaultdict(list)
    for place, (number, found) in enumerate(partials):
        if place == restart_at:
            windows = OpenWindows(SPEC, pickle.loads(pickle.dumps(windows.snapshot())))
        start_us = number * 10 * SECOND
        before = expected(so_far[start_us])
        so_far[start_us] += found
        after = expected(so_far[start_us])
        partial = partial_of(found, start_us)
        change = windows.add(partial)
        assert table(change.window) == after
        assert change.window.codes.tolist() == sorted(map(code, after))
        # The change names the partial's keys, with what they were before.
        assert change.window.codes[change.rows].tolist() == partial.codes.tolist()
        users = [key for (key,) in change.window.keys_of(partial.codes)]
        was = list(zip(*(array.tolist() for array in change.before), strict=True))
        assert was == [before.get(user, (0, 0, GREATEST, LEAST, 0)) for user in users]
    closed = windows.close(10**15)
    assert [start_us for start_us, _ in closed] == sorted(so_far)
    assert {start_us: table(window) for start_us, window in closed} == {
        start_us: expected(found) for start_us, found in so_far.items()
    }
    assert len(windows) == 0


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    windows = OpenWindows(SPEC)
    for start in (20, 0, 10):
        windows.add(partial_of([(1, 1, 1, 1)], start * SECOND))
    assert windows.close(10 * SECOND - 1) == []
    assert [start_us for start_us, _ in windows.close(10 * SECOND)] == [0]
    assert [start_us for start_us, _ in windows.close(30 * SECOND)] == [10 * SECOND, 20 * SECOND]
    assert windows.close(10**15) == []


def test_keys_that_have_no_inverse_are_kept_by_code_and_once() -> None:
    windows = OpenWindows(SPEC)
    windows.add(partial_of([(1, 1, 1, 1), (2, 1, 1, 1)], named=True))
    windows.add(partial_of([(3, 1, 1, 1), (2, 1, 1, 1)], named=True))
    windows = OpenWindows(SPEC, pickle.loads(pickle.dumps(windows.snapshot())))
    windows.add(partial_of([(0, 1, 1, 1)], named=True))
    ((_, window),) = windows.close(10**15)
    codes = np.array([code(user) for user in range(4)], np.uint64)
    assert window.keys_of(codes) == [(f"user {user}",) for user in range(4)]
    assert len(window.keys) == 4


def test_what_a_partial_holds_is_left_as_it_was() -> None:
    windows = OpenWindows(SPEC)
    partial = partial_of([(1, 1, 1, 1), (2, 5, 2, 1)])
    before = pickle.dumps(partial)
    for _ in range(3):
        windows.add(partial)
    assert pickle.dumps(partial) == before


def test_the_utmost_codes_have_their_places() -> None:
    windows = OpenWindows(Window("w", 10, ("user",), (Count("events"),)))
    for codes in ([2**64 - 1], [0], [0, 2**63, 2**64 - 1]):
        windows.add(counted(np.array(codes, np.uint64)))
    ((_, window),) = windows.close(10**15)
    assert window.codes.tolist() == [0, 2**63, 2**64 - 1]
    assert window.arrays[0].tolist() == [2, 1, 2]


def counted(codes: UInt64s) -> Partial:
    return Partial(0, codes, None, (np.ones(len(codes), np.int64),), (), len(codes))


def test_an_approximate_count_is_that_of_its_registers_beside_an_exact_one() -> None:
    spec = Window("w", 10, ("user",), (Distinct("kinds", "kind"), ApproxDistinct("about", "kind")))
    windows = OpenWindows(spec)
    rng = np.random.default_rng(4)
    for _ in range(5):
        members = mix(rng.integers(0, 20_000, 6_000).astype(np.uint64))
        of_key = rng.integers(0, 2, 6_000)
        pairs = (mix(members + of_key.astype(np.uint64)), of_key)
        codes = np.sort(integer_codes(np.array([1, 2])))
        zeros = np.zeros(2, np.int64)
        windows.add(Partial(0, codes, None, (zeros, zeros), (pairs, pairs), 6_000))
        windows = OpenWindows(spec, pickle.loads(pickle.dumps(windows.snapshot())))
    ((_, window),) = windows.close(10 * SECOND)
    exact, about = window.arrays
    assert (exact > 10_000).all()
    assert (np.abs(about / exact - 1) < 3 * 0.0081).all()


def test_what_incidents_name_is_kept_in_a_snapshot() -> None:
    spec = Window("w", 10, ("user",), (Count("n"),), evidence=(Top("kinds", "kind"),))
    key, shares = np.array([code(1)], np.uint64), [("a", 7, 2), ("b", 8, 3), ("a", 7, 2)]
    under_test = OpenWindows(spec)
    for text, member, count in shares:
        counts = np.array([count])
        pairs = PairCounts(key, np.array([member], np.uint64), counts, {member: text})
        under_test.add(Partial(0, key, None, (counts,), (), count, (pairs,)))
        under_test = OpenWindows(spec, pickle.loads(pickle.dumps(under_test.snapshot())))

    ((_, window),) = under_test.close(10 * SECOND)
    assert window.tops[0].of(code(1), 5) == [("a", 4), ("b", 3)]
