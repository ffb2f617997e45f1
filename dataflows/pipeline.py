"""The whole flow of every domain. Read this file first.

    source ── Taken ──┬─ aside ──────────────────────────────────────────────────┐
    (slots: read,     │   (rejects, late events)                                 │
     decode, judge)   ├─ points ──────────────────────┐                          │
                      │   (of single events)          detectors ─ rows ──────────┤
                      │                               │ (forest) │               │
                      └─ aggregate ─ groups ─ summaries          │               ├─ outputs ─ sinks
                          (partials   │ (watermark,              │               │
                           by tick)   │  windows, rules,         │               │
                                      │  forests of keys)        │               │
                                      ├─ rows of closed windows ─┼───────────────┤
                                      └─ alerts ─────────────────┴─ notices ─────┘
                                                                (who is told)

State lives in slots, groups, detectors, notices and sink parts, each with its share of the ledger;
the two steps between (aggregate, aside) hold nothing, so a crash loses nothing between snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import chain
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflows.clock import now_us
from dataflows.decoders import decoder_of, fields_written, writer_of
from dataflows.domain import Domain
from dataflows.group_names import group_names
from dataflows.group_step import DetectorLogic, GroupLogic, NoticesLogic
from dataflows.options import Options
from dataflows.pace import Pace
from dataflows.sink_step import SinkStep, selector
from dataflows.source_step import SourceStep
from dataflows.vitals import Vitals
from messages import AggregateRows, Alert, Closed, Opening, Output, Points, Summary
from operators.allow import AllowList, Allows
from operators.codes import TextCodes
from operators.detection import Detection
from operators.feature_spec import KeyForest, RecordForest, StreamForest
from operators.figures import Figures
from operators.filters import Drops, Filters
from operators.intake import Intake, Taken
from operators.key_group import KeyGroup
from operators.notices import Notices
from operators.partials import Partials
from operators.record_detection import RecordDetection
from operators.record_points import RecordPoints
from operators.reference import Joins, Table
from operators.session_group import SessionGroup
from operators.session_spec import SessionWindow
from operators.spec import Window
from sinks.base import Sink
from sources.base import Source

_US_PER_SECOND = 1_000_000


def build_flow(
    domain: Domain,
    source: Source,
    sinks: Sequence[Sink],
    options: Options,
    *,
    draining: Callable[[], bool] = lambda: False,
    clock: Callable[[], int] = now_us,
    vitals: Vitals | None = None,
    tables: Mapping[str, Callable[[], Table]] | None = None,
    listed: Callable[[], Allows] | None = None,
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
        tables: For each of the domain's references, by name, what returns its table as it is now.
        listed: What returns whom a table allows, as it is now; None where there is none.

    Raises:
        SettingsError: `options` names a window that the domain doesn't have, or asks for events
            that it can't write out.
    """
    vitals = vitals or Vitals()
    windows = domain.windows_named(options.windows)
    fields = domain.read_for(windows)
    by_name = {window.name: window for window in windows if isinstance(window, Window)}
    sessions = {window.name: window for window in windows if isinstance(window, SessionWindow)}
    rules = {rule.name: rule for rule in domain.rules if rule.window in by_name}
    detectors = {one.name: one for one in domain.detectors_of(windows)}
    of_events = [one for one in detectors.values() if isinstance(one, RecordForest)]
    names = {window.name: group_names(window.name, window.groups) for window in windows}

    texts = TextCodes()
    decoded = fields_written(domain, fields) if options.events else fields
    decoder = decoder_of(domain, decoded, options.time, texts)
    writes = writer_of(domain, texts) if options.events else None
    allowed = AllowList(domain.allow, options.allow, texts, listed)
    joins = Joins(domain.references, tables or {}, texts)
    filters = Filters(windows, texts)
    drops = Drops(domain.drops, texts)
    points = RecordPoints(of_events, domain.field_by_name, texts)
    figures = Figures(domain.name, by_name.values(), domain.figures, domain.movers, clock)

    def intake(state: dict[str, Any] | None) -> Intake:
        return Intake(
            domain.name,
            decoder,
            windows,
            options.disorder_us,
            state,
            allowed=allowed,
            points=points,
            filters=filters,
            joins=joins,
            event_id=domain.event_id,
            writes=writes,
            derived=domain.derived,
            drops=drops,
            between_us=options.between_us,
        )

    def group(name: str, state: bytes | None) -> KeyGroup | SessionGroup:
        of = name.partition("/")[0]
        if of in sessions:
            return SessionGroup(
                name,
                domain.name,
                sessions[of],
                domain.field_by_name,
                slots=source.slots,
                disorder_us=options.disorder_us,
                idle=options.idle,
                early=options.early,
                started_at_us=options.started_at_us,
                between_us=options.between_us,
                clock=clock,
                state=state,
            )
        window = by_name[of]
        return KeyGroup(
            name,
            domain.name,
            window,
            domain.field_by_name,
            [rule for rule in rules.values() if rule.window == window.name],
            [
                one
                for one in detectors.values()
                if not isinstance(one, RecordForest) and window.name in one.windows
            ],
            slots=source.slots,
            disorder_us=options.disorder_us,
            idle=options.idle,
            early=options.early,
            started_at_us=options.started_at_us,
            clock=clock,
            state=state,
        )

    def detection(name: str, state: bytes | None) -> Detection | RecordDetection:
        detector = detectors[name]
        if isinstance(detector, RecordForest):
            return RecordDetection(detector, domain.name, clock=clock, state=state)
        assert isinstance(detector, StreamForest), "forests of keys live in key groups"
        return Detection(
            detector,
            domain.name,
            by_name,
            [group for window in detector.windows for group in names[window]],
            clock=clock,
            started_at_us=options.started_at_us,
            state=state,
        )

    def notices(name: str, state: bytes | None) -> Notices:
        alarm = rules.get(name) or detectors[name]
        match alarm:
            case RecordForest():
                return Notices(alarm, domain.name, 0, [name], state, notify=options.notify)
            case StreamForest():
                length_us = length_us_of(alarm.windows[0])
                return Notices(alarm, domain.name, length_us, [name], state, notify=options.notify)
            case _:
                length_us = length_us_of(alarm.window)
                return Notices(
                    alarm, domain.name, length_us, names[alarm.window], state, notify=options.notify
                )

    def length_us_of(window: str) -> int:
        return by_name[window].length_seconds * _US_PER_SECOND

    pace = None if options.speed is None else Pace(options.speed, clock)
    flow = Dataflow("kinewax")
    taken = op.input("read", flow, SourceStep(source, intake, draining, vitals, pace))
    aside = op.flat_map_batch("aside", taken, _aside())
    partials = Partials(windows, names, texts)
    packets = op.flat_map_batch(
        "aggregate", taken, lambda batch: [(p.group, p) for p in partials.packets(batch)]
    )
    found = op.stateful_batch(
        "groups", packets, lambda state: GroupLogic(group, state, vitals, figures)
    )
    rows = op.flat_map_batch("rows", found, _rows)
    of_groups = {*rules, *(n for n, one in detectors.items() if isinstance(one, KeyForest))}
    alerts = op.flat_map_batch("alerts", found, _alerts(of_groups))
    apart = [name for name, one in detectors.items() if not isinstance(one, KeyForest)]
    if apart:
        seen = op.merge(
            "seen",
            op.flat_map_batch("points", taken, _points),
            op.flat_map_batch("summaries", found, _summaries(apart)),
        )
        detected = op.stateful_batch(
            "detectors", seen, lambda state: DetectorLogic(detection, state)
        )
        rows = op.merge("all_rows", rows, op.flat_map_batch("scores", detected, _rows))
        unusual = op.flat_map_batch("unusual", detected, _alerts(apart))
        alerts = op.merge("all_alerts", alerts, unusual)
    decided = op.stateful_batch("notices", alerts, lambda state: NoticesLogic(notices, state))
    outputs = op.merge("outputs", aside, rows, op.map("told", decided, lambda keyed: keyed[1]))
    for sink in sinks:
        items = op.flat_map_batch(f"for_{sink.name}", outputs, selector(sink))
        op.output(sink.name, items, SinkStep(sink, vitals))
    return flow


