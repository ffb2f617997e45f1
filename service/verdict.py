"""What a demo came to: planted attacks against found incidents, and all that goes with it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operators.spec import Threshold
from producers.demo_plans import Plan
from service.outside import IncidentKey, Notice, SeenRow, who_of

INSIGHTS_NAME = "insights.html"
"""The page with the answers to the domain's questions, in the demo's directory."""

_LONGEST_WINDOW_SECONDS = 10
"""Of the rules that demos plant something for."""

# `Any`: what the producer's truth file and the service's summary hold, as JSON says it.
Truth = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a demo came to.

    Attributes:
        planted: Attacks that the producer planted.
        found: Of these, how many have a row.
        missing: Planted attacks without a row, as text.
        unexpected: Rows of those who didn't attack in that window, as text.
        wrong: Rows whose value is not the number of the attack's events, as text.
        balanced: Whether the service's ledger balances.
        unbalanced: The identities that don't hold.
        ledger: The service's counts.
        produced: Well-formed events that the producers sent.
        malformed: Malformed records that they sent.
        unread: Records that they sent and the service didn't read.
        latency_p50_ms: From the PutRecords call with the event that opens an incident to its row's
            sight.
        latency_p99_ms: The same, of the slowest in a hundred.
        latency_worst_ms: The same, of the slowest.
        notices: Different notices that the queue's reader got.
        notices_due: Attacks above the limit for notices.
        notice: One of the notices.
        rows_in_bucket: Rows in S3, by delivery stream.
        replayed_same: Rows and final incidents that the replay of the raw archive gave again.
        replayed_otherwise: Those that differ, or that only one of the two gave, and no late event
            says why.
        seconds: How long it all took.
        out: Where its files are.
    """

    planted: int
    found: int
    missing: list[str]
    unexpected: list[str]
    wrong: list[str]
    balanced: bool
    unbalanced: list[str]
    ledger: dict[str, int]
    produced: int
    malformed: int
    unread: int
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    latency_worst_ms: float | None
    notices: int
    notices_due: int
    notice: Notice | None
    rows_in_bucket: dict[str, int]
    replayed_same: int
    replayed_otherwise: int
    seconds: float
    out: str

    @property
    def ok(self) -> bool:
        """Whether all attacks and nobody else were found, all is accounted for, and repeatable."""
        wrong = self.missing or self.unexpected or self.wrong or self.replayed_otherwise
        return self.planted > 0 and not wrong and self.balanced and not self.unread


