"""The ledger of a run: every record accounted for, from the snapshots.

Each slot, key group, notice step and sink part keeps counts in its own snapshot, so they are exact
across crashes and other process counts. Here they are summed, and each identity that must hold is
checked by name; `summary.json` carries the outcome. Prometheus counters are for rates only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from messages import Ledger
from service.snapshots import Snapshot

SUMMARY_NAME = "summary.json"

_AGGREGATE_PARTS = (
    "counted",
    "late",
    "late_after_idle",
    "late_after_reshard",
    "filtered",
    "outside",
)
_DELIVERED = ("written", "already_there", "dead_lettered", "dropped")


@dataclass(frozen=True)
class Identity:
    """An equation between counts.

    Attributes:
        name: As people read it: `records = plain + aggregated`.
        left: Its left side's counts by name.
        right: Its right side's.
    """

    name: str
    left: Mapping[str, int]
    right: Mapping[str, int]

    @property
    def difference(self) -> int:
        """How many are missing on the right; negative when there are too many."""
        return sum(self.left.values()) - sum(self.right.values())

    @property
    def balanced(self) -> bool:
        """Whether both sides are equal."""
        return self.difference == 0


@dataclass(frozen=True)
class Summary:
    """What became of everything that was read.

    Attributes:
        domain: The domain's name.
        ledger: The sums, by count name.
        identities: All that must hold.
        run: Facts of the run: duration, processes, restarts, CPU and memory.
    """

    domain: str
    ledger: Ledger
    identities: Sequence[Identity]
    run: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it accounts for all that was read: no other pod has the ledger."""
        return bool(self.identities)

    @property
    def balanced(self) -> bool:
        """Whether every identity holds."""
        return all(identity.balanced for identity in self.identities)

    def as_json(self) -> dict[str, Any]:
        """Return what `summary.json` holds."""
        return {
            "domain": self.domain,
            "balanced": self.balanced,
            "ledger": self.ledger,
            "identities": [
                {
                    "name": identity.name,
                    "left": sum(identity.left.values()),
                    "right": sum(identity.right.values()),
                    "balanced": identity.balanced,
                    "terms": {**identity.left, **identity.right},
                }
                for identity in self.identities
            ],
            "run": dict(self.run),
        }


def last_run(directory: Path) -> Mapping[str, Any] | None:
    """Return the summary of the run that wrote to a directory; None where none has ended there."""
    try:
        found = orjson.loads((directory / SUMMARY_NAME).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


def sums(snapshots: Iterable[Snapshot]) -> dict[str, int]:
    """Sum the ledgers of a store, or of a share of one.

    Args:
        snapshots: The committed state of every key.
    """
    found: Counter[str] = Counter()
    for snapshot in snapshots:
        for ledger in _ledgers(snapshot.state):
            found.update(ledger)
    return dict(sorted(found.items()))


def together(shares: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add the sums of all shares of a store."""
    found: Counter[str] = Counter()
    for share in shares:
        found.update(share)
    return dict(sorted(found.items()))


def summarise(
    domain: str,
    counts: Ledger | None,
    *,
    aggregates: Sequence[str],
    run: Mapping[str, Any],
) -> Summary:
    """Set up the identities of a whole store's sums.

    Args:
        domain: The domain's name.
        counts: The sums; None on a pod that has a share of the store only.
        aggregates: Names of the aggregates that run.
        run: Facts to carry along.
    """
    if counts is None:
        return Summary(domain, {}, (), run)
    identities = [*_of_source(counts)]
    identities += [_of_aggregate(counts, name) for name in aggregates]
    identities += [*_of_sinks(counts), *_of_handover(counts)]
    return Summary(domain, counts, identities, run)


def _ledgers(state: Mapping[str, Any]) -> Iterator[Ledger]:
    """Find the ledgers in a state: its own, and those of what it is made of (slot and intake)."""
    for name, value in state.items():
        if name == "ledger":
            yield value
        elif isinstance(value, dict):
            yield from _ledgers(value)


def _of_source(counts: Ledger) -> list[Identity]:
    return [
        Identity(
            "records = plain + aggregated",
            _take(counts, "records"),
            _take(counts, "plain", "aggregated"),
        ),
        Identity(
            "user_records + additional_objects"
            " = events + rejected + dropped + foreign_user_records + waiting",
            _take(counts, "user_records", "additional_objects"),
            _take(counts, "events", "foreign_user_records", "waiting")
            | _family(counts, "rejected.")
            | _family(counts, "dropped."),
        ),
    ]


def _of_aggregate(counts: Ledger, name: str) -> Identity:
    return Identity(
        f"events = {' + '.join(_AGGREGATE_PARTS)} ({name})",
        _take(counts, "events"),
        _take(counts, *(f"{part}.{name}" for part in _AGGREGATE_PARTS)),
    )


def _of_sinks(counts: Ledger) -> Iterator[Identity]:
    """Find each sink's account by its names: `<sink>.taken`, `<sink>.raised`, and so on."""
    for name in counts:
        sink, _, last = name.rpartition(".")
        if last in ("taken", "raised") and sink != "alerts" and sink:
            yield Identity(
                f"{last} = {' + '.join(_DELIVERED)} ({sink})",
                _take(counts, name),
                _take(counts, *(f"{sink}.{outcome}" for outcome in _DELIVERED)),
            )
        elif last in ("notifications", "digests") and sink:
            outcomes = _family(counts, f"{name}.")
            sum_of = " + ".join(outcome.removeprefix(f"{name}.") for outcome in outcomes)
            yield Identity(f"{last} = {sum_of} ({sink})", _take(counts, name), outcomes)


def _of_handover(counts: Ledger) -> Iterator[Identity]:
    """Check that what the flow set aside is what the sinks took: nothing is lost in between."""
    for family, takers in (
        ("alerts.", ("incidents.raised", "files.alerts.taken")),
        ("late.", ("files.late.taken",)),
        ("rejected.", ("files.dead_letters.taken",)),
        ("events_passed_on", ("files.events.taken", "events.taken", "search.taken")),
    ):
        for taker in takers:
            if taker in counts:
                yield Identity(
                    f"{family}* = {taker}", _family(counts, family), _take(counts, taker)
                )


def _take(counts: Ledger, *names: str) -> Ledger:
    return {name: counts.get(name, 0) for name in names}


def _family(counts: Ledger, prefix: str) -> Ledger:
    return {name: count for name, count in counts.items() if name.startswith(prefix)}


def write(summary: Summary, directory: Path) -> Path:
    """Write `summary.json` into a directory, whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / SUMMARY_NAME
    temporary = directory / (SUMMARY_NAME + ".new")
    temporary.write_bytes(orjson.dumps(summary.as_json(), option=orjson.OPT_INDENT_2) + b"\n")
    temporary.replace(path)
    return path
