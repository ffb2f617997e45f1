"""What a key says about time: Firehose's layouts, Hive's, and prefixes as one configured them.

A key tells a period: from `begin` on, for the hour, day, month or year that is its finest part,
or for the second in which Firehose began the object, which stands in the names that it makes up
(`stream-1-2026-11-22-10-15-30-<uuid>`). All times in keys are taken for UTC, as Firehose writes
them unless told otherwise.

A URL may hold the prefix as it stands in the delivery stream's configuration:

    s3://bucket/raw/!{timestamp:yyyy}/dt=!{timestamp:yyyy-MM-dd}/!{firehose:random-string}/

Then keys of another form are not part of the archive. In any other URL the prefix is plain text and
each key is searched for the layouts above.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from errors import SettingsError

_US_PER_SECOND = 1_000_000
_HOUR_SECONDS = 3_600
HOUR_US = _HOUR_SECONDS * _US_PER_SECOND
_DAY_SECONDS = 24 * _HOUR_SECONDS
_EXPRESSION = re.compile(r"!\{([A-Za-z]+):([^}]*)\}")
_SLASH = re.compile(r"/(?!\])")  # but for that of `[^/]`, which stands for any name
_LETTERS = {"y": "year", "M": "month", "d": "day", "H": "hour", "m": "minute", "s": "second"}
_FOLDER_MARKER = "_$folder$"  # ends the name of an empty object that EMR writes beside a folder
_UNITS = tuple(_LETTERS.values())
_FIRST = (1, 1, 1, 0, 0, 0)
"""What the parts of a date are at the least, in the order of `_UNITS`."""

_FIREHOSE_NAME = re.compile(
    r"-(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"-(?P<hour>\d\d)-(?P<minute>\d\d)-(?P<second>\d\d)-[^/]+$"
)
_PATHS = (
    re.compile(
        r"(?:^|/)(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/(?P<hour>\d\d)/(?P<minute>\d\d)/"
    ),
    re.compile(r"(?:^|/)(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/(?P<hour>\d\d)/"),
    re.compile(r"(?:^|/)(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/"),
)
_HIVE_DATE = re.compile(
    r"(?:^|/)(?:p_)?(?:dt|date|day)=(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[-T ](?P<hour>\d\d))?(?=/)"
)
_HIVE_PART = re.compile(r"(?:^|/)(?:p_)?(year|month|day|hour|minute)=(\d{1,4})(?=/)")


@dataclass(frozen=True, slots=True)
class Period:
    """When what is in an object arrived: from `begin_us` on, for `length_us`."""

    begin_us: int
    length_us: int

    @property
    def is_precise(self) -> bool:
        """Whether it is an hour at most: near enough to when the records arrived."""
        return self.length_us <= HOUR_US


@dataclass(frozen=True, slots=True)
class Layout:
    """How the keys of an archive look.

    Attributes:
        prefix: What all keys begin with: all that needs to be listed.
        pattern: What all keys match, from their beginning; None where any key will do.
        folders: What the folders match that such keys lie in, the outer ones first.
    """

    prefix: str
    pattern: re.Pattern[str] | None = None
    folders: tuple[re.Pattern[str], ...] = ()

    def includes(self, key: str) -> bool:
        """Tell whether a key is part of the archive: no folder marker, nothing hidden."""
        folder, slash, name = key.rpartition("/")
        if not name or name.startswith(("_", ".")) or name.endswith(_FOLDER_MARKER):
            return False
        if self.hides(folder + slash):
            return False
        return self.pattern is None or self.pattern.match(key) is not None

    def hides(self, folder: str) -> bool:
        """Tell whether a folder is a writer's own, or lies in one: `raw/_temporary/0/`.

        What the prefix itself names is meant.
        """
        if any(one.fullmatch(folder) for one in self.folders):
            return False
        found = self.pattern.match(folder) if self.pattern else None
        return is_hidden(folder[found.end() if found else len(self.prefix) :])

    def period_of(self, key: str) -> Period | None:
        """Return when what a key holds arrived; None where the key doesn't tell."""
        named = _period((_FIREHOSE_NAME.search(key) or _NOTHING).groupdict())
        if self.pattern is not None:
            found = self.pattern.match(key)
            own = _period(found.groupdict()) if found else None
            if own is None or (named is not None and _lies_in(named, own)):
                return named
            return own
        return named or _period_in(key)

    def period_of_folder(self, folder: str) -> Period | None:
        """Return when what lies below a folder (`raw/2026/11/`) arrived; None if unknown."""
        if self.pattern is None:
            return _period_in(folder)
        found = next((found for one in self.folders if (found := one.fullmatch(folder))), None)
        return None if found is None else _period(found.groupdict())


