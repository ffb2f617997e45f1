"""Which members of a JSON object are decoded, however deep: structs for msgspec, and their columns.

A field's path, as `event.type`, leads through objects. One of these that is missing or null is as
if all fields in it were: without a required one there is no event, the others get what `Field`
says. Fields at the top cost nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from operators.spec import Field

INTEGER = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
# `Any` throughout: structs are made at run time, and to a type checker their types are values.
_KINDS: dict[str, Any] = {"integer": INTEGER, "decimal": float, "text": str, "flag": bool}
_TIME: Any = str | INTEGER
_ABSENT: dict[str, Any] = {"integer": 0, "decimal": 0, "text": "", "flag": None}


class Shape:
    """A JSON object with the fields that are wanted of it.

    Args:
        fields: The fields; the paths of all begin with the same `depth` steps.
        time: The name of the field that is the event time: a text, or seconds as a number.
        depth: How many steps lead to this object.

    Attributes:
        struct: What msgspec makes of such an object.
        blank: One without any field; None if it has a required one.
    """

    def __init__(self, fields: Sequence[Field], time: str = "", depth: int = 0) -> None:
        own = [field for field in fields if len(field.steps) == depth + 1]
        deeper: dict[str, list[Field]] = {}
        for field in fields:
            if len(field.steps) > depth + 1:
                deeper.setdefault(field.steps[depth], []).append(field)
        inside = {step: Shape(below, time, depth + 1) for step, below in deeper.items()}
        members = [
            (f"own{index}", _TIME) if field.name == time else _member(f"own{index}", field)
            for index, field in enumerate(own)
        ]
        members += [_object(f"in{index}", shape) for index, shape in enumerate(inside.values())]
        names = [member[0] for member in members]
        steps = [*(field.steps[depth] for field in own), *inside]
        self._own = [
            (field.name, attrgetter(name)) for field, name in zip(own, names, strict=False)
        ]
        self._inside = [
            (shape, attrgetter(name))
            for shape, name in zip(inside.values(), names[len(own) :], strict=True)
        ]
        self.struct: Any = msgspec.defstruct(
            "Event", members, rename=dict(zip(names, steps, strict=True)), gc=False, kw_only=True
        )
        required = any(len(member) == 2 for member in members)
        self.blank: Any = None if required else self.struct()

    def columns(self, objects: Sequence[Any]) -> Iterator[tuple[str, Iterable[Any]]]:
        """Yield each field's name and its values in n objects, one an object."""
        for name, read in self._own:
            yield name, map(read, objects)
        for shape, read in self._inside:
            within = list(map(read, objects))
            if shape.blank is not None:
                within = [one or shape.blank for one in within]
            yield from shape.columns(within)


def _member(name: str, field: Field) -> tuple[Any, ...]:
    kind = _KINDS[field.kind]
    if field.required:
        return (name, kind)
    return (name, kind | None, _ABSENT[field.kind])


def _object(name: str, shape: Shape) -> tuple[Any, ...]:
    return (name, shape.struct) if shape.blank is None else (name, shape.struct | None, None)
