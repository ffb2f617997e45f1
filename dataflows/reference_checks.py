"""What can be wrong with the declaration of a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataflows.problems import Problem, undeclared_field
from operators.reference_spec import Reference
from operators.spec import Field


def reference_problems(reference: Reference, fields: Mapping[str, Field]) -> Iterator[Problem]:
    """Find what is wrong with a reference.

    Args:
        reference: Which.
        fields: The fields of the domain's events, by name.
    """
    what, inside = f"reference {reference.name}", (reference,)
    key = fields.get(reference.key)
    if key is None:
        yield undeclared_field(what, reference.key, fields, inside)
    elif key.kind == "decimal":
        hint = "declare the field as a text or an integer"
        yield Problem(f"{what} can't look up the decimal {key.name}", hint, inside, key.name)
    if not reference.fields and reference.missing != "drop":
        yield Problem(f"{what} brings nothing", "name the columns that events get", inside)
    if isinstance(reference.missing, str) or not reference.missing:
        return
    if len(reference.missing) != len(reference.fields):
        yield Problem(
            f"{what} has {len(reference.fields)} fields, and {len(reference.missing)} values for "
            "missing keys",
            "give each field one, in order",
            inside,
        )
        return
    for field, value in zip(reference.fields, reference.missing, strict=True):
        if isinstance(value, str) != (field.kind == "text"):
            kind = "a text" if field.kind == "text" else "a number"
            yield Problem(
                f"{what}: for a missing key {field.name} is {value!r}, and must be {kind}",
                "",
                inside,
                value,
            )
