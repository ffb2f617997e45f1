"""A `Partial`, pickled."""

from __future__ import annotations

import pickle

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from messages import PairCounts, Partial


@given(
    st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=9).map(sorted),
    st.integers(0, 3),
    st.integers(0, 2),
    st.data(),
)
def test_a_partial_is_the_same_behind_a_journey_between_processes(
    codes: list[int], accumulators: int, distincts: int, data: st.DataObject
) -> None:
    def column(kind: type[np.uint64 | np.int64]) -> npt.NDArray[np.uint64 | np.int64]:
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        drawn = st.lists(st.integers(int(least), int(most)), min_size=len(codes), max_size=9)
        return np.array(data.draw(drawn)[: len(codes)], kind)

    wide = np.repeat(np.array(codes, np.uint64), 2)  # every other one: columns are often views
    sent = Partial(
        start_us=-7,
        codes=wide[::2],
        keys=data.draw(st.sampled_from([None, tuple(("a", code) for code in codes)])),
        values=tuple(column(np.int64) for _ in range(accumulators)),
        members=tuple((column(np.uint64), column(np.int64)) for _ in range(distincts)),
        events=12,
        tops=(PairCounts(wide, wide, wide.astype(np.int64), {1: "x"}),),
    )

    got = pickle.loads(pickle.dumps(sent))

    def plain(partial: Partial) -> list[object]:
        columns = [
            partial.codes,
            *partial.values,
            *(one for pair in partial.members for one in pair),
        ]
        shape = [len(partial.values), len(partial.members)]
        return [*shape, *((column.dtype, column.tolist()) for column in columns)]

    assert plain(got) == plain(sent)
    assert (got.start_us, got.keys, got.events) == (sent.start_us, sent.keys, sent.events)
    assert got.tops[0].texts == sent.tops[0].texts
    assert got.tops[0].counts.tolist() == sent.tops[0].counts.tolist()
