"""What a file of changes must give, computed one record at a time with the standard library.

Nothing of kinewax is used here. An event is late for a window when the window's end is at or before
the file's running maximum of event time minus the allowed disorder; test events and copies are
dropped, but they move that maximum, too.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LENGTHS = {"changes_10s": 10, "changes_60s": 60}
FED = {"stream_10s": 10, "people_10s": 10, "bots_60s": 60}
"""The windows that only feed rules and the detector."""

_EDITS = ("edit", "new")
Place = tuple[int, str, str]


@dataclass
class Expected:
    """What the run must find.

    Attributes:
        rows: By aggregate and (window start in seconds, wiki, type) the values.
        edits: Edits of each user who is no bot by (user, wiki, window start).
        late: (aggregate, line number) of each late event.
        ledger: What the run must account for.
        written: Each event as it is written out, by its id.
    """

    rows: dict[str, dict[Place, Counter[str]]] = field(
        default_factory=lambda: {name: {} for name in LENGTHS}
    )
    edits: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    late: set[tuple[str, int]] = field(default_factory=set)
    ledger: Counter[str] = field(default_factory=Counter)
    written: dict[str, dict[str, Any]] = field(default_factory=dict)


def expected_of(path: Path, disorder_seconds: int) -> Expected:
    """Read a file of changes and compute what a run over it must give."""
    found = Expected()
    users: dict[tuple[str, Place], set[str]] = {}
    newest: int | None = None
    for number, line in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):
        event = _event(line)
        if event is None:
            found.ledger["rejected"] += 1
            continue
        moment = event["timestamp"]
        floor = None if newest is None else newest - disorder_seconds
        newest = moment if newest is None else max(newest, moment)
        if event["meta"]["domain"] == "canary":
            found.ledger["dropped.canary"] += 1
            continue
        own_id = event["meta"]["id"]
        if own_id in found.written:
            found.ledger["dropped.duplicate"] += 1
            continue
        found.ledger["events"] += 1
        found.written[own_id] = {
            "id": str(event.get("id", "")),
            "type": event["type"],
            "wiki": event["wiki"],
            "change_datetime": f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}",
            "change_timestamp": moment,
        }
        for name, length in {**LENGTHS, **FED}.items():
            start = moment // length * length
            is_counted = {"people_10s": not event["bot"], "bots_60s": event["bot"]}.get(name, True)
            if not is_counted:
                found.ledger[f"filtered.{name}"] += 1
            elif floor is not None and start + length <= floor:
                found.ledger[f"late.{name}"] += 1
                found.late.add((name, number))
            else:
                found.ledger[f"counted.{name}"] += 1
                _count(found, users, name, start, event)
    return found


def _count(
    found: Expected,
    users: dict[tuple[str, Place], set[str]],
    name: str,
    start: int,
    event: dict[str, Any],
) -> None:
    if name == "people_10s" and event["type"] in _EDITS:
        found.edits[(event["user"], event["wiki"], start)] += 1
    if name not in LENGTHS:
        return
    place = (start, event["wiki"], event["type"])
    row = found.rows[name].setdefault(place, Counter())
    known = users.setdefault((name, place), set())
    known.add(event["user"])
    length = event.get("length", {})
    row["changes"] += 1
    row["bot_changes"] += event["bot"]
    row["users"] = len(known)
    row["bytes_changed"] += length.get("new", 0) - length.get("old", 0)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event: dict[str, Any] = json.loads(line)
        is_event = isinstance(event["timestamp"], int) and bool(event["type"] and event["wiki"])
        return event if is_event and isinstance(event.get("length", {}), dict) else None
    except (ValueError, KeyError, TypeError):
        return None
