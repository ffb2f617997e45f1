"""The version of kinewax that is installed."""

from __future__ import annotations

import importlib.metadata


def installed_version() -> str:
    """Return it."""
    return importlib.metadata.version("kinewax")
