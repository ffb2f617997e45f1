"""What a domain refuses, what it answers, and the domains that come with kinewax."""

from __future__ import annotations

import math
import string
from dataclasses import replace
from typing import Any

import pytest

from dataflows.domain import Domain
from dataflows.registry import DOMAINS, find_domain
from errors import SettingsError
from operators.decode import ARRIVAL
from operators.derived import Difference
from operators.figure_spec import Figure, Movers
from operators.filter_spec import Drop, Known, Where
from operators.session_spec import FirstText, SessionWindow
from operators.spec import Field, Level, Threshold, Window
from operators.value_spec import (
    ApproxDistinct,
    Count,
    Distinct,
    Maximum,
    Mean,
    Minimum,
    Sum,
    Top,
    Without,
)
from operators.written import Digits, Epoch, Text, Written

USERS = Window("users", 10, ("user",), (Count("events"), Mean("mean", "price")))
TRADE = Window(
    "trade",
    60,
    ("kind", "user"),
    (Sum("sold", "price", Where("kind", "buy")), Distinct("shops", "shop")),
)
BUSY = Threshold("busy", "users", "events", (Level("warning", 5), Level("high", 10, notify=True)))
SHOP = Domain(
    name="shop",
    summary="A shop.",
    fields=(
        Field("shop", "text"),
        Field("user", "integer"),
        Field("kind", "text"),
        Field("price", "decimal", scale=2),
        Field("unused", "text"),
    ),
    times=("at", "seen_at"),
    windows=(USERS, TRADE),
    rules=(BUSY,),
)


# ---- what it answers ----------------------------------------------------------------------------


def test_only_fields_that_windows_use_are_asked_for_in_the_order_of_declaration() -> None:
    assert [field.name for field in SHOP.fields_of((USERS,))] == ["user", "price"]
    assert [field.name for field in SHOP.fields_of((TRADE,))] == ["shop", "user", "kind", "price"]
    assert [field.name for field in SHOP.fields_of((TRADE, USERS))] == [
        "shop", "user", "kind", "price",
    ]  # fmt: skip
    assert SHOP.fields_of(()) == ()


def test_a_filter_uses_its_field() -> None:
    window = Window("w", 1, ("user",), (Minimum("least", "price", Where("kind", "buy")),))
    assert [field.name for field in SHOP.fields_of((window,))] == ["user", "kind", "price"]


def test_windows_are_found_by_name_in_the_order_of_declaration() -> None:
    assert SHOP.windows_named(()) == (USERS, TRADE)
    assert SHOP.windows_named(("trade", "users")) == (USERS, TRADE)
    assert SHOP.windows_named(("trade",)) == (TRADE,)
    with pytest.raises(SettingsError, match="domain shop has no window 'trades'") as error:
        SHOP.windows_named(("trade", "trades"))
    assert error.value.hint == "its windows: users, trade"


def test_the_event_time_is_a_declared_one_or_the_arrival() -> None:
    assert SHOP.time_choices == ("at", "seen_at", ARRIVAL)


def test_limits_can_be_others_and_the_rest_stays() -> None:
    changed = SHOP.with_limits({"busy.warning": 1})
    assert changed.rules == (
        replace(BUSY, levels=(Level("warning", 1), Level("high", 10, notify=True))),
    )
    assert replace(changed, rules=SHOP.rules) == SHOP
    assert SHOP.with_limits({}) == SHOP


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"busy.low": 1}, "has no limit 'busy.low'"),
        ({"warning": 1}, "has no limit 'warning'"),
        ({"busy.warning": 10}, "limits must ascend"),
        ({"busy.warning": 11}, "limits must ascend"),
        ({"busy.warning": -1}, "limits must ascend from 0"),
        ({"busy.warning": math.nan}, "limits must ascend"),
        ({"busy.high": math.nan}, "limits must ascend"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limits: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SHOP.with_limits(limits)


def test_sessions_are_among_the_windows_that_a_run_can_choose_and_their_rows_are_written() -> None:
    visits = SessionWindow("visits", 30, ("user",), (FirstText("first", "shop"),))
    shop = replace(SHOP, sessions=(visits,))
    assert shop.windows_named(()) == (USERS, TRADE, visits)
    assert shop.windows_named(("visits",)) == (visits,)
    assert [field.name for field in shop.fields_of((visits,))] == ["shop", "user"]
    assert shop.aggregates_of((TRADE, visits)) == ["trade", "visits"]


@pytest.mark.parametrize(
    ("visits", "message"),
    [
        (SessionWindow("users", 30, ("user",), ()), "more than one window or detector 'users'"),
        (SessionWindow("visits", 30, (), ()), "visits has no key"),
        (SessionWindow("visits", 0, ("user",), ()), "has a gap of 0 s"),
        (SessionWindow("visits", 30, ("session",), ()), "'session', which is not declared"),
        (SessionWindow("visits", 30, ("user",), (), where=Known("price")), "not price"),
        (
            SessionWindow("visits", 30, ("user",), (FirstText("first", "price"),)),
            "needs a text, not the number price",
        ),
        (
            SessionWindow("visits", 30, ("user",), (Without("w", some="carts", none="buys"),)),
            "needs a count, not 'carts'",
        ),
    ],
)
def test_sessions_that_contradict_themselves_are_refused(
    visits: SessionWindow, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SHOP, sessions=(visits,))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window("all", 10, (), ()), "all has no key and so needs one group"),
        (Window("all", 10, ("user",), (ApproxDistinct("n", "kind", bits=4),)), "12 to 16 bits"),
        (Window("all", 10, ("user",), (), emit=False, interim_seconds=1), "interim rows"),
        (Window("all", 10, ("user",), (), top=3, groups=1, interim_seconds=1), "interim rows"),
        (Window("all", 10, ("user",), (), evidence=(Top("t", "cost"),)), "the field 'cost'"),
        (
            Window("all", 10, ("user",), (), evidence=(Top("t", "price"),)),
            "needs a text, not the number price",
        ),
        (Window("all", 10, ("user",), (), evidence=(Top("t", "shop", most=0),)), "names 0"),
        (
            Window(
                "all", 10, ("user",), (), evidence=(Top("t", "shop", where=Where("user", "7")),)
            ),
            "can filter by a text, not user",
        ),
        (
            Window("all", 10, ("user",), (Count("t"),), evidence=(Top("t", "shop"),)),
            "more than one value of all 't'",
        ),
    ],
)
def test_windows_that_contradict_themselves_are_refused(window: Window, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SHOP, windows=(*SHOP.windows, window))


