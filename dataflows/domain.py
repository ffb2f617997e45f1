"""A domain: one value that says what its events are, what is counted, and what is alarming.

A domain file declares and computes nothing. Pipeline, docs tables, metric labels, the layout check
and the contract tests read this value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dataflows.alarm_checks import detector_problems, rule_problems
from dataflows.destinations import UNNAMED, Destinations
from dataflows.event_checks import event_problems
from dataflows.figure_checks import figure_problems
from dataflows.problems import DomainError, Problem, nearest, repeated
from dataflows.reference_checks import reference_problems
from dataflows.value_checks import value_problems
from dataflows.window_checks import fields_used, window_problems
from errors import SettingsError
from operators.access_log import AccessLogFormat
from operators.decode import ARRIVAL
from operators.derived import Difference
from operators.feature_spec import DetectorSpec, RecordForest, StreamForest
from operators.figure_spec import Figure, Movers
from operators.filter_spec import Drop
from operators.reference_spec import Reference
from operators.session_spec import AnyWindow, SessionWindow
from operators.spec import Allow, Field, Level, Ratio, Threshold, Window
from operators.written import Written


@dataclass(frozen=True, slots=True)
class Domain:
    """One kind of events, and all that is made of them.

    Attributes:
        name: Its name on the command line, in ids and labels.
        summary: One line for `--help`.
        fields: The fields of an event that anything below uses, or that queries of archived
            events ask for. Those that a run doesn't use aren't decoded.
        times: Text fields that can be the event time, by name or path, the default first. A run
            may also choose `arrival`, which is the default if it stands first.
        windows: What is counted.
        sessions: What is counted by visit: until a key has been quiet for a while.
        rules: What is alarming about a key.
        detectors: What a forest finds alarming about the stream, a key or an event.
        disorder_seconds: The allowed disorder, by default.
        allow: By what a run can allow clients; see `Window.all_clients`.
        format: What a payload is: lines of an access log, or JSON for None.
        derived: Fields that are made of others.
        drops: Which events are none of its business.
        written: What its single events look like when they are written out; None for a domain
            whose events aren't.
        references: Tables beside the stream, whose columns events get as further fields.
        event_id: The field that no two events share, a text or an integer: copies that were
            delivered again are dropped by it. "" where there is none. An empty text is no id.
        figures: Values of windows that are metrics, too.
        movers: Windows of which it is a metric, too, which keys gained and lost most.
        destinations: What its results' destinations are called, unless a run says otherwise.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]
    times: tuple[str, ...]
    windows: tuple[Window, ...]
    rules: tuple[Threshold | Ratio, ...]
    detectors: tuple[DetectorSpec, ...] = ()
    disorder_seconds: float = 10
    allow: tuple[Allow, ...] = ()
    format: AccessLogFormat | None = None
    sessions: tuple[SessionWindow, ...] = ()
    event_id: str = ""
    references: tuple[Reference, ...] = ()
    derived: tuple[Difference, ...] = ()
    drops: tuple[Drop, ...] = ()
    written: Written | None = None
    figures: tuple[Figure, ...] = ()
    movers: tuple[Movers, ...] = ()
    destinations: Destinations = UNNAMED

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself or refers to what isn't declared."""
        problems = list(self._problems())
        if problems:
            raise DomainError(self.name, problems)

    @property
    def field_by_name(self) -> dict[str, Field]:
        """The declared fields by name, also those that events get from references."""
        return {field.name: field for field in self.all_fields}

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """The fields of events, then those made of them, then those that references give."""
        given = (field for one in self.references for field in one.fields)
        return (*self.fields, *(one.field for one in self.derived), *given)

    @property
    def all_windows(self) -> tuple[AnyWindow, ...]:
        """All that events are counted in: windows, then sessions."""
        return self.windows + self.sessions

    @property
    def alarms(self) -> tuple[Threshold | Ratio | DetectorSpec, ...]:
        """All that opens incidents: rules, then detectors."""
        return self.rules + self.detectors

    @property
    def time_choices(self) -> tuple[str, ...]:
        """What a run may take for event time, the default first."""
        return tuple(dict.fromkeys((*self.times, ARRIVAL)))

    @property
    def own_times(self) -> tuple[str, ...]:
        """What events themselves can say of their time: all but their arrival."""
        return tuple(name for name in self.times if name != ARRIVAL)

    def fields_of(self, windows: Sequence[AnyWindow]) -> tuple[Field, ...]:
        """Return the fields that these windows and their detectors use, in declaration order.

        Those that come from references are among them.
        """
        used = {name for window in windows for name in fields_used(window)}
        for detector in self.detectors_of(windows):
            if isinstance(detector, RecordForest):
                used.update((*detector.fields, *detector.key))
        if any(not window.counts_allowed for window in windows):
            used.update(allow.field for allow in self.allow)
        if self.event_id:
            used.add(self.event_id)
        used.update(reference.key for reference in self.references)
        used.update(drop.where.field for drop in self.drops)
        for one in self.derived:
            if one.name in used:
                used.update((one.of, one.less))
        return tuple(field for field in self.all_fields if field.name in used)

    def read_for(self, windows: Sequence[AnyWindow]) -> tuple[Field, ...]:
        """Return the fields of events that are decoded for these windows."""
        return tuple(field for field in self.fields_of(windows) if field in self.fields)

    def detectors_of(self, windows: Sequence[AnyWindow]) -> tuple[DetectorSpec, ...]:
        """Return the detectors that have all their windows among these; those of events always."""
        names = {window.name for window in windows}
        return tuple(one for one in self.detectors if names.issuperset(one.windows))

    def aggregates_of(self, windows: Sequence[AnyWindow]) -> list[str]:
        """Return the names of the aggregates whose rows are written when these windows run."""
        emitted = [one.name for one in windows if isinstance(one, SessionWindow) or one.emit]
        return emitted + [
            detector.name
            for detector in self.detectors_of(windows)
            if isinstance(detector, StreamForest) or detector.emit
        ]

    def windows_named(self, names: Sequence[str]) -> tuple[AnyWindow, ...]:
        """Return the windows and sessions of these names, in declaration order; all for no names.

        Raises:
            SettingsError: A name isn't declared.
        """
        known = [window.name for window in self.all_windows]
        for name in names:
            if name not in known:
                msg = f"domain {self.name} has no window {name!r}"
                raise SettingsError(msg, hint=f"its windows: {', '.join(known)}")
        return tuple(one for one in self.all_windows if not names or one.name in names)

    def with_limits(self, limits: Mapping[str, float]) -> Domain:
        """Return the domain with other limits.

        Args:
            limits: Limits by `rule.severity`, as `{"high_volume.warning": 1}`.

        Raises:
            SettingsError: A name isn't declared, or limits don't ascend.
        """
        known = {
            f"{alarm.name}.{level.severity}" for alarm in self.alarms for level in alarm.levels
        }
        for name in limits:
            if name not in known:
                msg = f"domain {self.name} has no limit {name!r}"
                raise SettingsError(msg, hint=f"its limits: {', '.join(sorted(known))}")

        def limited(alarm: str, levels: tuple[Level, ...]) -> tuple[Level, ...]:
            return tuple(
                replace(level, above=limits.get(f"{alarm}.{level.severity}", level.above))
                for level in levels
            )

        return replace(
            self,
            rules=tuple(replace(one, levels=limited(one.name, one.levels)) for one in self.rules),
            detectors=tuple(
                replace(one, levels=limited(one.name, one.levels)) for one in self.detectors
            ),
        )

    def _problems(self) -> Iterator[Problem]:
        """Find all that is wrong, each thing once: what is of a wrong kind isn't looked into."""
        misfits = list(value_problems(self))
        yield from misfits
        if any(not problem.inside for problem in misfits):
            return  # of this domain there is not even a list of windows
        unsound = {id(problem.inside[0]) for problem in misfits}
        windows = {window.name: window for window in self.windows}
        yield from self._name_problems()
        yield from self._event_problems()
        of_events = {field.name: field for field in self.fields}
        for reference in self.references:
            if id(reference) not in unsound:
                yield from reference_problems(reference, of_events)
        for window in self.all_windows:
            if id(window) not in unsound:
                yield from window_problems(window, self.field_by_name)
        shown: tuple[Figure | Movers, ...] = (*self.figures, *self.movers)
        for figure in shown:
            if not unsound.intersection(map(id, (figure, windows.get(figure.window)))):
                yield from figure_problems(figure, windows)
        for alarm in self.alarms:
            named = alarm.windows if not isinstance(alarm, Threshold | Ratio) else (alarm.window,)
            if unsound.intersection(map(id, (alarm, *(windows.get(name) for name in named)))):
                continue
            if isinstance(alarm, Threshold | Ratio):
                yield from rule_problems(alarm, windows)
            else:
                yield from detector_problems(alarm, windows, self.field_by_name)

    def _name_problems(self) -> Iterator[Problem]:
        yield from repeated("field", [field.name for field in self.all_fields], self.all_fields)
        names = [one.name for one in self.references]
        yield from repeated("reference", names, self.references)
        # A detector's rows are written under its name, beside those of windows.
        aggregates = (*self.all_windows, *self.detectors)
        yield from repeated("window or detector", [one.name for one in aggregates], aggregates)
        yield from repeated("rule or detector", [one.name for one in self.alarms], self.alarms)
        for one in (*self.all_fields, *self.all_windows, *self.alarms, *self.references):
            if not one.name.isidentifier():
                hint = "make it of letters, digits and _"
                yield Problem(f"{one.name!r} can't be a name", hint, (one,), one.name)

    def _event_problems(self) -> Iterator[Problem]:
        fields = {field.name: field for field in self.fields}
        if not self.times:
            hint = 'name the text fields that can be it, as times=("sent_at",)'
            yield Problem("no event time is declared", hint)
        for name in self.times:
            if name in fields:
                hint = "a time is a text, as 2026-11-01T00:00:00Z; take it out of the fields"
                what = f"the event time {name} can't be a field, too"
                yield Problem(what, hint, (fields[name],), name)
        taken: dict[tuple[str, ...], Field] = {}
        for field in self.fields:
            for steps, other in taken.items():
                shorter = min(len(steps), len(field.steps))
                if other.name != field.name and steps[:shorter] == field.steps[:shorter]:
                    what = f"{field.name} lies where {other.name} does: {field.place}"
                    hint = "give each its own path; an object with fields of its own is none"
                    yield Problem(what, hint, (field,), field.name)
            taken.setdefault(field.steps, field)
        id_field = fields.get(self.event_id)
        if self.event_id and (id_field is None or id_field.kind == "decimal"):
            hint = "" if id_field else nearest(self.event_id, fields, otherwise="fields")
            what = f"the event id {self.event_id!r} is no declared text or integer"
            yield Problem(what, hint, word=self.event_id)
        yield from event_problems(self.derived, self.drops, self.written, fields)
        for allow in self.allow:
            if allow.field not in fields or fields[allow.field].kind != "text":
                hint = "" if allow.field in fields else nearest(allow.field, fields)
                what = f"{allow.field!r}, by which clients are allowed, is no declared text"
                yield Problem(what, hint, (allow,), allow.field)
