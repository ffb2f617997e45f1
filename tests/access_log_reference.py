r"""A slow and plain parser of access-log lines: the oracle of the fast one.

Written from the definitions, one line and one field at a time: Apache's mod_log_config (formats,
`-`, C-style escapes in quoted items since 2.0.46), nginx's log module (`\xXX`), and what
`operators.access_log` promises beyond them. It shares no code with the fast parser.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

BLANKS = b" \t"
METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CLF_TIME = re.compile(
    r"(?P<day>\d\d)/(?P<month>[A-Z][a-z][a-z])/(?P<year>\d{4}):(?P<clock>\d\d:\d\d:\d\d)"
    r"(?P<fraction>\.\d+)?(?: ?(?P<zone>Z|[+-]\d\d:?\d\d))?",
    re.ASCII,
)
ISO_TIME = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)T(?P<clock>\d\d:\d\d:\d\d)"
    r"(?P<fraction>\.\d+)?(?: ?(?P<zone>Z|[+-]\d\d:?\d\d))?",
    re.ASCII,
)
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = (
    "client", "vhost", "forwarded_for", "user", "request", "method", "path", "query", "protocol",
    "referrer", "agent",
)  # fmt: skip


EMPTY, NO_REQUEST, CUT_REQUEST, NO_CLIENT = "empty", "no_request", "cut_request", "no_client"
NO_TIME, BAD_TIME, BAD_STATUS, BAD_BYTES = "no_time", "bad_time", "bad_status", "bad_bytes"


class Bad(Exception):
    """A line isn't an event; the argument is the reason."""


@dataclass
class Quoted:
    begin: int  # of what stands between the quotes
    end: int
    closed: bool

    @property
    def behind(self) -> int:
        return self.end + 1


def parse(line: bytes, forwarded_for: int | None = 2) -> dict[str, object]:
    """Return the columns of one line: texts as str, numbers as int."""
    line = line.rstrip(BLANKS + b"\r").lstrip(BLANKS)
    if not line:
        raise Bad(EMPTY)
    begin, time_us, request = find_request(line)
    if not request.closed:
        raise Bad(CUT_REQUEST)
    raw = dict.fromkeys(TEXTS, b"")
    raw |= head_of(line[:begin])
    status, bytes_, quoted = tail_of(line[request.behind :])
    raw["referrer"], raw["agent"] = [*quoted, b"", b""][:2]
    if forwarded_for is not None and raw["forwarded_for"] in (b"", b"-"):
        raw["forwarded_for"] = (quoted + [b""] * (forwarded_for + 1))[forwarded_for]
    raw["request"] = line[request.begin : request.end]
    raw = {name: b"" if value == b"-" else value for name, value in raw.items()}
    raw |= request_of(raw["request"])
    texts = {name: show(value) for name, value in raw.items()}
    return {**texts, "status": status, "bytes": bytes_, "time_us": time_us}


# ---- the request, and the time before it ------------------------------------------------------


def read_quoted(line: bytes, opening: int) -> Quoted:
    """Read the quoted text whose opening quote stands at `opening`."""
    at = opening + 1
    while at < len(line):
        if line[at : at + 1] == b"\\":
            at += 2
        elif line[at : at + 1] == b'"' and (line[at + 1 : at + 2] in (b"", b" ", b"\t")):
            return Quoted(opening + 1, at, closed=True)
        else:
            at += 1
    return Quoted(opening + 1, len(line), closed=False)


def find_request(line: bytes) -> tuple[int, int, Quoted]:
    """Return where the time's bracket stands, the time, and the quoted text behind it."""
    unquoted, brackets, quotes = 0, 0, 0
    while True:
        opening, at = None, unquoted
        while at < len(line) and opening is None:
            if line[at : at + 1] == b"\\":
                at += 2
            elif line[at : at + 1] == b'"':
                opening = at
            else:
                at += 1
        if opening is None:
            if not quotes:
                raise Bad(NO_REQUEST)
            raise Bad(BAD_TIME if brackets else NO_TIME)
        quotes += 1
        places = [at for at in range(unquoted, opening) if line[at : at + 1] == b"["]
        brackets += len(places)
        for place in reversed(places):
            close = line.find(b"]", place, opening)
            moment = None if close < 0 else time_of(line[place + 1 : close])
            if moment is not None:
                return place, moment, read_quoted(line, opening)
        unquoted = min(read_quoted(line, opening).behind, len(line))


def time_of(written: bytes) -> int | None:
    text = written.decode("latin-1")
    found = CLF_TIME.fullmatch(text) or ISO_TIME.fullmatch(text)
    if not found:
        return None
    month = found["month"]
    if month in MONTHS:
        month = str(MONTHS.index(month) + 1)
    try:
        hour, minute, second = map(int, found["clock"].split(":"))
        moment = datetime(
            int(found["year"]), int(month), int(found["day"]), hour, minute, second, tzinfo=UTC
        )
    except ValueError:
        return None
    if not 2 <= moment.year <= 9998:
        return None
    zone = (found["zone"] or "Z").replace(":", "")
    offset = timedelta(0)
    if zone != "Z":
        if int(zone[1:3]) > 23 or int(zone[3:]) > 59:
            return None
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        offset = -offset if zone[0] == "-" else offset
    fraction = (found["fraction"] or ".")[1:]
    return (moment - offset - EPOCH) // timedelta(microseconds=1) + int((fraction + "000000")[:6])


