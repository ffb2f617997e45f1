"""Access logs to columns: what servers write, what is no event, and records of several lines."""

from __future__ import annotations

import numpy as np
import pytest

from operators.access_log import FIELDS, REASONS, TIME, AccessLogFormat
from operators.access_log_clients import Networks, client_of
from operators.access_log_decode import AccessLogDecoder
from operators.access_log_seed import SEED as WRITTEN
from operators.access_log_texts import readable
from operators.codes import TextCodes
from operators.decode import ARRIVAL, Decoded
from operators.spec import Field
from operators.written import EventWriter
from payloads import Lines

SEED = (
    b'203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET /apps/cart.jsp?appID=1234 HTTP/1.0" '
    b'200 5006 "-" "Mozilla/5.0 (X11)"'
)
TIME_US = 1_431_857_103_000_000


def line(
    head: bytes = b"203.0.113.7 - -",
    at: bytes = b"17/May/2015:10:05:03 +0000",
    request: bytes = b"GET / HTTP/1.1",
    tail: bytes = b'200 5 "-" "-"',
) -> bytes:
    return b'%s [%s] "%s" %s' % (head, at, request, tail)


class Decoding:
    def __init__(self, log_format: AccessLogFormat | None = None, time_field: str = TIME) -> None:
        self.texts = TextCodes()
        self.decoder = AccessLogDecoder(
            FIELDS, time_field, self.texts, log_format or AccessLogFormat()
        )

    def of(self, payloads: list[bytes] | Lines) -> Decoded:
        return self.decoder.decode(payloads, np.arange(len(payloads)))

    def events(self, payloads: list[bytes] | Lines) -> list[dict[str, object]]:
        found = self.of(payloads)
        kinds = {field.name: field.kind for field in FIELDS}
        return [
            {
                name: self.texts.text_of(int(column[row]))
                if kinds[name] == "text"
                else int(column[row])
                for name, column in found.columns.items()
            }
            | {"time_us": int(found.times_us[row]), "source": found.source_of(row)}
            for row in range(len(found.times_us))
        ]


def event(payload: bytes, log_format: AccessLogFormat | None = None) -> dict[str, object]:
    (found,) = Decoding(log_format).events([payload])
    return found


def some(found: dict[str, object], *names: str) -> tuple[object, ...]:
    return tuple(found[name] for name in names)


def rejects(payloads: list[bytes] | Lines) -> list[tuple[int, str, bytes]]:
    return [(bad.index, bad.reason, bad.payload) for bad in Decoding().of(payloads).rejected]


# ---- what servers write -------------------------------------------------------------------------


def test_a_line_of_the_seed_has_every_field() -> None:
    assert event(SEED) == {
        "client": "203.0.113.7",
        "vhost": "",
        "forwarded_for": "",
        "user": "",
        "request": "GET /apps/cart.jsp?appID=1234 HTTP/1.0",
        "method": "GET",
        "path": "/apps/cart.jsp",
        "query": "appID=1234",
        "protocol": "HTTP/1.0",
        "referrer": "",
        "agent": "Mozilla/5.0 (X11)",
        "status": 200,
        "status_class": "2xx",
        "bytes": 5006,
        "time_us": TIME_US,
        "source": 0,
    }


def test_the_common_format_has_no_referrer_and_no_agent() -> None:
    found = event(
        b'in24.inetnebr.com - - [01/Aug/1995:00:00:01 -0400] "GET /a.gif HTTP/1.0" 200 1839'
    )
    assert some(found, "client", "bytes", "referrer", "agent") == (
        "in24.inetnebr.com", 1839, "", "",
    )  # fmt: skip
    assert found["time_us"] == 807_249_601_000_000


