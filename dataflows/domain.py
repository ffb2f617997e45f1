"""A domain: one value that says what its events are, what is counted, and what is alarming.

A domain file declares and computes nothing. Pipeline, docs tables, metric labels, the layout check
and the contract tests read this value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dataflows.window_checks import fields_used, repeated, window_problems
from errors import SettingsError
from operators.access_log import AccessLogFormat
from operators.decode import ARRIVAL
from operators.feature_spec import DetectorSpec, KeyForest, RecordForest, StreamForest, config_of
from operators.session_spec import AnyWindow, SessionWindow
from operators.spec import (
    Allow,
    Count,
    Distinct,
    Field,
    First,
    Last,
    Level,
    Ratio,
    Sum,
    Threshold,
    Value,
    Window,
    Without,
)

_GROWING = (Count, Sum, Distinct)


@dataclass(frozen=True, slots=True)
class Domain:
    """One kind of events, and all that is made of them.

    Attributes:
        name: Its name on the command line, in ids and labels.
        summary: One line for `--help`.
        fields: The fields of an event that anything below uses.
        times: Text fields that can be the event time, the default first. A run may also choose
            `arrival`.
        windows: What is counted.
        sessions: What is counted by visit: until a key has been quiet for a while.
        rules: What is alarming about a key.
        detectors: What a forest finds alarming about the stream, a key or an event.
        disorder_seconds: The allowed disorder, by default.
        allow: By what a run can allow clients; see `Window.all_clients`.
        format: What a payload is: lines of an access log, or JSON for None. Only lines of an access
            log can be written out as single events.
        event_id: The field that no two events share, a text or an integer: copies that were
            delivered again are dropped by it. "" where there is none. An empty text is no id.
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

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself or refers to what isn't declared."""
        problems = list(self._problems())
        if problems:
            msg = f"domain {self.name}: {problems[0]}"
            raise SettingsError(msg, problems=tuple(f"domain {self.name}: {p}" for p in problems))

    @property
    def field_by_name(self) -> dict[str, Field]:
        """The declared fields by name."""
        return {field.name: field for field in self.fields}

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
        return (*self.times, ARRIVAL)

    def fields_of(self, windows: Sequence[AnyWindow]) -> tuple[Field, ...]:
        """Return the fields that these windows and their detectors use, in declaration order."""
        used = {name for window in windows for name in fields_used(window)}
        for detector in self.detectors_of(windows):
            if isinstance(detector, RecordForest):
                used.update((*detector.fields, *detector.key))
        if any(not window.all_clients for window in windows):
            used.update(allow.field for allow in self.allow)
        if self.event_id:
            used.add(self.event_id)
        return tuple(field for field in self.fields if field.name in used)

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

    def _problems(self) -> Iterator[str]:
        yield from repeated("field", [field.name for field in self.fields])
        # A detector's rows are written under its name, beside those of windows.
        aggregates = [one.name for one in (*self.all_windows, *self.detectors)]
        yield from repeated("window or detector", aggregates)
        yield from repeated("rule or detector", [alarm.name for alarm in self.alarms])
        if not self.times:
            yield "no event time is declared"
        for name in self.times:
            if name in self.field_by_name:
                yield f"the event time {name} can't be a field, too"
        id_field = self.field_by_name.get(self.event_id)
        if self.event_id and (id_field is None or id_field.kind == "decimal"):
            yield f"the event id {self.event_id!r} is no declared text or integer"
        for allow in self.allow:
            if allow.field not in self.field_by_name or (
                self.field_by_name[allow.field].kind != "text"
            ):
                yield f"{allow.field!r}, by which clients are allowed, is no declared text"
        for window in self.all_windows:
            yield from window_problems(window, self.field_by_name)
        for rule in self.rules:
            yield from self._rule_problems(rule)
        for detector in self.detectors:
            yield from self._detector_problems(detector)

    def _rule_problems(self, rule: Threshold | Ratio) -> Iterator[str]:
        windows = {window.name: window for window in self.windows}
        if rule.window not in windows:
            yield f"rule {rule.name} watches {rule.window!r}, which is not declared"
            return
        values: dict[str, Value] = {value.name: value for value in windows[rule.window].values}
        if isinstance(rule, Ratio):
            for name in (rule.value, rule.of):
                if not isinstance(values.get(name), Count):
                    yield f"rule {rule.name} needs a count of {rule.window}, not {name!r}"
        elif not isinstance(values.get(rule.value), _GROWING):
            yield (
                f"rule {rule.name} needs a count, sum or distinct count of {rule.window}, "
                f"not {rule.value!r}"
            )
        yield from _limit_problems(f"rule {rule.name}", rule.levels)

    def _detector_problems(self, detector: DetectorSpec) -> Iterator[str]:
        what = f"detector {detector.name}"
        yield from repeated(f"column of {what}", detector.columns)
        if not detector.columns:
            yield f"{what} sees nothing"
            return
        try:
            config_of(detector)
        except SettingsError as error:
            yield f"{what}: {error}"
        windows = {window.name: window for window in self.windows}
        undeclared = [name for name in detector.windows if name not in windows]
        for name in undeclared:
            yield f"{what} needs the window {name!r}, which is not declared"
        if undeclared:
            return
        match detector:
            case StreamForest():
                yield from self._stream_problems(detector, windows)
            case KeyForest():
                numbers = {
                    value.name
                    for value in windows[detector.window].values
                    if not isinstance(value, First | Last | Without)
                }
                for name in detector.values:
                    if name not in numbers:
                        yield f"{what} needs a number of {detector.window}, not {name!r}"
                if detector.max_keys < 1:
                    yield f"{what} keeps {detector.max_keys} keys: it must be 1 or more"
            case RecordForest():
                for name in (*detector.fields, *detector.key):
                    if name not in self.field_by_name:
                        yield f"{what} uses the field {name!r}, which is not declared"
                    elif name in detector.fields and self.field_by_name[name].kind == "text":
                        yield f"{what} needs a number, not the text {name}"

    def _stream_problems(
        self, detector: StreamForest, windows: Mapping[str, Window]
    ) -> Iterator[str]:
        what = f"detector {detector.name}"
        lengths = {windows[name].length_seconds for name in detector.windows}
        if len(lengths) > 1:
            yield f"{what} needs windows of one length, not of {sorted(lengths)} s"
        for feature in detector.features:
            values = {value.name: value for value in windows[feature.window].values}
            for name in feature.values:
                if not self._is_whole(values.get(name)):
                    yield (
                        f"{feature.name} of {what} needs a count, or a sum of whole numbers, "
                        f"of {feature.window}, not {name!r}"
                    )

    def _is_whole(self, value: Value | None) -> bool:
        if isinstance(value, Sum):
            return value.of in self.field_by_name and self.field_by_name[value.of].scale == 0
        return isinstance(value, Count)


def _limit_problems(what: str, levels: Sequence[Level]) -> Iterator[str]:
    limits = [level.above for level in levels]
    is_ascending = all(lower < upper for lower, upper in pairwise(limits))
    if not (limits and limits[0] >= 0 and is_ascending):  # never true of nan
        yield f"{what}: limits must ascend from 0 or more, not {limits}"