# ---- who asked, and whom ----------------------------------------------------------------------


def head_of(head: bytes) -> dict[str, bytes]:
    """Take apart what stands before the time."""
    found: dict[str, bytes] = {}
    items, last_end = [], 0
    at = 0
    while True:
        while head[at : at + 1] in (b" ", b"\t"):
            at += 1
        if at >= len(head):
            break
        if head[at : at + 1] == b'"':
            quoted = read_quoted(head, at)
            items.append((quoted.begin, quoted.end))
            at = min(quoted.behind, len(head))
            continue
        word = re.compile(rb"[^ \t]*(?:(?<=,)[ \t]+[^ \t]+)*").match(head, at)
        at = word.end()
        if items and word[0][:1] == b"(" and word[0][-1:] == b")":
            found["forwarded_for"] = word[0][1:-1]
        else:
            items.append(word.span())
    if not items:
        raise Bad(NO_CLIENT)
    last_end = items[-1][1]
    texts = [head[begin:end] for begin, end in items]
    if len(items) >= 4 and (texts[1] != b"-" or texts[2] == b"-"):
        before = texts.pop(0)
        items.pop(0)
        if b"," in before or looks_like_address(before):
            found["forwarded_for"] = before
        else:
            found["vhost"] = without_port(before)
    client = texts[0]
    if b"," in client:
        found["forwarded_for"] = client
        client = client[: client.index(b",")]
    found["client"] = without_port(client)
    if len(texts) >= 3:
        found["user"] = head[items[2][0] : last_end]
    return found


def looks_like_address(text: bytes) -> bool:
    is_4 = re.fullmatch(rb"[0-9]*(\.[0-9]*){3}", text)
    is_6 = re.fullmatch(rb"[0-9a-fA-F.:]*", text) and text.count(b":") >= 2
    return bool(is_4 or is_6)


def without_port(text: bytes) -> bytes:
    bracketed = re.match(rb"\[([^\]]*)\]", text)
    if bracketed:
        return bracketed[1]
    ported = re.fullmatch(rb"([^:]*):[0-9]+", text, re.DOTALL)
    return ported[1] if ported else text


# ---- the request's parts, and what follows it -------------------------------------------------


def request_of(request: bytes) -> dict[str, bytes]:
    method = METHOD.match(request)
    rest = request[method.end() :] if method else b""
    if not rest.startswith((b" ", b"\t")) or not (target := rest.strip(BLANKS)):
        return {}
    protocol = b""
    words = re.split(rb"[ \t]+", target)
    if len(words) > 1 and words[-1].startswith(b"HTTP/"):
        protocol = words[-1]
        target = target[: -len(protocol)].rstrip(BLANKS)
    path, _, query = target.partition(b"?")
    return {"method": method[0], "path": path, "query": query, "protocol": protocol}


def tail_of(tail: bytes) -> tuple[int, int, list[bytes]]:
    """Return status, bytes and the quoted texts behind them."""
    word = re.compile(rb"[ \t]*([^ \t]*)")
    found = word.match(tail)
    if not re.fullmatch(rb"-|[0-9]{3}", found[1]):
        raise Bad(BAD_STATUS)
    status = 0 if found[1] == b"-" else int(found[1])
    at, size = found.end(), 0
    found = word.match(tail, at)
    if found[1] and not found[1].startswith(b'"'):
        if not re.fullmatch(rb"-|[0-9]{1,18}", found[1]):
            raise Bad(BAD_BYTES)
        size = 0 if found[1] == b"-" else int(found[1])
        at = found.end()
    quoted = []
    while at < len(tail):
        found = word.match(tail, at)
        if found[1].startswith(b'"'):
            text = read_quoted(tail, found.start(1))
            quoted.append(tail[text.begin : text.end])
            at = text.behind
        else:
            at = found.end()
    return status, size, quoted


def show(written: bytes) -> str:
    """Undo escapes; write what can't be shown as `\\xNN`."""
    plain, at = bytearray(), 0
    short = {"b": 8, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
    text = written.decode("latin-1")
    while at < len(text):
        number = re.compile(r"\\x([0-9a-fA-F][0-9a-fA-F])").match(text, at)
        if number:
            plain.append(int(number[1], 16))
            at += 4
        elif text[at] == "\\" and text[at + 1 : at + 2] in short:
            plain.append(short[text[at + 1]])
            at += 2
        else:
            plain.append(ord(text[at]))
            at += 1
    shown, at = "", 0
    while at < len(plain):
        for size in (1, 2, 3, 4):
            try:
                character = plain[at : at + size].decode()
            except UnicodeDecodeError:
                continue
            if len(character) == 1 and unicodedata.category(character) != "Cc":
                shown += character
                at += size
                break
            if len(character) == 1:
                shown += f"\\x{ord(character):02x}"
                at += size
                break
        else:
            shown += f"\\x{plain[at]:02x}"
            at += 1
    return shown
