"""Whether the values of a declaration are of the kinds that its class is annotated with.

Declarations are plain dataclasses, which take anything: `length_seconds="10"` or a key without the
comma that makes it a tuple would fail much later, in words of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dataflows.problems import Problem, nearest

_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
_DECLARATIONS = tuple(
    f"operators.{kind}"
    for kind in (
        "spec",
        "session_spec",
        "feature_spec",
        "reference_spec",
        "derived",
        "written",
        "figure_spec",
    )
)


def value_problems(declared: object, inside: tuple[object, ...] = ()) -> Iterator[Problem]:
    """Find the values that are of another kind than annotated, also in what is declared below.

    Args:
        declared: A dataclass of a domain's declaration.
        inside: The declarations around it, itself included; none for the domain.
    """
    kind: type[Any] = type(declared)
    for name, annotation in _annotations(kind).items():  # type: ignore[arg-type]  # a class has a hash
        value = getattr(declared, name)
        if _fits(value, annotation):
            for part in value if isinstance(value, tuple) else (value,):
                # A format is made of settings of its own and checks them itself.
                if is_dataclass(part) and type(part).__module__ in _DECLARATIONS:
                    yield from value_problems(part, (*inside, part))
            continue
        what = f"{kind.__name__} {_name(declared)!r}"
        shown = f"{value!r}" if isinstance(value, str | int | float) else type(value).__name__
        yield Problem(
            f"{what}: {name} is {shown}, and must be {_expected(annotation)}",
            _hint(value, annotation),
            inside,
            value if isinstance(value, str | int | float) else None,
        )


@cache
def _annotations(kind: Hashable) -> dict[str, Any]:  # types of any form
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # type: ignore[arg-type]


def _name(declared: object) -> object:
    return getattr(declared, fields(declared)[0].name)  # type: ignore[arg-type]


def _fits(value: object, annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Literal:
        return any(
            value == choice and type(value) is type(choice) for choice in get_args(annotation)
        )
    if origin is tuple:
        of = get_args(annotation)[0]
        return isinstance(value, tuple) and all(_fits(one, of) for one in value)
    if isinstance(annotation, UnionType) or origin is not None:
        return any(_fits(value, one) for one in get_args(annotation))
    if annotation in (int, float):
        kinds = (int, float) if annotation is float else (int,)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, annotation)


def _expected(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(annotation))
    if origin is tuple:
        return f"a tuple, each of it {_expected(get_args(annotation)[0])}"
    if isinstance(annotation, UnionType) or origin is not None:
        return " or ".join(_expected(one) for one in get_args(annotation))
    if annotation is type(None):
        return "None"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _hint(value: object, annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal and isinstance(value, str):
        return nearest(
            value, [choice for choice in get_args(annotation) if isinstance(choice, str)]
        )
    if origin is tuple and _fits((value,), annotation):
        shown = f"{value!r}" if isinstance(value, str) else f"{type(value).__name__}(...)"
        return f"write ({shown},): the comma makes the tuple"
    if origin is tuple and isinstance(value, list) and _fits(tuple(value), annotation):
        return "write ( ) in place of [ ]"
    if isinstance(value, str) and annotation in (int, float):
        return "write it without quotes"
    return ""
