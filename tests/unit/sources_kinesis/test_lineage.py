"""Ownership and succession of shards, on random reshardings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sources.kinesis.lineage import (
    HASH_KEYS,
    Shard,
    child_shard,
    covers,
    heirs,
    holes,
    listed_shard,
    oldest_first,
    slot_of,
)

LAST = HASH_KEYS - 1


def shard(name: str, first: int, last: int, *parents: str) -> Shard:
    return Shard(name, first, last, parents)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Shard], set[str]]:
    """A stream's shards in order of birth, and the names of the open ones."""
    everything = {"0": shard("0", 0, LAST)}
    alive = ["0"]
    for _ in range(draw(st.integers(0, 12))):
        number = len(everything)
        place = draw(st.integers(0, len(alive) - 1))
        one = everything[alive[place]]
        if draw(st.booleans()) or len(alive) == 1:
            if one.first_hash == one.last_hash:
                continue
            cut = draw(st.integers(one.first_hash + 1, one.last_hash))
            born = [
                shard(f"{number}", one.first_hash, cut - 1, one.id),
                shard(f"{number + 1}", cut, one.last_hash, one.id),
            ]
            alive[place : place + 1] = [child.id for child in born]
        else:
            place = min(place, len(alive) - 2)
            low, high = everything[alive[place]], everything[alive[place + 1]]
            parents = draw(st.permutations([low.id, high.id]))
            born = [shard(f"{number}", low.first_hash, high.last_hash, *parents)]
            alive[place : place + 2] = [born[0].id]
        everything.update({child.id: child for child in born})
    return everything, set(alive)


def descendants(name: str, everything: dict[str, Shard]) -> set[str]:
    found: set[str] = set()
    for other in everything.values():  # in order of birth
        if name in other.parents or found & set(other.parents):
            found.add(other.id)
    return found


@given(st.integers(0, LAST), st.integers(0, LAST), st.integers(1, 1000))
def test_every_shard_belongs_to_one_of_the_slots(one: int, other: int, slots: int) -> None:
    owner = slot_of(shard("s", min(one, other), max(one, other)), slots)
    assert 0 <= owner < slots
    share = range(-(-HASH_KEYS * owner // slots), -(-HASH_KEYS * (owner + 1) // slots))
    assert (one + other) // 2 in share


@given(histories())
def test_heirs_of_a_closed_shard_are_its_children(
    history: tuple[dict[str, Shard], set[str]],
) -> None:
    everything, alive = history
    for one in everything.values():
        children = sorted(other.id for other in everything.values() if one.id in other.parents)
        expected = None if one.id in alive else tuple(children)
        assert heirs(one, everything) == expected


@given(histories(), st.data())
def test_half_of_the_children_are_no_heirs(
    history: tuple[dict[str, Shard], set[str]], data: st.DataObject
) -> None:
    everything, _ = history
    splits = [
        one
        for one in everything.values()
        if sum(one.id in other.parents for other in everything.values()) == 2
    ]
    for one in splits:
        children = [name for name, other in everything.items() if one.id in other.parents]
        hidden = data.draw(st.sampled_from(children))
        known = {
            name: other
            for name, other in everything.items()
            if name != hidden and name not in descendants(hidden, everything)
        }
        assert heirs(one, known) is None


@given(histories(), st.data())
def test_heirs_of_an_expired_shard_are_living_descendants_that_cover_it(
    history: tuple[dict[str, Shard], set[str]], data: st.DataObject
) -> None:
    everything, alive = history
    # Closed shards expire, some sooner than others, but never before what came before them.
    closed = [name for name in everything if name not in alive]
    expired: set[str] = set()
    for name in closed:
        if set(everything[name].parents) <= expired and data.draw(st.booleans()):
            expired.add(name)
    known = {name: one for name, one in everything.items() if name not in expired}
    for name in expired:
        one = everything[name]
        found = heirs(one, known)
        assert found is not None
        assert covers([known[heir] for heir in found], one.first_hash, one.last_hash)
        assert set(found) <= descendants(name, everything)
        # The first living ones: whatever else lives has an heir among its ancestors or is one.
        for heir in found:
            between = [p for p in everything[heir].parents if p in known]
            overlapping = [
                p
                for p in between
                if known[p].first_hash <= one.last_hash and known[p].last_hash >= one.first_hash
            ]
            part = (
                max(one.first_hash, known[heir].first_hash),
                min(one.last_hash, known[heir].last_hash),
            )
            assert not covers([known[p] for p in overlapping], *part)


@given(histories())
def test_a_whole_listing_has_no_holes(history: tuple[dict[str, Shard], set[str]]) -> None:
    everything, alive = history
    assert holes(everything) == []
    assert holes({name: everything[name] for name in alive}) == []


@given(histories(), st.data())
def test_an_open_shard_that_is_not_listed_is_a_hole_unless_its_parents_are(
    history: tuple[dict[str, Shard], set[str]], data: st.DataObject
) -> None:
    everything, alive = history
    hidden = everything[data.draw(st.sampled_from(sorted(alive)))]
    known = {name: everything[name] for name in alive if name != hidden.id}
    assert holes(known) == [(hidden.first_hash, hidden.last_hash)]


@given(histories())
def test_parents_come_before_children(history: tuple[dict[str, Shard], set[str]]) -> None:
    everything, _ = history
    order = [one.id for one in oldest_first(everything.values(), everything)]
    assert sorted(order) == sorted(everything)
    for place, name in enumerate(order):
        assert set(everything[name].parents) <= set(order[:place])


def test_ranges_that_touch_or_overlap_cover() -> None:
    parts = [shard("b", 50, 99), shard("a", 0, 49)]
    assert covers(parts, 0, 99)
    assert covers([*parts, shard("c", 20, 70)], 10, 80)
    assert not covers(parts, 0, 100)
    assert not covers([shard("a", 0, 48), shard("b", 50, 99)], 0, 99)
    assert not covers([], 0, 0)


def test_entries_of_listings_and_replies_are_read() -> None:
    hash_range = {"StartingHashKey": "7", "EndingHashKey": str(LAST)}
    entry = {
        "ShardId": "c",
        "HashKeyRange": hash_range,
        "ParentShardId": "a",
        "AdjacentParentShardId": "b",
    }
    assert listed_shard(entry) == shard("c", 7, LAST, "a", "b")
    assert listed_shard({"ShardId": "c", "HashKeyRange": hash_range}) == shard("c", 7, LAST)
    child = {"ShardId": "c", "HashKeyRange": hash_range, "ParentShards": ["a", "b"]}
    assert child_shard(child) == shard("c", 7, LAST, "a", "b")
