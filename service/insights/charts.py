"""Charts as inline SVG: bars, lines and movers, from numbers to text. Pure, no library.

Colours are CSS variables of the page (`--mark-1` ...), so that they follow its light or dark
scheme. Everything drawn has a <title>, which browsers show and readers of the screen read. A chart
has a height of its own and takes the width that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDE, NARROW = 720, 420
"""How wide a chart is drawn; a page that is narrower shrinks it."""

_BAR_HEIGHT, _BAR_GAP = 18, 6
_LABEL_WIDTH, _VALUE_WIDTH = 230, 90
_LABEL_CHARACTERS = 34
_LINE_HEIGHT = 220
_AXIS_WIDTH, _AXIS_HEIGHT = 52, 24
_TOP = 10
_TICKS = 4
_TICK_WIDTH, _CHARACTER_WIDTH = 90, 8
_COLOURS = 4
_DOTS_UP_TO = 60


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: What it is of.
        value: How long it is; not negative.
        of: What it is a part of, drawn behind it; 0 for nothing.
    """

    label: str
    value: float
    of: float = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value for each place on the axis below, all lines of a chart alike."""

    name: str
    values: Sequence[float]


def bars(found: Sequence[Bar], name: str, width: int = WIDE) -> str:
    """Draw horizontal bars, in their order; `name` says what they are for who can't see them."""
    longest = max((max(bar.value, bar.of) for bar in found), default=0) or 1
    room = width - _LABEL_WIDTH - _VALUE_WIDTH
    drawn = []
    for number, bar in enumerate(found):
        y = number * (_BAR_HEIGHT + _BAR_GAP)
        length = room * bar.value / longest
        text = f"{shown(bar.value)} of {shown(bar.of)}" if bar.of else shown(bar.value)
        behind = (
            f'<rect class="rest" x="{_LABEL_WIDTH}" y="{y}" width="{room * bar.of / longest:.1f}" '
            f'height="{_BAR_HEIGHT}" rx="2"/>'
            if bar.of
            else ""
        )
        end = _LABEL_WIDTH + max(length, room * bar.of / longest)
        drawn.append(
            f"<g><title>{escape(bar.label)}: {text}</title>"
            f"{_label(bar.label, y)}{behind}"
            f'<rect class="mark-1" x="{_LABEL_WIDTH}" y="{y}" width="{length:.1f}" '
            f'height="{_BAR_HEIGHT}" rx="2"/>'
            f'<text x="{end + 6:.1f}" y="{y + 14}">{text}</text></g>'
        )
    return _svg("".join(drawn), width, len(found) * (_BAR_HEIGHT + _BAR_GAP), f"{name}: bars")


def movers(found: Sequence[Bar], name: str) -> str:
    """Draw bars to both sides of a middle: what fell to the left, what rose to the right."""
    longest = max((abs(bar.value) for bar in found), default=0) or 1
    half = (WIDE - _LABEL_WIDTH - 2 * _VALUE_WIDTH) / 2
    middle = _LABEL_WIDTH + _VALUE_WIDTH + half
    height = len(found) * (_BAR_HEIGHT + _BAR_GAP)
    drawn = [f'<line class="axis" x1="{middle}" x2="{middle}" y1="0" y2="{height}"/>']
    for number, bar in enumerate(found):
        y = number * (_BAR_HEIGHT + _BAR_GAP)
        length = half * abs(bar.value) / longest
        rises = bar.value >= 0
        text = f"{'+' if rises else ''}{shown(bar.value)}"
        at = middle + length + 6 if rises else middle - length - 6
        drawn.append(
            f"<g><title>{escape(bar.label)}: {text}</title>{_label(bar.label, y)}"
            f'<rect class="{"rise" if rises else "fall"}" '
            f'x="{middle if rises else middle - length:.1f}" y="{y}" width="{length:.1f}" '
            f'height="{_BAR_HEIGHT}" rx="2"/>'
            f'<text x="{at:.1f}" y="{y + 14}"{"" if rises else _TO_THE_LEFT}>{text}</text></g>'
        )
    return _svg("".join(drawn), WIDE, height, f"{name}: what rose and fell")