@pytest.mark.parametrize(
    ("head", "client", "vhost", "forwarded_for", "user"),
    [
        (b"203.0.113.7 - frank", "203.0.113.7", "", "", "frank"),
        (b"203.0.113.7 - John Doe", "203.0.113.7", "", "", "John Doe"),
        (b'203.0.113.7 - ""', "203.0.113.7", "", "", ""),
        (b'203.0.113.7 - "John Doe"', "203.0.113.7", "", "", "John Doe"),
        (b"203.0.113.7:5123 - -", "203.0.113.7", "", "", ""),
        (b"2001:db8::7 - -", "2001:db8::7", "", "", ""),
        (b"[2001:db8::7]:5123 - -", "2001:db8::7", "", "", ""),
        (b"host.example.com - -", "host.example.com", "", "", ""),
        (b"- - -", "", "", "", ""),
        (b"unix: - -", "unix:", "", "", ""),
        (b"www.example.com:443 203.0.113.7 - -", "203.0.113.7", "www.example.com", "", ""),
        (b"www.example.com 203.0.113.7 - frank", "203.0.113.7", "www.example.com", "", "frank"),
        (b"www.example.com:80 - - -", "", "www.example.com", "", ""),
        (b"10.0.0.5:80 203.0.113.7 - -", "203.0.113.7", "10.0.0.5", "", ""),
        (b"203.0.113.7 10.0.0.1 - -", "10.0.0.1", "", "203.0.113.7", ""),
        (b"203.0.113.7, 10.0.0.2 10.0.0.1 - -", "10.0.0.1", "", "203.0.113.7, 10.0.0.2", ""),
        (b"203.0.113.7, 10.0.0.1 - -", "203.0.113.7", "", "203.0.113.7, 10.0.0.1", ""),
        (b"10.0.0.1 (203.0.113.7, 10.0.0.2) - -", "10.0.0.1", "", "203.0.113.7, 10.0.0.2", ""),
        (b"203.0.113.7", "203.0.113.7", "", "", ""),
    ],
)
def test_who_asked_whom(
    head: bytes, client: str, vhost: str, forwarded_for: str, user: str
) -> None:
    found = event(line(head=head))
    assert some(found, "client", "vhost", "forwarded_for", "user") == (
        client, vhost, forwarded_for, user,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("at", "later_seconds"),
    [
        (b"17/May/2015:10:05:03 +0000", 0),
        (b"17/May/2015:15:50:03 +0545", 0),
        (b"16/May/2015:22:05:03 -1200", 0),
        (b"18/May/2015:00:05:03 +1400", 0),
        (b"17/May/2015:06:35:03 -0330", 0),
        (b"17/May/2015:12:05:03 +02:00", 0),
        (b"17/May/2015:10:05:03", 0),
        (b"17/May/2015:10:05:03.250 +0000", 0.25),
        (b"2015-05-17T10:05:03+00:00", 0),
        (b"2015-05-17T12:05:03.5+02:00", 0.5),
        (b"2015-05-17T10:05:03Z", 0),
    ],
)
def test_times_are_utc_whatever_their_zone(at: bytes, later_seconds: float) -> None:
    assert event(line(at=at))["time_us"] == TIME_US + later_seconds * 1e6


@pytest.mark.parametrize(
    ("request_line", "parts"),
    [
        (b"GET / HTTP/1.1", ("GET", "/", "", "HTTP/1.1")),
        (b"GET /a?b=1?c HTTP/2.0", ("GET", "/a", "b=1?c", "HTTP/2.0")),
        (b"GET /a", ("GET", "/a", "", "")),
        (b"GET /a b HTTP/1.1", ("GET", "/a b", "", "HTTP/1.1")),
        (b"CONNECT x:443 HTTP/1.1", ("CONNECT", "x:443", "", "HTTP/1.1")),
        (b"GET http://x/a?b HTTP/1.1", ("GET", "http://x/a", "b", "HTTP/1.1")),
        (rb"GET /a\"b HTTP/1.1", ("GET", '/a"b', "", "HTTP/1.1")),
        (rb"GET /a\x22b HTTP/1.1", ("GET", '/a"b', "", "HTTP/1.1")),
        (rb"GET /a\\b HTTP/1.1", ("GET", "/a\\b", "", "HTTP/1.1")),
        (b'GET /a"b HTTP/1.1', ("GET", '/a"b', "", "HTTP/1.1")),
        (b"GET /\xc3\xa9 HTTP/1.1", ("GET", "/\u00e9", "", "HTTP/1.1")),
        (b"GET /\xe9 HTTP/1.1", ("GET", r"/\xe9", "", "HTTP/1.1")),
        (b"", ("", "", "", "")),
        (b"-", ("", "", "", "")),
        (rb"\x16\x03\x01\x02\x00\x01", ("", "", "", "")),
        (b"\x16\x03\x01\x02 \x01 HTTP/1.1", ("", "", "", "")),
        (b"GET", ("", "", "", "")),
    ],
)
def test_what_is_no_request_has_no_parts_and_is_an_event(
    request_line: bytes, parts: tuple[str, ...]
) -> None:
    assert some(event(line(request=request_line)), "method", "path", "query", "protocol") == parts


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (b"200 5", (200, 5, "", "", "")),
        (b"200 -", (200, 0, "", "", "")),
        (b"- -", (0, 0, "", "", "")),
        (b'408 - "-" "-"', (408, 0, "", "", "")),
        (b'304 "http://x/" "a"', (304, 0, "http://x/", "a", "")),
        (b'200 5 "-" "a" ', (200, 5, "", "a", "")),
        (b'200 5 "-" "a"\r', (200, 5, "", "a", "")),
        (b'200 5 "-" "a', (200, 5, "", "a", "")),
        (rb'200 5 "-" "say \"hi\""', (200, 5, "", 'say "hi"', "")),
        (b'200 5 "-" "say "hi""', (200, 5, "", 'say "hi"', "")),
        (b'200 5 61 "-" "a" 0.005 12', (200, 5, "", "a", "")),
        (b'200 5 "-" "a" "203.0.113.9, 10.0.0.1"', (200, 5, "", "a", "203.0.113.9, 10.0.0.1")),
        (b'200 5 "-" "a" "-" "x=1" 0.005', (200, 5, "", "a", "")),
    ],
)
def test_what_follows_the_request(tail: bytes, expected: tuple[object, ...]) -> None:
    found = event(line(tail=tail))
    assert some(found, "status", "bytes", "referrer", "agent", "forwarded_for") == expected


