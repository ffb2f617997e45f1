"""What can be wrong with the declaration of a window or of sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from operators.hyperloglog import LEAST_BITS, MOST_BITS
from operators.session_spec import AnyWindow, FirstText, LastText, SessionValue
from operators.spec import (
    ApproxDistinct,
    Count,
    Distinct,
    Field,
    First,
    Last,
    Value,
    Where,
    Window,
    Without,
)


def fields_used(window: AnyWindow) -> list[str]:
    """Return the fields that a window uses."""
    used = list(window.key)
    if window.where is not None:
        used.append(window.where.field)
    for value in window.values:
        if isinstance(value, First | Last | Without):
            continue
        if not isinstance(value, Count):
            used.append(value.of)
        where = _where(value)
        if where is not None:
            used.append(where.field)
    return used


def window_problems(window: AnyWindow, fields: Mapping[str, Field]) -> Iterator[str]:
    """Yield what contradicts itself or refers to what isn't declared.

    Args:
        window: Which.
        fields: The domain's fields, by name.
    """
    undeclared = [name for name in fields_used(window) if name not in fields]
    for name in undeclared:
        yield f"window {window.name} uses the field {name!r}, which is not declared"
    yield from repeated(f"value of {window.name}", [value.name for value in window.values])
    if isinstance(window, Window):
        yield from _tumbling_problems(window)
    elif not window.key:
        yield f"window {window.name} has no key"
    elif window.gap_seconds < 1:
        yield f"window {window.name} has a gap of {window.gap_seconds} s: it must be 1 or more"
    for value in window.values if not undeclared else ():
        yield from _value_problems(window, value, fields)
    if window.where is not None and not undeclared and fields[window.where.field].kind != "text":
        yield f"window {window.name} can filter by a text, not {window.where.field}"


def repeated(what: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the names that stand more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            yield f"there is more than one {what} {name!r}"


def _tumbling_problems(window: Window) -> Iterator[str]:
    if not window.key and window.groups != 1:
        yield f"window {window.name} has no key and so needs one group"
    if window.top and window.groups != 1:
        yield f"window {window.name} writes its top {window.top} keys and so needs one group"
    if window.interim_seconds and (window.top or not window.emit):
        yield f"window {window.name} can't write interim rows: it writes only some keys, or none"


def _value_problems(
    window: AnyWindow, value: Value | SessionValue, fields: Mapping[str, Field]
) -> Iterator[str]:
    what = f"{value.name} of {window.name}"
    match value:
        case First() | Last() | Distinct():
            return
        case ApproxDistinct(bits=bits):
            if not LEAST_BITS <= bits <= MOST_BITS:
                yield f"{what} needs {LEAST_BITS} to {MOST_BITS} bits, not {bits}"
            return
        case FirstText() | LastText():
            if fields[value.of].kind != "text":
                yield f"{what} needs a text, not the number {value.of}"
            return
        case Without():
            counts = {one.name for one in window.values if isinstance(one, Count)}
            for name in (value.some, value.none):
                if name not in counts:
                    yield f"{what} needs a count, not {name!r}"
            return
        case Count():
            pass
        case _:
            if fields[value.of].kind == "text":
                yield f"{what} needs a number, not the text {value.of}"
    if value.where is not None and fields[value.where.field].kind != "text":
        yield f"{what} can filter by a text, not {value.where.field}"


def _where(value: Value | SessionValue) -> Where | None:
    if isinstance(value, First | Last | Distinct | ApproxDistinct | FirstText | LastText | Without):
        return None
    return value.where
