"""Single events written out: what a domain declares is what stands there."""

from __future__ import annotations

import numpy as np

from messages import Block
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.spec import Field
from operators.written import Digits, Epoch, EventWriter, Moment, Text, Written

WRITTEN = Written(
    (
        Text("page", "path", absent="-", then="query", by="?", index="text"),
        Text("kind", "kind"),
        Digits("number", "number", at_least=3),
        Digits("known", "number", absent="none"),
        Moment("at"),
        Moment("day_time", "seconds"),
        Epoch("epoch"),
    )
)
FIELDS = (
    Field("path", "text", required=False),
    Field("query", "text", required=False),
    Field("kind", "text", required=False),
    Field("number", "integer", required=False),
    Field("own_id", "text", required=False),
)
FULL = (
    b'{"time":"2026-01-02T03:04:05.5Z","path":"/a","query":"b=1","kind":"x","number":7,'
    b'"own_id":"one"}'
)
BARE = b'{"time":1767323045}'


def written(payloads: list[bytes], event_id: str = ""):
    texts = TextCodes()
    decoded = Decoder(FIELDS, "time", texts).decode(payloads, None)
    block = Block("shard-0", payloads, [str(100 + index) for index in range(len(payloads))])
    rows = np.arange(len(decoded.times_us))
    return EventWriter(WRITTEN, texts, event_id).events(block, decoded, rows)


def test_each_part_is_written_as_it_is_declared() -> None:
    full, bare = written([FULL, BARE]).rows
    assert full == {
        "page": "/a?b=1",
        "kind": "x",
        "number": "007",
        "known": "7",
        "at": "2026-01-02T03:04:05.500000+00:00",
        "day_time": "2026-01-02 03:04:05",
        "epoch": 1767323045,
    }
    assert bare == {
        "page": "-",
        "kind": "",
        "number": "000",
        "known": "none",
        "at": "2026-01-02T03:04:05+00:00",
        "day_time": "2026-01-02 03:04:05",
        "epoch": 1767323045,
    }


def test_the_fields_that_it_needs_are_known_and_each_is_named_once() -> None:
    assert WRITTEN.fields == ("path", "query", "kind", "number")


def test_an_event_is_told_by_its_own_id_or_by_its_place() -> None:
    assert written([FULL, BARE]).ids == ("shard-0/100", "shard-0/101")
    assert written([FULL, BARE], "own_id").ids == ("one", "shard-0/101")


def test_events_that_share_a_record_have_ids_of_their_own() -> None:
    found = written([BARE, BARE + BARE + BARE, BARE])
    assert found.ids == (
        "shard-0/100",
        "shard-0/101",
        "shard-0/101+1",
        "shard-0/101+2",
        "shard-0/102",
    )
    assert len(found.times_us) == len(found.rows) == 5


def test_a_search_index_is_mapped_by_what_is_declared() -> None:
    assert WRITTEN.properties == {
        "page": {"type": "text"},
        "kind": {"type": "keyword"},
        "number": {"type": "keyword"},
        "known": {"type": "keyword"},
        "at": {"type": "date"},
        "day_time": {"type": "date", "format": "yyyy-MM-dd HH:mm:ss"},
        "epoch": {"type": "long"},
    }
