"""Charts as inline SVG: bars, lines and movers, from numbers to text. Pure, no library.

A chart takes the room of its longest texts first and draws in what is left, so that none is cut
off or covers another; it is as wide as its frame says, and never drawn larger. Colours are CSS
variables of the page (`--mark` ...), so that they follow its light or dark scheme. What is drawn
has a <title> with the exact number, which browsers show; who can't see the chart is told its title
and a summary, and finds the numbers in the table below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from service.insights.scales import (
    FONT,
    alike,
    brief,
    cut,
    ends,
    moment,
    percent,
    runs,
    ticks,
    time_labels,
    widest,
    width_of,
)

WIDE, NARROW = 880, 360
"""How wide a chart is drawn: for a page, and for a phone or beside others."""

_BAR_HEIGHT, _BAR_GAP = 16, 6
_BASELINE = 12
_SPACE = 7
_LEAST_SHARE = 0.3
_SHOWN_PERCENT_FROM = 500
_PANEL_HEIGHT, _ONE_PANEL_HEIGHT = 84, 190
_PANEL_TITLE, _PANEL_GAP = 22, 20
_AXIS_HEIGHT = 38
_DOTS_UP_TO = 60
_BOLD = 1.1
_PANEL_TICKS, _ONE_PANEL_TICKS = 3, 4


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a chart goes.

    Attributes:
        key: Its name among all charts of the page: a word.
        title: What it shows.
        width: How wide it is drawn.
        shown: The CSS class of the pages that it is for; empty for all.
    """

    key: str
    title: str
    width: int = WIDE
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: What it is of.
        value: How long it is; below 0 only movers have a length.
        of: What it is a part of, drawn behind it; 0 for nothing.
        share: The value is a share, told in percent.
    """

    label: str
    value: float
    of: float = 0
    share: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: a value for each time, all lines of a chart alike; None where it breaks."""

    name: str
    values: Sequence[float | None]


def bars(found: Sequence[Bar], frame: Frame, among: Sequence[Bar] = ()) -> str:
    """Draw horizontal bars, in their order.

    Args:
        found: The bars.
        frame: Where they go.
        among: All bars of the charts that share a scale with this one; empty for these alone.
    """
    among = among or found
    longest = max((max(bar.value, bar.of) for bar in among), default=0) or 1
    told = [_told(bar, frame.width) for bar in found]
    for_values = widest([_told(bar, frame.width) for bar in among]) + _SPACE
    left = _label_room(among, frame.width - for_values)
    room = frame.width - for_values - left
    drawn = []
    for number, (bar, text) in enumerate(zip(found, told, strict=True)):
        y = number * (_BAR_HEIGHT + _BAR_GAP)
        end = left + room * max(bar.value, bar.of) / longest
        behind = _rect("rest", left, y, room * bar.of / longest) if bar.of else ""
        drawn.append(
            f"<g><title>{escape(bar.label)}: {_exact(bar)}</title>{_label(bar.label, left, y)}"
            f"{behind}{_rect('mark', left, y, room * max(bar.value, 0) / longest)}"
            f'<text x="{end + _SPACE:.1f}" y="{y + _BASELINE}">{text}</text></g>'
        )
    summary = ", ".join(f"{bar.label}: {_exact(bar)}" for bar in found)
    return _svg(drawn, frame, len(found) * (_BAR_HEIGHT + _BAR_GAP), f"Bars. {summary}.")