# ---- what it refuses ----------------------------------------------------------------------------


def of(window: Window = USERS, rule: Threshold = BUSY, **changes: Any) -> dict[str, Any]:
    return {"windows": (window, TRADE), "rules": (rule,), **changes}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (of(replace(USERS, key=("customer",))), "the field 'customer', which is not declared"),
        (of(replace(USERS, key=())), "window users has no key"),
        (of(replace(USERS, values=(Count("events"), Sum("s", "cost")))), "the field 'cost'"),
        (
            of(replace(USERS, values=(Count("events"), Sum("s", "price", Where("sort", "x"))))),
            "the field 'sort'",
        ),
        (of(replace(USERS, values=(Count("events"), Distinct("d", "cost")))), "the field 'cost'"),
        *[
            (of(replace(USERS, values=(Count("events"), kind("s", "shop")))), "needs a number")
            for kind in (Sum, Minimum, Maximum, Mean)
        ],
        (
            of(replace(USERS, values=(Count("events"), Sum("s", "price", Where("user", "7"))))),
            "can filter by a text, not user",
        ),
        (of(replace(USERS, values=(Count("events"), Count("events")))), "more than one value"),
        (of(rule=replace(BUSY, window="user")), "watches 'user', which is not declared"),
        (of(rule=replace(BUSY, value="mean")), "needs a count, sum or distinct count"),
        (of(rule=replace(BUSY, value="nothing")), "needs a count, sum or distinct count"),
        (of(rule=replace(BUSY, levels=())), "limits must ascend"),
        (of(rule=replace(BUSY, levels=BUSY.levels[::-1])), "limits must ascend"),
        (of(rule=replace(BUSY, levels=BUSY.levels[:1] * 2)), "limits must ascend"),
        (of(times=()), "no event time is declared"),
        (of(times=("at", "kind")), "the event time kind can't be a field, too"),
        (of(event_id="nothing"), "the event id 'nothing' is no declared text or integer"),
        (of(event_id="price"), "the event id 'price' is no declared text or integer"),
        (of(fields=SHOP.fields + SHOP.fields[:1]), "more than one field 'shop'"),
        ({"windows": (USERS, TRADE, USERS)}, "more than one window or detector 'users'"),
        ({"rules": (BUSY, BUSY)}, "more than one rule or detector 'busy'"),
    ],
)
def test_a_declaration_that_does_not_fit_together_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SettingsError, match="domain shop: ") as error:
        replace(SHOP, **changes)
    assert any(problem in line for line in error.value.problems)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        replace(
            SHOP, times=(), rules=(replace(BUSY, window="user"), replace(BUSY, name="b", levels=()))
        )
    assert len(error.value.problems) == 3
    assert str(error.value) == error.value.problems[0]


@pytest.mark.parametrize("value", ["sold", "shops"])
def test_a_rule_can_watch_a_sum_and_a_distinct_count(value: str) -> None:
    rule = Threshold("r", "trade", value, (Level("warning", 0.5),))
    assert replace(SHOP, rules=(rule,)).rules == (rule,)


# ---- those that come with kinewax ---------------------------------------------------------------


