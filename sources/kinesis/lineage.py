"""Which slot owns a shard, and which shards take over from one: pure functions of a listing.

A shard owns an inclusive range of the 128-bit hash keys. Resharding closes a shard and opens
children that name it as parent: a split gives two children with one parent, a merge one child
with two. The open shards of a stream partition the key space at any time.

Guarantee: ownership depends on nothing but the shard's own range and the number of slots, so that
every process agrees on it; an end is announced only with children that cover the whole range, so
that no watermark is handed to half of the heirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HASH_KEYS = 1 << 128
"""MD5 of the partition key, as an unsigned integer, is below this."""


@dataclass(frozen=True, slots=True)
class Shard:
    """What ListShards or ChildShards tells of a shard.

    Attributes:
        id: As `shardId-000000000001`.
        first_hash: The lowest hash key that belongs to it.
        last_hash: The highest one, inclusive.
        parents: The shards it was split off (one) or merged from (two); none for a first shard.
    """

    id: str
    first_hash: int
    last_hash: int
    parents: tuple[str, ...] = ()


def listed_shard(entry: Mapping[str, Any]) -> Shard:
    """Read one entry of ListShards (`Any`: a boto3 reply)."""
    hash_range = entry["HashKeyRange"]
    parents = (entry.get("ParentShardId"), entry.get("AdjacentParentShardId"))
    return Shard(
        entry["ShardId"],
        int(hash_range["StartingHashKey"]),
        int(hash_range["EndingHashKey"]),
        tuple(parent for parent in parents if parent),
    )


def child_shard(entry: Mapping[str, Any]) -> Shard:
    """Read one entry of GetRecords' ChildShards (`Any`: a boto3 reply)."""
    hash_range = entry["HashKeyRange"]
    return Shard(
        entry["ShardId"],
        int(hash_range["StartingHashKey"]),
        int(hash_range["EndingHashKey"]),
        tuple(entry.get("ParentShards") or ()),
    )


def slot_of(shard: Shard, slots: int) -> int:
    """Return the number of the slot whose share of the key space holds the shard's midpoint."""
    return ((shard.first_hash + shard.last_hash) // 2 * slots) >> 128


def covers(shards: Iterable[Shard], first_hash: int, last_hash: int) -> bool:
    """Return whether the shards' ranges together hold every key of an inclusive range."""
    needed = first_hash
    for shard in sorted(shards, key=lambda shard: shard.first_hash):
        if shard.first_hash > needed:
            return False
        needed = max(needed, shard.last_hash + 1)
        if needed > last_hash:
            return True
    return needed > last_hash


def heirs(shard: Shard, known: Mapping[str, Shard]) -> tuple[str, ...] | None:
    """Return the shards that go on where `shard` ended; None while they are not all known.

    While the stream still lists the shard, its heirs are its children. Once it has expired, they
    may have expired too: then its heirs are the first descendants that live. Two shards that
    overlap never lived at the same time, and nothing older than an expired shard is still listed,
    so what overlaps its range descends from it; the first of those are the ones whose part of the
    range no known parent of theirs holds.
    """
    found = [other for other in known.values() if shard.id in other.parents]
    if shard.id not in known:
        older = _ancestors(shard, known) | {child.id for child in found}
        found += [
            other
            for other in known.values()
            if other.id not in older and _is_first_living(other, shard, known)
        ]
    if not covers(found, shard.first_hash, shard.last_hash):
        return None
    return tuple(sorted(heir.id for heir in found))


def _is_first_living(other: Shard, expired: Shard, known: Mapping[str, Shard]) -> bool:
    first_hash = max(other.first_hash, expired.first_hash)
    last_hash = min(other.last_hash, expired.last_hash)
    if first_hash > last_hash:
        return False
    parents = (known[parent] for parent in other.parents if parent in known)
    return not covers(parents, first_hash, last_hash)


def _ancestors(shard: Shard, known: Mapping[str, Shard]) -> set[str]:
    found: set[str] = set()
    waiting = list(shard.parents)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in known:
                waiting.extend(known[name].parents)
    return found


def oldest_first(shards: Iterable[Shard], known: Mapping[str, Shard]) -> list[Shard]:
    """Order shards so that parents come before their children, else by id."""
    return sorted(shards, key=lambda shard: (len(_ancestors(shard, known)), shard.id))


def holes(known: Mapping[str, Shard]) -> list[tuple[int, int]]:
    """Return the ranges of the key space for which no youngest shard is known.

    A listing with a hole is not the whole stream: a shard that nobody lists is a shard that nobody
    reads (KCL's issue 339).
    """
    has_child = {parent for shard in known.values() for parent in shard.parents}
    found: list[tuple[int, int]] = []
    needed = 0
    youngest = (shard for shard in known.values() if shard.id not in has_child)
    for shard in sorted(youngest, key=lambda shard: shard.first_hash):
        if shard.first_hash > needed:
            found.append((needed, shard.first_hash - 1))
        needed = max(needed, shard.last_hash + 1)
    if needed < HASH_KEYS:
        found.append((needed, HASH_KEYS - 1))
    return found