def movers(found: Sequence[Bar], frame: Frame) -> str:
    """Draw bars to both sides of a middle: what fell to the left, what rose to the right."""
    told = [_signed(bar.value) for bar in found]
    rose, fell = (max((sign * bar.value for bar in found), default=0) for sign in (1, -1))
    rose, fell = max(rose, 0), max(fell, 0)
    for_values = widest(told) + _SPACE
    left = _label_room(found, frame.width - 2 * for_values)
    scale = (frame.width - left - 2 * for_values) / (rose + fell or 1)
    middle = left + for_values + fell * scale
    height = len(found) * (_BAR_HEIGHT + _BAR_GAP)
    drawn = []
    for number, (bar, text) in enumerate(zip(found, told, strict=True)):
        y = number * (_BAR_HEIGHT + _BAR_GAP)
        length = abs(bar.value) * scale
        rises = bar.value >= 0
        x, anchor = (middle + length + _SPACE, "") if rises else (middle - length - _SPACE, _END)
        drawn.append(
            f"<g><title>{escape(bar.label)}: {'+' if rises else ''}{shown(bar.value)}</title>"
            f"{_label(bar.label, left, y)}"
            f"{_rect('rise' if rises else 'fall', middle - (0 if rises else length), y, length)}"
            f'<text x="{x:.1f}" y="{y + _BASELINE}"{anchor}>{text}</text></g>'
        )
    drawn.append(
        f'<line class="axis" x1="{middle:.1f}" x2="{middle:.1f}" y1="0" y2="{height - _BAR_GAP}"/>'
    )
    summary = ", ".join(f"{bar.label}: {text}" for bar, text in zip(found, told, strict=True))
    return _svg(drawn, frame, height, f"What rose and what fell. {summary}.")


def lines(
    at: Sequence[float],
    found: Sequence[Line],
    frame: Frame,
    *,
    whole: bool = True,
    mean_of: float = 0,
) -> str:
    """Draw lines over one axis of times, each in a panel with a scale of its own.

    Side by side none hides another, and a small one isn't pressed flat by a large one.

    Args:
        at: The times, ascending, in seconds since the epoch.
        found: The lines.
        frame: Where they go.
        whole: The values are whole numbers.
        mean_of: How many seconds a value is a mean of; 0 for none.
    """
    many = len(found) > 1
    height = _PANEL_HEIGHT if many else _ONE_PANEL_HEIGHT
    most_ticks = _PANEL_TICKS if many else _ONE_PANEL_TICKS
    scales = [(line, *ends(line.values)) for line in found]
    marked = [ticks(low, high, most_ticks, whole) for _, low, high in scales]
    left = widest([text for one in marked for text in alike(one)]) + _SPACE
    right = frame.width - _SPACE
    span = (at[-1] - at[0]) or 1
    xs = [left + (right - left) * (time - at[0]) / span for time in at]
    labels = time_labels(at, left, right)
    drawn, told, top = [], [], _PANEL_TITLE
    for (line, low, high), marks in zip(scales, marked, strict=True):
        bottom = top + height
        ys = [
            None if value is None else bottom - height * (value - low) / (high - low)
            for value in line.values
        ]
        beside = width_of(line.name) * _BOLD + 2 * _SPACE
        highest, when = _highest(line, [time - time % (mean_of or 1) for time in at])
        told.append(f"{line.name}: {highest}{when}")
        fits = beside + width_of(highest + when) <= frame.width
        drawn.append(
            f'<text class="name" x="0" y="{top - 9}">{escape(line.name)}</text>'
            f'<text class="soft" x="{beside:.0f}" y="{top - 9}">'
            f"{highest}{when if fits else ''}</text>"
        )
        for tick, text in zip(marks, alike(marks), strict=True):
            y = bottom - height * (tick - low) / (high - low)
            drawn.append(
                f'<line class="{"axis" if tick == 0 else "grid"}" x1="{left:.1f}" '
                f'x2="{frame.width}" y1="{y:.1f}" y2="{y:.1f}"/>'
                f'<text class="soft" x="{left - _SPACE:.1f}" y="{y + 4:.1f}"{_END}>'
                f"{text}</text>"
            )
        drawn.extend(
            f'<line class="axis" x1="{label.x:.1f}" x2="{label.x:.1f}" '
            f'y1="{bottom}" y2="{bottom + 4}"/>'
            for label in labels
        )
        drawn.extend(_joined(line, at, xs, ys))
        top = bottom + _PANEL_TITLE + _PANEL_GAP
    bottom = top - _PANEL_TITLE - _PANEL_GAP
    for label in labels:
        anchor = "" if label.anchor == "start" else f' text-anchor="{label.anchor}"'
        rows = ((label.text, bottom + 18), (label.below, bottom + 33))
        drawn.extend(
            f'<text class="soft" x="{label.x:.1f}" y="{y}"{anchor}>{text}</text>'
            for text, y in rows
            if text
        )
    return _svg(drawn, frame, bottom + _AXIS_HEIGHT, f"Lines over time. {'; '.join(told)}.")


