"""Records of the Kinesis Producer Library: many user records packed into one stream record.

Format: magic F3 89 9A C2, a protobuf `AggregatedRecord`, the MD5 digest of the protobuf. A wrong
digest, or a message that doesn't parse, or that points outside its key tables where they decide,
means a plain record.

A user record whose hash key lies outside the range of the shard it came from is *foreign*: it was
packed before a reshard, and its own shard has it too or it belongs to nobody; it is dropped and
counted, as the KCL does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from messages import Int64s

MAGIC = b"\xf3\x89\x9a\xc2"

_DIGEST_BYTES = 16
_REMEMBERED_KEYS = 4_096  # a shard
_NO_KEY = hashlib.md5(usedforsecurity=False)  # to copy one costs less than to make one


@dataclass(frozen=True, slots=True)
class UserRecords:
    """An aggregated record, taken apart.

    Attributes:
        data: The record.
        spans: int64[2, n], where in it the payload of each user record begins and ends that belongs
            to the shard.
        indexes: int64[n], their places within the record.
        foreign: How many were dropped.
    """

    data: bytes
    spans: Int64s
    indexes: Int64s
    foreign: int

    @property
    def payloads(self) -> list[bytes]:
        """The payloads, cut out."""
        return cut(self.data, self.spans)


def cut(data: bytes, spans: Int64s) -> list[bytes]:
    """Return pieces of bytes; `spans` is int64[2, n], where each begins and ends."""
    return [data[begin:end] for begin, end in zip(*spans.tolist(), strict=True)]


class Deaggregator:
    """Takes apart the aggregated records of one shard.

    Args:
        first_hash: The lowest hash key of the shard.
        last_hash: The highest, inclusive.
    """

    def __init__(self, first_hash: int, last_hash: int) -> None:
        self._first_hash = first_hash
        self._last_hash = last_hash
        self._first_digest = first_hash.to_bytes(16, "big")
        self._last_digest = last_hash.to_bytes(16, "big")
        self._owned_keys: dict[bytes, bool] = {}  # hashing a key costs ten times a look-up

    def user_records(self, data: bytes) -> UserRecords | None:
        """Return the user records in a stream record; None when it is a plain record."""
        if not data.startswith(MAGIC) or len(data) <= len(MAGIC) + _DIGEST_BYTES:
            return None
        begin, end = len(MAGIC), len(data) - _DIGEST_BYTES
        digest = hashlib.md5(memoryview(data)[begin:end], usedforsecurity=False).digest()
        if digest != data[end:]:
            return None
        from sources.kinesis import kpl_kernels as kernels  # numba is loaded by those who read

        characters = np.frombuffer(data, np.uint8)
        is_sound, keys, table, records = kernels.read(characters, begin, end)
        if not is_sound:
            return None
        texts = cut(data, table)
        try:
            owned = self._owned(texts[:keys]) + [self._owns_hash(text) for text in texts[keys:]]
        except ValueError:  # a hash key that is no number
            return None
        size = records.shape[1]
        if all(owned):
            return UserRecords(data, records[:2], np.arange(size), 0)
        kept = np.flatnonzero(np.array(owned)[records[kernels.OWNER]])
        return UserRecords(data, records[:2, kept], kept, size - len(kept))

    def _owned(self, partition_keys: Sequence[bytes]) -> list[bool]:
        remembered = self._owned_keys
        owned = list(map(remembered.get, partition_keys))
        if None not in owned:
            return owned  # type: ignore[return-value]
        if len(remembered) >= _REMEMBERED_KEYS:
            remembered.clear()
        new_digest, first, last = _NO_KEY.copy, self._first_digest, self._last_digest
        for place, key in enumerate(partition_keys):
            if owned[place] is None:
                digest = new_digest()
                digest.update(key)
                owned[place] = remembered[key] = first <= digest.digest() <= last
        return owned  # type: ignore[return-value]

    def _owns_hash(self, explicit_hash_key: bytes) -> bool:
        return self._first_hash <= int(explicit_hash_key) <= self._last_hash
