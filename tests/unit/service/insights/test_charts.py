"""Charts draw what they are given, to scale, whole, and escape what comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from service.insights.charts import NARROW, WIDE, Bar, Frame, Line, bars, lines, movers, shown

PIXELS_A_CHARACTER = 6.6
"""What a character of 12 pixels takes on average in common fonts; reckoned without charts.py."""

WIDTHS = (WIDE, NARROW)
MINUTE, HOUR, DAY = 60, 3_600, 86_400
MIDNIGHT = 1_743_552_000  # 2025-04-02 00:00 UTC


def frame(width: int = WIDE, title: str = "few") -> Frame:
    return Frame("key", title, width)


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def widths(svg: str, mark: str) -> list[float]:
    return [
        float(one.attrib["width"])
        for one in parsed(svg).iter("rect")
        if one.attrib["class"] == mark
    ]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in parsed(svg).iter("text")]


def extents(svg: str) -> list[tuple[float, float, float, str]]:
    """Return the row, the left end and the right end of every text."""
    found = []
    for one in parsed(svg).iter("text"):
        x, y, text = float(one.attrib["x"]), float(one.attrib["y"]), one.text or ""
        width = len(text) * PIXELS_A_CHARACTER
        left = (
            x
            - {"start": 0.0, "middle": 0.5, "end": 1.0}[one.attrib.get("text-anchor", "start")]
            * width
        )
        found.append((y, left, left + width, text))
    return sorted(found)


def assert_legible(svg: str, width: int) -> None:
    """No text leaves the chart, none meets another."""
    found = extents(svg)
    for _, left, right, text in found:
        assert left >= -1, text
        assert right <= width + 1, text
    for (row, _, right, text), (next_row, left, _, next_text) in pairwise(found):
        assert row != next_row or left >= right, (text, next_text)


def polylines(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in one.attrib["points"].split())
        ]
        for one in parsed(svg).iter("polyline")
    ]


# ---- bars ---------------------------------------------------------------------------------------


def test_bars_are_as_long_as_their_values():
    svg = bars([Bar("a", 10), Bar("b", 5), Bar("c", 0)], frame())

    longest, half, none = widths(svg, "mark")
    assert half == pytest.approx(longest / 2, abs=0.1)
    assert none == 0
    assert texts(svg) == ["a", "10", "b", "5", "c", "0"]


def test_a_bar_stands_before_what_it_is_a_part_of():
    svg = bars([Bar("a", 25, of=50)], frame())

    (part,), (whole,) = widths(svg, "mark"), widths(svg, "rest")
    assert part == pytest.approx(whole / 2, abs=0.1)
    assert "25 of 50 (50.0%)" in texts(svg)


def test_charts_among_others_have_their_scale_whatever_their_own_texts_take():
    small, large = [Bar("a", 10)], [Bar("a name that is long", 1_000_000)]

    (short,) = widths(bars(small, frame(), among=[*small, *large]), "mark")
    (long,) = widths(bars(large, frame(), among=[*small, *large]), "mark")

    assert short == pytest.approx(long / 100_000, abs=0.1)


def test_a_bar_below_zero_has_no_length_but_its_number():
    svg = bars([Bar("a", 10), Bar("b", -5)], frame())

    assert widths(svg, "mark")[1] == 0
    assert texts(svg)[-1] == "\N{MINUS SIGN}5"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "found",
    [
        [Bar("user and product", 1_601, of=1_639), Bar("user", 3, of=1_000)],
        [Bar("appliances.environment.air_heater", 123_456), Bar("x" * 70, 12)],
        [Bar("/a/path/of/many/words", 1_111_264_940_123, of=9_999_999_999_999)],
    ],
)
def test_no_text_of_bars_is_cut_off_or_covered(found: list[Bar], width: int):
    svg = bars(found, frame(width))

    assert_legible(svg, width)
    assert max(widths(svg, "mark") + widths(svg, "rest")) > width / 5


def test_a_label_without_room_keeps_its_ends_and_is_whole_in_its_title():
    name = "electronics.audio.music_tools.synthesizer.of-a-kind.with-a-long-name"

    svg = bars([Bar(name, 1)], frame(NARROW))

    label = texts(svg)[0]
    assert label[:5] == "elect"
    assert label[-5:] == "-name"
    assert f"{name}: 1" in [one.text for one in parsed(svg).iter("title")]


def test_large_numbers_are_short_in_the_chart_and_exact_in_its_title():
    svg = bars([Bar("a", 1_234_567.89)], frame())

    assert texts(svg) == ["a", "1.23 M"]
    assert "a: 1,234,567.89" in [one.text for one in parsed(svg).iter("title")]


# ---- movers -------------------------------------------------------------------------------------


def test_movers_go_to_the_right_when_they_rise_and_to_the_left_when_they_fall():
    svg = movers([Bar("up", 4), Bar("down", -2)], frame())

    (rise,), (fall,) = (
        [one for one in parsed(svg).iter("rect") if one.attrib["class"] == name]
        for name in ("rise", "fall")
    )
    middle = float(rise.attrib["x"])
    assert float(fall.attrib["x"]) + float(fall.attrib["width"]) == pytest.approx(middle, abs=0.2)
    assert float(rise.attrib["width"]) == pytest.approx(2 * float(fall.attrib["width"]), abs=0.2)
    assert texts(svg) == ["up", "+4", "down", "\N{MINUS SIGN}2"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_label_of_movers_and_its_value_dont_meet(width: int):
    found = [Bar("apple", 11_111_264.94), Bar("samsung", -11_111_264.94), Bar("lg", -999_999)]

    assert_legible(movers(found, frame(width)), width)
    assert_legible(movers([Bar("a long name of a brand", -1)], frame(width)), width)


# ---- lines --------------------------------------------------------------------------------------


def test_a_line_stands_where_its_times_are():
    svg = lines([1, 2, 10], [Line("a", [0, 50, 100])], frame())

    ((x1, y1), (x2, y2), (x3, y3)) = polylines(svg)[0]
    assert (x2 - x1) / (x3 - x1) == pytest.approx(1 / 9, abs=0.01)
    assert (y1 - y2) == pytest.approx(y2 - y3, abs=0.1)


def test_a_line_breaks_where_nothing_is_known_and_what_stands_alone_is_a_dot():
    at = [place * MINUTE for place in range(200)]
    values = [40.0, 41.0, *[None] * 100, 42.0, *[None] * 95, 43.0, 44.0]

    svg = lines(at, [Line("a", values)], frame())

    assert [len(points) for points in polylines(svg)] == [2, 2]
    (dot,) = parsed(svg).iter("circle")
    assert dot.find("title").text == "a, 1970-01-01 01:42: 42"  # type: ignore[union-attr]


def test_each_line_has_a_panel_and_a_scale_of_its_own():
    svg = lines([0, 60], [Line("views", [0, 1_000]), Line("carts", [0, 4])], frame())

    views, carts = polylines(svg)
    rises = [points[0][1] - points[1][1] for points in (views, carts)]
    assert rises[0] == pytest.approx(rises[1])
    assert min(y for _, y in carts) > max(y for _, y in views)


def test_a_line_takes_the_height_that_there_is():
    svg = lines([0, 60], [Line("views", [0, 5_600])], frame())

    (points,) = polylines(svg)
    above, below = points[1][1], points[0][1]
    grid = [float(one.attrib["y1"]) for one in parsed(svg).iter("line")]
    assert below == pytest.approx(max(y for y in grid if y <= below), abs=0.1)
    assert above < min(grid)
    assert "4,000" in texts(svg)


def test_whole_numbers_get_whole_ticks():
    svg = lines([0, 60], [Line("views", [0, 2])], frame())

    assert [text for text in texts(svg) if text in {"0", "1", "2"}] == ["0", "1", "2"]
    assert not [text for text in texts(svg) if "." in text]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("start", "step", "count"),
    [
        (MIDNIGHT - 9 * HOUR - 8 * MINUTE, MINUTE, 284),  # 14:52 to 19:35, as the review saw
        (MIDNIGHT - 2 * HOUR, 5 * MINUTE, 50),  # over midnight
        (MIDNIGHT + 18 * HOUR + 52 * MINUTE, 2 * MINUTE, 142),
        (MIDNIGHT - 300 * DAY, DAY, 400),  # over a year's end
        (MIDNIGHT, DAY, 2),
        (MIDNIGHT, DAY, 9),
        (MIDNIGHT + 1, 1, 3),
        (MIDNIGHT, MINUTE, 1_440),
    ],
)
def test_no_label_of_an_axis_is_cut_off_or_meets_another(
    start: int, step: int, count: int, width: int
):
    at = [start + place * step for place in range(count)]

    for value in (2.0, 12_345.0):
        svg = lines(at, [Line("views per minute", [value] * count)], frame(width))

        assert_legible(svg, width)
        assert len(texts(svg)) > 6


@pytest.mark.parametrize("values", [[0, 0], [-5, 3], [-5, -3], [None, None]])
def test_a_line_of_any_numbers_can_be_drawn(values: list[float | None]):
    svg = lines([0, 60], [Line("a", values)], frame())

    heights = float(parsed(svg).attrib["viewBox"].split()[3])
    assert all(0 <= y <= heights for points in polylines(svg) for _, y in points)


# ---- all ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda one: bars([Bar("a", 4)], one),
        lambda one: movers([Bar("a", 4)], one),
        lambda one: lines([0, 60], [Line("a", [1, 4])], one),
    ],
)
def test_a_chart_has_a_name_and_a_summary_for_who_cant_see_it(draw: Callable[[Frame], str]):
    svg = parsed(draw(frame(title="What is bought")))

    ids = {one.attrib["id"]: one.text or "" for one in svg if "id" in one.attrib}
    name, summary = (ids[key] for key in svg.attrib["aria-labelledby"].split())
    assert svg.attrib["role"] == "img"
    assert name == "What is bought"
    assert "a" in summary
    assert "4" in summary


def test_nothing_is_a_chart_too():
    assert parsed(bars([], frame())).tag == "svg"
    assert parsed(movers([], frame())).tag == "svg"


def test_what_comes_from_outside_is_escaped():
    outside = '"><script>&'

    svg = bars([Bar(outside, 1)], Frame(outside, outside))
    line = lines([0, 60], [Line(outside, [1, 2])], frame())

    assert "<script>" not in svg + line
    assert outside in texts(svg)
    assert outside in texts(line)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1234.0, "1,234"), (1234.5, "1,234.50"), (0.01234, "0.012"), (-2.5, "-2.50")],
)
def test_a_number_is_written_for_people(value: float, text: str):
    assert shown(value) == text
