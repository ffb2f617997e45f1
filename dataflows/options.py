"""What a run chooses, and what of it shapes its state.

The supervisor reads these without the engine, which only workers load.
"""

from __future__ import annotations

from dataclasses import dataclass

from dataflows.domain import Domain
from operators.feature_spec import shape_of
from operators.watermarks import IdlePolicy

STEPS = {"slots": "read", "groups": "groups", "detectors": "detectors", "notices": "notices"}
"""The step ids under which state is kept; each sink's step has the sink's name."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a run chooses.

    Attributes:
        time: What is taken for event time: one of the domain's `time_choices`.
        disorder_us: The allowed disorder: how much later than its shard's maximum an event may be.
        idle: What shards without data do to the watermark.
        windows: Names of the windows to run; none for all.
        early: Whether rules fire before a window closes.
        allow: Who is allowed, as `AllowList` has it.
        events: Whether events are written out one by one, too.
        started_at_us: The T0 of a start at LATEST: windows that begin before are partial.
        between_us: Only windows wholly inside these times are counted and written.
        notify: Whether anybody is told of incidents.
        speed: How many times faster than they happened events come; None for as they are read.
    """

    time: str
    disorder_us: int
    idle: IdlePolicy = "wallclock"
    windows: tuple[str, ...] = ()
    early: bool = True
    allow: tuple[str, ...] = ()
    events: bool = False
    started_at_us: int | None = None
    between_us: tuple[int, int] | None = None
    notify: bool = True
    speed: float | None = None


def layout_of(domain: Domain, options: Options) -> dict[str, str]:
    """Return all that shapes the state of a run, by name: what a recovery store is bound to.

    Thresholds, routes, cooldown and disorder may change between runs; these may not.
    """
    windows = domain.windows_named(options.windows)
    layout = {"domain": domain.name, "event_time": options.time}
    if domain.event_id:
        layout["event_id"] = domain.event_id
    for window in windows:
        layout[f"window {window.name}"] = window.shape
    for field in domain.fields_of(windows):
        layout[f"field {field.name}"] = f"{field.kind}, scale {field.scale}"
    for detector in domain.detectors_of(windows):
        layout[f"detector {detector.name}"] = shape_of(detector)
    return layout
