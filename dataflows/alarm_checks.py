"""What can be wrong with the declaration of a rule or a detector."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from string import Formatter

from dataflows.problems import Problem, nearest, repeated, undeclared_field
from errors import SettingsError
from operators.feature_spec import DetectorSpec, KeyForest, RecordForest, StreamForest, config_of
from operators.spec import Field, Level, Ratio, Threshold, Window
from operators.value_spec import Count, Distinct, First, Last, Sum, Value, Without

_GROWING = (Count, Sum, Distinct)
Windows = Mapping[str, Window]


def rule_problems(rule: Threshold | Ratio, windows: Windows) -> Iterator[Problem]:
    """Find what is wrong with a rule.

    Args:
        rule: Which.
        windows: The domain's windows, by name.
    """
    what = f"rule {rule.name}"
    yield from _level_problems(what, rule, most=1 if isinstance(rule, Ratio) else None)
    window = windows.get(rule.window)
    if window is None:
        yield _undeclared_window(f"{what} watches", rule.window, windows, (rule,))
        return
    if isinstance(rule, Ratio):
        kinds: tuple[type, ...] = (Count,)
        wanted: tuple[str, ...] = (rule.value, rule.of)
        needs = f"a count of {rule.window}"
    else:
        kinds, wanted = _GROWING, (rule.value,)
        needs = f"a count, sum or distinct count of {rule.window}"
    fit = [value.name for value in window.values if isinstance(value, kinds)]
    for name in wanted:
        if name not in fit:
            hint = nearest(name, fit, otherwise="such values")
            yield Problem(f"{what} needs {needs}, not {name!r}", hint, (rule,), name)
    yield from _template_problems(what, rule, window.key)


def detector_problems(
    detector: DetectorSpec, windows: Windows, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    """Find what is wrong with a detector.

    Args:
        detector: Which.
        windows: The domain's windows, by name.
        fields: Its fields, by name.
    """
    what = f"detector {detector.name}"
    parts: Sequence[object] = detector.columns
    if isinstance(detector, StreamForest):
        parts = detector.features
    yield from repeated(f"column of {what}", detector.columns, parts, (detector,))
    if not detector.columns:
        yield Problem(f"{what} sees nothing", "name what makes a point", (detector,))
        return
    try:
        config_of(detector)
    except SettingsError as error:
        yield from (Problem(f"{what}: {line}", inside=(detector,)) for line in error.problems)
    undeclared = [name for name in detector.windows if name not in windows]
    for name in undeclared:
        yield _undeclared_window(f"{what} needs the window", name, windows, (detector,))
    if undeclared:
        return
    match detector:
        case StreamForest():
            key: tuple[str, ...] = ()
            yield from _stream_problems(what, detector, windows, fields)
        case KeyForest():
            key = windows[detector.window].key
            yield from _key_problems(what, detector, windows[detector.window])
        case RecordForest():
            key = (*detector.key, "shard", "sequence_number")
            yield from _record_problems(what, detector, fields)
    yield from _template_problems(what, detector, key)


def _key_problems(what: str, detector: KeyForest, window: Window) -> Iterator[Problem]:
    numbers = [
        value.name for value in window.values if not isinstance(value, First | Last | Without)
    ]
    for name in detector.values:
        if name not in numbers:
            hint = nearest(name, numbers, otherwise="numbers")
            yield Problem(
                f"{what} needs a number of {window.name}, not {name!r}", hint, (detector,), name
            )
    if detector.max_keys < 1:
        keys = detector.max_keys
        yield Problem(f"{what} keeps {keys} keys: it must be 1 or more", "", (detector,), keys)


def _record_problems(
    what: str, detector: RecordForest, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    for name in (*detector.fields, *detector.key):
        if name not in fields:
            yield undeclared_field(what, name, fields, (detector,))
        elif name in detector.fields and fields[name].is_text:
            yield Problem(f"{what} needs a number, not the text {name}", "", (detector,), name)


def _stream_problems(
    what: str, detector: StreamForest, windows: Windows, fields: Mapping[str, Field]
) -> Iterator[Problem]:
    lengths = {windows[name].length_seconds for name in detector.windows}
    if len(lengths) > 1:
        yield Problem(
            f"{what} needs windows of one length, not of {sorted(lengths)} s", "", (detector,)
        )
    for feature in detector.features:
        values = {value.name: value for value in windows[feature.window].values}
        for name in feature.values:
            if not _is_whole(values.get(name), fields):
                yield Problem(
                    f"{feature.name} of {what} needs a count, or a sum of whole numbers, "
                    f"of {feature.window}, not {name!r}",
                    nearest(name, values),
                    (detector, feature),
                    name,
                )


def _is_whole(value: Value | None, fields: Mapping[str, Field]) -> bool:
    if isinstance(value, Sum):
        return value.of in fields and fields[value.of].scale == 0
    return isinstance(value, Count)


def _undeclared_window(
    what: str, name: str, windows: Windows, inside: tuple[object, ...]
) -> Problem:
    hint = nearest(name, windows, otherwise="windows")
    return Problem(f"{what} {name!r}, which is not declared", hint, inside, name)


def _level_problems(what: str, rule: Threshold | Ratio, *, most: float | None) -> Iterator[Problem]:
    levels: Sequence[Level] = rule.levels
    limits = [level.above for level in levels]
    is_ascending = all(lower < upper for lower, upper in pairwise(limits))
    if not (limits and limits[0] >= 0 and is_ascending):  # never true of nan
        hint = "give it one level or more, the lowest first"
        yield Problem(f"{what}: limits must ascend from 0 or more, not {limits}", hint, (rule,))
    for level in levels:
        if most is not None and level.above >= most:
            yield Problem(
                f"{what}: nothing is above {level.above:g}, a part is {most:g} at most",
                f"write a limit below {most:g}",
                (rule, level),
                level.above,
            )
    severities = [level.severity for level in levels]
    yield from repeated(f"level of {what}", severities, levels, (rule,))


def _template_problems(
    what: str, alarm: Threshold | Ratio | DetectorSpec, key: Iterable[str]
) -> Iterator[Problem]:
    """Find places of templates that nothing fills; else only an incident would show them."""
    for template, known in (
        (alarm.key_template, [*key]),
        (alarm.subject_template, [*key, "value"]),
    ):
        try:
            places = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
        except ValueError as error:
            hint = "write {{ and }} for braces"
            yield Problem(f"{what}: template {template!r}: {error}", hint, (alarm,), template)
            continue
        for place in places:
            if place not in known:
                yield Problem(
                    f"{what}: template {template!r} has a place {{{place}}} that nothing fills",
                    nearest(place, known, otherwise="places"),
                    (alarm,),
                    template,
                )
