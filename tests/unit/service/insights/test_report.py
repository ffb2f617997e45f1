"""The page says what it draws, in figures and in tables that everybody can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path

from service.insights.answers import Answer, Insights, Plain
from service.insights.queries import Chart, Question
from service.insights.report import page, read_texts

MADE_AT = "2026-01-02 03:04"


def answered(
    columns: Sequence[str],
    rows: Sequence[tuple[Plain, ...]],
    kind: str = "",
    name: str = "asked",
    **drawn: str,
) -> Answer:
    chart = Chart(kind, drawn) if kind else None
    question = Question(name, "shop", "events", 1, "Title", "Text.", ("x",), chart, "SELECT 1")
    return Answer(question, columns, rows)


def paged(*answers: Answer, others: Mapping[Path, str] | None = None) -> str:
    return page(Insights("<place>", (), others or {}, answers), MADE_AT)


def captions(html: str) -> list[str]:
    return re.findall(r"<figcaption>(.*?)</figcaption>", html)


def cells(html: str, tag: str) -> list[tuple[str, str]]:
    return re.findall(rf"<{tag}\b([^>]*)>([^<]*)", html)


# ---- movers -------------------------------------------------------------------------------------


def movers_of(*days: str) -> Answer:
    rows = [(day, f"brand of {day}", 1.5) for day in days]
    return answered(
        ("day", "brand", "change"), rows, "movers", label="brand", value="change", by="day"
    )


def minutes_up_to(minute: str) -> Answer:
    rows = [("2025-04-02 12:00", 1), (minute, 2)]
    return answered(("minute", "views"), rows, "line", "trade", x="minute", y="views")


def drawn_brand(html: str) -> str:
    found = re.search(r"<title>brand of (\S+): ", html)
    assert found
    return found[1]


def test_an_unfinished_day_isnt_compared_with_a_whole_one():
    html = paged(minutes_up_to("2025-04-03 17:05"), movers_of("2025-04-02", "2025-04-03"))

    assert drawn_brand(html) == "2025-04-02"
    assert captions(html)[-1] == (
        "change, 2025-04-02: the newest day that is over. 2025-04-03 goes up to 17:05."
    )


def test_the_only_day_is_drawn_and_said_to_go_on():
    html = paged(minutes_up_to("2025-04-03 17:05"), movers_of("2025-04-03"))

    assert drawn_brand(html) == "2025-04-03"
    assert "2025-04-03 so far" in captions(html)[-1]


def test_a_day_that_was_seen_to_its_end_is_drawn():
    for newest in ("2025-04-03 23:59", "2025-04-04 00:00"):
        html = paged(minutes_up_to(newest), movers_of("2025-04-02", "2025-04-03"))

        assert drawn_brand(html) == "2025-04-03"
        assert captions(html)[-1] == "change, 2025-04-03"


def test_today_isnt_over_though_nothing_else_tells():
    html = paged(movers_of("2026-01-01", "2026-01-02"))

    assert drawn_brand(html) == "2026-01-01"


# ---- bars and lines -----------------------------------------------------------------------------


def test_the_share_that_a_part_is_of_a_whole_is_told_in_percent():
    columns = ("brand", "views", "purchases", "purchases_per_view")
    rows = [("a", 132, 1, 0.0076), ("b", 361, 3, 0.0083)]

    html = paged(answered(columns, rows, "bars", label="brand", value="purchases_per_view"))

    assert [text for _, text in cells(html, "td") if "%" in text] == ["0.76%", "0.83%"]
    assert re.findall(r"<text[^>]*>([\d.]+%)", html) == ["0.76%", "0.83%"] * 2


def test_a_ratio_of_something_else_is_a_number():
    html = paged(answered(("user", "events_per_second"), [("a", 0.25)]))

    assert ("0.25") in [text for _, text in cells(html, "td")]


def test_a_caption_names_what_bars_measure():
    html = paged(
        answered(("brand", "sold", "seen"), [("a", 1, 2)], "bars", label="brand", value="sold"),
        answered(
            ("brand", "sold", "seen"), [("a", 1, 2)], "bars", label="brand", value="sold", of="seen"
        ),
    )

    assert captions(html) == ["sold", "sold, of seen"]


def test_a_line_says_its_unit_and_how_it_was_drawn():
    rows = [(f"2025-04-02 {at // 60:02d}:{at % 60:02d}", at % 5, 1) for at in range(0, 1_440, 2)]

    html = paged(answered(("minute", "views", "sold"), rows, "line", x="minute", y="views,sold"))

    assert captions(html) == [
        "Each point is the mean of 10 minutes. A minute without a row is drawn as 0. "
        "Each line has a scale of its own."
    ]
    assert ">views per minute<" in html
    assert "720 rows" in html


def test_times_may_come_in_any_order_and_one_that_isnt_known_is_left_out():
    rows = [("2025-04-03", 3), (None, 9), ("2025-04-01", 1), ("2025-04-02", 2)]

    html = paged(answered(("day", "views"), rows, "line", x="day", y="views"))

    (points, _) = re.findall(r'<polyline[^>]* points="([^"]+)"', html)
    places = [tuple(map(float, one.split(","))) for one in points.split()]
    assert len(places) == 3
    assert places == sorted(places)
    assert "no time is known" in paged(
        answered(("day", "views"), [(None, 9)], "line", x="day", y="views")
    )


def test_groups_of_bars_are_named_and_share_a_scale():
    rows = [(4, "a", 10), (5, "a", 5)]

    html = paged(
        answered(("weekday", "name", "n"), rows, "bars", label="name", value="n", by="weekday")
    )

    assert captions(html) == ["<b>Thursday</b>", "<b>Friday</b>"]
    long, short = (float(one) for one in re.findall(r'class="mark"[^>]* width="([\d.]+)"', html))
    assert abs(long - 2 * short) < 0.2
    assert ("", "Thursday") in cells(html, "td")


def test_each_chart_is_there_for_a_page_and_for_a_phone():
    html = paged(answered(("brand", "sold"), [("a", 1)], "bars", label="brand", value="sold"))

    assert re.findall(r'<svg class="(\w+)"', html) == ["wide", "narrow"]


# ---- who reads it -------------------------------------------------------------------------------


def test_every_id_is_there_once_and_every_name_is_found():
    rows = [(4, "a", 10), (5, "a", 5)]
    html = paged(
        answered(("weekday", "name", "n"), rows, "bars", label="name", value="n", by="weekday"),
        answered(("brand", "n"), [("a", 1)], "bars", "other", label="brand", value="n"),
    )

    ids = re.findall(r'\bid="([^"]+)"', html)
    named = " ".join(re.findall(r'aria-labelledby="([^"]+)"', html)).split()
    assert len(ids) == len(set(ids))
    assert set(named) <= set(ids)
    assert len(named) == 2 * html.count("<svg")


def test_columns_say_that_they_are_and_stand_over_their_numbers():
    html = paged(answered(("brand", "revenue"), [("a", 1_234.5), ("b", 2), ("c", None)]))

    assert cells(html, "th") == [
        (' scope="col"', "brand"),
        (' scope="col" class="number"', "revenue"),
    ]
    numbers = [text for kind, text in cells(html, "td") if "number" in kind]
    assert numbers == ["1,234.50", "2.00", "-"]


def test_a_time_stays_in_one_line():
    html = paged(answered(("minute", "n"), [("2025-04-02 09:00", 1), (None, 2)]))

    assert (' class="time"', "2025-04-02 09:00") in cells(html, "td")
    assert ".time { white-space: nowrap; }" in html


def test_a_page_that_was_mailed_says_which_files_were_left_and_why():
    others = {
        Path("/tmp/copies/x/a/alerts.jsonl"): "is empty",
        Path("/tmp/copies/x/b/late.jsonl"): "is empty",
        Path("/tmp/copies/x/b/<s>.json"): "is cut off",
    }

    html = paged(answered(("n",), [(1,)]), others=others)

    assert "<summary>3 files left</summary>" in html
    assert "is empty: <code>a/alerts.jsonl</code>, <code>b/late.jsonl</code>" in html
    assert "is cut off: <code>b/&lt;s&gt;.json</code>" in html
    assert "copies" not in html
    assert "--json" not in html
    assert read_texts(Insights("x", (), others, ())) == ["3 files left: --json says why"]


def test_of_many_files_that_were_left_some_are_named():
    others = {Path(f"/x/{number}.json"): "is empty" for number in range(1_030)}

    html = paged(answered(("n",), [(1,)]), others=others)

    assert html.count("<code>") == 20
    assert "and 1,010 more" in html


def test_the_page_is_well_formed():
    html = paged(
        minutes_up_to("2025-04-03 17:05"),
        movers_of("2025-04-02", "2025-04-03"),
        others={Path("/x/y"): "is empty"},
    )

    checked = Nesting()
    checked.feed(html)
    assert checked.open == []


class Nesting(HTMLParser):
    """Follows what is opened and closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
