"""What can be wrong with a domain, told so that it can be found in the file that declares it.

A check yields one `Problem` for each thing that is wrong, so that all are told at once. It names
the declarations that it is in, not lines: those are looked up where the file is known
(`declared_at.py`), and a domain that was made in another way is told the same without them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from errors import SettingsError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        what: What, in words that name the declaration.
        hint: What to do about it; may be empty.
        inside: The declarations that it is in, the outermost first; none for the domain itself.
        word: The value that is wrong, as the file has it; None where none is, or one is missing.
        again: Whether not the first of the declarations named so is meant, but the last.
    """

    what: str
    hint: str = ""
    inside: tuple[object, ...] = ()
    word: object = None
    again: bool = False

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class DomainError(SettingsError):
    """A domain contradicts itself.

    Args:
        domain: Its name.
        found: What is wrong, one or more.
    """

    def __init__(self, domain: str, found: Sequence[Problem]) -> None:
        lines = tuple(f"domain {domain}: {problem}" for problem in found)
        super().__init__(lines[0], problems=lines)
        self.domain = domain
        self.found = tuple(found)


def nearest(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """Suggest what was meant: the nearest known name, or else all of them.

    Args:
        word: What stands there.
        known: What could.
        otherwise: What they are, as `the fields`; without it, nothing is suggested where none
            is near.
    """
    names = sorted(set(known))
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not otherwise:
        return ""
    return f"{otherwise}: {', '.join(names)}" if names else f"there are no {otherwise}"


def repeated(
    what: str, names: Sequence[str], declared: Sequence[object], inside: tuple[object, ...] = ()
) -> Iterator[Problem]:
    """Find the names that stand more than once.

    Args:
        what: What they name.
        names: All of them.
        declared: What has each name.
        inside: Where they are declared.
    """
    last = dict(zip(names, declared, strict=True))
    for name, count in Counter(names).items():
        if count > 1:
            yield Problem(
                f"there is more than one {what} {name!r}",
                "give each a name of its own",
                (*inside, last[name]),
                name,
                again=True,
            )


def undeclared_field(
    what: str, name: str, fields: Iterable[str], inside: tuple[object, ...]
) -> Problem:
    """Say that something uses a field that the domain doesn't have."""
    hint = nearest(name, fields, otherwise="fields")
    return Problem(f"{what} uses the field {name!r}, which is not declared", hint, inside, name)
