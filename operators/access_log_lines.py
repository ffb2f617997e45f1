"""Access-log lines to spans and numbers: the compiled part of the parser.

`parse_lines` cuts each line into spans (where a text begins and ends in the buffer) and reads its
numbers. It looks at each byte a constant number of times, whatever the line holds, and makes no
Python object. The buffer is also seen as 64-bit words, little-endian: eight bytes are searched at
once.
What a line is stands in `operators.access_log`.

All that `parse_lines` calls stands in this file, because numba's cache looks only at the file of
the function that is called from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiled import compiled

Array = Any  # numba infers types from the arguments of the first call
Span = tuple[int, int]

CLIENT, VHOST, FORWARDED_FOR, USER = 0, 1, 2, 3
REQUEST, METHOD, PATH, QUERY, PROTOCOL, REFERRER, AGENT = 4, 5, 6, 7, 8, 9, 10
SPANS = 11
TIME_US, STATUS, SIZE = 0, 1, 2

GOOD, EMPTY, NO_REQUEST, CUT_REQUEST, NO_TIME, BAD_TIME = 0, 1, 2, 3, 4, 5
NO_CLIENT, BAD_STATUS, BAD_SIZE = 6, 7, 8

_ONES = np.uint64(0x0101010101010101)
_HIGHS = np.uint64(0x8080808080808080)
_1, _56 = np.uint64(1), np.uint64(56)

_NEWLINE = 10
_SPACE, _CR, _QUOTE, _BACKSLASH, _DASH = (ord(c) for c in ' \r"\\-')
_COLON, _COMMA, _DOT, _OPEN, _CLOSE, _QUESTION = (ord(c) for c in ":,.[]?")
_ROUND_OPEN, _ROUND_CLOSE, _SLASH, _PLUS, _ZERO = (ord(c) for c in "()/+0")
_LETTER_T, _LETTER_Z = ord("T"), ord("Z")

_IN_TOKEN = np.zeros(256, np.bool_)  # tchar of RFC 9110: what a method is made of
_IN_TOKEN[list(b"!#$%&'*+-.^_`|~0123456789")] = True
_IN_TOKEN[list(range(ord("A"), ord("Z") + 1)) + list(range(ord("a"), ord("z") + 1))] = True
_IN_HEX = np.zeros(256, np.bool_)
_IN_HEX[list(b"0123456789abcdefABCDEF")] = True
_IN_BLANK = np.zeros(256, np.bool_)
_IN_BLANK[list(b" \t")] = True

_MONTH_NAMES = np.frombuffer(b"JanFebMarAprMayJunJulAugSepOctNovDec", np.uint8).reshape(12, 3)
_DAYS_BEFORE_MONTH = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334], np.int64)
_DAYS_IN_MONTH = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_NOT_A_NUMBER = -(2**62)
_US = 1_000_000
_MOST_DIGITS = 18
_HEAD_ITEMS = 5
_USUAL_TIME = len("[17/May/2015:10:05:03 +0000] ")


# ---- words of the buffer ------------------------------------------------------------------------


@compiled
def _at(array: Array, place: int) -> Any:
    """Return an element; numba spends time on negative places where it can't rule them out."""
    return array[np.uint64(place)]


@compiled
def _find(words: Array, at: int, end: int, one: int, other: int) -> int:
    """Return where the first byte `one` or `other` stands in [at, end), or `end`.

    A word's lowest byte that is 0 is found by the borrow of `word - 0x01...`; hits above it may be
    false, so bytes before `at` are filled with ones rather than masked out afterwards.
    """
    if at >= end:
        return end
    ones, others = np.uint64(one) * _ONES, np.uint64(other) * _ONES
    index = at >> 3
    before = (_1 << np.uint64((at & 7) << 3)) - _1
    word = _at(words, index)
    x, y = (word ^ ones) | before, (word ^ others) | before
    hits = (((x - _ONES) & ~x) | ((y - _ONES) & ~y)) & _HIGHS
    while hits == 0:
        index += 1
        if index << 3 >= end:
            return end
        word = _at(words, index)
        x, y = word ^ ones, word ^ others
        hits = (((x - _ONES) & ~x) | ((y - _ONES) & ~y)) & _HIGHS
    below = (hits & (~hits + _1)) - _1  # ones below the lowest hit, which is a byte's highest bit
    found: Any = np.int64(((below & _ONES) * _ONES) >> _56) + (index << 3) - 1
    return found if found < end else end