def planted_of(truth: Truth, plan: Plan) -> dict[IncidentKey, Truth]:
    """Return what the producer says that it planted, by what identifies an incident."""
    start = "start_us" if plan.lasts else "window_start_us"
    return {
        (who_of(one[name] for name in plan.key), one[start] // 1_000_000): one
        for one in truth["incidents"]
        if all(one[name] == value for name, value in plan.only.items())
    }


def gathered(
    rows: Sequence[SeenRow], planted: Mapping[IncidentKey, Truth], plan: Plan
) -> dict[IncidentKey, SeenRow]:
    """Return one row for each incident; of an attack that lasts, all that its windows showed."""
    found: dict[IncidentKey, SeenRow] = {}
    for row in rows:
        key = row.key
        if plan.lasts:
            key = next((one for one in planted if _is_within(row, one, planted[one])), row.key)
        before = found.get(key)
        if before is not None:
            row = replace(
                row,
                value=row.value + before.value,
                phase=row.phase if before.phase == "final" else before.phase,
                first_seen_us=min(row.first_seen_us, before.first_seen_us),
            )
        found[key] = row
    return found


def _is_within(row: SeenRow, key: IncidentKey, attack: Truth) -> bool:
    """Whether a row's window touches an attack."""
    ends_us = (row.window_start + _LONGEST_WINDOW_SECONDS) * 1_000_000
    begins_us = row.window_start * 1_000_000
    return row.who == key[0] and begins_us < attack["end_us"] and ends_us > attack["start_us"]


def due(planted: Mapping[IncidentKey, Truth], rule: Threshold) -> int:
    """Count the attacks that somebody must be told of."""
    limit = min(level.above for level in rule.levels if level.notify)
    return sum(one["count"] > limit for one in planted.values())


def judge(
    planted: Mapping[IncidentKey, Truth],
    rows: Mapping[IncidentKey, SeenRow],
    rule: Threshold,
    plan: Plan,
    *,
    summary: Truth,
    sent: Sequence[Truth],
    notices: Mapping[str, Notice],
    rows_in_bucket: Mapping[str, int],
    replayed: Truth,
    seconds: float,
    out: Path,
) -> Verdict:
    """Compare what was planted with what was found.

    Args:
        planted: The attacks.
        rows: What the bystander saw in the table at the end.
        rule: The rule that was to find them.
        plan: What the domain's demo plants.
        summary: The service's `summary.json`.
        sent: The producers' reports.
        notices: Different notices, by incident.
        rows_in_bucket: Rows in S3, by delivery stream.
        replayed: What comparing the replay of the raw archive came to, as its summary has it.
        seconds: How long the demo took.
        out: Where its files are.
    """
    # At either end an attack may touch a window without going beyond the limit there.
    unseen = 2 * int(rule.levels[0].above) if plan.lasts else 0
    missing, unexpected, wrong = compare(planted, rows, who=plan.who, unseen=unseen)
    latencies = sorted(
        (rows[key].first_seen_us - one[f"{plan.raising}_sent_us"]) / 1_000
        for key, one in planted.items()
        if plan.raising and key in rows
    )
    return Verdict(
        planted=len(planted),
        found=len(planted) - len(missing),
        missing=missing,
        unexpected=unexpected,
        wrong=wrong,
        balanced=summary["balanced"],
        unbalanced=[one["name"] for one in summary["identities"] if not one["balanced"]],
        ledger=summary["ledger"],
        produced=sum(one["events"] for one in sent),
        malformed=sum(sum(one["malformed"].values()) for one in sent),
        unread=sum(one["records"] for one in sent) - summary["ledger"]["records"],
        latency_p50_ms=percentile(latencies, 50),
        latency_p99_ms=percentile(latencies, 99),
        latency_worst_ms=percentile(latencies, 100),
        notices=len(notices),
        notices_due=due(planted, rule),
        notice=next(iter(notices.values()), None),
        rows_in_bucket=dict(rows_in_bucket),
        replayed_same=replayed["same"],
        replayed_otherwise=sum(replayed[name] for name in ("different", "missing", "added")),
        seconds=round(seconds, 1),
        out=str(out),
    )


def compare(
    planted: Mapping[IncidentKey, Mapping[str, Any]],
    rows: Mapping[IncidentKey, SeenRow],
    *,
    who: str,
    unseen: int = 0,
) -> tuple[list[str], list[str], list[str]]:
    """Compare what was planted with what was found: missing, unexpected, wrong values.

    Args:
        planted: The attacks.
        rows: What was seen.
        who: What an attacker is called.
        unseen: So many events of an attack may lie in windows that open no incident.
    """

    def name(key: IncidentKey) -> str:
        return f"{who} {key[0]} in the window of {datetime.fromtimestamp(key[1], UTC):%H:%M:%S}"

    missing = [name(key) for key in sorted(planted.keys() - rows.keys())]
    unexpected = [name(key) for key in sorted(rows.keys() - planted.keys())]
    wrong = [
        f"{name(key)}: {rows[key].value} instead of {planted[key]['count']} ({rows[key].phase})"
        for key in sorted(planted.keys() & rows.keys())
        if rows[key].phase != "final"
        or not planted[key]["count"] - unseen <= rows[key].value <= planted[key]["count"]
    ]
    return missing, unexpected, wrong


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the nearest-rank percentile: a value that was really measured."""
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)
    return round(ordered[max(rank, 1) - 1], 1)
