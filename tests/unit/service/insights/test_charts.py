"""Charts draw what they are given, to scale, and escape what comes from outside."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from service.insights.charts import Bar, Line, bars, lines, movers, nice, short, shown

NAMESPACE = {"svg": "http://www.w3.org/2000/svg"}


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


def test_bars_are_as_long_as_their_values():
    svg = bars([Bar("a", 10), Bar("b", 5), Bar("c", 0)], "few")

    longest, half, none = widths(svg, "mark-1")
    assert half == pytest.approx(longest / 2, abs=0.1)
    assert none == 0
    assert texts(svg) == ["a", "10", "b", "5", "c", "0"]


def test_a_bar_stands_before_what_it_is_a_part_of():
    svg = bars([Bar("a", 25, of=50)], "few")

    (part,), (whole,) = widths(svg, "mark-1"), widths(svg, "rest")
    assert part == pytest.approx(whole / 2, abs=0.1)
    assert "25 of 50" in texts(svg)


def test_movers_go_to_the_right_when_they_rise_and_to_the_left_when_they_fall():
    svg = movers([Bar("up", 4), Bar("down", -2)], "brands")

    (rise,), (fall,) = (
        [one for one in parsed(svg).iter("rect") if one.attrib["class"] == name]
        for name in ("rise", "fall")
    )
    middle = float(rise.attrib["x"])
    assert float(fall.attrib["x"]) + float(fall.attrib["width"]) == pytest.approx(middle, abs=0.2)
    assert float(rise.attrib["width"]) == pytest.approx(2 * float(fall.attrib["width"]), abs=0.2)
    assert texts(svg) == ["up", "+4", "down", "-2"]


def test_a_line_stands_where_its_times_are():
    svg = lines(["one", "two", "ten"], [1, 2, 10], [Line("a", [0, 50, 100])], "a line")

    (line,) = parsed(svg).iter("polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    (x1, y1), (x2, y2), (x3, y3) = points
    assert (x2 - x1) / (x3 - x1) == pytest.approx(1 / 9, abs=0.01)
    assert (y1 - y2) == pytest.approx(y2 - y3, abs=0.1)


def test_labels_that_would_cover_each_other_are_left_out():
    places = [f"2019-10-01 00:{minute:02d}" for minute in range(60)]

    svg = lines(places, list(range(60)), [Line("a", [1.0] * 60)], "a line")

    minutes = [text for text in texts(svg) if ":" in text]
    assert minutes[0] == "00:00"
    assert 3 < len(minutes) < 10


def test_nothing_is_a_chart_too():
    assert parsed(bars([], "none")).attrib["aria-label"] == "none: bars"
    assert parsed(movers([], "none")).tag == "svg"


def test_what_comes_from_outside_is_escaped():
    svg = bars([Bar('<script>"&', 1)], '"><script>')

    assert "<script>" not in svg
    assert '<script>"&' in texts(svg)


@pytest.mark.parametrize(
    ("value", "above"), [(0, 1), (0.3, 0.5), (1, 1), (1.1, 2), (3, 5), (461, 500), (1_747, 2_000)]
)
def test_an_axis_ends_at_a_number_that_people_count_in(value: float, above: float):
    assert nice(value) == above


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1234.0, "1,234"), (1234.5, "1,234.50"), (0.01234, "0.012"), (-2.5, "-2.50")],
)
def test_a_number_is_written_for_people(value: float, text: str):
    assert shown(value) == text


def test_the_day_that_all_minutes_share_is_left_out():
    assert short(["2019-10-01 00:01", "2019-10-01 00:02"]) == ["00:01", "00:02"]
    assert short(["2019-10-01 00:01", "2019-10-02 00:01"]) == [
        "2019-10-01 00:01",
        "2019-10-02 00:01",
    ]
    assert short(["2019-10-01"]) == ["2019-10-01"]
