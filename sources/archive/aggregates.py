"""KPL aggregates amid the bytes of an object.

Firehose writes records one behind the other, with or without a delimiter, and nothing tells where
an aggregate ends: its protobuf has no length in front. So its fields are walked through from the
magic on, and it ends where the MD5 digest of all of them follows. What begins with the magic and
has no such end is text like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sources.archive.compression import Pieces
from sources.kinesis.kpl import MAGIC, Deaggregator
from sources.kinesis.lineage import HASH_KEYS

MAXIMUM_BYTES = 10 * 1024 * 1024
"""The largest record that Kinesis takes."""

_DIGEST_BYTES = 16
_RARE = MAGIC[:1]  # begins characters that hardly any text has
_TAGS = frozenset(b"\x0a\x12\x1a")  # key tables and records: all are length-delimited
_VARINT_BYTES = 10

Aggregated = list[bytes]
"""The user records of one aggregate."""


def taken_apart(pieces: Pieces) -> Iterator[bytes | Aggregated]:
    """Yield the text of an object as it comes, and the user records of each aggregate in it.

    Text before an aggregate is complete when the aggregate comes.
    """
    whole = Deaggregator(0, HASH_KEYS - 1)  # an archive has no shards: nothing is foreign
    held = b""
    for piece in pieces:
        if not piece:
            yield b""
            continue
        if not held and _RARE not in piece:  # much faster than to search for the magic
            yield piece
            continue
        held += piece
        while (at := held.find(MAGIC)) >= 0:
            if at:
                yield held[:at]
                held = held[at:]
            end = _end_of(held)
            found = whole.user_records(held[:end]) if end else None
            if found is not None:
                yield found.payloads
                held = held[end:]
            elif len(held) < MAXIMUM_BYTES:
                break  # its end may be still to come
            else:
                yield held[: len(MAGIC)]
                held = held[len(MAGIC) :]
        if not held.startswith(MAGIC):
            text = len(held) - _begun_magic(held)
            if text:
                yield held[:text]
                held = held[text:]
    if held:
        yield held


def _begun_magic(text: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a magic."""
    return next((n for n in range(len(MAGIC) - 1, 0, -1) if text.endswith(MAGIC[:n])), 0)


def _end_of(data: bytes) -> int:
    """Return where the aggregate at the beginning ends; 0 where no end is found.

    A digest may look like another field. So each place between two fields is tried, as far as the
    fields can be followed.
    """
    digest = hashlib.md5(usedforsecurity=False)
    place = begin = len(MAGIC)
    while place < len(data) and data[place] in _TAGS:
        length, after = _varint(data, place + 1)
        place = after + length
        if not after or place + _DIGEST_BYTES > len(data):
            return 0
        digest.update(data[begin:place])
        begin = place
        if digest.digest() == data[place : place + _DIGEST_BYTES]:
            return place + _DIGEST_BYTES
    return 0


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number and where it ends; 0 for the latter where it doesn't end."""
    value = 0
    for shift, byte in enumerate(data[place : place + _VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value, place + shift + 1
    return 0, 0