def test_a_domain_is_found_by_its_name() -> None:
    for name, domain in DOMAINS.items():
        assert find_domain(name) is domain
        assert domain.name == name
    with pytest.raises(SettingsError, match="there is no domain 'shop'") as error:
        find_domain("shop")
    assert "ecommerce" in error.value.hint


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_every_template_names_only_what_an_alert_has(domain: Domain) -> None:
    windows = {window.name: window for window in domain.windows}
    for rule in domain.rules:
        for template, allowed in (
            (rule.key_template, set(windows[rule.window].key)),
            (rule.subject_template, {*windows[rule.window].key, "value"}),
        ):
            used = {name for _, name, _, _ in string.Formatter().parse(template) if name}
            assert used <= allowed


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=DOMAINS)
def test_every_declaration_says_what_it_is_for(domain: Domain) -> None:
    for declared in (*domain.fields, *domain.windows, *domain.rules):
        assert declared.doc.endswith((".", ")"))
    assert domain.summary


def test_the_shop_has_the_seeds_windows_and_limits() -> None:
    shop = find_domain("ecommerce")
    (rule,) = shop.rules
    assert [(level.above, level.notify) for level in rule.levels] == [(5, False), (10, True)]
    (actions, trade, *_) = shop.windows
    assert (actions.length_seconds, actions.key, actions.emit) == (10, ("user_id",), False)
    assert (trade.length_seconds, trade.key) == (60, ("event_type", "category_code", "brand"))
    assert rule.key_template.format(user_id=101) == "userid#101#appserver#app-server-tomcat-123"
    assert shop.times[0] == "txn_timestamp"
    assert shop.disorder_seconds == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"derived": (Difference("grew", "user", "none"),)}, "'none', which is not declared"),
        ({"derived": (Difference("grew", "user", "kind"),)}, "needs a field of kind integer"),
        ({"drops": (Drop("test", Where("sort", "test")),)}, "'sort', which is not declared"),
        ({"drops": (Drop("test", Where("user", "test")),)}, "needs a field of kind text"),
        ({"drops": (Drop("a test", Where("kind", "test")),)}, "can't be a reason"),
        ({"written": Written((Text("kind", "sort"),))}, "'sort', which is not declared"),
        ({"written": Written((Text("kind", "user"),))}, "needs a field of kind text, not user"),
        ({"written": Written((Digits("kind", "kind"),))}, "needs a field of kind integer"),
        ({"written": Written((Epoch("at"), Epoch("at")))}, "more than one key of written events"),
    ],
)
def test_what_is_said_of_single_events_must_be_of_declared_fields(changes, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(SHOP, **changes)


def test_what_is_made_of_fields_or_dropped_by_one_needs_them_to_be_read() -> None:
    window = Window("w", 1, ("kind",), (Sum("twice", "zero"),))
    domain = replace(
        SHOP, derived=(Difference("zero", "user", "user"),), windows=(window,), rules=()
    )
    assert [field.name for field in domain.read_for((window,))] == ["user", "kind"]
    dropping = replace(SHOP, drops=(Drop("test", Where("kind", "test")),))
    assert [field.name for field in dropping.read_for((USERS,))] == ["user", "kind", "price"]


PLAIN = Window("plain", 10, ("shop",), (Count("events"), Distinct("people", of="user")), groups=1)
WIDE = Window("wide", 10, ("shop", "kind"), (Count("events"),), groups=4)
SILENT = Window("silent", 10, ("shop",), (Count("events"),), emit=False)


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        (Figure("plane", ("events",)), "there is no such window; did you mean 'plain'"),
        (Figure("plain", ("event",)), "no value 'event'; did you mean 'events'"),
        (Figure("plain", ("people",)), "people of many keys can't be added up"),
        (Figure("silent", ("events",)), "needs rows that the window doesn't write"),
        (Figure("plain", ("events",), by=Where("kind", "view")), "'kind' is no part of its key"),
        (Movers("wide", "events"), "needs a window of one key field"),
        (Movers("plain", "people"), "people of many keys can't be added up"),
        (Movers("plain", "events", most=0), "names nobody"),
    ],
)
def test_figures_that_contradict_themselves_are_refused(
    shown: Figure | Movers, message: str
) -> None:
    windows = (*SHOP.windows, PLAIN, WIDE, SILENT)
    declared = {"figures" if isinstance(shown, Figure) else "movers": (shown,)}
    with pytest.raises(SettingsError, match=message):
        replace(SHOP, windows=windows, **declared)


def test_movers_need_all_keys_in_one_group() -> None:
    windows = (*SHOP.windows, replace(PLAIN, groups=2))
    with pytest.raises(SettingsError, match="whose keys are all in one group"):
        replace(SHOP, windows=windows, movers=(Movers("plain", "events"),))


def test_figures_of_all_that_can_be_shown_are_taken() -> None:
    windows = (*SHOP.windows, PLAIN, WIDE)
    figures = (Figure("wide", ("events",), by=Where("kind", "view")),)
    assert replace(SHOP, windows=windows, figures=figures).figures == figures