def lines(places: Sequence[str], at: Sequence[float], found: Sequence[Line], name: str) -> str:
    """Draw lines, with a legend where there is more than one.

    Args:
        places: What the places on the axis below are called.
        at: Where they are, ascending, in any unit.
        found: The lines.
        name: What they are for who can't see them.
    """
    top = nice(max((max(line.values, default=0) for line in found), default=0))
    bottom, right = _TOP + _LINE_HEIGHT, WIDE - 16
    span = (at[-1] - at[0]) or 1

    def x_of(place: int) -> float:
        return _AXIS_WIDTH + (right - _AXIS_WIDTH) * (at[place] - at[0]) / span

    def y_of(value: float) -> float:
        return bottom - _LINE_HEIGHT * value / top

    drawn = []
    for tick in range(_TICKS + 1):
        value = top * tick / _TICKS
        y = y_of(value)
        drawn.append(
            f'<line class="grid" x1="{_AXIS_WIDTH}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_AXIS_WIDTH - 6}" y="{y + 4:.1f}"{_TO_THE_LEFT}>{shown(value)}</text>'
        )
    drawn.extend(
        f'<text x="{x_of(place):.1f}" y="{bottom + 18}"'
        f"{_TO_THE_LEFT if x_of(place) > right - _TICK_WIDTH / 2 else _IN_THE_MIDDLE}>"
        f"{escape(label)}</text>"
        for place, label in _apart(short(places), x_of)
    )
    for number, line in enumerate(found):
        mark = number % _COLOURS + 1
        points = [(x_of(place), y_of(value), value) for place, value in enumerate(line.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
        drawn.append(f'<polyline class="line-{mark}" points="{path}"/>')
        if len(points) <= _DOTS_UP_TO:
            drawn.extend(
                f'<circle class="mark-{mark}" cx="{x:.1f}" cy="{y:.1f}" r="3">'
                f"<title>{escape(line.name)}, {escape(place)}: {shown(value)}</title></circle>"
                for place, (x, y, value) in zip(places, points, strict=True)
            )
    below = bottom + _AXIS_HEIGHT
    if len(found) > 1:
        below += 22
        for number, line in enumerate(found):
            x = _AXIS_WIDTH + number * 150
            drawn.append(
                f'<rect class="mark-{number % _COLOURS + 1}" x="{x}" y="{below - 12}" '
                f'width="12" height="12" rx="2"/>'
                f'<text x="{x + 18}" y="{below - 2}">{escape(line.name)}</text>'
            )
    return _svg("".join(drawn), WIDE, below, f"{name}: {', '.join(line.name for line in found)}")


def nice(value: float) -> float:
    """Return the next number above that people count in: 1, 2 or 5 and zeros."""
    if value <= 0:
        return 1
    power = 10 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value))


def short(places: Sequence[str]) -> list[str]:
    """Leave out the words that all places begin with, as the one day of many minutes."""
    words = [place.split(" ") for place in places]
    same = 0
    while len(words) > 1 and all(len(one) > same + 1 for one in words):
        if len({one[same] for one in words}) > 1:
            break
        same += 1
    return [" ".join(one[same:]) for one in words]


def shown(value: float) -> str:
    """Write a number for people: with thousands apart, and no more places than it needs."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.2g}"


def _apart(labels: Sequence[str], x_of: Callable[[int], float]) -> Iterator[tuple[int, str]]:
    """Choose labels that have room beside each other."""
    free = -math.inf
    for place, label in enumerate(labels):
        x = x_of(place)
        if x >= free:
            yield place, label
            free = x + max(_TICK_WIDTH, len(label) * _CHARACTER_WIDTH)


_IN_THE_MIDDLE = ' text-anchor="middle"'
_TO_THE_LEFT = ' text-anchor="end"'


def _label(text: str, y: float) -> str:
    cut = text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 1]}…"
    return f'<text x="{_LABEL_WIDTH - 8}" y="{y + 14}"{_TO_THE_LEFT}>{escape(cut)}</text>'


def _svg(content: str, width: int, height: float, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"{content}</svg>"
    )
