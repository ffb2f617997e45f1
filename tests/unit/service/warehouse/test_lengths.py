"""A text's length is that of its kind, and a row's id is as long as its keys make it."""

from __future__ import annotations

import numpy as np
import pytest

from dataflows.registry import DOMAINS
from operators.rows import aggregate_rows
from service.warehouse.lengths import length_bytes, longest_whole_bytes, row_id_bytes
from service.warehouse.tables import Aggregate, Column, Rows, rows_of

ROWS = [rows_of(domain) for domain in DOMAINS.values()]
AGGREGATES = [(rows, one) for rows in ROWS for one in rows.aggregates]


def longest_id(domain: str, aggregate: Aggregate) -> str:
    """Return the id that the operators give to a row of the longest keys that fit."""
    key = tuple(
        "," * length_bytes(one.name) if one.kind == "text" else -(2**63) for one in aggregate.keys
    )
    start_us = np.array([1_799_999_999_999_999])
    names = [one.name for one in aggregate.keys]
    made = aggregate_rows(domain, aggregate.name, start_us, start_us, names, [key], {}, {})
    return str(made.rows[0]["row_id"])


@pytest.mark.parametrize(("rows", "aggregate"), AGGREGATES, ids=[one.view for _, one in AGGREGATES])
def test_the_id_of_the_longest_keys_that_fit_is_kept_whole(rows: Rows, aggregate: Aggregate):
    made = longest_id(rows.domain, aggregate)

    assert len(made) <= longest_whole_bytes(rows)
    assert len(rows.domain) <= length_bytes("domain")
    assert len(aggregate.name) <= length_bytes("aggregate")


def test_an_id_is_as_long_as_its_keys_make_it_and_no_longer():
    assert [row_id_bytes(one) for one in ROWS if one.domain == "ecommerce"] == [1280]
    many = tuple(Column(f"path_{number}", "text") for number in range(80))
    wide = Rows("d", "d_rows", (), (Aggregate("a", "d_a", (), keys=many),))

    assert row_id_bytes(wide) == 65_535


def test_what_is_cut_fills_its_column_so_far_that_it_is_seen():
    rows = ROWS[0]
    for character in ("a", "é", "€", "𝄞"):
        for before in range(4):
            text = "x" * before + character * row_id_bytes(rows)
            left = text.encode()[: row_id_bytes(rows)].decode(errors="ignore")
            assert len(left.encode()) > longest_whole_bytes(rows)


@pytest.mark.parametrize(
    ("name", "expected_bytes"),
    [
        ("phase", 64),
        ("country_code", 64),
        ("last_category", 256),
        ("user_session", 512),
        ("of_a_domain_of_ones_own", 512),
        ("referrer", 4096),
    ],
)
def test_a_length_is_that_of_what_the_text_is(name: str, expected_bytes: int):
    assert length_bytes(name) == expected_bytes
