"""Domains by name: those that come with kinewax, and those in users' own files."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from dataflows.access_logs import ACCESS_LOGS
from dataflows.clickstream import CLICKSTREAM
from dataflows.declared_at import DeclaredAt
from dataflows.domain import Domain
from dataflows.ecommerce import ECOMMERCE
from dataflows.problems import DomainError, Problem
from dataflows.wiki import WIKI
from errors import SettingsError

DOMAINS: dict[str, Domain] = {one.name: one for one in (ECOMMERCE, ACCESS_LOGS, CLICKSTREAM, WIKI)}

_ATTRIBUTE = "DOMAIN"
_PYTHON = "the file of a domain is Python and must run"


def find_domain(name: str) -> Domain:
    """Return the domain of this name.

    Args:
        name: One of `DOMAINS`, or a file of Python and the name of a `Domain` in it, as
            `./my_domain.py:DOMAIN`; without a name `DOMAIN`. The file is run.

    Raises:
        SettingsError: There is none, the file can't be run, or the domain contradicts itself.
    """
    if name in DOMAINS:
        return DOMAINS[name]
    path, _, attribute = name.partition(":")
    if not path.endswith(".py"):
        msg = f"there is no domain {name!r}"
        hint = f"domains: {', '.join(DOMAINS)}, or a file of yours as ./my_domain.py:{_ATTRIBUTE}"
        raise SettingsError(msg, hint=hint)
    return _load(Path(path).absolute(), attribute or _ATTRIBUTE)


@cache
def _load(path: Path, attribute: str) -> Domain:
    shown = _shown(path)
    try:
        source = path.read_text(encoding="utf-8")
        places = DeclaredAt(source)
    except OSError as error:
        msg = f"there is no file {shown}" if not path.exists() else f"{shown}: {error.strerror}"
        raise SettingsError(
            msg, hint="name the file of a domain, as ./my_domain.py:DOMAIN"
        ) from error
    except (SyntaxError, ValueError) as error:
        line, what = getattr(error, "lineno", None) or 1, getattr(error, "msg", str(error))
        msg = f"{shown}:{line}: {what}"
        raise SettingsError(msg, hint=_PYTHON) from error
    if refused := list(places.refused()):
        raise _all(shown, refused)
    try:
        module = _run(path)
    except DomainError as error:
        raise _all(shown, [(places.line_of(one), one) for one in error.found]) from error
    except SettingsError:
        raise  # its own words
    except Exception as error:
        own = [
            one.lineno
            for one in traceback.extract_tb(error.__traceback__)
            if one.filename == str(path)
        ]
        msg = f"{shown}:{own[-1] if own else 1}: {type(error).__name__}: {error}"
        raise SettingsError(msg, hint=_PYTHON) from error
    domain = getattr(module, attribute, None)
    if not isinstance(domain, Domain):
        found = [name for name, value in vars(module).items() if isinstance(value, Domain)]
        msg = f"{shown} has no domain {attribute!r}"
        hint = f"it has {', '.join(found)}" if found else "give it DOMAIN = Domain(...)"
        raise SettingsError(msg, hint=hint)
    if domain.name in DOMAINS:
        msg = f"{shown}: a domain of kinewax has the name {domain.name!r}"
        raise SettingsError(msg, hint="give yours a name of its own: it is part of every id")
    return domain


def _run(path: Path) -> ModuleType:
    module_name = f"kinewax_domain_{blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    spec = spec_from_file_location(module_name, path)
    assert spec is not None, "a path that ends in .py has a loader"
    assert spec.loader is not None, "likewise"
    module = sys.modules[module_name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _all(shown: str, found: Sequence[tuple[int | None, Problem]]) -> SettingsError:
    """Return an error with a line for each problem, in the order of the file."""
    ordered = sorted(found, key=lambda one: one[0] or 0)
    lines = [
        f"{shown}: {problem}" if line is None else f"{shown}:{line}: {problem}"
        for line, problem in ordered
    ]
    return SettingsError(lines[0], problems=tuple(lines))


def _shown(path: Path) -> str:
    """Return a path as people write it: from here, if it lies below."""
    here = Path.cwd()
    return f"./{path.relative_to(here)}" if path.is_relative_to(here) else str(path)