# ---- numbers and times --------------------------------------------------------------------------


@compiled
def _digit(text: Array, at: int) -> Any:
    """Return a digit's value; for other characters it isn't in 0 to 9."""
    return _at(text, at) - _ZERO


@compiled
def _digits(text: Array, at: int, end: int) -> int:
    """Return the number that [at, end) writes in decimal digits, or _NOT_A_NUMBER."""
    if end <= at or end - at > _MOST_DIGITS:
        return _NOT_A_NUMBER
    total = 0
    for place in range(at, end):
        digit = _digit(text, place)
        if not 0 <= digit <= 9:
            return _NOT_A_NUMBER
        total = total * 10 + digit
    return total


@compiled
def _days_since_epoch(year: int, month: int, day: int) -> int:
    """Return the days since the epoch, or _NOT_A_NUMBER for what isn't in the years 2 to 9998."""
    if year < 2 or year > 9998 or month < 1 or month > 12 or day < 1:
        return _NOT_A_NUMBER
    leap = 1 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 0
    if day > _DAYS_IN_MONTH[month - 1] + (leap if month == 2 else 0):
        return _NOT_A_NUMBER
    before = year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    day_of_year: int = _DAYS_BEFORE_MONTH[month - 1] + (leap if month > 2 else 0) + day
    return days + day_of_year - 1


@compiled
def _month_named(text: Array, at: int) -> int:
    for month in range(12):
        name = _MONTH_NAMES[month]
        if (
            _at(text, at) == name[0]
            and _at(text, at + 1) == name[1]
            and _at(text, at + 2) == name[2]
        ):
            return month + 1
    return 0


@compiled
def _zone_seconds(text: Array, at: int, end: int) -> int:
    """Return a zone's offset: `+hhmm`, `+hh:mm`, `Z`, or nothing, which is UTC."""
    if at == end or (at + 1 == end and _at(text, at) == _LETTER_Z):
        return 0
    size = end - at
    if size == 6 and _at(text, at + 3) == _COLON:
        minutes = _digits(text, at + 4, end)
    elif size == 5:
        minutes = _digits(text, at + 3, end)
    else:
        return _NOT_A_NUMBER
    hours = _digits(text, at + 1, at + 3)
    if minutes < 0 or hours < 0 or minutes > 59 or hours > 23:
        return _NOT_A_NUMBER
    seconds = (hours * 60 + minutes) * 60
    if _at(text, at) == _PLUS:
        return int(seconds)
    return -seconds if _at(text, at) == _DASH else _NOT_A_NUMBER


@compiled
def _time_us(text: Array, at: int, end: int) -> int:
    """Return the time in [at, end), `17/May/2015:10:05:03 +0000` or ISO, or _NOT_A_NUMBER."""
    if end - at < 19:
        return _NOT_A_NUMBER
    if _at(text, at + 2) == _SLASH and _at(text, at + 6) == _SLASH and _at(text, at + 11) == _COLON:
        days = _days_since_epoch(
            _digits(text, at + 7, at + 11), _month_named(text, at + 3), _digits(text, at, at + 2)
        )
        clock = at + 12
    elif (
        _at(text, at + 4) == _DASH
        and _at(text, at + 7) == _DASH
        and _at(text, at + 10) == _LETTER_T
    ):
        days = _days_since_epoch(
            _digits(text, at, at + 4), _digits(text, at + 5, at + 7), _digits(text, at + 8, at + 10)
        )
        clock = at + 11
    else:
        return _NOT_A_NUMBER
    rest = clock + 8
    if days == _NOT_A_NUMBER or rest > end or _at(text, clock + 2) != _COLON:
        return _NOT_A_NUMBER
    if _at(text, clock + 5) != _COLON:
        return _NOT_A_NUMBER
    hour, minute = _digits(text, clock, clock + 2), _digits(text, clock + 3, clock + 5)
    second = _digits(text, clock + 6, rest)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return _NOT_A_NUMBER
    fraction_us = 0
    if rest < end and _at(text, rest) == _DOT:
        unit_us = _US
        rest += 1
        first = rest
        while rest < end and 0 <= _digit(text, rest) <= 9:
            unit_us //= 10
            fraction_us += _digit(text, rest) * unit_us
            rest += 1
        if rest == first:
            return _NOT_A_NUMBER
    if rest + 1 < end and _at(text, rest) == _SPACE:
        rest += 1
    zone_seconds = _zone_seconds(text, rest, end)
    if zone_seconds == _NOT_A_NUMBER:
        return _NOT_A_NUMBER
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - zone_seconds
    return int(seconds * _US + fraction_us)


