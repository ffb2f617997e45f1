"""KPL aggregates amid the bytes of an object.

Firehose writes records one behind the other, with or without a delimiter, and nothing tells where
an aggregate ends: its protobuf has no length in front. So its fields are walked through from the
magic on, and it ends where the MD5 digest of all of them follows. What begins with the magic and
has no such end is text like any other, and searched for the next magic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import chain

from sources.archive.compression import Pieces
from sources.kinesis.kpl import MAGIC, Deaggregator
from sources.kinesis.lineage import HASH_KEYS

MAXIMUM_BYTES = 10 * 1024 * 1024
"""The largest record that Kinesis takes."""

_DIGEST_BYTES = 16
_RARE = MAGIC[:1]  # begins characters that hardly any text has
_TAGS = frozenset(b"\x0a\x12\x1a")  # key tables and records: all are length-delimited
_VARINT_BYTES = 10
_LATER, _NOWHERE = 0, -1  # where an aggregate ends: it may still come, or there is none

Aggregated = list[bytes]
"""The user records of one aggregate."""


def taken_apart(pieces: Pieces) -> Iterator[bytes | Aggregated]:
    """Yield the text of an object as it comes, and the user records of each aggregate in it.

    Text before an aggregate is complete when the aggregate comes. A damaged aggregate is text, and
    costs none of those behind it.
    """
    whole = Deaggregator(0, HASH_KEYS - 1)  # an archive has no shards: nothing is foreign
    held = b""
    for piece in chain(pieces, (None,)):
        if piece == b"":
            yield b""
            continue
        if piece and not held and _RARE not in piece:  # much faster than to search for the magic
            yield piece
            continue
        held += piece or b""
        done = looked = 0
        while (at := held.find(MAGIC, looked)) >= 0:
            end = _end_of(held, at)
            if end == _LATER and piece is not None:
                break
            found = whole.user_records(held[at:end]) if end > 0 else None
            if found is None:
                looked = at + len(MAGIC)
                continue
            if at > done:
                yield held[done:at]
            yield found.payloads
            done = looked = end
        if at < 0:
            at = len(held) - (0 if piece is None else _begun_magic(held))
        if at > done:
            yield held[done:at]
        held = held[max(at, done) :]


def _begun_magic(text: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a magic."""
    return next((n for n in range(len(MAGIC) - 1, 0, -1) if text.endswith(MAGIC[:n])), 0)


def _end_of(data: bytes, begin: int) -> int:
    """Return where the aggregate ends that may begin there, `_LATER` or `_NOWHERE`.

    A digest may look like another field. So each place between two fields is tried, as far as the
    fields can be followed.
    """
    digest = hashlib.md5(usedforsecurity=False)
    view = memoryview(data)
    place = hashed = begin + len(MAGIC)
    while place < len(data):
        if data[place] not in _TAGS:
            return _NOWHERE
        length, after = _varint(data, place + 1)
        if not after:
            return _LATER if len(data) - place <= _VARINT_BYTES else _NOWHERE
        place = after + length
        if place - begin > MAXIMUM_BYTES:
            return _NOWHERE
        if place + _DIGEST_BYTES > len(data):
            return _LATER
        digest.update(view[hashed:place])
        hashed = place
        if digest.digest() == data[place : place + _DIGEST_BYTES]:
            return place + _DIGEST_BYTES
    return _LATER


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and where it ends; 0 for the latter where it doesn't end."""
    value = 0
    for shift, byte in enumerate(data[place : place + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    return 0, 0
