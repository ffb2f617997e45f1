"""A domain: one value that says what its events are, what is counted, and what is alarming.

A domain file declares and computes nothing. Pipeline, docs tables, metric labels, the layout check
and the contract tests read this value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from errors import SettingsError
from operators.decode import ARRIVAL
from operators.spec import Count, Distinct, Field, Sum, Threshold, Value, Window

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
        rules: What is alarming.
        disorder_seconds: The allowed disorder, by default.
    """

    name: str
    summary: str
    fields: tuple[Field, ...]
    times: tuple[str, ...]
    windows: tuple[Window, ...]
    rules: tuple[Threshold, ...]
    disorder_seconds: float = 10

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
    def time_choices(self) -> tuple[str, ...]:
        """What a run may take for event time, the default first."""
        return (*self.times, ARRIVAL)

    def fields_of(self, windows: Sequence[Window]) -> tuple[Field, ...]:
        """Return the fields that these windows use, in declaration order."""
        used = {name for window in windows for name in _fields_used(window)}
        return tuple(field for field in self.fields if field.name in used)

    def windows_named(self, names: Sequence[str]) -> tuple[Window, ...]:
        """Return the windows of these names, in declaration order; all for no names.

        Raises:
            SettingsError: A name isn't declared.
        """
        known = [window.name for window in self.windows]
        for name in names:
            if name not in known:
                msg = f"domain {self.name} has no window {name!r}"
                raise SettingsError(msg, hint=f"its windows: {', '.join(known)}")
        return tuple(window for window in self.windows if not names or window.name in names)

    def with_limits(self, limits: Mapping[str, float]) -> Domain:
        """Return the domain with other limits.

        Args:
            limits: Limits by `rule.severity`, as `{"high_volume.warning": 1}`.

        Raises:
            SettingsError: A name isn't declared, or limits don't ascend.
        """
        known = {f"{rule.name}.{level.severity}" for rule in self.rules for level in rule.levels}
        for name in limits:
            if name not in known:
                msg = f"domain {self.name} has no limit {name!r}"
                raise SettingsError(msg, hint=f"its limits: {', '.join(sorted(known))}")
        rules = tuple(
            replace(
                rule,
                levels=tuple(
                    replace(level, above=limits.get(f"{rule.name}.{level.severity}", level.above))
                    for level in rule.levels
                ),
            )
            for rule in self.rules
        )
        return replace(self, rules=rules)

    def _problems(self) -> Iterator[str]:
        yield from _repeated("field", [field.name for field in self.fields])
        yield from _repeated("window", [window.name for window in self.windows])
        yield from _repeated("rule", [rule.name for rule in self.rules])
        if not self.times:
            yield "no event time is declared"
        for name in self.times:
            if name in self.field_by_name:
                yield f"the event time {name} can't be a field, too"
        for window in self.windows:
            yield from self._window_problems(window)
        for rule in self.rules:
            yield from self._rule_problems(rule)

    def _window_problems(self, window: Window) -> Iterator[str]:
        declared = self.field_by_name
        undeclared = [name for name in _fields_used(window) if name not in declared]
        for name in undeclared:
            yield f"window {window.name} uses the field {name!r}, which is not declared"
        if not window.key:
            yield f"window {window.name} has no key"
        yield from _repeated(f"value of {window.name}", [value.name for value in window.values])
        for value in window.values if not undeclared else ():
            if isinstance(value, Count | Distinct):
                continue
            if declared[value.of].kind == "text":
                yield f"{value.name} of {window.name} needs a number, not the text {value.of}"
            if value.where is not None and declared[value.where.field].kind != "text":
                yield f"{value.name} of {window.name} can filter by a text, not {value.where.field}"

    def _rule_problems(self, rule: Threshold) -> Iterator[str]:
        windows = {window.name: window for window in self.windows}
        if rule.window not in windows:
            yield f"rule {rule.name} watches {rule.window!r}, which is not declared"
            return
        values: dict[str, Value] = {value.name: value for value in windows[rule.window].values}
        if not isinstance(values.get(rule.value), _GROWING):
            yield (
                f"rule {rule.name} needs a count, sum or distinct count of {rule.window}, "
                f"not {rule.value!r}"
            )
        limits = [level.above for level in rule.levels]
        is_ascending = all(lower < upper for lower, upper in pairwise(limits))
        if not (limits and limits[0] >= 0 and is_ascending):  # never true of nan
            yield f"rule {rule.name}: limits must ascend from 0 or more, not {limits}"


def _repeated(what: str, names: Sequence[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"there is more than one {what} {name!r}"


def _fields_used(window: Window) -> list[str]:
    used = list(window.key)
    for value in window.values:
        if not isinstance(value, Count):
            used.append(value.of)
        if not isinstance(value, Count | Distinct) and value.where is not None:
            used.append(value.where.field)
    return used
