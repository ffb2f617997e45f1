"""Domains by name: those that come with kinewax, and those in users' own files."""

from __future__ import annotations

import sys
import traceback
from functools import cache
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from dataflows.access_logs import ACCESS_LOGS
from dataflows.domain import Domain
from dataflows.ecommerce import ECOMMERCE
from errors import SettingsError

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (ECOMMERCE, ACCESS_LOGS)}

_ATTRIBUTE = "DOMAIN"


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
    module_name = f"kinewax_domain_{blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    spec = spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None or not path.is_file():
        msg = f"there is no file {path}"
        raise SettingsError(msg, hint="name the file of a domain, as ./my_domain.py:DOMAIN")
    module = sys.modules[module_name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SettingsError:
        raise  # the domain's own words on what is wrong with it
    except Exception as error:
        own = [
            one.lineno
            for one in traceback.extract_tb(error.__traceback__)
            if one.filename == str(path)
        ]
        line = own[-1] if own else getattr(error, "lineno", 0)
        msg = f"{path}, line {line}: {type(error).__name__}: {error}"
        raise SettingsError(msg, hint="the file of a domain is Python and must run") from error
    domain = getattr(module, attribute, None)
    if not isinstance(domain, Domain):
        found = [name for name, value in vars(module).items() if isinstance(value, Domain)]
        msg = f"{path} has no domain {attribute!r}"
        hint = f"it has {', '.join(found)}" if found else "give it DOMAIN = Domain(...)"
        raise SettingsError(msg, hint=hint)
    return domain
