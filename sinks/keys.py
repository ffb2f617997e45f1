"""Keys of rows and records: escaped, so that no two incidents share one, and never too long."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from string import Formatter

from errors import SettingsError
from messages import Scalar

_DIGEST_CHARACTERS = 64


def bounded(text: str, limit: int) -> str:
    """Cut a key to `limit` bytes of UTF-8; its SHA-256 stands for what is cut.

    Keys hold what events hold, and an attacker must not escape by sending a long user agent.
    """
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return text
    head = encoded[: limit - _DIGEST_CHARACTERS - 1].decode(errors="ignore")
    return f"{head}#{hashlib.sha256(encoded).hexdigest()}"


def escaped(value: Scalar) -> Scalar:
    """Take `#`, which joins the parts of keys, and the escape itself out of a text."""
    if isinstance(value, str):
        return value.replace("%", "%25").replace("#", "%23")
    return value


def fill(template: str, fields: Mapping[str, Scalar], what: str) -> str:
    """Fill the `{field}` places of a template.

    Raises:
        SettingsError: It names a field that there isn't.
    """
    try:
        return Formatter().vformat(template, (), fields)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        known = ", ".join(fields)
        msg = f"{what}: template {template!r} can't be filled: {error!r}; it may name {known}"
        raise SettingsError(msg) from error
