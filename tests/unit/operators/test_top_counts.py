"""The most frequent texts of a key: counts in random parts, against plain counters."""

from __future__ import annotations

import pickle
from collections import Counter, defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from messages import PairCounts
from operators.codes import TextCodes
from operators.top_counts import TopCounts

TEXTS = [f"/{name}" for name in "abcdefgh"]
parts = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(TEXTS), st.integers(1, 3)), max_size=12),
    max_size=8,
)
CODES = TextCodes()


def counts_of(found: list[tuple[int, str, int]]) -> PairCounts:
    """What `Partials` makes of them: pairs once, sorted by key."""
    pairs: Counter[tuple[int, int]] = Counter()
    for key, text, count in found:
        pairs[2**63 + key, CODES[text]] += count
    keys, members = (np.array([pair[at] for pair in sorted(pairs)], np.uint64) for at in (0, 1))
    counts = np.array([pairs[pair] for pair in sorted(pairs)], np.int64)
    return PairCounts(keys, members, counts, {CODES[text]: text for _, text, _ in found})


@given(parts, st.integers(1, 4), st.integers(0, 7))
def test_the_most_frequent_are_those_of_a_plain_count_also_after_a_snapshot(parts, most, at):
    top = TopCounts()
    plain: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for index, part in enumerate(parts):
        top.add(counts_of(part))
        for key, text, count in part:
            plain[key][text] += count
        if index == at:
            top = TopCounts(pickle.loads(pickle.dumps(top.merged())))
    for key in range(6):
        wanted = sorted(plain[key].items(), key=lambda one: (-one[1], one[0]))[:most]
        assert top.of(2**63 + key, most) == wanted


def test_many_parts_are_merged_on_the_way():
    top = TopCounts()
    for _ in range(2_000):
        top.add(counts_of([(1, "/a", 1), (2, "/b", 2)]))

    assert len(top._aside) <= 1_024
    assert top.of(2**63 + 1, 5) == [("/a", 2_000)]
    assert top.of(2**63 + 2, 5) == [("/b", 4_000)]
