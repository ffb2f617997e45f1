"""How long a warehouse's texts may be, by what they are; the one place that says so. Pure.

Redshift sets memory aside by declared lengths, so a column is as long as such a value gets, and no
longer. Lengths are bytes of UTF-8, as Redshift counts them. Texts come from outside: a longer one
is cut when it is loaded, which loses its end and nothing else, except in `row_id`, by which rows
are told apart. So that two rows are never taken for one:

- A `row_id` is as long as one gets whose keys fit into their own columns, with each of their
  characters escaped (operators/rows.py).
- One that is longer is cut, but still seen to be: what is left fills the column. Such rows stand
  by themselves (`longest_whole_bytes`): no later one takes the place of another.
"""

from __future__ import annotations

from service.warehouse.tables import Aggregate, Column, Rows

_WORD, _NAME, _LONG = 64, 256, 4096
_LENGTHS_BYTES = {
    **dict.fromkeys(("domain", "aggregate", "phase", "event_type", "type"), _WORD),
    **dict.fromkeys(("method", "country_code", "gender"), _WORD),
    **dict.fromkeys(("category_code", "first_category", "last_category", "brand"), _NAME),
    **dict.fromkeys(("product", "traffic_origin", "vhost"), _NAME),
    **dict.fromkeys(("path", "agent", "referrer"), _LONG),
}
_OTHER_BYTES = 512  # ids, and what a domain of one's own names otherwise

TIME_BYTES = 64
"""Of an event's time as a text."""

_MOST_BYTES = 65_535  # of a VARCHAR
_STEP_BYTES = 256
_LONGEST_CHARACTER_BYTES = 4
_NUMBER_BYTES = len(str(-(2**63))) + 1  # with a decimal's point
_START_BYTES = len("2026-11-23T04:00:00.000000Z")


def length_bytes(name: str) -> int:
    """Return the length of a column of texts, other than `row_id`, by its name."""
    return _LENGTHS_BYTES.get(name, _OTHER_BYTES)


def row_id_bytes(rows: Rows) -> int:
    """Return the length of a table's `row_id`, in whole steps of 256 bytes."""
    longest = max((_id_bytes(rows.domain, one) for one in rows.aggregates), default=_STEP_BYTES)
    return min(-(-longest // _STEP_BYTES) * _STEP_BYTES, _MOST_BYTES)


def longest_whole_bytes(rows: Rows) -> int:
    """Return how long a `row_id` is at most that wasn't cut; a cut ends where a character does."""
    return row_id_bytes(rows) - _LONGEST_CHARACTER_BYTES


def _id_bytes(domain: str, aggregate: Aggregate) -> int:
    parts = [domain, aggregate.name, *(f"{key.name}=," for key in aggregate.keys)]
    names = sum(len(part.encode()) + len("/") for part in parts)
    values = sum(map(_escaped_bytes, aggregate.keys))
    return names + values + len("/") + _START_BYTES + _LONGEST_CHARACTER_BYTES


def _escaped_bytes(key: Column) -> int:
    return 2 * length_bytes(key.name) if key.kind == "text" else _NUMBER_BYTES
