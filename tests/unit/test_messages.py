"""A `Packet`, pickled."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from messages import Packet, PairCounts, Partial, Seen, SessionPieces

Columns = list[tuple[np.dtype[np.int64 | np.uint64], list[int]]]


def drawn_column(
    data: st.DataObject, kind: type[np.uint64 | np.int64], least: int
) -> npt.NDArray[np.uint64 | np.int64]:
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    drawn = data.draw(st.lists(st.integers(int(low), int(high)), min_size=least, max_size=9))
    wide = np.repeat(np.array(drawn, kind), 2)
    return wide[::2]  # columns are views, as often as not


def columns_of(partial: Partial) -> Columns:
    every = [partial.codes, *partial.values, *(one for pair in partial.members for one in pair)]
    return [(column.dtype, column.tolist()) for column in every]


@given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 2), st.booleans(), st.data())
def test_a_packet_is_the_same_behind_a_journey_between_processes(
    windows: int, accumulators: int, distincts: int, named: bool, data: st.DataObject
) -> None:
    def partial(start_us: int) -> Partial:
        codes = drawn_column(data, np.uint64, 0)
        size = len(codes)
        return Partial(
            start_us=start_us,
            codes=codes.view(np.uint64),
            keys=tuple(("a", code) for code in codes.tolist()) if named else None,
            values=tuple(
                drawn_column(data, np.int64, size)[:size].view(np.int64)
                for _ in range(accumulators)
            ),
            members=tuple(
                (
                    drawn_column(data, np.uint64, 0).view(np.uint64),
                    drawn_column(data, np.int64, 0).view(np.int64),
                )
                for _ in range(distincts)
            ),
            events=12 + start_us,
            tops=(PairCounts(codes, codes, codes.astype(np.int64), {1: "x"}),) if named else (),
        )

    sent = Packet("g/1", (Seen("s", 5),), tuple(partial(start) for start in range(windows)))

    got = pickle.loads(pickle.dumps(sent))

    assert (got.group, got.marks) == (sent.group, sent.marks)
    for there, here in zip(got.partials, sent.partials, strict=True):
        assert columns_of(there) == columns_of(here)
        assert [len(there.values), len(there.members)] == [accumulators, distincts]
        assert (there.start_us, there.keys, there.events) == (here.start_us, here.keys, here.events)
        for top, was in zip(there.tops, here.tops, strict=True):
            assert top.texts == was.texts
            assert top.counts.tolist() == was.counts.tolist()


def test_marks_alone_and_pieces_of_sessions_travel_too() -> None:
    alone = Packet("g/1", (Seen("s", 5),))
    assert pickle.loads(pickle.dumps(alone)) == alone
    one = np.array([1], np.int64)
    pieces = SessionPieces(one.view(np.uint64), None, one, one + 1, one[None, :], one, {7: "x"})
    got = pickle.loads(pickle.dumps(Packet("g/1", (), (pieces,))))
    assert [column.tolist() for column in (got.partials[0].ends_us, got.partials[0].values)] == [
        [2],
        [[1]],
    ]
    assert got.partials[0].texts == {7: "x"}
