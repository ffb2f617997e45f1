"""What charts measure with: how numbers read, how wide texts are, where ticks stand. Pure.

Nobody knows the reader's font before the page is opened, so widths are those of a wide one: a text
takes the room that is reckoned here, or less.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

FONT = 12
"""Height of the text of a chart, in its own units, which are pixels unless a page shrinks it."""

MINUS = "\N{MINUS SIGN}"
"""As wide as the plus, which a hyphen isn't."""

DAY_SECONDS = 86_400
_MINUTE, _HOUR = 60, 3_600

_THIN, _FAT = set(" iljtfIr.,:;|'!()[]/-"), set("mwMW@%…—")
_THIN_EMS = 0.41
_BROAD = set("+=<>#&~") | {MINUS}
_UNITS = ((1e12, "T"), (1e9, "bn"), (1e6, "M"))
_TIME_STEPS = (
    *(1, 5, 15, 30),
    *(_MINUTE * minutes for minutes in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * hours for hours in (1, 2, 3, 6, 12)),
    *(DAY_SECONDS * days for days in (1, 2, 7, 14, 28, 91, 182, 364, 1_820)),
)
_APART = 24
_ROUNDING = 0.01


# ---- numbers ------------------------------------------------------------------------------------


def brief(value: float) -> str:
    """Write a number for a chart: three digits, or all of a whole one below a million."""
    size = abs(float(value))
    if size < 1_000 and not size.is_integer():
        text = f"{size:.{_places(size)}f}" if size >= 1 else f"{size:.2g}"
    elif size < 999_999.5:
        text = f"{size:,.0f}"
    else:
        unit, letter = next((one for one in _UNITS if size >= one[0] * 0.9995), _UNITS[-1])
        places = _places(size / unit)
        text = f"{size / unit:,.{places}f}"
        text = f"{text.rstrip('0').rstrip('.') if places else text} {letter}"
    return f"{MINUS}{text}" if value < 0 else text


def _places(size: float) -> int:
    return max(0, 2 - math.floor(math.log10(size)))


def alike(marks: Sequence[float]) -> list[str]:
    """Write the numbers of an axis: small ones with as many places as the one that needs most."""
    if any(abs(mark) >= 1_000 for mark in marks):
        return [brief(mark) for mark in marks]
    places = max((len(f"{mark:.12f}".rstrip("0").partition(".")[2]) for mark in marks), default=0)
    return [f"{mark:.{places}f}".replace("-", MINUS) if mark else "0" for mark in marks]


def percent(share: float) -> str:
    """Write a share for a chart: the smaller it is, the more places it needs to be told apart."""
    if share in {0, 1}:
        return f"{share:.0%}"
    return f"{share:.2%}" if abs(share) < 0.1 else f"{share:.1%}"


def ticks(low: float, high: float, most: int, whole: bool) -> list[float]:
    """Return the round numbers of an axis, 0 among them if it is on it.

    Args:
        low: Where the axis begins.
        high: Where it ends.
        most: How many whole steps there may be.
        whole: What is measured are whole numbers: no tick stands between two.
    """
    power = 10.0 ** (math.floor(math.log10((high - low) / most)) - 1)
    sizes = [power * 10**zeros * one for zeros in range(3) for one in (1, 2, 5)]
    step = next(one for one in sizes if (high - low) / one < most + 1)
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def ends(values: Sequence[float | None]) -> tuple[float, float]:
    """Return the ends of an axis that holds some values and 0; of zeros alone it goes to 1."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0), max(known, default=0)
    low, high = min(low, 0), max(high, 0)
    return low, high if high > low else low + 1


def runs(values: Sequence[float | None]) -> Iterator[list[int]]:
    """Yield the places of values that follow each other, without those that aren't known."""
    run: list[int] = []
    for place, value in enumerate(values):
        if value is not None:
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


# ---- texts --------------------------------------------------------------------------------------


def width_of(text: str) -> float:
    """Return how wide a text is at most, in the units of a chart."""
    return FONT * sum(map(_ems, text))


