"""Tables beside the stream: read whole or not at all, joined to columns by key."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from messages import Block
from operators.codes import TextCodes
from operators.decode import Decoder
from operators.intake import Intake
from operators.partials import Partials
from operators.reference import Joins, Table, TableError, table_of
from operators.reference_rows import rows_of
from operators.reference_spec import Reference
from operators.spec import Field, Window
from operators.value_spec import Count, Sum

PRODUCT = Field("product", "integer")
BRAND = Field("brand", "text", required=False)
MARGINS = Reference(
    "margins",
    key="product",
    fields=(Field("margin_group", "text"), Field("cost", "decimal", scale=2, required=False)),
)
ROWS = [
    {"product": 7, "margin_group": "high", "cost": "1.50"},
    {"product": "-3", "margin_group": "low", "cost": 0.25},
    {"product": 12, "margin_group": "high", "cost": None},
]


def joined(reference: Reference, key: Field, table: Table, keys: list[object]) -> list[tuple]:
    """Return, an event each, the fields that it gets and whether its key was found."""
    texts = TextCodes()
    column = (
        texts.of([str(one) for one in keys], len(keys))
        if key.kind == "text"
        else np.array(keys, np.int64)
    )
    columns = {reference.key: column}
    (found,) = Joins([reference], {reference.name: lambda: table}, texts).join(columns)
    read = []
    for row in range(len(keys)):
        values = [
            texts.text_of(int(columns[one.name][row]))
            if one.kind == "text"
            else Decimal(int(columns[one.name][row])).scaleb(-one.scale)
            for one in reference.fields
        ]
        read.append((*values, bool(found.found[row])))
    return read


def test_each_event_gets_the_row_of_its_key_and_what_is_declared_where_there_is_none() -> None:
    table = table_of(MARGINS, PRODUCT, ROWS)
    assert joined(MARGINS, PRODUCT, table, [12, -3, 8, 7, 7]) == [
        ("high", 0, True),
        ("low", Decimal("0.25"), True),
        ("", 0, False),
        ("high", Decimal("1.5"), True),
        ("high", Decimal("1.5"), True),
    ]
    told = Reference(MARGINS.name, MARGINS.key, MARGINS.fields, missing=("unknown", 9.99))
    table = table_of(told, PRODUCT, ROWS)
    assert joined(told, PRODUCT, table, [8]) == [("unknown", Decimal("9.99"), False)]
    assert joined(told, PRODUCT, table_of(told, PRODUCT, []), [8, 9])[1][0] == "unknown"


def test_a_text_key_is_found_by_its_text_and_its_column_may_have_another_name() -> None:
    sizes = Reference("sizes", "brand", (Field("size", "integer"),), column="name")
    table = table_of(sizes, BRAND, [{"name": "Zoë", "size": 3}, {"name": "", "size": 1}])
    assert joined(sizes, BRAND, table, ["Zoë", "zoe", ""]) == [
        (3, True),
        (0, False),
        (1, True),
    ]


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_a_table_is_the_same_from_each_kind_of_file(kind: str) -> None:
    rows = [{"product": 7, "margin_group": "a,b", "cost": 1.5}, {"product": 8, "margin_group": ""}]
    if kind == "csv":
        content = b'\xef\xbb\xbfproduct,margin_group,cost\r\n7,"a,b",1.5\r\n8,,\r\n'
    elif kind == "json":
        content = json.dumps(rows, indent=1).encode()
    elif kind == "jsonl":
        content = b"\n".join(json.dumps(row).encode() for row in rows)
    else:
        written = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist(rows), written)
        content = written.getvalue()
    table = table_of(MARGINS, PRODUCT, rows_of(f"table.{kind}", content))
    assert joined(MARGINS, PRODUCT, table, [8, 7]) == [("", 0, True), ("a,b", Decimal("1.5"), True)]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"product,margin_group\n7,a\n7,b\n", "row 2: the key 7 stood before, in row 1"),
        ("t.csv", b"product,margin_group\n,a\n", "row 1: `product` is missing"),
        ("t.csv", b"product\n7\n", "row 1: `margin_group` is missing"),
        ("t.csv", b"product,margin_group\nseven,a\n", "row 1: `product` is no number: 'seven'"),
        ("t.csv", b"product,margin_group\n7.5,a\n", "no whole number: '7.5'"),
        ("t.csv", b"product,margin_group\n7,a,b\n", "line 2 has another number of values"),
        ("t.csv", b"product,margin_group\n7\n", "line 2 has another number of values"),
        ("t.csv", b"\xff\xfe\n", "it is no CSV"),
        ("t.csv", b"product,margin_group\n99999999999999999999,a\n", "is too large"),
        ("t.csv", b"product,margin_group,cost\n7,a,nan\n", "is no number: 'nan'"),
        ("t.json", b'[{"product": true, "margin_group": "a"}]', "`product` is bool"),
        ("t.json", b'[{"product": 7, "margin_group": ["a"]}]', "`margin_group` is list"),
        ("t.json", b"[7]", "something else than objects"),
        ("t.jsonl", b'{"product": 7', "it is no JSON"),
        ("t.parquet", b"PAR1", "it is no Parquet"),
        ("t.xlsx", b"", "not in .xlsx"),
    ],
)
def test_a_table_that_is_wrong_is_refused_whole_with_its_row(
    name: str, content: bytes, problem: str
) -> None:
    with pytest.raises(TableError, match=problem.replace("[", "\\[")):
        table_of(MARGINS, PRODUCT, rows_of(name, content))


def taken(reference: Reference) -> tuple[Intake, list[tuple[tuple, int]]]:
    """Count events by what they got from a table; return the intake, and keys with their counts."""
    texts = TextCodes()
    window = Window("groups", 10, ("margin_group",), (Count("n"), Sum("cost", "cost")), groups=1)
    table = table_of(reference, PRODUCT, ROWS)
    intake = Intake(
        "shop",
        Decoder((PRODUCT,), "at", texts),
        (window,),
        0,
        joins=Joins([reference], {reference.name: lambda: table}, texts),
    )
    payloads = [
        b'{"product": %d, "at": "2026-01-01T00:00:0%dZ"}' % (product, second)
        for second, product in enumerate((7, 8, -3, 12, 99))
    ]
    got = intake.take([Block("s", payloads, range(5))])
    (packet,) = Partials((window,), {"groups": ["groups/0"]}, texts).packets([got])
    (partial,) = packet.partials
    assert partial.keys is not None
    return intake, sorted(zip(partial.keys, partial.values[0].tolist(), strict=True))


def test_events_without_a_row_are_counted_with_what_is_declared_for_them() -> None:
    intake, counts = taken(MARGINS)
    assert counts == [(("",), 2), (("high",), 2), (("low",), 1)]
    assert intake.ledger["missing.margins"] == 2
    assert intake.ledger["events"] == 5


def test_events_without_a_row_can_be_dropped_and_are_accounted_for() -> None:
    intake, counts = taken(Reference("margins", "product", MARGINS.fields, missing="drop"))
    assert counts == [(("high",), 2), (("low",), 1)]
    assert intake.ledger["dropped.not_in_margins"] == 2
    assert intake.ledger["events"] == 3