# ---- parts of a line ----------------------------------------------------------------------------


@compiled
def _skip_blanks(text: Array, at: int, end: int) -> int:
    while at < end and _IN_BLANK[_at(text, at)]:
        at += 1
    return at


@compiled
def _word_end(text: Array, at: int, end: int) -> int:
    while at < end and not _IN_BLANK[_at(text, at)]:
        at += 1
    return at


@compiled
def _closing_quote(text: Array, words: Array, at: int, end: int) -> int:
    """Return where a quoted text that begins at `at` is closed, or `end` if it isn't.

    A quote closes unless a backslash escapes it, or something other than a space follows it:
    servers that escape nothing write such quotes.
    """
    while at < end:
        at = _find(words, at, end, _QUOTE, _BACKSLASH)
        if at >= end:
            return end
        if _at(text, at) == _BACKSLASH:
            at += 2
        elif at + 1 == end or _IN_BLANK[_at(text, at + 1)]:
            return at
        else:
            at += 1
    return end


@compiled
def _put(spans: Array, field: int, line: int, begin: int, end: int, text: Array) -> None:
    """Note a text; `-` is written for one that isn't there."""
    if end - begin == 1 and _at(text, begin) == _DASH:
        end = begin
    spans[field, 0, line] = begin
    spans[field, 1, line] = end


@compiled
def _is_empty(spans: Array, field: int, line: int) -> bool:
    return bool(spans[field, 0, line] == spans[field, 1, line])


@compiled
def _without_port(text: Array, begin: int, end: int) -> Span:
    """Return `host` of `host`, `host:port`, `[host]` and `[host]:port`."""
    if begin < end and _at(text, begin) == _OPEN:
        for place in range(begin + 1, end):
            if _at(text, place) == _CLOSE:
                return begin + 1, place
    place = end
    while place > begin and 0 <= _digit(text, place - 1) <= 9:
        place -= 1
    if place in (begin, end) or _at(text, place - 1) != _COLON:
        return begin, end
    for earlier in range(begin, place - 1):
        if _at(text, earlier) == _COLON:  # an IPv6 address without brackets has no port
            return begin, end
    return begin, place - 1


@compiled
def _is_address(text: Array, begin: int, end: int) -> bool:
    """Tell what looks like an IP address without a port."""
    colons, dots, letters = 0, 0, 0
    for place in range(begin, end):
        if _at(text, place) == _COLON:
            colons += 1
        elif _at(text, place) == _DOT:
            dots += 1
        elif _IN_HEX[_at(text, place)]:
            letters += not 0 <= _digit(text, place) <= 9
        else:
            return False
    return colons >= 2 or (colons == 0 and dots == 3 and letters == 0)


@compiled
def _put_request(text: Array, words: Array, begin: int, end: int, line: int, spans: Array) -> None:
    """Cut a request into method, path, query and protocol: four empty texts if it is none."""
    _put(spans, REQUEST, line, begin, end, text)
    for field in range(METHOD, PROTOCOL + 1):
        spans[field, 0, line] = spans[field, 1, line] = begin
    method_end = begin
    while method_end < end and _IN_TOKEN[_at(text, method_end)]:
        method_end += 1
    if method_end in (begin, end) or not _IN_BLANK[_at(text, method_end)]:
        return
    target = _skip_blanks(text, method_end, end)
    while end > target and _IN_BLANK[_at(text, end - 1)]:
        end -= 1
    if target == end:
        return
    last = end
    while last > target and not _IN_BLANK[_at(text, last - 1)]:
        last -= 1
    target_end = end
    if (
        last > target
        and end - last >= 5
        and _at(text, last) == ord("H")
        and _at(text, last + 1) == ord("T")
        and _at(text, last + 2) == ord("T")
        and _at(text, last + 3) == ord("P")
        and _at(text, last + 4) == _SLASH
    ):
        spans[PROTOCOL, 0, line], spans[PROTOCOL, 1, line] = last, end
        target_end = last
        while _IN_BLANK[_at(text, target_end - 1)]:
            target_end -= 1
    path_end = _find(words, target, target_end, _QUESTION, _QUESTION)
    spans[METHOD, 0, line], spans[METHOD, 1, line] = begin, method_end
    spans[PATH, 0, line], spans[PATH, 1, line] = target, path_end
    if path_end < target_end:
        spans[QUERY, 0, line], spans[QUERY, 1, line] = path_end + 1, target_end


