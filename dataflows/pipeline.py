"""The whole flow of every domain. Read this file first.

    source ── Taken ──┬─ aside ──────────────────────────────────────────────┐
    (slots: read,     │   (rejects, late events)                             │
     decode, judge)   └─ aggregate ─ groups ──┬─ rows of closed windows ─────┼─ outputs ─ sinks
                          (partials    (watermark,  │                        │
                           by tick)     windows,    └─ alerts ── notices ────┘
                                        rules)                  (who is told)

State lives in slots, groups, notices and sink parts, each with its share of the ledger; the two
steps between (aggregate, aside) hold nothing, so a crash loses nothing between snapshots.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflows.domain import Domain
from dataflows.group_names import group_names
from dataflows.group_step import GroupLogic, NoticesLogic
from dataflows.sink_step import SinkStep, selector
from dataflows.source_step import SourceStep
from dataflows.vitals import Vitals
from messages import AggregateRows, Alert, Closed, Opening, Output
from operators.codes import TextCodes
from operators.intake import Intake, Taken
from operators.key_group import GroupOutput, KeyGroup
from operators.notices import Notices
from operators.partials import Partials
from operators.watermarks import IdlePolicy
from sinks.base import Sink
from sources.base import Source

_US_PER_SECOND = 1_000_000
STEPS = {"slots": "read", "groups": "groups", "notices": "notices"}
"""The step ids under which state is kept; each sink's step has the sink's name."""


def now_us() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class Options:
    """What a run chooses.

    Attributes:
        time: What is taken for event time: one of the domain's `time_choices`.
        disorder_us: The allowed disorder: how much later than its shard's maximum an event may be.
        idle: What shards without data do to the watermark.
        windows: Names of the windows to run; none for all.
        early: Whether rules fire before a window closes.
        started_at_us: The T0 of a start at LATEST: windows that begin before are partial.
    """

    time: str
    disorder_us: int
    idle: IdlePolicy = "wallclock"
    windows: tuple[str, ...] = ()
    early: bool = True
    started_at_us: int | None = None


def build_flow(
    domain: Domain,
    source: Source,
    sinks: Sequence[Sink],
    options: Options,
    *,
    draining: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = now_us,
    vitals: Vitals | None = None,
) -> Dataflow:
    """Wire a domain, a source and sinks together.

    Args:
        domain: What the events are and what is made of them.
        source: Where records come from.
        sinks: Where outputs go.
        options: What this run chooses.
        draining: Tells whether to stop reading.
        clock: Now, in microseconds since the epoch.
        vitals: Where to leave signs of life; own ones by default.

    Raises:
        SettingsError: `options` names a window that the domain doesn't have.
    """
    vitals = vitals or Vitals()
    windows = domain.windows_named(options.windows)
    fields = domain.fields_of(windows)
    by_name = {window.name: window for window in windows}
    rules = {rule.name: rule for rule in domain.rules if rule.window in by_name}
    names = {window.name: group_names(window.name, window.groups) for window in windows}

    texts = TextCodes()

    def intake(state: dict[str, Any] | None) -> Intake:
        return Intake(domain.name, fields, windows, options.time, options.disorder_us, texts, state)

    def group(name: str, state: bytes | None) -> KeyGroup:
        window = by_name[name.partition("/")[0]]
        return KeyGroup(
            name,
            domain.name,
            window,
            domain.field_by_name,
            [rule for rule in rules.values() if rule.window == window.name],
            slots=source.slots,
            disorder_us=options.disorder_us,
            idle=options.idle,
            early=options.early,
            started_at_us=options.started_at_us,
            clock=clock,
            state=state,
        )

    def notices(name: str, state: bytes | None) -> Notices:
        rule = rules[name]
        return Notices(rule, domain.name, by_name[rule.window], names[rule.window], state)

    flow = Dataflow("kinewax")
    taken = op.input("read", flow, SourceStep(source, intake, draining, vitals))
    aside = op.flat_map_batch("aside", taken, _aside())
    partials = Partials(windows, names, texts)
    packets = op.flat_map_batch(
        "aggregate", taken, lambda batch: [(p.group, p) for p in partials.packets(batch)]
    )
    found = op.stateful_batch("groups", packets, lambda state: GroupLogic(group, state, vitals))
    rows = op.flat_map_batch("rows", found, _rows)
    alerts = op.flat_map_batch("alerts", found, _alerts)
    decided = op.stateful_batch("notices", alerts, lambda state: NoticesLogic(notices, state))
    outputs = op.merge("outputs", aside, rows, op.map("told", decided, lambda keyed: keyed[1]))
    for sink in sinks:
        items = op.flat_map_batch(f"for_{sink.name}", outputs, selector(sink))
        op.output(sink.name, items, SinkStep(sink, vitals))
    return flow


def layout_of(domain: Domain, options: Options) -> dict[str, str]:
    """Return all that shapes the state of a run, by name: what a recovery store is bound to.

    Thresholds, routes, cooldown and disorder may change between runs; these may not.
    """
    windows = domain.windows_named(options.windows)
    layout = {"domain": domain.name, "event_time": options.time}
    for window in windows:
        values = ", ".join(str(value) for value in window.values)
        layout[f"window {window.name}"] = (
            f"{window.length_seconds} s by {', '.join(window.key)} "
            f"in {window.groups} groups: {values}"
        )
    for field in domain.fields_of(windows):
        layout[f"field {field.name}"] = f"{field.kind}, scale {field.scale}"
    return layout


def _aside() -> Callable[[list[Taken]], list[Output | Opening]]:
    """Return what passes on rejects and late events, and opens the sinks at its first call."""
    opening = [Opening()]

    def pass_on(batch: list[Taken]) -> list[Output | Opening]:
        items: list[Output | Opening] = [*opening]
        opening.clear()
        items.extend(chain.from_iterable(one.aside for one in batch))
        return items

    return pass_on


def _rows(batch: list[tuple[str, GroupOutput]]) -> list[Output]:
    return [item for _, item in batch if isinstance(item, AggregateRows)]


def _alerts(batch: list[tuple[str, GroupOutput]]) -> list[tuple[str, Alert | Closed]]:
    return [(item.rule, item) for _, item in batch if isinstance(item, Alert | Closed)]
