"""Incidents: the DynamoDB row and its SNS notice, owned by one sink.

Effectively once: each phase of an incident is one conditional UpdateItem under the incident's key,
so what a crash repeats is found "already there" and counted as such. A notice is written into the
row that it is about and published from there (see `notices.py`), so that no kill between the two
loses it, and an incident that was published before is not published again.

All phases of an incident go to one part and there to one thread, in order. Rows are raised or dead
letters like any other sink's items (`failures.py`); notices never raise.

Ledger, in phases of incidents: `incidents.raised = incidents.written + incidents.already_there +
incidents.dead_lettered`, and of those with a notice `incidents.notifications = published + digest +
suppressed + pending + dead-lettered` (with its row). Digests have an account of their own,
`incidents.digests`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import metrics
from messages import Alert, Digest, Ledger, Output
from sinks.base import Part, PartState
from sinks.batched import VERSION, ledger_of, part_names, spread
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry, join_all
from sinks.failures import Failure
from sinks.incident_rows import REPLAY, Row, RowKey, Templates, row_key, row_of
from sinks.incident_table import DynamoDbClient, IncidentTable
from sinks.notices import NoticeOptions, Notifier, SnsClient
from sinks.tally import Outcome, Tally

_DELIVERY = DeliveryOptions()


@dataclass(frozen=True, slots=True)
class IncidentsOptions:
    """The table, the topic and how rules name their rows.

    Attributes:
        topic_arn: The SNS topic of notices; "" where nobody may be told of any.
        domain: Whose pending notices are swept up, where several share a table.
        table: The DynamoDB table.
        pending_index: Its sparse index on `notified`.
        key_templates: For each rule, the partition key with `{field}` places; rules without one
            get `{domain}#{rule}#{field}={value}...`.
        subject_templates: For each rule, the notice's subject with `{field}` and `{value}` places.
        name: Step id, metric label and ledger prefix.
        parts: How many writers; constant for the life of a recovery store.
        threads: How many threads a part writes with; an incident stays with one.
        retention_seconds: When the table's TTL may take a row away.
        notify_seconds: How long a fresh notice is tried before the sweeper has it.
        sweep_seconds: How often pending notices are tried again.
        delivery: Patience.
    """

    topic_arn: str
    domain: str
    table: str
    pending_index: str = "pending-notifications"
    key_templates: Mapping[str, str] = field(default_factory=dict)
    subject_templates: Mapping[str, str] = field(default_factory=dict)
    name: str = "incidents"
    parts: int = 4
    threads: int = 4
    retention_seconds: float = 30 * 86400
    notify_seconds: float = 2.0
    sweep_seconds: float = 30.0
    delivery: DeliveryOptions = _DELIVERY


class IncidentsSink:
    """A DynamoDB table and an SNS topic that get alerts and digests."""

    accepts: tuple[type, ...] = (Alert, Digest)

    def __init__(
        self,
        dynamodb: DynamoDbClient,
        sns: SnsClient,
        options: IncidentsOptions,
        *,
        clock: Callable[[], int],
        rng: random.Random,
        dead_letters: Callable[[], Part] | None = None,
    ) -> None:
        self._dynamodb = dynamodb
        self._sns = sns
        self._options = options
        self._clock = clock
        self._rng = rng
        self._dead_letters = dead_letters
        self._templates = Templates(options.key_templates, options.subject_templates)
        self.name = options.name
        self.parts = part_names(options.parts)

    def wants(self, item: Output) -> bool:
        """Take every phase and every digest."""
        return isinstance(item, self.accepts)

    def part_of(self, item: Output) -> str:
        """Keep all phases of an incident in one part, which the row's key names."""
        if not isinstance(item, Alert | Digest):
            msg = f"incidents take alerts and digests, not {item!r}"
            raise TypeError(msg)
        return self._part_of_row(row_key(item, self._templates))

    def open(self, part: str, state: PartState | None) -> IncidentsPart:
        """Open a part and its threads; notices that were pending are tried at once."""
        options = self._options
        ledger = ledger_of(state)
        table = IncidentTable(self._dynamodb, options.table, options.pending_index)
        notifier = Notifier(
            sns=self._sns,
            table=table,
            options=NoticeOptions(
                options.topic_arn, options.domain, options.notify_seconds, options.sweep_seconds
            ),
            owns=lambda key: self._part_of_row(key) == part,
            due={((pk, sk), account): n for pk, sk, account, n in (state or {}).get("due", [])},
            clock=self._clock,
            rng=random.Random(self._rng.random()),
        )
        return IncidentsPart(
            table=table,
            notifier=notifier,
            options=options,
            templates=self._templates,
            ledger=ledger,
            desk=DeadLetterDesk(self.name, self._dead_letters),
            clock=self._clock,
            rng=self._rng,
        )

    def _part_of_row(self, key: RowKey) -> str:
        return self.parts[spread("#".join(key), len(self.parts))]


