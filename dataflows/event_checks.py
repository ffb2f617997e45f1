"""What a domain says of single events is checked: made fields, dropped events, written ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataflows.problems import Problem, repeated, undeclared_field
from operators.derived import Difference
from operators.filter_spec import Drop
from operators.spec import Field
from operators.written import Digits, Text, Written


def event_problems(
    derived: Sequence[Difference],
    drops: Sequence[Drop],
    written: Written | None,
    fields: Mapping[str, Field],
) -> Iterator[Problem]:
    """Find what is wrong with what a domain says of single events.

    Args:
        derived: Fields that are made of others.
        drops: Which events it drops.
        written: What they look like when they are written out.
        fields: The fields of events, by name.
    """
    for one in derived:
        for name in (one.of, one.less):
            yield from _kind_problem(f"the difference {one.name}", name, "integer", fields, (one,))
    for drop in drops:
        what = f"the drop {drop.reason}"
        yield from _kind_problem(what, drop.where.field, "text", fields, (drop, drop.where))
        if not drop.reason.isidentifier():
            hint = "make it of letters, digits and _"
            yield Problem(f"{drop.reason!r} can't be a reason", hint, (drop,), drop.reason)
    if written is None:
        return
    names = [part.name for part in written.parts]
    yield from repeated("key of written events", names, written.parts, (written,))
    for part in written.parts:
        inside = (written, part)
        what = f"{part.name} of written events"
        if isinstance(part, Text):
            for name in filter(None, (part.of, part.then)):
                yield from _kind_problem(what, name, "text", fields, inside)
        elif isinstance(part, Digits):
            yield from _kind_problem(what, part.of, "integer", fields, inside)


def _kind_problem(
    what: str, name: str, kind: str, fields: Mapping[str, Field], inside: tuple[object, ...]
) -> Iterator[Problem]:
    if name not in fields:
        yield undeclared_field(what, name, fields, inside)
    elif not (fields[name].is_text if kind == "text" else fields[name].kind == kind):
        yield Problem(f"{what} needs a field of kind {kind}, not {name}", "", inside, name)