def _aside() -> Callable[[list[Taken]], list[Output | Opening]]:
    """Return what passes on rejects and late events, and opens the sinks at its first call."""
    opening = [Opening()]

    def pass_on(batch: list[Taken]) -> list[Output | Opening]:
        items: list[Output | Opening] = [*opening]
        opening.clear()
        items.extend(chain.from_iterable(one.aside for one in batch))
        return items

    return pass_on


def _points(batch: list[Taken]) -> list[tuple[str, Summary | Closed | Points]]:
    return [(points.rule, points) for one in batch for points in one.points]


Keyed = Sequence[tuple[str, object]]


def _rows(batch: Keyed) -> list[Output]:
    return [item for _, item in batch if isinstance(item, AggregateRows)]


def _alerts(of: Container[str]) -> Callable[[Keyed], list[tuple[str, Alert | Closed]]]:
    def alerts(batch: Keyed) -> list[tuple[str, Alert | Closed]]:
        found = (item for _, item in batch if isinstance(item, Alert | Closed))
        return [(item.rule, item) for item in found if item.rule in of]

    return alerts


def _summaries(
    of: Container[str],
) -> Callable[[Keyed], list[tuple[str, Summary | Closed | Points]]]:
    def summaries(batch: Keyed) -> list[tuple[str, Summary | Closed | Points]]:
        found = (item for _, item in batch if isinstance(item, Summary | Closed))
        return [(item.rule, item) for item in found if item.rule in of]

    return summaries
