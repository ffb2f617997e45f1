"""What can be wrong with the declaration of a window or of sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataflows.problems import Problem, repeated, undeclared_field
from operators.filter_spec import Where
from operators.hyperloglog import LEAST_BITS, MOST_BITS
from operators.session_spec import AnyWindow, FirstText, LastText, SessionValue
from operators.spec import Field, Window
from operators.value_spec import ApproxDistinct, Count, Distinct, First, Last, Top, Value, Without


def fields_used(window: AnyWindow) -> list[str]:
    """Return the fields that a window uses."""
    used = list(window.key)
    if window.where is not None:
        used.append(window.where.field)
    for value in window.values:
        used += _fields_of_value(value)
    if isinstance(window, Window):
        for top in window.evidence:
            used += [top.of, *(() if top.where is None else (top.where.field,))]
    return used


def window_problems(window: AnyWindow, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """Find what contradicts itself or refers to what isn't declared.

    Args:
        window: Which.
        fields: The domain's fields, by name.
    """
    what = f"window {window.name}"
    for name in window.key:
        if name not in fields:
            yield undeclared_field(what, name, fields, (window,))
    named = (*window.values, *(window.evidence if isinstance(window, Window) else ()))
    yield from repeated(
        f"value of {window.name}", [value.name for value in named], named, (window,)
    )
    if isinstance(window, Window):
        yield from _tumbling_problems(window)
        for top in window.evidence:
            yield from _top_problems(window, top, fields)
    elif not window.key:
        yield Problem(f"{what} has no key", "name the fields whose visits it has", (window,))
    elif window.gap_seconds < 1:
        gap = window.gap_seconds
        yield Problem(
            f"{what} has a gap of {gap} s: it must be 1 or more", inside=(window,), word=gap
        )
    for value in window.values:
        yield from _value_problems(window, value, fields)
    if window.where is not None:
        yield from _filter_problems(what, window.where.field, fields, (window, window.where))


def _tumbling_problems(window: Window) -> Iterator[Problem]:
    what = f"window {window.name}"
    hint = "write groups=1"
    for name, least in (("length_seconds", 1), ("groups", 1), ("top", 0), ("interim_seconds", 0)):
        number = getattr(window, name)
        if number < least:
            yield Problem(
                f"{what}: {name} is {number}: it must be {least} or more",
                inside=(window,),
                word=number,
            )
    if not window.key and window.groups != 1:
        yield Problem(f"{what} has no key and so needs one group", hint, (window,))
    if window.top and window.groups != 1:
        top = window.top
        yield Problem(
            f"{what} writes its top {top} keys and so needs one group", hint, (window,), top
        )
    if window.interim_seconds and (window.top or not window.emit):
        yield Problem(
            f"{what} can't write interim rows: it writes only some keys, or none",
            "leave interim_seconds out",
            (window,),
            window.interim_seconds,
        )


def _top_problems(window: Window, top: Top, fields: Mapping[str, Field]) -> Iterator[Problem]:
    what, inside = f"{top.name} of {window.name}", (window, top)
    if top.of not in fields:
        yield undeclared_field(what, top.of, fields, inside)
    elif not fields[top.of].is_text:
        yield Problem(f"{what} needs a text, not the number {top.of}", "", inside, top.of)
    if top.where is not None:
        yield from _filter_problems(what, top.where.field, fields, (*inside, top.where))
    if top.most < 1:
        yield Problem(f"{what} names {top.most}: it must be 1 or more", "", inside, top.most)


def _value_problems(
    window: AnyWindow, value: Value | SessionValue, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    what, inside = f"{value.name} of {window.name}", (window, value)
    match value:
        case ApproxDistinct(bits=bits) if not LEAST_BITS <= bits <= MOST_BITS:
            yield Problem(
                f"{what} needs {LEAST_BITS} to {MOST_BITS} bits, not {bits}",
                inside=inside,
                word=bits,
            )
        case Without():
            counts = [one.name for one in window.values if isinstance(one, Count)]
            for name in (value.some, value.none):
                if name not in counts:
                    yield Problem(
                        f"{what} needs a count, not {name!r}",
                        f"counts of {window.name}: {', '.join(counts) or 'none'}",
                        inside,
                        name,
                    )
    of = _of(value)
    if of is not None:
        yield from _of_problems(what, value, of, fields, inside)
    where = _where(value)
    if where is not None:
        yield from _filter_problems(what, where.field, fields, (*inside, where))


def _of_problems(
    what: str,
    value: Value | SessionValue,
    of: str,
    fields: Mapping[str, Field],
    inside: tuple[object, ...],
) -> Iterator[Problem]:
    field = fields.get(of)
    if field is None:
        yield undeclared_field(what, of, fields, inside)
    elif isinstance(value, FirstText | LastText):
        if field.kind in ("integer", "decimal"):
            yield Problem(f"{what} needs a text, not the number {of}", inside=inside, word=of)
    elif not isinstance(value, Distinct | ApproxDistinct) and field.is_text:
        hint = "declare it as an integer or a decimal, if it is one"
        yield Problem(f"{what} needs a number, not the text {of}", hint, inside, of)


def _filter_problems(
    what: str, name: str, fields: Mapping[str, Field], inside: tuple[object, ...]
) -> Iterator[Problem]:
    if name not in fields:
        yield undeclared_field(what, name, fields, inside)
    elif fields[name].kind in ("integer", "decimal"):
        hint = "declare the field as a text: numbers are then written as they came"
        yield Problem(f"{what} can filter by a text, not {name}", hint, inside, name)


def _fields_of_value(value: Value | SessionValue) -> list[str]:
    of, where = _of(value), _where(value)
    return [name for name in (of, None if where is None else where.field) if name is not None]


def _of(value: Value | SessionValue) -> str | None:
    return None if isinstance(value, Count | First | Last | Without) else value.of


def _where(value: Value | SessionValue) -> Where | None:
    if isinstance(value, First | Last | Distinct | ApproxDistinct | FirstText | LastText | Without):
        return None
    return value.where
