"""The domains that come with kinewax, by name."""

from __future__ import annotations

from dataflows.access_logs import ACCESS_LOGS
from dataflows.domain import Domain
from dataflows.ecommerce import ECOMMERCE
from errors import SettingsError

DOMAINS: dict[str, Domain] = {domain.name: domain for domain in (ECOMMERCE, ACCESS_LOGS)}


def find_domain(name: str) -> Domain:
    """Return the domain of this name.

    Raises:
        SettingsError: There is none.
    """
    try:
        return DOMAINS[name]
    except KeyError:
        msg = f"there is no domain {name!r}"
        raise SettingsError(msg, hint=f"domains: {', '.join(DOMAINS)}") from None