class IncidentsPart:
    """One writer: a courier a thread for rows, and a notifier."""

    def __init__(
        self,
        *,
        table: IncidentTable,
        notifier: Notifier,
        options: IncidentsOptions,
        templates: Templates,
        ledger: Ledger,
        desk: DeadLetterDesk,
        clock: Callable[[], int],
        rng: random.Random,
    ) -> None:
        self._table = table
        self._notifier = notifier
        self._options = options
        self._templates = templates
        self._desk = desk
        self._clock = clock
        # What is pending is told anew by each state, from the notices that are due.
        ledger.pop(f"{options.name}.notifications.pending", None)
        ledger.pop(f"{options.name}.digests.pending", None)
        self._tally = Tally(options.name, ledger, taken="raised")
        bound = max(1, options.delivery.max_pending_bytes // options.threads)
        self._couriers = [
            Courier(
                sink=options.name,
                destination=f"table {options.table}",
                send=self._write_rows,
                tally=self._tally,
                limits=BatchLimits(entries=1, total_bytes=1),
                options=replace(options.delivery, max_pending_bytes=bound),
                rng=random.Random(rng.random()),
                refuse=self._refuse,
            )
            for _ in range(options.threads)
        ]

    def write(self, items: Sequence[Output]) -> None:
        """Hand each item to the thread that its row belongs to."""
        for row in self._rows(items):
            # A digest is no incident: it has an account of its own.
            count = int(isinstance(row.item, Alert))
            lane = spread("#".join(row.key), self._options.parts * self._options.threads)
            courier = self._couriers[lane // self._options.parts]
            courier.hand_over([Entry(row, len(row.line), count)])

    def flush(self) -> None:
        """Return once all rows stand; their notices are published or pending by then.

        Raises:
            KinewaxError: A row doesn't stand, and the deadline is over.
        """
        for courier in self._couriers:
            courier.flush()
        self._notifier.settle()
        self._desk.flush()

    def state(self) -> PartState:
        """Return the account and the notices that are still due."""
        name = self._options.name
        due, published = self._notifier.account()
        ledger = self._tally.ledger()
        for account in ("notifications", "digests"):
            counts = {
                "published": published.get(account, 0),
                "pending": sum(n for (_, whose), n in due.items() if whose == account),
            }
            for outcome, count in counts.items():
                key = f"{name}.{account}.{outcome}"
                ledger[key] = ledger.get(key, 0) + count
        return {
            "version": VERSION,
            "ledger": ledger,
            "due": [(*key, account, count) for (key, account), count in due.items()],
        }

    def close(self) -> None:
        """Stop the threads."""
        join_all([*(courier.stop() for courier in self._couriers), self._notifier.stop()])
        self._desk.close()

    def _rows(self, items: Sequence[Output]) -> Iterator[Row]:
        expires_at = self._clock() // 1_000_000 + int(self._options.retention_seconds)
        for item in items:
            if isinstance(item, Alert | Digest):
                yield row_of(item, self._templates, expires_at)

    def _write_rows(self, rows: Sequence[Row]) -> list[Outcome | Failure]:
        return [self._write_row(row) for row in rows]

    def _write_row(self, row: Row) -> Outcome:
        written = self._table.write(row.write)
        if not written and row.ask:
            # The row was there: ask for the notice, unless it was asked for when it was written.
            self._table.write(row.ask)
        self._count_notice(row)
        if not written:
            return "already_there"
        if isinstance(row.item, Alert):
            seconds = max(0, self._clock() - row.item.detected_at_us) / 1_000_000
            metrics.end_to_end_latency_seconds.labels(row.item.domain).observe(seconds)
        return "acknowledged"

    def _count_notice(self, row: Row) -> None:
        """Count what becomes of a row's notice, and have it published."""
        if isinstance(row.item, Digest):
            self._tally.add("digests", 1)
            self._notifier.hand_over(row.key, "digests")
            return
        notice = row.item.notice
        if notice == "none":
            return
        self._tally.add("notifications", 1)
        if notice == "publish":
            self._notifier.hand_over(row.key, "notifications")
            return
        outcome = notice if notice in ("digest", REPLAY) else "suppressed"
        self._tally.add(f"notifications.{outcome}", 1)
        metrics.notifications.labels(row.item.domain, outcome).inc()

    def _refuse(self, entry: Entry[Row], failure: Failure) -> None:
        row = entry.body
        # No row, no outbox: the notice goes where the row goes, and the account says so.
        account = "digests" if isinstance(row.item, Digest) else "notifications"
        if isinstance(row.item, Digest) or row.item.notice != "none":
            self._tally.add(account, 1)
            self._tally.add(f"{account}.dead_lettered", 1)
        self._desk.take(row.item.domain, failure, row.line, f"table {self._options.table}")