@compiled
def _put_head(
    text: Array,
    words: Array,
    begin: int,
    end: int,
    line: int,
    spans: Array,
    items: Array,
    last_of_list: bool,
) -> bool:
    """Cut what stands before the time: who asked, and whom. False if there is nothing."""
    for field in range(CLIENT, USER + 1):
        spans[field, 0, line] = spans[field, 1, line] = begin
    count = 0
    at = _skip_blanks(text, begin, end)
    last_end = at
    while at < end:
        first = at
        if _at(text, at) == _QUOTE:
            at = _closing_quote(text, words, at + 1, end)
            item_begin, item_end = first + 1, at
            at = min(at + 1, end)
        else:
            at = _word_end(text, at, end)
            while _at(text, at - 1) == _COMMA:  # a list goes on behind a comma
                following = _skip_blanks(text, at, end)
                if following == end:
                    break
                at = _word_end(text, following, end)
            item_begin, item_end = first, at
            is_list = _at(text, first) == _ROUND_OPEN and _at(text, at - 1) == _ROUND_CLOSE
            if is_list and count > 0:
                _put(spans, FORWARDED_FOR, line, first + 1, at - 1, text)
                at = _skip_blanks(text, at, end)
                continue
        if count < _HEAD_ITEMS:
            items[count, 0], items[count, 1] = item_begin, item_end
            count += 1
        last_end = item_end
        at = _skip_blanks(text, at, end)
    if count == 0:
        return False
    client = 0
    if count >= 4 and not (_is_dash(text, items[1]) and not _is_dash(text, items[2])):
        client = 1
        before, before_end = items[0, 0], items[0, 1]
        is_list = _find(words, before, before_end, _COMMA, _COMMA) < before_end
        if is_list or _is_address(text, before, before_end):
            _put(spans, FORWARDED_FOR, line, before, before_end, text)
        else:
            before, before_end = _without_port(text, before, before_end)
            _put(spans, VHOST, line, before, before_end, text)
    who, who_end = items[client, 0], items[client, 1]
    comma = _find(words, who, who_end, _COMMA, _COMMA)
    if comma < who_end:
        _put(spans, FORWARDED_FOR, line, who, who_end, text)
        if last_of_list:
            while comma < who_end:
                who = _skip_blanks(text, comma + 1, who_end)
                comma = _find(words, who, who_end, _COMMA, _COMMA)
        who_end = comma
    who, who_end = _without_port(text, who, who_end)
    _put(spans, CLIENT, line, who, who_end, text)
    if count >= client + 3:
        _put(spans, USER, line, items[client + 2, 0], last_end, text)
    return True


@compiled
def _is_dash(text: Array, item: Array) -> bool:
    return bool(item[1] - item[0] == 1 and _at(text, item[0]) == _DASH)


@compiled
def _put_tail(
    text: Array, words: Array, at: int, end: int, line: int, spans: Array, forwarded_for: int
) -> None:
    """Read the quoted texts behind the size; unquoted words between them mean nothing to us."""
    spans[REFERRER, 0, line] = spans[REFERRER, 1, line] = end
    spans[AGENT, 0, line] = spans[AGENT, 1, line] = end
    number = 0
    while True:
        at = _skip_blanks(text, at, end)
        if at >= end:
            return
        if _at(text, at) != _QUOTE:
            at = _word_end(text, at, end)
            continue
        closed = _closing_quote(text, words, at + 1, end)
        if number == 0:
            _put(spans, REFERRER, line, at + 1, closed, text)
        elif number == 1:
            _put(spans, AGENT, line, at + 1, closed, text)
        elif number == forwarded_for and _is_empty(spans, FORWARDED_FOR, line):
            _put(spans, FORWARDED_FOR, line, at + 1, closed, text)
        number += 1
        at = closed + 1


# ---- lines --------------------------------------------------------------------------------------


