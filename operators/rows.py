"""Rows of aggregates as sinks write them: objects of scalars, each under an id of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from messages import AggregateRows, Int64s, Scalar
from operators.event_time import iso_times
from operators.rules import escaped

Column = Sequence[Scalar | None]


def aggregate_rows(
    domain: str,
    aggregate: str,
    starts_us: Int64s,
    ends_us: Int64s,
    names: Sequence[str],
    keys: Sequence[tuple[Scalar, ...]],
    values: Mapping[str, Column],
    tail: Mapping[str, Scalar | bool],
) -> AggregateRows:
    """Make rows of columns.

    Args:
        domain: The domain's name.
        aggregate: The aggregate's.
        starts_us: int64[n], when each row's window begins.
        ends_us: int64[n], when it ends.
        names: The key's fields.
        keys: Each row's key.
        values: The values, by name and in order.
        tail: What all rows end with.

    Returns:
        Rows whose `row_id` is made of domain, aggregate, key and start: all rows of one key's
        window share it, and no others have it.
    """
    size = len(keys)
    starts = iso_times(starts_us)
    key_columns = [[key[place] for key in keys] for place in range(len(names))]
    columns: dict[str, Column] = {
        "row_id": _ids(f"{domain}/{aggregate}", names, key_columns, starts),
        "domain": [domain] * size,
        "aggregate": [aggregate] * size,
        "window_start": starts,
        "window_end": iso_times(ends_us),
        **dict(zip(names, key_columns, strict=True)),
        **values,
        **{name: [value] * size for name, value in tail.items()},
    }
    titles = tuple(columns)
    rows = zip(*columns.values(), strict=True)
    return AggregateRows(aggregate, tuple(dict(zip(titles, row, strict=False)) for row in rows))


def _ids(
    prefix: str,
    names: Sequence[str],
    key_columns: Sequence[Sequence[Scalar]],
    starts: Sequence[str],
) -> list[str]:
    """Return row ids; the key in them is written as `rules.key_text` writes it."""
    if not names:
        return [f"{prefix}/{start}" for start in starts]
    parts = [
        [f"{name}={escaped(value)}" for value in column]
        for name, column in zip(names, key_columns, strict=True)
    ]
    texts = parts[0] if len(parts) == 1 else list(map(",".join, zip(*parts, strict=True)))
    return [f"{prefix}/{text}/{start}" for text, start in zip(texts, starts, strict=True)]
