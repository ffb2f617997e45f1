"""The records in a reply's body, from JSON and base64 to columns: the compiled part.

`locate` finds where in the body everything stands, `decode` turns base64 into payloads. Both look
at each byte a constant number of times and make no Python object. JSON is read as it may be
written, white space, escapes and fields of any kind included, but only what is wanted of it:
strings that nobody asked for are passed over, not checked. Of what they don't understand they say
so.

All that is called stands in this file, because numba's cache looks only at the file of the function
that is called from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from compiled import compiled, inlined

Array = Any  # numba infers types from the arguments of the first call

NOT_UNDERSTOOD, TOO_MANY = -1, -2
DATA_BEGIN, DATA_END, NUMBER_BEGIN, NUMBER_END = 0, 1, 2, 3

_QUOTE, _BACKSLASH, _COMMA, _COLON = (ord(c) for c in '"\\,:')
_OPEN, _CLOSE, _OPEN_ARRAY, _CLOSE_ARRAY = (ord(c) for c in "{}[]")
_MINUS, _PLUS, _DOT, _SMALL_E, _LARGE_E, _ZERO = (ord(c) for c in "-+.eE0")
_NEWLINE, _SPACE, _TAB, _CR, _PAD = (ord(c) for c in "\n \t\r=")

_RECORDS = np.frombuffer(b"Records", np.uint8)
_DATA = np.frombuffer(b"Data", np.uint8)
_NUMBER = np.frombuffer(b"SequenceNumber", np.uint8)
_ARRIVAL = np.frombuffer(b"ApproximateArrivalTimestamp", np.uint8)

_HAS_DATA, _HAS_NUMBER, _HAS_ARRIVAL, _HAS_ALL = 1, 16, 256, 273  # each of them, and once
_MOST_DIGITS = 18
_MICRO = 6  # microseconds are 10^-6 seconds
_CHUNK = 4096  # characters of base64 that are decoded at a time: they stay in the cache

# libc's is several times as fast as a loop: the texts between quotes are long.
# `Any`: to a type checker its types are values.
_memchr: Any = types.ExternalFunction("memchr", types.uintp(types.uintp, types.intc, types.uintp))


# ---- JSON ---------------------------------------------------------------------------------------


@inlined
def _at(body: Array, place: int) -> int:
    """Return a byte; 0 behind the end."""
    return body[place] if place < len(body) else 0


@inlined
def _unblank(body: Array, place: int) -> int:
    """Return where what isn't white space goes on."""
    while place < len(body) and (
        body[place] == _SPACE
        or body[place] == _NEWLINE
        or body[place] == _CR
        or body[place] == _TAB
    ):
        place += 1
    return place


@inlined
def _find_quote(body: Array, place: int) -> int:
    """Return where the next quote stands; the body's length where there is none."""
    base: Any = np.uintp(body.ctypes.data)
    found = _memchr(base + np.uintp(place), np.intc(_QUOTE), np.uintp(len(body) - place))
    at: Any = np.intp(found - base)
    return at if found != np.uintp(0) else len(body)


@inlined
def _end_of_string(body: Array, place: int) -> int:
    """Return where the quote stands that ends the string whose text begins at `place`."""
    begin = place
    while True:
        place = _find_quote(body, place)
        escapes = 0
        while place - 1 - escapes >= begin and _at(body, place - 1 - escapes) == _BACKSLASH:
            escapes += 1
        if escapes % 2 == 0 or place >= len(body):
            return place
        place += 1


@compiled
def _behind_value(body: Array, place: int) -> int:
    """Return where the value that begins at `place` ends; behind the body where it doesn't."""
    depth = 0
    while place < len(body):
        byte = body[place]
        if byte == _QUOTE:
            place = _end_of_string(body, place + 1)
        elif byte in (_OPEN, _OPEN_ARRAY):
            depth += 1
        elif byte in (_CLOSE, _CLOSE_ARRAY):
            if depth == 0:
                return place  # of what is around a number, true, false or null
            depth -= 1
        elif byte == _COMMA and depth == 0:
            return place
        place += 1
        if depth == 0 and byte in (_QUOTE, _CLOSE, _CLOSE_ARRAY):
            return place
    return len(body) + 1


@inlined
def _is(body: Array, begin: int, end: int, name: Array) -> bool:
    """Tell whether a text is a name."""
    if end - begin != len(name):
        return False
    for place in range(len(name)):  # noqa: SIM110  # numba knows no `all`
        if body[begin + place] != name[place]:
            return False
    return True