def widest(texts: Sequence[str]) -> float:
    """Return the width of the widest of some texts; 0 without any."""
    return max(map(width_of, texts), default=0)


def cut(text: str, room: float) -> str:
    """Take out of a text's middle what has no room: paths and categories differ at their ends."""
    room += _ROUNDING
    if width_of(text) <= room:
        return text
    most = min(len(text) - 1, int(room / (FONT * _THIN_EMS)))
    for kept in range(most, 1, -1):
        head = (kept + 1) // 2
        shorter = f"{text[:head]}…{text[len(text) - kept + head :]}"
        if width_of(shorter) <= room:
            return shorter
    return "…"


def _ems(character: str) -> float:
    if character in _THIN:
        return _THIN_EMS
    if character in _FAT or unicodedata.east_asian_width(character) in {"W", "F"}:
        return 1.0
    if character in _BROAD:
        return 0.84
    return 0.78 if character.isupper() else 0.64


# ---- times --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Label:
    """A text below an axis.

    Attributes:
        x: Where its anchor is.
        anchor: `start`, `middle` or `end`.
        text: What it says.
        below: What a second row says below it; empty for nothing.
    """

    x: float
    anchor: str
    text: str
    below: str = ""


def time_labels(at: Sequence[float], left: float, right: float) -> list[Label]:
    """Return labels at round times that neither meet nor leave the chart.

    The first one carries what all have in common (day or year) below it; at midnight a label is
    the new day. Between days there is nothing to label.

    Args:
        at: The times, ascending, in seconds since the epoch.
        left: Where the first one is; a label may begin before it, but not before 0.
        right: Where the last one is, which is the edge.
    """
    start, span = at[0], (at[-1] - at[0]) or 1
    room = width_of("00:00") + _APART
    most = max(1, int((right - left) / room))
    least = DAY_SECONDS if all(time % DAY_SECONDS == 0 for time in at) else 1
    steps = [one for one in _TIME_STEPS if one >= least]
    step = next((one for one in steps if span / one <= most), steps[-1])
    # Days are told from the first one on, times at round ones.
    first = start if step >= DAY_SECONDS else math.ceil(start / step) * step
    labels: list[Label] = []
    free, year = 0.0, _utc(first).year
    for number in range(int((at[-1] - first) // step) + 1):
        time = first + number * step
        x = left + (right - left) * (time - start) / span
        text, below = _told(time, step, first=not labels)
        if _utc(time).year != year and step >= DAY_SECONDS:
            year = _utc(time).year
            text = f"{text} {year}"
        width = widest([text, below])
        anchor = "start" if x - width / 2 < free else "middle"
        if x + (width if anchor == "start" else width / 2) > right:
            anchor = "end"
        begins = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        if labels and begins < free:
            continue
        labels.append(Label(x, anchor, text, below))
        free = begins + width_of(text) + _APART
    return labels


def moment(seconds: float) -> str:
    """Write a time as the tables do: a day alone, or a minute of it."""
    time = _utc(seconds)
    if seconds % DAY_SECONDS == 0:
        return f"{time:%Y-%m-%d}"
    return f"{time:%Y-%m-%d %H:%M}" if seconds % _MINUTE == 0 else f"{time:%Y-%m-%d %H:%M:%S}"


def span_text(seconds: float) -> str:
    """Write how long something takes, in the largest unit that has no rest."""
    for unit, name in ((DAY_SECONDS, "day"), (_HOUR, "hour"), (_MINUTE, "minute")):
        if seconds >= unit and seconds % unit == 0:
            count = seconds / unit
            return name if count == 1 else f"{count:.0f} {name}s"
    return f"{seconds:g} seconds"


def _told(seconds: float, step: float, first: bool) -> tuple[str, str]:
    time = _utc(seconds)
    day = f"{time.day} {time:%b}"
    if step >= DAY_SECONDS or seconds % DAY_SECONDS == 0:
        return day, f"{time.year}" if first else ""
    clock = f"{time:%H:%M}" if step >= _MINUTE else f"{time:%H:%M:%S}"
    return clock, f"{day} {time.year}" if first else ""


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
