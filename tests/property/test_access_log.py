"""The fast parser of access logs against the slow one, over hostile lines and real ones."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.access_log import FIELDS, REASONS, TIME, AccessLogFormat
from operators.access_log_decode import AccessLogDecoder
from operators.codes import TextCodes
from payloads import Lines
from tests.access_log_reference import TEXTS, Bad, parse
from tests.effort import examples

LOGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "access_logs"
NAMES = (*TEXTS, "status", "bytes")
TEXTS_OF_ALL = TextCodes()
DECODER = AccessLogDecoder(
    [field for field in FIELDS if field.name in NAMES], TIME, TEXTS_OF_ALL, AccessLogFormat()
)

Outcome = dict[str, object] | str


def fast(payloads: list[bytes] | Lines) -> list[Outcome]:
    """What the decoder makes of payloads of one line each: columns, or the reason."""
    found = DECODER.decode(payloads, None)
    outcomes: list[Outcome] = [""] * len(payloads)
    for bad in found.rejected:
        assert bad.payload == payloads[bad.index]
        outcomes[bad.index] = bad.reason
    for row in range(len(found.times_us)):
        columns: dict[str, object] = {"time_us": int(found.times_us[row])}
        for name in NAMES:
            value = int(found.columns[name][row])
            columns[name] = TEXTS_OF_ALL.text_of(value) if name in TEXTS else value
        outcomes[found.source_of(row)] = columns
    assert len(found.rejected) + len(found.times_us) == found.objects == len(payloads)
    return outcomes


def slow(line: bytes) -> Outcome:
    try:
        return parse(line)
    except Bad as bad:
        return str(bad)


# ---- lines --------------------------------------------------------------------------------------

Bytes = st.SearchStrategy[bytes]


def mostly(usual: Bytes, odd: Bytes) -> Bytes:
    return st.integers(0, 7).flatmap(lambda roll: odd if roll == 7 else usual)


hosts = st.sampled_from(
    [
        b"203.0.113.7", b"-", b"2001:db8::1", b"host.example.com", b"203.0.113.7:5123",
        b"[2001:db8::1]:443", b"203.0.113.7, 10.0.0.1", b"203.0.113.7,10.0.0.1,  10.0.0.2",
        b"unix:", b"::ffff:192.0.2.1", b"[::1]", b"www.example.com:443", b"(203.0.113.9, 10.0.0.1)",
        b"(-)", b"localhost", b"a,", b"1.2.3", b":80",
    ]
)  # fmt: skip
users = st.sampled_from([b"-", b"frank", b"John Doe", b'""', b'"John Doe"', b"x [y]", b'a\\"b'])
heads = st.one_of(
    st.tuples(hosts, st.just(b"-"), users),
    st.tuples(hosts, hosts, st.just(b"-"), users),
    st.tuples(hosts, hosts, hosts, users),
    st.lists(st.one_of(hosts, users), max_size=6).map(tuple),
).map(b" ".join)
days = st.sampled_from(
    [b"17/May/2015", b"29/Feb/2016", b"29/Feb/2015", b"31/Dec/9999", b"01/Jan/0001", b"1/Jan/2015",
     b"17/may/2015", b"00/Jan/2015", b"28/Feb/1900", b"29/Feb/2000", b"31/Apr/2020", b"01/Jan/0002"]
)  # fmt: skip
clocks = st.sampled_from(
    [b"10:05:03", b"23:59:59", b"23:59:60", b"24:00:00", b"00:00:00", b"1:02:03", b"10:60:00"]
)
fractions = st.sampled_from([b"", b"", b"", b".5", b".123456", b".1234567", b"."])
zones = st.one_of(
    st.tuples(st.sampled_from(b"+-"), st.integers(0, 25), st.integers(0, 61), st.booleans()).map(
        lambda zone: b"%c%02d%s%02d" % (zone[0], zone[1], b":" if zone[3] else b"", zone[2])
    ),
    st.sampled_from([b"+0000", b"-0330", b"+1245", b"+0530", b"Z", b"", b"+05", b"EST"]),
)
odd_times = st.one_of(
    st.tuples(days, st.just(b":"), clocks, fractions, st.sampled_from([b" ", b"", b"  "]), zones),
    st.tuples(
        st.sampled_from([b"2015-05-17", b"2015-13-01", b"9999-01-01"]),
        st.sampled_from([b"T", b" "]),
        clocks,
        fractions,
        zones,
    ),
).map(b"".join)
times = mostly(
    st.sampled_from(
        [b"17/May/2015:10:05:03 +0000", b"29/Feb/2016:23:59:59 -0330", b"17/May/2015:10:05:03",
         b"31/Dec/1999:23:59:59 +1245", b"01/Mar/2000:00:00:00.25 +0530",
         b"2015-05-17T10:05:03+02:00"]
    ),
    odd_times,
)  # fmt: skip
odd_bytes = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"-", b"", b'\\"', b"\\\\", b"\\x16\\x03", b"\\", b'a"b', b"\xc3\xa9", b"\xe4\xff", b"\\n",
         b"\\xe4\\xb8\\xad", b"\x00\x1b[0m", b"caf\\xc3\\xa9", b"\xed\xa0\x80", b"\\\\xe4"]
    ),
).map(lambda text: text.replace(b"\n", b""))  # fmt: skip
requests = st.one_of(
    st.tuples(
        st.sampled_from([b"GET", b"POST", b"get", b"X-Y", b"PROPFIND", b"", b"GE\tT", b"\\x16"]),
        st.sampled_from([b" ", b"  ", b"\t", b""]),
        st.sampled_from([b"/", b"/a b", b"/a?b=1?c", b"*", b"http://x/y?z", b"x:443", b"/?", b"?"]),
        odd_bytes,
        st.sampled_from(
            [b" HTTP/1.1", b" HTTP/1.0 ", b" HTTP/2.0", b"", b" http/1.1", b"HTTP/1.1"]
        ),
    ).map(b"".join),
    odd_bytes,
)
statuses = mostly(
    st.sampled_from([b"200", b"404", b"-", b"000", b"304"]),
    st.sampled_from([b"99", b"1000", b"2x0", b"", b'"200"']),
)
sizes = mostly(
    st.sampled_from([b"0", b"1234", b"-", b"", b"9" * 18]),
    st.sampled_from([b"9" * 19, b"-5", b"1.5"]),
)
extras = st.lists(
    st.one_of(
        odd_bytes.map(lambda text: b'"' + text + b'"'),
        st.sampled_from(
            [b"0.005", b"12", b'"203.0.113.9, 10.0.0.1"', b'"-"', b"-", b'"cut', b'x"y']
        ),
    ),
    max_size=5,
).map(b" ".join)
blanks = st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r", b" \r"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    between = draw(st.sampled_from([b" ", b" ", b" ", b" 0.01 ", b" [::1] ", b" example.com "]))
    line = b"%s%s [%s]%s\"%s\" %s %s %s%s" % (
        draw(blanks), draw(heads), draw(times), between, draw(requests), draw(statuses),
        draw(sizes), draw(extras), draw(blanks),
    )  # fmt: skip
    for _ in range(max(draw(st.integers(-3, 2)), 0)):  # cut it, or put something anywhere
        at = draw(st.integers(0, len(line)))
        cut = draw(st.integers(0, 3))
        put = draw(
            st.sampled_from([b"", b'"', b"\\", b"[", b"]", b" ", b",", b"-", b"\xff", b'\\"'])
        )
        line = line[:at] + put + line[at + cut :]
    return line[: draw(st.integers(0, len(line)))] if draw(st.integers(0, 9)) == 0 else line


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(lines(), max_size=30))
@example([b'1.2.3.4 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'])
@example([b""])
@example([b'[host:443 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5'])
def test_both_parsers_say_the_same_of_any_line(batch: list[bytes]) -> None:
    assert fast(batch) == [slow(line) for line in batch]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=20))
def test_both_parsers_say_the_same_of_any_bytes(batch: list[bytes]) -> None:
    assert fast(batch) == [slow(line) for line in batch]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(lines(), min_size=1, max_size=20))
def test_lines_of_a_file_and_records_are_the_same(batch: list[bytes]) -> None:
    assert fast(Lines(b"\n".join(batch))) == fast(batch)


def test_the_generated_lines_reach_every_reason_and_are_often_good() -> None:
    found: Counter[str] = Counter()

    @settings(max_examples=80, deadline=None, database=None, derandomize=True)
    @given(st.lists(lines(), min_size=10, max_size=40))
    def count(batch: list[bytes]) -> None:
        found.update(one if isinstance(one, str) else "good" for one in map(slow, batch))

    count()
    assert set(found) == {"good", *REASONS}
    assert found["good"] > found.total() / 5


# ---- real logs ----------------------------------------------------------------------------------


@pytest.fixture(params=["elastic_apache_logs_10k.log", "nasa_http_sample.log"])
def real_log(request: pytest.FixtureRequest) -> bytes:
    path = LOGS / request.param
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path.read_bytes().rstrip(b"\n")


def test_both_parsers_say_the_same_of_every_line_of_real_logs(real_log: bytes) -> None:
    outcomes = fast(Lines(real_log))
    assert outcomes == [slow(line) for line in real_log.split(b"\n")]
    assert all(isinstance(outcome, dict) for outcome in outcomes)


def test_counts_of_real_logs_are_those_of_a_plain_group_by(real_log: bytes) -> None:
    """By regular expressions over the whole file: a third opinion."""
    decoded = DECODER.decode(Lines(real_log), None)
    patterns = {
        "client": rb"(?m)^(\S+)",
        "path": rb'(?m)"(?:GET|POST|HEAD|OPTIONS) ([^ ?"]+)',
        "status": rb'(?m)" (\d{3}) ',
    }
    for name, pattern in patterns.items():
        expected = Counter(match.decode() for match in re.findall(pattern, real_log))
        values, counts = np.unique(decoded.columns[name], return_counts=True)
        keys = [
            TEXTS_OF_ALL.text_of(int(value)) if name in TEXTS else str(value) for value in values
        ]
        assert dict(zip(keys, counts.tolist(), strict=True)) == expected
    assert len(decoded.times_us) == real_log.count(b"\n") + 1