@compiled
def find_records(body: Array) -> int:
    """Return where the array `Records` of an object begins, behind its bracket."""
    place = _unblank(body, 0)
    if _at(body, place) != _OPEN:
        return NOT_UNDERSTOOD
    while True:
        place = _unblank(body, place + 1)
        if _at(body, place) != _QUOTE:
            return NOT_UNDERSTOOD
        begin, end = place + 1, _end_of_string(body, place + 1)
        place = _unblank(body, end + 1)
        if _at(body, place) != _COLON:
            return NOT_UNDERSTOOD
        place = _unblank(body, place + 1)
        if _is(body, begin, end, _RECORDS):
            return place + 1 if _at(body, place) == _OPEN_ARRAY else NOT_UNDERSTOOD
        place = _unblank(body, _behind_value(body, place))
        if _at(body, place) != _COMMA:
            return NOT_UNDERSTOOD


@compiled
def locate(body: Array, place: int, spans: Array, arrival_us: Array) -> tuple[int, int]:
    """Find the records of an array.

    Args:
        body: uint8[b], JSON.
        place: Where the array begins, behind its bracket.
        spans: int64[4, n], for where in the body each record's data (base64) begins and ends, and
            its sequence number.
        arrival_us: int64[n], for when each arrived.

    Returns:
        How many records there are; or `NOT_UNDERSTOOD`, or `TOO_MANY` for n.
        Where the array ends, its bracket.
    """
    # Members are read as in `find_records`: one function for both makes the whole an eighth slower.
    nothing = (NOT_UNDERSTOOD, 0)
    records = 0
    place = _unblank(body, place)
    if _at(body, place) == _CLOSE_ARRAY:
        return 0, place
    while True:
        if _at(body, place) != _OPEN:
            return nothing
        if records == len(arrival_us):
            return TOO_MANY, 0
        found = 0
        while True:
            place = _unblank(body, place + 1)
            if _at(body, place) != _QUOTE:
                return nothing
            key, key_end = place + 1, _end_of_string(body, place + 1)
            place = _unblank(body, key_end + 1)
            if _at(body, place) != _COLON:
                return nothing
            place = _unblank(body, place + 1)
            if _at(body, place) == _QUOTE:
                begin, end = place + 1, _end_of_string(body, place + 1)
                place = end + 1
                if _is(body, key, key_end, _DATA):
                    found += _HAS_DATA
                    spans[DATA_BEGIN, records], spans[DATA_END, records] = begin, end
                elif _is(body, key, key_end, _NUMBER):
                    found += _HAS_NUMBER
                    spans[NUMBER_BEGIN, records], spans[NUMBER_END, records] = begin, end
            elif _is(body, key, key_end, _ARRIVAL):
                found += _HAS_ARRIVAL
                arrival_us[records], place = _microseconds(body, place)
                if place < 0:
                    return nothing
            else:
                place = _behind_value(body, place)
            place = _unblank(body, place)
            if _at(body, place) != _COMMA:
                break
        if _at(body, place) != _CLOSE or found != _HAS_ALL:
            return nothing
        records += 1
        place = _unblank(body, place + 1)
        if _at(body, place) == _CLOSE_ARRAY:
            return records, place
        if _at(body, place) != _COMMA:
            return nothing
        place = _unblank(body, place + 1)


# ---- numbers ------------------------------------------------------------------------------------