def test_a_user_cannot_move_the_time_that_the_server_wrote() -> None:
    forged = rb"203.0.113.7 - x [01/Jan/2000:00:00:00 +0000] \"GET /x HTTP/1.0\" 200 5"
    assert some(event(line(head=forged)), "time_us", "path") == (TIME_US, "/")


def test_classes_of_statuses() -> None:
    statuses = [b"100", b"204", b"301", b"404", b"503", b"600", b"000", b"-"]
    found = Decoding().events([line(tail=status + b" 5") for status in statuses])
    classes = [one["status_class"] for one in found]
    assert classes == ["1xx", "2xx", "3xx", "4xx", "5xx", "other", "other", "other"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"plain", "plain"),
        (rb"a\"b\\c", 'a"b\\c'),
        (rb"\x41\x5cx", r"A\x"),
        (rb"caf\xc3\xa9", "caf\u00e9"),
        (b"caf\xe9", r"caf\xe9"),
        (rb"caf\xe9", r"caf\xe9"),
        (rb"a\nb\x0ac", r"a\x0ab\x0ac"),
        (b"\x1b[31m\x7f\xc2\x85", r"\x1b[31m\x7f\x85"),
        (rb"\q\x4", r"\q\x4"),
    ],
)
def test_texts_are_shown_alike_whoever_escaped_them(written: bytes, shown: str) -> None:
    assert readable(written) == shown


# ---- what is no event ---------------------------------------------------------------------------

BAD = {
    b" \t\r": "empty",
    b"hello": "no_request",
    b'hello "GET / HTTP/1.1" 200 5': "no_time",
    line(at=b"31/Feb/2015:10:05:03 +0000"): "bad_time",
    line(at=b"17/May/9999:10:05:03 +0000"): "bad_time",
    line(at=b"17/Mai/2015:10:05:03 +0000"): "bad_time",
    line(at=b"17/May/2015:10:05:03 +9900"): "bad_time",
    line(at=b"17/May/2015:10:05:03 CEST"): "bad_time",
    line(at=b"17/May/2015:10:05:60 +0000"): "bad_time",
    SEED[:70]: "cut_request",
    line(head=b" "): "no_client",
    line(tail=b""): "bad_status",
    line(tail=b"2000 5"): "bad_status",
    line(tail=b"20x 5"): "bad_status",
    line(tail=b"200 5k"): "bad_bytes",
    line(tail=b"200 1234567890123456789"): "bad_bytes",
}


def test_a_bad_line_is_told_from_its_neighbours_and_why() -> None:
    payloads = [payload for bad in BAD for payload in (SEED, bad)]
    assert rejects(payloads) == [
        (2 * number + 1, reason, bad) for number, (bad, reason) in enumerate(BAD.items())
    ]
    found = Decoding().events(payloads)
    assert [one["source"] for one in found] == list(range(0, 2 * len(BAD), 2))
    assert set(BAD.values()) == set(REASONS)
    assert rejects(Lines(b"\n".join(payloads))) == rejects(payloads)


