"""Who is allowed: by network and by pattern, asked once a text."""

from __future__ import annotations

import numpy as np
import pytest

from errors import SettingsError
from messages import Block
from operators.allow import AllowList, allows_of_table
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.intake import Intake
from operators.reference import TableError
from operators.spec import Allow, Field, Window
from operators.value_spec import Count

DECLARED = (Allow("client", "network"), Allow("agent", "pattern"))
FIELDS = (Field("client", "text"), Field("agent", "text", required=False))
CLIENTS = ("66.249.64.7", "66.249.96.1", "::ffff:66.249.64.9", "2001:db8::1", "crawler.example")
AGENTS = ("Mozilla/5.0", "UptimeRobot/2.0", "curl/8", "my uptimerobot", "")


def allowed(*entries: str) -> list[bool]:
    texts = TextCodes()
    columns = {
        "client": texts.of(CLIENTS, len(CLIENTS)),
        "agent": texts.of(AGENTS, len(AGENTS)),
    }
    rows: list[bool] = AllowList(DECLARED, entries, texts).rows(columns).tolist()
    return rows


def test_a_network_allows_its_addresses_also_where_they_are_written_as_ipv6() -> None:
    assert allowed("client=66.249.64.0/19") == [True, False, True, False, False]
    assert allowed("client=2001:db8::/32", "client=66.249.96.1") == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_pattern_allows_texts_that_it_matches_whole() -> None:
    assert allowed("agent=UptimeRobot*") == [False, True, False, False, False]
    assert allowed("agent=*robot*", "agent=curl/?") == [False, False, True, True, False]


def test_whoever_one_entry_allows_is_allowed() -> None:
    assert allowed("agent=curl/8", "client=66.249.64.7") == [True, False, True, False, False]


@pytest.mark.parametrize("entry", ["city=Rome", "client", "client=", "client=300.1.1.1", "=x"])
def test_what_allows_nothing_is_refused(entry: str) -> None:
    with pytest.raises(SettingsError, match=r"rules\.allow"):
        AllowList(DECLARED, [entry], TextCodes())


def test_a_table_allows_beside_the_entries_until_another_version_comes() -> None:
    texts = TextCodes()
    columns = {"client": texts.of(CLIENTS, len(CLIENTS)), "agent": texts.of(AGENTS, len(AGENTS))}
    in_force = allows_of_table(DECLARED, [{"client": "66.249.64.0/19", "agent": "", "why": "x"}])
    listed = AllowList(DECLARED, ["agent=curl/?"], texts, lambda: in_force)
    assert listed.rows(columns).tolist() == [True, False, True, False, False]
    in_force = allows_of_table(DECLARED, [{"client": None, "agent": "*Robot*"}])
    assert listed.rows(columns).tolist() == [False, True, True, False, False]
    in_force = allows_of_table(DECLARED, [])
    assert listed.rows(columns).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("row", [{"client": "", "agent": ""}, {"other": "x"}, {"client": "300.1"}])
def test_a_table_whose_row_allows_nothing_is_refused_whole(row: dict[str, str]) -> None:
    with pytest.raises(TableError):
        allows_of_table(DECLARED, [{"client": "10.0.0.0/8"}, row])


def test_a_list_without_entries_asks_for_nothing() -> None:
    empty = AllowList(DECLARED, (), TextCodes())
    assert not empty


def test_events_of_allowed_clients_are_filtered_from_some_windows_and_accounted_for() -> None:
    everyone = Window("everyone", 10, ("client",), (Count("requests"),))
    strangers = Window("strangers", 10, ("client",), (Count("requests"),), all_clients=False)
    watched = Window("watched", 10, ("client",), (Count("requests"),), emit=False)
    texts = TextCodes()
    intake = Intake(
        "logs",
        Decoder(FIELDS, "at", texts),
        (everyone, strangers, watched),
        0,
        allowed=AllowList(DECLARED, ["client=10.0.0.0/8"], texts),
    )
    lines = [
        b'{"client": "%s", "at": "2026-01-01T00:00:%02dZ"}' % (client, second)
        for client, second in ((b"10.0.0.1", 1), (b"192.0.2.1", 2), (b"10.0.0.2", 21), (b"b", 3))
    ]
    arrival_us = np.full(4, 1_767_225_700_000_000)
    taken = intake.take([Block("s", lines, ["1", "2", "3", "4"], arrival_us)])
    (rows,) = taken.rows
    every, some, fed = rows.counted
    assert every is not None
    assert every.tolist() == [0, 1, 2]  # the last one is late
    assert some is not None
    assert some.tolist() == [1]
    assert fed is not None
    assert fed.tolist() == [1]  # a window that only feeds rules needs no word for it
    ledger = intake.ledger
    assert ledger["events"] == 4
    assert ledger["late.strangers"] == 1
    assert ledger["filtered.strangers"] == 2
    assert ledger["filtered.everyone"] == 0