@compiled
def _microseconds(body: Array, place: int) -> tuple[int, int]:
    """Return a number of seconds, in any of JSON's notations, as microseconds, and where it ends.

    Where it isn't one, or needs more digits than 64 bits have, it ends at `NOT_UNDERSTOOD`.
    """
    nothing = (0, NOT_UNDERSTOOD)
    mantissa = digits = decimals = exponent = 0
    while True:
        byte = _at(body, place)
        if _ZERO <= byte <= _ZERO + 9:
            mantissa = 10 * mantissa + (byte - _ZERO)
            digits += 1
            decimals += decimals > 0
        elif byte == _DOT and decimals == 0 and digits:
            decimals = 1  # and one more for each of them
        else:
            break
        place += 1
    if digits == 0 or digits > _MOST_DIGITS:
        return nothing
    if byte in (_SMALL_E, _LARGE_E):
        place += 1
        sign = _at(body, place)
        place += sign in (_MINUS, _PLUS)
        begin = place
        while _ZERO <= _at(body, place) <= _ZERO + 9 and exponent < _MOST_DIGITS:
            exponent = 10 * exponent + (body[place] - _ZERO)
            place += 1
        if place == begin:
            return nothing
        exponent = -exponent if sign == _MINUS else exponent
    power = exponent + _MICRO - max(decimals - 1, 0)
    if power < -_MOST_DIGITS or digits + power > _MOST_DIGITS:
        return nothing
    if power >= 0:
        return mantissa * 10**power, place
    unit = 10**-power
    return (mantissa + unit // 2) // unit, place


@compiled
def are_digits(body: Array, begins: Array, ends: Array) -> bool:
    """Tell whether each text is one digit or more, and nothing else."""
    for text in range(len(begins)):
        characters = body[begins[text] : ends[text]]
        others = np.uint8(len(characters) == 0)
        for place in range(len(characters)):
            others |= np.uint8(np.uint8(characters[place] - np.uint8(_ZERO)) > np.uint8(9))
        if others:
            return False
    return True


# ---- base64 -------------------------------------------------------------------------------------


@inlined
def _six(byte: Any) -> Any:
    """Return the six bits of a character; 255 of what is none.

    Without a table, which no processor looks up for many characters at a time.
    """
    upper, lower = np.uint8(byte - np.uint8(65)), np.uint8(byte - np.uint8(97))
    digit = np.uint8(byte - np.uint8(_ZERO))
    six = np.uint8(255)
    six = upper if upper < np.uint8(26) else six
    six = np.uint8(lower + np.uint8(26)) if lower < np.uint8(26) else six
    six = np.uint8(digit + np.uint8(52)) if digit < np.uint8(10) else six
    six = np.uint8(62) if byte == np.uint8(43) else six
    return np.uint8(63) if byte == np.uint8(47) else six


@inlined
def _pads(body: Array, begin: int, end: int) -> int:
    """Return how many `=` base64 ends with, or `NOT_UNDERSTOOD` where it can't be base64."""
    if (end - begin) % 4:
        return NOT_UNDERSTOOD
    if end == begin or body[end - 1] != _PAD:
        return 0
    return 2 if body[end - 2] == _PAD else 1


@compiled
def decoded_bytes(body: Array, begins: Array, ends: Array) -> int:
    """Return how much room `decode` needs, or `NOT_UNDERSTOOD`."""
    room = len(begins)
    for text in range(len(begins)):
        pads = _pads(body, begins[text], ends[text])
        if pads < 0:
            return NOT_UNDERSTOOD
        room += (ends[text] - begins[text]) // 4 * 3 - pads
    return room


@inlined
def _is_braced(text: Array, begin: int, end: int) -> bool:
    """Tell whether it begins with `{` and ends with `}`, but for white space behind."""
    while end > begin and text[end - 1] in (_SPACE, _NEWLINE, _CR, _TAB):
        end -= 1
    return end > begin and text[begin] == _OPEN and text[end - 1] == _CLOSE


@compiled
def decode(
    body: Array, begins: Array, ends: Array, target: Array, bounds: Array, braced: Array
) -> int:
    """Write what texts stand for, a line end behind each that has none of its own.

    Args:
        body: uint8[b].
        begins: int64[n], where in it each text begins, in base64 with all its padding.
        ends: int64[n], where each ends.
        target: uint8[`decoded_bytes`].
        bounds: int64[2, n], for where in it each begins and ends.
        braced: bool[n], for whether each begins with `{` and ends with `}`, but for white space.

    Returns:
        How much was written, or `NOT_UNDERSTOOD`.
    """
    sixes = np.empty(_CHUNK, np.uint8)
    at = 0
    for text in range(len(begins)):
        place, end = begins[text], ends[text]
        last = end - _pads(body, place, end)
        bounds[0, text] = at
        while place < end:
            size = min(_CHUNK, last - place)
            wrong = np.uint8(0)
            source = body[place : place + size]
            for character in range(size):
                six = _six(source[character])
                wrong |= six
                sixes[character] = six
            if wrong > np.uint8(63):
                return NOT_UNDERSTOOD
            out = target[at : at + size // 4 * 3]
            for group in range(size // 4):
                a, b = sixes[4 * group], sixes[4 * group + 1]
                c, d = sixes[4 * group + 2], sixes[4 * group + 3]
                out[3 * group] = np.uint8((a << 2) | (b >> 4))
                out[3 * group + 1] = np.uint8((b << 4) | (c >> 2))
                out[3 * group + 2] = np.uint8((c << 6) | d)
            at += size // 4 * 3
            rest = size % 4
            if rest > 1:
                a, b = sixes[size - rest], sixes[size - rest + 1]
                target[at] = np.uint8((a << 2) | (b >> 4))
                at += 1
            if rest > 2:
                target[at] = np.uint8((b << 4) | (sixes[size - 1] >> 2))
                at += 1
            place += _CHUNK
        bounds[1, text] = at
        braced[text] = _is_braced(target, bounds[0, text], at)
        if at == bounds[0, text] or target[at - 1] != _NEWLINE:
            target[at] = _NEWLINE
            at += 1
    return at