def is_hidden(folder: str) -> bool:
    """Tell whether some part of a path is a name that Hive and Spark leave out.

    `_temporary` is, `.hive-staging`, `_delta_log`; partitions aren't (`_day=22`).
    """
    names = [name for name in folder.split("/") if name not in ("", ".", "..")]
    return any(name[0] == "." or (name[0] == "_" and "=" not in name) for name in names)


def layout_of(prefix: str) -> Layout:
    """Read a prefix, plain or with Firehose's expressions.

    Raises:
        SettingsError: An expression isn't one of Firehose's.
    """
    first = _EXPRESSION.search(prefix)
    if first is None:
        if "!{" in prefix:
            msg = f"{prefix!r} has an expression that doesn't end"
            raise SettingsError(msg, hint="write !{timestamp:yyyy/MM/dd}, as Firehose has it")
        return Layout(prefix)
    expressions: list[str] = []
    seen: set[str] = set()
    end = 0
    for found in _EXPRESSION.finditer(prefix):
        expressions.append(re.escape(prefix[end : found.start()]))
        expressions.append(_pattern_of(found, seen))
        end = found.end()
    expressions.append(re.escape(prefix[end:]))
    whole = "".join(expressions)
    parts = _SLASH.split(whole)[:-1]
    folders = ["/".join(parts[: depth + 1]) + "/" for depth in range(len(parts))]
    return Layout(
        prefix[: first.start()], re.compile(whole), tuple(re.compile(one) for one in folders)
    )


def _pattern_of(expression: re.Match[str], seen: set[str]) -> str:
    namespace, value = expression.groups()
    if namespace == "timestamp":
        return "".join(_date_pattern(value, seen))
    if namespace in ("firehose", "partitionKeyFromQuery", "partitionKeyFromLambda"):
        return "[^/]+"
    msg = f"{expression[0]} is no expression that Firehose knows"
    raise SettingsError(msg, hint="timestamp, firehose and partitionKeyFrom... are")


def _date_pattern(text: str, seen: set[str]) -> Iterator[str]:
    """Turn a pattern of Java's DateTimeFormatter into a regular expression's parts."""
    for token in re.finditer(r"'([^']*)'|([A-Za-z])\2*|[^A-Za-z']+", text):
        quoted, letter = token.groups()
        if letter is None:
            yield re.escape(token[0] if quoted is None else quoted)
            continue
        unit = _LETTERS.get(letter)
        if unit is None or len(token[0]) not in (1, 2, 4):
            msg = f"{token[0]!r} in {text!r} is no part of a date that can be read back"
            raise SettingsError(msg, hint=f"these can: {', '.join(_LETTERS)}")
        digits = "{1,2}" if len(token[0]) == 1 else f"{{{len(token[0])}}}"
        yield f"(?P={unit})" if unit in seen else f"(?P<{unit}>\\d{digits})"
        seen.add(unit)


def _period_in(key: str) -> Period | None:
    """Search a key for Firehose's folders, then for Hive's."""
    for path in _PATHS:
        if (found := path.search(key)) and (period := _period(found.groupdict())):
            return period
    parts = dict(_HIVE_PART.findall(key))
    if date := _HIVE_DATE.search(key):
        parts |= {unit: value for unit, value in date.groupdict().items() if value}
    return _period(parts)


def _period(parts: Mapping[str, str | None]) -> Period | None:
    """Make a period of the parts of a date, the year first; None where they make none."""
    values: list[int] = []
    for unit in _UNITS:
        value = parts.get(unit)
        if value is None:
            break
        values.append(int(value))
    if not values:
        return None
    if len(parts.get("year") or "") == 2:
        values[0] += 2000
    year, month, day, hour, minute, second = [*values, *_FIRST[len(values) :]]
    try:
        begin = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        length_seconds = _length_seconds(begin, len(values))
    except ValueError:  # no such day, or beyond the years that there are
        return None
    return Period(int(begin.timestamp()) * _US_PER_SECOND, length_seconds * _US_PER_SECOND)


def _length_seconds(begin: datetime, known: int) -> int:
    """Return how long a period is of which so many parts are known."""
    if known == 1:
        end = begin.replace(year=begin.year + 1)
    elif known == 2:
        over, month = divmod(begin.month, 12)
        end = begin.replace(year=begin.year + over, month=month + 1)
    else:
        return (_DAY_SECONDS, _HOUR_SECONDS, 60, 1)[known - 3]
    return int((end - begin).total_seconds())


def _lies_in(one: Period, other: Period) -> bool:
    return other.begin_us <= one.begin_us < other.begin_us + other.length_us


class _Nothing:
    def groupdict(self) -> dict[str, str]:
        return {}


_NOTHING = _Nothing()
