"""Open sessions of a key group: what becomes of single pieces, also behind the watermark."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from messages import Scalar, SessionPieces
from operators.codes import TextCodes, combine, integer_codes
from operators.session_spec import FirstText, SessionWindow
from operators.session_values import SessionValues
from operators.sessions import OpenSessions
from operators.value_spec import Count
from operators.watermarks import BEGINNING, END

GAP = 100
WINDOW = SessionWindow(
    "visits", gap_seconds=1, key=("user",), values=(Count("events"), FirstText("shop", "shop"))
)
TEXTS = TextCodes()
NO_TIME = 2**63 - 1


@dataclass(frozen=True)
class Small(SessionWindow):
    """A window whose gap is counted in microseconds, to be read at a glance."""

    @property
    def gap_us(self) -> int:
        return GAP


SPEC = Small("visits", 1, ("user",), WINDOW.values)


def opened(state: object = None) -> OpenSessions:
    restored = None if state is None else pickle.loads(pickle.dumps(state))
    return OpenSessions(SPEC, SessionValues(SPEC.values), restored)


def pieces(*rows: tuple[int, int, int], shop: str = "", texts: bool = False) -> SessionPieces:
    """Pieces as (user, start, end), an event each; users are keys of text where `texts`."""
    users = np.array([row[0] for row in rows])
    codes = integer_codes(users)
    if texts:
        codes = combine([np.array([TEXTS[f"user {user}"] for user in users], np.uint64)])
    starts = np.array([row[1] for row in rows])
    order = np.lexsort((starts, codes))
    known = np.full(len(rows), NO_TIME) if not shop else starts
    code = np.array([TEXTS[shop]], np.uint64).view(np.int64)[0]
    values = np.stack([np.ones(len(rows), np.int64), known, np.full(len(rows), code)])
    keys: list[tuple[Scalar, ...]] = [(f"user {user}",) for user in users[order].tolist()]
    return SessionPieces(
        codes=codes[order],
        keys=tuple(keys) if texts else None,
        starts_us=starts[order],
        ends_us=np.array([row[2] for row in rows])[order],
        values=values[:, order],
        events=np.ones(len(rows), np.int64),
        texts={TEXTS[shop]: shop},
    )


def closed(sessions: OpenSessions, watermark_us: int = END) -> list[tuple[Scalar, int, int, int]]:
    found = sessions.close(watermark_us)
    return [
        (*key, start, end, events)
        for key, start, end, events in zip(
            found.keys,
            found.starts_us.tolist(),
            found.ends_us.tolist(),
            found.values[0].tolist(),
            strict=True,
        )
    ]


def test_pieces_less_than_the_gap_apart_are_one_session() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10)), BEGINNING)
    sessions.add(pieces((1, 109, 120)), BEGINNING)
    assert closed(sessions) == [(1, 0, 120, 2)]


def test_pieces_the_gap_apart_are_two() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10), (1, 110, 120)), BEGINNING)
    assert closed(sessions) == [(1, 0, 10, 1), (1, 110, 120, 1)]


def test_a_piece_between_two_sessions_makes_them_one() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10), (1, 150, 160), (2, 0, 0)), BEGINNING)
    assert len(sessions) == 3
    sessions.add(pieces((1, 80, 90)), BEGINNING)
    assert len(sessions) == 2
    assert sorted(closed(sessions)) == [(1, 0, 160, 3), (2, 0, 0, 1)]


def test_a_session_inside_another_piece_doesnt_end_it() -> None:
    sessions = opened()
    sessions.add(pieces((1, 50, 60)), BEGINNING)
    sessions.add(pieces((1, 0, 500)), BEGINNING)
    sessions.add(pieces((1, 590, 600)), BEGINNING)
    assert closed(sessions) == [(1, 0, 600, 3)]


def test_a_merge_of_one_key_and_a_new_other_leave_as_many_entries_and_the_right_ones() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10), (1, 150, 160)), BEGINNING)
    sessions.add(pieces((1, 80, 90), (2, 80, 90)), BEGINNING)
    assert sorted(closed(sessions)) == [(1, 0, 160, 3), (2, 80, 90, 1)]


def test_a_session_closes_when_the_watermark_has_passed_its_gap_and_not_before() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10)), BEGINNING)
    assert closed(sessions, 109) == []
    assert closed(sessions, 110) == [(1, 0, 10, 1)]
    assert closed(sessions) == []


def test_only_what_has_begun_and_changed_is_told_and_once() -> None:
    sessions = opened()
    sessions.add(pieces((1, 0, 10), (2, 51, 60)), BEGINNING)
    assert sessions.changed(50).keys == [(1,)]
    assert sessions.changed(50).keys == []
    assert sessions.changed(51).keys == [(2,)]
    sessions.add(pieces((1, 55, 55)), 51)
    assert sessions.changed(51).keys == [(1,)]


def test_the_text_is_the_earliest_whatever_came_first() -> None:
    sessions = opened()
    sessions.add(pieces((1, 50, 60), shop="b"), BEGINNING)
    sessions.add(pieces((1, 20, 30)), BEGINNING)
    sessions.add(pieces((1, 40, 45), shop="a"), BEGINNING)
    found = sessions.close(END)
    read = SessionValues(SPEC.values).read(found.values, sessions.texts, {})
    assert read == {"events": [3], "shop": ["a"]}


# ---- behind the watermark -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "refused"),
    [
        ((1, 210, 220), False),  # inside a session that has begun, or behind its start
        ((1, 190, 195), True),  # before it: its start would move
        ((1, 260, 310), True),  # between two that have begun
        ((1, 480, 520), False),  # touches only one that hasn't begun by the watermark
        ((2, 300, 350), True),  # would be closed at once
        ((2, 400, 410), False),  # stands alone, and stays open
    ],
)
def test_a_piece_behind_the_watermark_is_taken_where_it_changes_nothing_that_was_written(
    piece: tuple[int, int, int], refused: bool
) -> None:
    sessions = opened()
    sessions.add(pieces((1, 200, 240), (1, 350, 440), (1, 560, 570)), BEGINNING)
    watermark = 450 if piece[1] < 480 else 500
    told = {(key, start) for key, start, _, _ in closed(opened(sessions.snapshot()))}
    assert sessions.add(pieces(piece), watermark).tolist() == [refused]
    begun = {(key, start) for key, start in told if start <= watermark}
    assert begun <= {(key, start) for key, start, _, _ in closed(sessions)}


# ---- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [False, True])
def test_slots_keys_and_texts_are_given_back_and_a_restart_changes_nothing(texts: bool) -> None:
    random = Random(5)
    sessions = opened()
    times: dict[Scalar, list[int]] = defaultdict(list)
    found = []
    for tick in range(300):
        now = 10 * tick
        users = random.sample(range(3_000), 200)
        sessions.add(pieces(*((user, now, now) for user in users), texts=texts), now)
        for user in users:
            times[f"user {user}" if texts else user].append(now)
        found += closed(sessions, now)
        if tick % 50 == 49:
            sessions = opened(sessions.snapshot())
            state = sessions.snapshot()
            assert len(state["starts_us"]) <= 4 * len(sessions) + 2 * 1024
            assert state["keys"].count(b"\n") <= 4 * len(sessions) + 2 * 1024
    found += closed(sessions)
    expected = []
    for user, seen in times.items():
        cuts = [place for place, (a, b) in enumerate(pairwise(seen), 1) if b - a >= GAP]
        for begin, end in pairwise([0, *cuts, len(seen)]):
            expected.append((user, seen[begin], seen[end - 1], end - begin))
    assert sorted(found) == sorted(expected)


def test_texts_are_kept_as_long_as_a_session_has_them() -> None:
    sessions = opened()
    for number in range(3_000):
        start = number * 50
        sessions.add(pieces((number, start, start), shop=f"shop {number}"), start)
        last: Sequence[tuple[Scalar, ...]] = sessions.close(start).keys
        assert len(sessions.texts) <= 1_100
    assert last
    assert TEXTS["shop 2999"] in sessions.texts