def shown(value: float) -> str:
    """Write a number for a table: with thousands apart, and no more places than it needs."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.2g}"


_END = ' text-anchor="end"'


def _told(bar: Bar, width: int) -> str:
    if bar.share:
        return percent(bar.value)
    if not bar.of:
        return brief(bar.value)
    text = f"{brief(bar.value)} of {brief(bar.of)}"
    return f"{text} ({percent(bar.value / bar.of)})" if width >= _SHOWN_PERCENT_FROM else text


def _exact(bar: Bar) -> str:
    if bar.share:
        return percent(bar.value)
    return f"{shown(bar.value)} of {shown(bar.of)}" if bar.of else shown(bar.value)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{brief(value)}"


def _label_room(found: Sequence[Bar], room: float) -> float:
    """Return what the labels take of some room, which leaves enough for bars."""
    return min(widest([bar.label for bar in found]) + _SPACE, room * (1 - _LEAST_SHARE))


def _label(text: str, left: float, y: float) -> str:
    fits = escape(cut(text, left - _SPACE))
    return f'<text x="{left - _SPACE:.1f}" y="{y + _BASELINE}"{_END}>{fits}</text>'


def _rect(name: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR_HEIGHT}"/>'


def _highest(line: Line, at: Sequence[float]) -> tuple[str, str]:
    """Say what a line's highest value is, and when it first was."""
    pairs = zip(line.values, at, strict=True)
    known = [(value, -time) for value, time in pairs if value is not None]
    if not known:
        return "nothing", ""
    value, time = max(known)
    return f"highest {brief(value)}", f", {moment(-time)}"


def _joined(
    line: Line, at: Sequence[float], xs: Sequence[float], ys: Sequence[float | None]
) -> list[str]:
    """Draw what follows each other as a line, and what stands alone, or is among many, as dots."""
    drawn, dotted = [], set(range(len(ys)) if len(ys) <= _DOTS_UP_TO else ())
    for run in runs(ys):
        if len(run) == 1:
            dotted.add(run[0])
        else:
            points = " ".join(f"{xs[place]:.1f},{ys[place]:.1f}" for place in run)
            drawn.append(f'<polyline class="line" points="{points}"/>')
    for place in sorted(dotted):
        y, value = ys[place], line.values[place]
        if y is not None and value is not None:
            drawn.append(
                f'<circle class="mark" cx="{xs[place]:.1f}" cy="{y:.1f}" r="2.5">'
                f"<title>{escape(line.name)}, {moment(at[place])}: {shown(value)}</title></circle>"
            )
    return drawn


def _svg(drawn: Sequence[str], frame: Frame, height: float, summary: str) -> str:
    key = escape(frame.key)
    shown_for = f' class="{frame.shown}"' if frame.shown else ""
    return (
        f'<svg{shown_for} viewBox="0 0 {frame.width} {height:.0f}" width="{frame.width}" '
        f'font-size="{FONT}" role="img" aria-labelledby="{key}-title {key}-text">'
        f'<title id="{key}-title">{escape(frame.title)}</title>'
        f'<desc id="{key}-text">{escape(summary)}</desc>{"".join(drawn)}</svg>'
    )