@compiled
def _parse_line(
    text: Array,
    words: Array,
    begin: int,
    end: int,
    line: int,
    spans: Array,
    numbers: Array,
    items: Array,
    forwarded_for: int,
    last_of_list: bool,
) -> int:
    """Parse the line in [begin, end) and return GOOD, or why it isn't one."""
    while end > begin and (_IN_BLANK[_at(text, end - 1)] or _at(text, end - 1) == _CR):
        end -= 1
    begin = _skip_blanks(text, begin, end)
    if begin == end:
        return EMPTY
    # The request is the first quoted text right behind a time, perhaps with words between them.
    # Who wrote the line can't have been made to write such a pair earlier, as long as the server
    # escapes the quotes of what users send.
    seen_bracket, seen_quote = False, False
    unquoted = begin
    while True:
        quote = _find(words, unquoted, end, _QUOTE, _BACKSLASH)
        while quote < end and _at(text, quote) == _BACKSLASH:
            quote = _find(words, quote + 2, end, _QUOTE, _BACKSLASH)
        if quote >= end:
            if not seen_quote:
                return NO_REQUEST
            return BAD_TIME if seen_bracket else NO_TIME
        seen_quote = True
        moment, bracket, close = _NOT_A_NUMBER, quote, quote
        usual = quote - _USUAL_TIME
        if usual > unquoted and _at(text, usual) == _OPEN and _at(text, quote - 2) == _CLOSE:
            moment = _time_us(text, usual + 1, quote - 2)
            if moment != _NOT_A_NUMBER:
                bracket = usual  # there was no need to look for it
        while bracket > unquoted and moment == _NOT_A_NUMBER:
            bracket -= 1
            if _at(text, bracket) == _CLOSE:
                close = bracket
            elif _at(text, bracket) == _OPEN:
                seen_bracket = True
                if close < quote:
                    moment = _time_us(text, bracket + 1, close)
        request_end = _closing_quote(text, words, quote + 1, end)
        if moment != _NOT_A_NUMBER:
            break
        unquoted = min(request_end + 1, end)
    if request_end >= end:
        return CUT_REQUEST
    numbers[TIME_US, line] = moment
    if not _put_head(text, words, begin, bracket, line, spans, items, last_of_list):
        return NO_CLIENT
    _put_request(text, words, quote + 1, request_end, line, spans)
    at = _skip_blanks(text, request_end + 1, end)
    after = _word_end(text, at, end)
    status = 0
    if not (after - at == 1 and _at(text, at) == _DASH):
        status = _digits(text, at, after)
        if status < 0 or after - at != 3:
            return BAD_STATUS
    numbers[STATUS, line] = status
    at = _skip_blanks(text, after, end)
    size = 0
    if at < end and _at(text, at) != _QUOTE:
        after = _word_end(text, at, end)
        if not (after - at == 1 and _at(text, at) == _DASH):
            size = _digits(text, at, after)
            if size < 0:
                return BAD_SIZE
        at = after
    numbers[SIZE, line] = size
    _put_tail(text, words, at, end, line, spans, forwarded_for)
    return GOOD


@compiled
def parse_lines(
    text: Array,
    words: Array,
    begins: Array,
    ends: Array,
    forwarded_for: int,
    last_of_list: bool,
    spans: Array,
    numbers: Array,
    reasons: Array,
) -> None:
    """Parse n lines.

    Args:
        text: uint8[m], the buffer.
        words: uint64[m / 8], the same memory; at least 8 bytes of it are padding.
        begins: int64[n], where each line begins.
        ends: int64[n], where each line ends.
        forwarded_for: Which quoted text behind the size, from 0, is X-Forwarded-For; -1 for none.
        last_of_list: Whether the last of a list that stands in the client's place is the client,
            not the first.
        spans: int64[SPANS, 2, n], out: where each text begins and ends.
        numbers: int64[3, n], out: time (microseconds since the epoch), status, bytes.
        reasons: uint8[n], out: GOOD, or why a line isn't good; its spans then mean nothing.
    """
    items = np.empty((_HEAD_ITEMS, 2), np.int64)
    for line in range(len(begins)):
        reasons[line] = _parse_line(
            text,
            words,
            begins[line],
            ends[line],
            line,
            spans,
            numbers,
            items,
            forwarded_for,
            last_of_list,
        )


@compiled
def find_lines(words: Array, size: int, begins: Array, ends: Array) -> None:
    """Find the lines of a buffer of `size` bytes; there is room for exactly them."""
    begin = 0
    for line in range(len(begins)):
        end = _find(words, begin, size, _NEWLINE, _NEWLINE)
        begins[line], ends[line] = begin, end
        begin = end + 1
