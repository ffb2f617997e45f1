"""A domain in a file of its own: all that is wrong with it is told at once, line by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataflows.registry import find_domain
from errors import SettingsError

HEAD = """\
from dataflows.domain import Domain
from operators.feature_spec import KeyForest, Share, StreamForest, Total
from operators.session_spec import LastText, SessionWindow
from operators.spec import Field, Level, Ratio, Threshold, Window
from operators.value_spec import Count, Distinct, Mean, Sum
from operators.filter_spec import Where
"""

FAULTY = (
    HEAD
    + """
SHOPS = Distinct("shops", of="shopp")  # not declared; did you mean 'shop'?

DOMAIN = Domain(
    name="orders",
    summary="Orders.",
    fields=(
        Field("customer", "integer"),
        Field("shop", "text"),
        Field("sum", "decimal", scale=2),
        Field("sent_at", "integer"),  # the event time sent_at can't be a field
        Field("weight", "float"),  # must be 'integer' or 'text' or 'decimal'
        Field(
            "shop",  # more than one field 'shop'
            "text",
        ),
    ),
    times=("sent_at",),
    windows=(
        Window(
            name="by_customer",
            length_seconds=10,
            key=("custmer",),  # 'custmer', which is not declared; did you mean 'customer'?
            values=(
                Count("orders", Where("customer", "7")),  # can filter by a text, not customer
                Sum("spent", of="shop"),  # needs a number, not the text shop
                SHOPS,
            ),
        ),
        Window("by_shop", "60", ("shop",), (Count("orders"),)),  # '60', and must be a whole number
        Window("of_shop", 60, ("shop"), (Count("orders"),)),  # write ('shop',)
        Window("all", 60, (), (Count("orders"), Mean("mean", of="sum"))),  # needs one group
        Window("few", 60, ("shop",), (Count("orders"),), groups=0),  # must be 1 or more
        Window(name="all", length_seconds=5, key=("shop",), values=()),  # more than one window
    ),
    sessions=(
        SessionWindow("visits", 0, ("customer",), (LastText("last", "shop"),)),  # gap of 0 s
    ),
    rules=(
        Threshold(
            name="busy",
            window="by_custommer",  # did you mean 'by_customer'?
            value="orders",
            levels=(Level("warning", above=5),),
        ),
        Threshold(
            name="rich",
            window="by_customer",
            value="spend",  # did you mean 'spent'?
            levels=(
                Level("warning", above=5),
                Level("warning", above=7),  # more than one level of rule rich 'warning'
            ),
            subject_template="{customer} spent {valu}",  # a place {valu} that nothing fills
        ),
        Threshold("few", "few", "orders", levels=[Level("low", 1)]),  # write ( ) in place of [ ]
        Threshold("odd", "few", "orders", (Level("a", 2), Level("b", 1))),  # must ascend
        Ratio("share", "few", "orders", of="orders", levels=(Level("low", 1.5),)),  # 1 at most
    ),
    detectors=(
        KeyForest(
            name="unusual",
            window="few",
            values=("order",),  # did you mean 'orders'?
            levels=(Level("low", 0.99),),
        ),
        StreamForest(
            name="stream",
            features=(
                Total("total", "few", "orders"),
                Share("share", "few", "orders", of="ordres"),  # did you mean 'orders'?
            ),
            levels=(Level("low", 0.99),),
        ),
        KeyForest(  # alarm_grades
            name="never",
            window="few",
            values=("orders",),
            levels=(Level("low", 2),),
        ),
    ),
)
"""
)


def problems_of(path: Path) -> dict[int, str]:
    with pytest.raises(SettingsError) as error:
        find_domain(f"{path}:DOMAIN")
    found: dict[int, str] = {}
    for line in error.value.problems:
        match = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.+)", line)
        assert match, line
        number = int(match[1])
        found[number] = f"{found[number]} / {match[2]}" if number in found else match[2]
    return found


def expected(source: str) -> dict[int, str]:
    """Return what the comments of a file expect, by line."""
    return {
        number: line.partition("  # ")[2]
        for number, line in enumerate(source.splitlines(), 1)
        if "  # " in line
    }


def file_of(source: str, folder: Path) -> Path:
    path = folder / "my_domain.py"
    path.write_text(source)
    return path


def test_each_problem_is_told_at_its_line_with_what_to_do(tmp_path: Path) -> None:
    found = problems_of(file_of(FAULTY, tmp_path))
    wanted = expected(FAULTY)

    assert len(wanted) > 20
    assert found.keys() == wanted.keys()
    assert [(line, found[line]) for line, text in wanted.items() if text not in found[line]] == []


def test_calls_that_python_refuses_are_told_all_at_once(tmp_path: Path) -> None:
    source = """\
from dataflows.domain import Domain
from operators.spec import Count, Field, Level, Threshold, Window  # operators.value_spec has it
from operators.value_spec import Cuont  # did you mean 'Count'?

DOMAIN = Domain(  # Domain needs 'times'
    name="orders",
    summary="Orders.",
    fields=(Field("shop"),),  # Field needs 'kind'
    windows=(
        Window(
            "shops",
            lenght_seconds=10,  # did you mean 'length_seconds'?
            name="shop",  # twice
            length_seconds=10,
            key=(),
            values=(),
        ),
    ),
    rules=(Threshold("a", "b", "c", (), 1, 2, "k", "s", "doc", "more"),),  # takes 9 values
)
"""
    found = problems_of(file_of(source, tmp_path))
    wanted = expected(source)

    assert found.keys() == wanted.keys()
    assert [(line, found[line]) for line, text in wanted.items() if text not in found[line]] == []


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("DOMAIN = Domain(\n    name='x'\n", "my_domain.py:1: '(' was never closed"),
        ("\nimport nothing_like_it\n", "my_domain.py:2: ModuleNotFoundError"),
        ("\n\nfrom operators.specs import A\n", ":3: there is no module operators.specs"),
        ("def f():\n    return 1 / 0\n\nf()\n", "my_domain.py:2: ZeroDivisionError"),
        ("OTHER = 1\n", "has no domain 'DOMAIN'"),
        ("\0", "null bytes"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_domain_is_refused_in_one_line(
    tmp_path: Path, source: str, problem: str
) -> None:
    path = file_of(source, tmp_path)
    with pytest.raises(SettingsError, match=re.escape(problem)) as error:
        find_domain(f"{path}:DOMAIN")
    assert "\n" not in str(error.value)


def test_what_a_function_declares_is_told_where_its_words_stand_or_at_the_domain(
    tmp_path: Path,
) -> None:
    source = (
        HEAD
        + """
def window(name):
    return Window(name, 10, ("shop",), (Count("orders"),), groups=len(name) - 2)


DOMAIN = Domain(
    name="orders",
    summary="Orders.",
    fields=(Field("customer", "integer"),),
    times=("at",),
    windows=tuple(window(f"w{number}") for number in range(2)),
    rules=(),
)
"""
    )
    path = file_of(source, tmp_path)

    found = problems_of(path)

    assert list(found) == [9, 12]
    assert "window w0 uses the field 'shop'" in found[9]
    assert "window w1 uses the field 'shop'" in found[9]
    assert "window w0: groups is 0" in found[12]


def test_a_domain_may_not_take_the_name_of_one_of_kinewax(tmp_path: Path) -> None:
    source = f"{HEAD}\nDOMAIN = Domain('ecommerce', '', (), ('at',), (), ())\n"
    with pytest.raises(SettingsError, match="a domain of kinewax has the name 'ecommerce'"):
        find_domain(str(file_of(source, tmp_path)))
