"""What a generated access log must give, computed one line at a time with the standard library.

Nothing of kinewax is used here. An event is late for a window when the window's end is at or
before the file's running maximum of event time minus the allowed disorder.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

_LINE = re.compile(
    r'(?P<client>\S+) - - \[(?P<time>[^]]+)\] "(?P<method>\S+) (?P<target>\S+) HTTP/1\.0" '
    r'(?P<status>\d{3}) (?P<bytes>\d+) "(?P<referrer>[^"]*)" "(?P<agent>[^"]*)"'
)
_HOUR_SECONDS = 3_600
TOP = 20

KEYS: dict[str, tuple[int, tuple[str, ...]]] = {
    "traffic_10s": (10, ("vhost",)),
    "traffic_60s": (60, ("vhost",)),
    "statuses_60s": (60, ("status", "method")),
    "pages_60s": (60, ("path",)),
    "agents_60s": (60, ("agent",)),
    "referrers_60s": (60, ("referrer",)),
}
"""Of each aggregate that is written: the seconds of its window, and its key."""

OF_STRANGERS = {"clients_10s": 10, "paths_10s": 10, "agents_10s": 10}
"""The windows that only feed rules and the detector, and leave allowed clients out."""

Row = dict[str, int]
Rows = dict[tuple[Any, ...], Row]


@dataclass
class Expected:
    """What the run must find.

    Attributes:
        rows: By aggregate and (window start in seconds, *key) the values, of a top of all keys.
        late: (aggregate, line number, event time in seconds) of each late event.
        ledger: What the run must account for.
        last: The greatest event time, in seconds.
    """

    rows: dict[str, Rows] = field(default_factory=lambda: {name: {} for name in KEYS})
    late: set[tuple[str, int, int]] = field(default_factory=set)
    ledger: Counter[str] = field(default_factory=Counter)
    last: int = 0


def expected_of(path: Path, disorder_seconds: int, allowed: str) -> Expected:
    """Read a log and compute what a run over it must give.

    Args:
        path: Of the log.
        disorder_seconds: The allowed disorder.
        allowed: The network whose clients are allowed.
    """
    found = Expected()
    network = ip_network(allowed)
    members: dict[tuple[str, int, str], tuple[set[str], set[str]]] = {}
    for number, raw in enumerate(path.read_bytes().removesuffix(b"\n").split(b"\n"), 1):
        line = _LINE.fullmatch(raw.decode(errors="replace").strip())
        moment = _moment(line["time"]) if line else 0
        if line is None or (found.last and moment > found.last + _HOUR_SECONDS):
            found.ledger["rejected"] += 1
            continue
        found.ledger["events"] += 1
        floor = found.last - disorder_seconds if found.last else -1
        found.last = max(found.last, moment)
        event = {
            **line.groupdict(),
            "vhost": "",
            "status": int(line["status"]),
            "path": line["target"].partition("?")[0],
            "referrer": line["referrer"].removeprefix("-"),
        }
        is_allowed = ip_address(line["client"]) in network
        for name, length in OF_STRANGERS.items():
            is_late = moment // length * length + length <= floor
            what = "late" if is_late else "filtered" if is_allowed else "counted"
            found.ledger[f"{what}.{name}"] += 1
            if is_late:
                found.late.add((name, number, moment))
        for name, (length, key) in KEYS.items():
            start = moment // length * length
            if start + length <= floor:
                found.ledger[f"late.{name}"] += 1
                found.late.add((name, number, moment))
                continue
            found.ledger[f"counted.{name}"] += 1
            place = (start, *(event[part] for part in key))
            row = found.rows[name].setdefault(place, Counter())
            row["requests"] += 1
            row["bytes"] += int(line["bytes"])
            if name.startswith("traffic"):
                row["errors_4xx"] += line["status"][0] == "4"
                row["errors_5xx"] += line["status"][0] == "5"
                clients, paths = members.setdefault((name, start, ""), (set(), set()))
                clients.add(event["client"])
                paths.add(event["path"])
                row["clients"], row["paths"] = len(clients), len(paths)
    return found


def _moment(time: str) -> int:
    return int(datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC).timestamp())