def test_lines_of_one_record_are_events_of_their_own() -> None:
    other = line(head=b"203.0.113.8 - -")
    payloads = [SEED + b"\n" + other, SEED + b"\r\n", b"\n" + other + b"\n\n" + SEED + b"\n", other]
    decoding = Decoding()
    found = decoding.events(payloads)
    assert [(one["source"], one["client"]) for one in found] == [
        (0, "203.0.113.7"),
        (0, "203.0.113.8"),
        (1, "203.0.113.7"),
        (2, "203.0.113.8"),
        (2, "203.0.113.7"),
        (3, "203.0.113.8"),
    ]
    decoded = decoding.of(payloads)
    pieces = [decoded.payload_of(row, payloads).strip() for row in range(6)]
    assert pieces == [SEED, other, SEED, other, SEED, other]
    assert (decoded.rejected, decoded.objects) == ([], 6)


def test_a_bad_line_of_a_record_costs_only_itself() -> None:
    payloads = [SEED, SEED + b"\nrubbish\n" + SEED, SEED]
    assert rejects(payloads) == [(1, "no_request", b"rubbish")]
    assert Decoding().of(payloads).objects == 5
    assert [one["source"] for one in Decoding().events(payloads)] == [0, 1, 1, 2]


def test_a_record_without_a_good_line_is_one_reject() -> None:
    payloads = [b"a\nb\nc\n", b"\n\n \n", b"", SEED]
    assert rejects(payloads) == [
        (0, "no_request", payloads[0]),
        (1, "empty", payloads[1]),
        (2, "empty", payloads[2]),
    ]
    assert Decoding().of(payloads).objects == 4


def test_many_bad_lines_of_a_record_are_a_hundred_rejects_and_its_good_lines_stay() -> None:
    payload = b"\n".join([b"x%d" % number for number in range(250)] + [SEED])
    found = rejects([payload])
    assert len(found) == 100
    assert found[98][2] == b"x98"
    assert found[99][2] == b"\n".join(b"x%d" % number for number in range(99, 250))
    assert len(Decoding().events([payload])) == 1


def test_rejects_go_back_to_what_was_read() -> None:
    payloads = [SEED + b"\nx\n\n" + SEED + b"\n" + b"y", b"z"]
    decoded = Decoding().of(payloads)
    kept = [decoded.payload_of(row, payloads) for row in range(2)]
    assert sorted(kept + [bad.payload for bad in decoded.rejected]) == [
        SEED,
        SEED,
        b"x",
        b"y",
        b"z",
    ]


def test_no_payloads_are_no_events() -> None:
    decoded = Decoding().of([])
    assert (len(decoded.times_us), decoded.rejected, decoded.objects) == (0, [], 0)


# ---- more than one block ------------------------------------------------------------------------


def test_more_lines_than_are_parsed_at_once_and_more_texts_than_the_table_began_with() -> None:
    count = 20_000
    payloads = [line(request=b"GET /%d%s HTTP/1.1" % (n, b"x" * 30)) for n in range(count)]
    payloads[7_000] = b"bad"
    decoding = Decoding()
    for _ in range(2):
        found = decoding.events(payloads)
        numbers = [n for n in range(count) if n != 7_000]
        assert [one["path"] for one in found] == [f"/{n}{'x' * 30}" for n in numbers]
        assert [one["source"] for one in found] == numbers


def test_a_text_longer_than_the_tables_memory_is_taken_whole() -> None:
    path = b"/" + b"a" * 1_000_000
    assert event(line(request=b"GET %s HTTP/1.1" % path))["path"] == path.decode()


def test_texts_can_be_turned_back_after_they_were_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operators.codes._TEXT_CACHE_ENTRIES", 10)
    decoding = Decoding(AccessLogFormat(trusted_proxies=("203.0.113.7",)))
    asked = line(head=b"198.51.100.1 203.0.113.7 - -")
    for number in range(5):
        payloads = [line(head=b"203.0.113.%d - -" % n) for n in range(number, number + 30)]
        found = decoding.events([*payloads, asked])
        assert found[0]["client"] == f"203.0.113.{number}"
        assert found[-1]["client"] == "198.51.100.1"
        decoding.texts.forget()


