"""The user records of an aggregate (KPL), from protobuf to columns: the compiled part.

The message is that of the KPL's own `messages.proto`:

    AggregatedRecord {1: partition_key_table, 2: explicit_hash_key_table: text each; 3: Record each}
    Record {1: partition_key_index, 2: explicit_hash_key_index: varint; 3: data; and tags}

Fields of other numbers or types are passed over, as protobuf does, and so are tags, unchecked; of a
field that stands there twice the last one counts. Groups, which went out of use before there was a
KPL, are no sound message. A record without a key or without data isn't either: the KPL's own
message requires both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiled import compiled, inlined

Array = Any  # numba infers types from the arguments of the first call

NOT_SOUND = -1
BEGIN, END, OWNER = 0, 1, 2

_VARINT, _FIXED_64, _DELIMITED, _FIXED_32 = 0, 1, 2, 5
_MOST_SHIFT = 63  # a varint has ten bytes at most
_KEYS, _HASH_KEYS, _RECORDS = 1, 2, 3
_KEY_INDEX, _HASH_INDEX, _DATA = 1, 2, 3


@inlined
def _varint(data: Array, place: int, end: int) -> tuple[int, int]:
    """Return a number, modulo 2^64, and where it ends; `NOT_SOUND` where it doesn't."""
    value = shift = 0
    while place < end and shift <= _MOST_SHIFT:
        byte: Any = np.int64(data[place])
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7
    return 0, NOT_SOUND


@compiled
def _field(data: Array, place: int, end: int) -> tuple[int, int, int, int]:
    """Return a field's number, type, value (of a delimited one where it begins), and its end."""
    nothing = (0, 0, 0, NOT_SOUND)
    tag, place = _varint(data, place, end)
    number, kind = tag >> 3, tag & 7
    if place < 0 or number <= 0:
        return nothing
    value = place
    if kind == _VARINT:
        value, place = _varint(data, place, end)
    elif kind == _DELIMITED:
        length, place = _varint(data, place, end)
        if place < 0 or length < 0 or length > end - place:
            return nothing
        value, place = place, place + length
    elif kind == _FIXED_64:
        place += 8
    elif kind == _FIXED_32:
        place += 4
    else:
        return nothing
    return (number, kind, value, place) if place <= end else nothing


@compiled
def read(data: Array, place: int, end: int) -> tuple[bool, int, Array, Array]:
    """Tell where everything stands in a message.

    Args:
        data: uint8[n].
        place: Where in it the message begins.
        end: Where it ends.

    Returns:
        Whether it is one, and each of its records points to a key.
        How many partition keys there are.
        int64[2, k], where each of them begins and ends, and behind them each explicit hash key.
        int64[3, m], where each record's data begins and ends, and which of the keys decides to whom
        it belongs: a hash key, where it has one, stands for its partition key.
    """
    counts = np.zeros(_RECORDS + 1, np.int64)
    is_sound = _count(data, place, end, counts)
    keys, owners = counts[_KEYS], counts[_KEYS] + counts[_HASH_KEYS]
    table = np.empty((2, owners), np.int64)
    records = np.empty((3, counts[_RECORDS]), np.int64)
    at = np.zeros(_RECORDS + 1, np.int64)
    at[_HASH_KEYS] = keys
    while is_sound and place < end:
        number, kind, begin, place = _field(data, place, end)
        if kind != _DELIMITED or number > _RECORDS:
            continue
        index = at[number]
        at[number] += 1
        if number == _RECORDS:
            is_sound = _read_record(data, begin, place, keys, owners, records[:, index])
        else:
            table[BEGIN, index], table[END, index] = begin, place
    return is_sound, keys, table, records


@inlined
def _count(data: Array, place: int, end: int, counts: Array) -> bool:
    """Count the fields by number; return whether the message is one."""
    while place < end:
        number, kind, _, place = _field(data, place, end)
        if place < 0:
            return False
        if kind == _DELIMITED and number <= _RECORDS:
            counts[number] += 1
    return True


@inlined
def _read_record(data: Array, place: int, end: int, keys: int, owners: int, record: Array) -> bool:
    has_data = has_key = has_hash_key = False
    key = hash_key = 0
    while place < end:
        number, kind, value, place = _field(data, place, end)
        if place < 0:
            return False
        if number == _DATA and kind == _DELIMITED:
            record[BEGIN], record[END] = value, place
            has_data = True
        elif number == _KEY_INDEX and kind == _VARINT:
            key, has_key = value, True
        elif number == _HASH_INDEX and kind == _VARINT:
            hash_key, has_hash_key = value, True
    if has_hash_key:
        record[OWNER] = keys + hash_key
        is_inside = 0 <= hash_key < owners - keys
    else:
        record[OWNER] = key
        is_inside = 0 <= key < keys
    return has_data and has_key and is_inside
