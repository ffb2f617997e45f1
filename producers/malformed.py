"""Records that a service must survive, one kind after the other.

Each record of these kinds holds exactly one object that can't become an event, so a run's report
says how many dead letters to expect. `one_bad_of_three` shares its record with two good neighbours.
None holds a line break, so each stays one line of a file too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from producers.records import NO_ATTACK, Record

KINDS = (
    "not_json",
    "wrong_type",
    "missing_user_id",
    "year_9999",
    "not_a_time",
    "empty",
    "invalid_utf8",
    "one_bad_of_three",
    "rubbish",
)
LINES = ("cut_request", "line_of_year_9999", "no_status", "prose", "empty", "rubbish")
CLICKS = ("cut_click", "null_customer", "event_is_text", "no_event", "empty", "rubbish")
CHANGES = ("cut_change", "no_type", "length_is_text", "moment_is_text", "empty", "rubbish")
_CLICK = b'{"timestamp":"2026-01-01T00:00:00Z","customerId":"1","event":{"type":"search"}}'
_CHANGE = (
    b'{"type":"edit","timestamp":1767225600,"user":"Nobody","bot":false,"length":{"old":1,"new":2},'
    b'"wiki":"enwiki"}'
)
_LINE = b'192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] "GET /malformed HTTP/1.0" 200 5000 "-" "-"'
LARGEST_BYTES = 1024 * 1024 - 256
"""The size of the first rubbish: with its partition key it still fits into a record of 1 MiB."""
_RUBBISH_BYTES = 16 * 1024
_RUBBISH = b"\x00rubbish\xfe\xff "


class Spoiler:
    """Strews malformed records among good ones, at even distances.

    Args:
        share: How many malformed records for each good one.
        kinds: Which ones, in turn: `KINDS` of the shop's events, `LINES` of an access log,
            `CLICKS`, or `CHANGES` of a wiki.

    Attributes:
        counts: How many of each kind were made.
    """

    def __init__(self, share: float, kinds: Sequence[str] = KINDS) -> None:
        self._share = share
        self._kinds = kinds
        self._good = 0
        self.counts = dict.fromkeys(kinds, 0)

    @property
    def malformed(self) -> int:
        """How many were made."""
        return sum(self.counts.values())

    def spoil(self, records: list[Record]) -> list[Record]:
        """Return the records with malformed ones strewn among them."""
        seen = self._good + len(records)
        due = int(seen * self._share)
        mixed: list[Record] = []
        taken = 0
        for number in range(self.malformed, due):
            place = min(math.ceil((number + 1) / self._share) - self._good, len(records))
            mixed += records[taken:place]
            taken = max(taken, place)
            kind = self._kinds[number % len(self._kinds)]
            self.counts[kind] += 1
            neighbours = records[taken : taken + 2] if kind == "one_bad_of_three" else []
            if any(neighbour.attack != NO_ATTACK for neighbour in neighbours):
                neighbours = []  # an attack's events stay records of their own: see Record.attack
            taken += len(neighbours)
            mixed.append(self._bad(kind, number, neighbours))
        self._good = seen
        return mixed + records[taken:] if mixed else records

    def _bad(self, kind: str, number: int, neighbours: Sequence[Record]) -> Record:
        """Make one malformed record; its user is nobody else's."""
        key = neighbours[0].partition_key if neighbours else f"malformed-{number}"
        return Record(self._payload(kind, number, neighbours), key)

    def _payload(self, kind: str, number: int, neighbours: Sequence[Record]) -> bytes:
        user_id = f'"{number + 1}"'
        match kind:
            case "not_json":
                return _event(user_id)[:-20]
            case "wrong_type":
                return _event(f"[{user_id}]")
            case "missing_user_id":
                return _event(user_id).replace(b'"user_id"', b'"visitor"')
            case "year_9999":
                return _event(user_id, "9999-12-31")
            case "not_a_time":
                return _event(user_id, "the day before")
            case "empty":
                return b""
            case "invalid_utf8":
                return _event(user_id).replace(b"shop", b"sh\xc3\x28p")
            case "one_bad_of_three":
                good = [neighbour.payload for neighbour in neighbours]
                return b"".join([*good[:1], _event("null"), *good[1:]])
            case "rubbish":
                size = LARGEST_BYTES if self.counts[kind] == 1 else _RUBBISH_BYTES
                return (_RUBBISH * (size // len(_RUBBISH) + 1))[:size]
            case "cut_request":
                return _LINE[:60]
            case "line_of_year_9999":
                return _LINE.replace(b"2026", b"9999")
            case "no_status":
                return _LINE.replace(b" 200 ", b" ok ")
            case "cut_click":
                return _CLICK[:-4]
            case "null_customer":
                return _CLICK.replace(b'"1"', b"null")
            case "event_is_text":
                return _CLICK.replace(b'{"type":"search"}', b'"search"')
            case "no_event":
                return _CLICK.replace(b'"event"', b'"other"')
            case "cut_change":
                return _CHANGE[:-4]
            case "no_type":
                return _CHANGE.replace(b'"type"', b'"kind"')
            case "length_is_text":
                return _CHANGE.replace(b'{"old":1,"new":2}', b'"2 bytes"')
            case "moment_is_text":
                return _CHANGE.replace(b"1767225600", b'"today"')
            case "prose":
                return b"the server was restarted"
        msg = f"no such kind: {kind}"
        raise ValueError(msg)


def _event(user_id: str, day: str = "2026-01-01") -> bytes:
    """Make an event as the shop's, with whatever stands for its user and day."""
    return (
        f'{{"event_time":"{day} 00:00:00 UTC","event_type":"view","product_id":"1",'
        f'"category_id":"1","category_code":"","brand":"shop","price":"1.00","user_id":{user_id},'
        f'"user_session":"","txn_timestamp":"{day}T00:00:00.000001"}}'
    ).encode()