def test_only_the_fields_asked_for_are_decoded() -> None:
    fields = tuple(field for field in FIELDS if field.name in ("status", "client"))
    decoder = AccessLogDecoder(fields, TIME, TextCodes(), AccessLogFormat())
    assert set(decoder.decode([SEED], None).columns) == {"client", "status"}


def test_arrival_times_can_be_the_event_times() -> None:
    found = Decoding(time_field=ARRIVAL).of([SEED, b"x", SEED + b"\n" + SEED])
    assert found.times_us.tolist() == [0, 2, 2]
    with pytest.raises(ValueError, match="arrival"):
        Decoding(time_field=ARRIVAL).decoder.decode([SEED], None)


def test_what_an_access_log_does_not_have_is_refused() -> None:
    for field in (Field("price", "decimal"), Field("status", "text")):
        with pytest.raises(ValueError, match=field.name):
            AccessLogDecoder((field,), TIME, TextCodes(), AccessLogFormat())
    with pytest.raises(ValueError, match="nowhere"):
        AccessLogFormat(trusted_proxies=("nowhere",))
    with pytest.raises(ValueError, match="referrer"):
        AccessLogFormat(forwarded_for=1)


# ---- clients behind proxies ---------------------------------------------------------------------

TRUSTED = ("10.0.0.0/8", "2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("203.0.113.7", "1.1.1.1", "203.0.113.7"),
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.7, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.7:4711,[2001:db8::5]:80", "203.0.113.7"),
        ("::ffff:10.0.0.1", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("", "203.0.113.7", ""),
        ("host.example.com", "203.0.113.7", "host.example.com"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(
    peer: str, forwarded_for: str, client: str
) -> None:
    assert client_of(peer, forwarded_for, Networks(TRUSTED)) == client


def test_clients_behind_trusted_proxies_are_found_in_every_format() -> None:
    payloads = [
        line(head=b"10.0.0.1 - -", tail=b'200 5 "-" "-" "1.1.1.1, 203.0.113.7"'),
        line(head=b"1.1.1.1, 203.0.113.7 10.0.0.1 - -"),
        line(head=b"1.1.1.1, 203.0.113.7, 10.0.0.1 - -"),
        line(head=b"10.0.0.1 (1.1.1.1, 203.0.113.7) - -"),
        line(head=b"203.0.113.7 - -"),
    ]
    found = Decoding(AccessLogFormat(trusted_proxies=TRUSTED)).events(payloads)
    assert [one["client"] for one in found] == ["203.0.113.7"] * 5


def test_a_client_that_is_not_behind_a_trusted_proxy_cannot_be_someone_else() -> None:
    payload = line(head=b"203.0.113.7 - -", tail=b'200 5 "-" "-" "1.1.1.1"')
    assert event(payload, AccessLogFormat(trusted_proxies=TRUSTED))["client"] == "203.0.113.7"


# ---- the seed's records -------------------------------------------------------------------------


def test_the_seeds_records_have_nine_strings() -> None:
    texts = TextCodes()
    fields = [field for field in FIELDS if field.name in WRITTEN.fields]
    decoder = AccessLogDecoder(fields, TIME, texts, AccessLogFormat())
    odd = line(request=rb"\x16\x03", tail=b'- - "http://x/" "a"')
    decoded = decoder.decode([SEED, b"bad", odd], None)
    records = list(EventWriter(WRITTEN, texts).rows(decoded.columns, decoded.times_us))
    assert records == [
        {
            "host_address": "203.0.113.7",
            "request_time": "2015-05-17T10:05:03+00:00",
            "request_method": "GET",
            "request_path": "/apps/cart.jsp?appID=1234",
            "request_protocol": "HTTP/1.0",
            "response_code": "200",
            "response_size": "5006",
            "referrer_host": "-",
            "user_agent": "Mozilla/5.0 (X11)",
        },
        {
            "host_address": "203.0.113.7",
            "request_time": "2015-05-17T10:05:03+00:00",
            "request_method": "-",
            "request_path": "-",
            "request_protocol": "-",
            "response_code": "000",
            "response_size": "0",
            "referrer_host": "http://x/",
            "user_agent": "a",
        },
    ]
    assert all(tuple(record) == tuple(part.name for part in WRITTEN.parts) for record in records)
