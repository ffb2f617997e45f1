"""What rows of aggregates have in common."""

from __future__ import annotations

from collections.abc import Sequence

from messages import Scalar
from operators.rules import key_text


def row_ids(
    domain: str,
    aggregate: str,
    names: Sequence[str],
    keys: Sequence[tuple[Scalar, ...]],
    starts: Sequence[str],
) -> list[str]:
    """Return the id of each row: all rows of a key's window share it, and no others have it.

    Args:
        domain: The domain's name.
        aggregate: The aggregate's.
        names: The key's fields.
        keys: Each row's key.
        starts: When each row's window begins, as ISO 8601.
    """
    prefix = f"{domain}/{aggregate}"
    if not names:
        return [f"{prefix}/{start}" for start in starts]
    return [
        f"{prefix}/{key_text(dict(zip(names, key, strict=True)))}/{start}"
        for key, start in zip(keys, starts, strict=True)
    ]
