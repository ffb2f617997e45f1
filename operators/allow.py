"""Who may do as they please: events of allowed clients aren't counted where abuse is looked for.

An allow-list names networks (`client=66.249.64.0/19`) and patterns (`agent=*UptimeRobot*`, in which
`*` is any text and `?` any character). An agent is what a client says of itself and anyone can say
it: allow by network where you can. Asked once for each text that differs, so it costs nothing an
event. Beside the entries of the settings there can be those of a table, which is read again when it
changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import UInt64s
from operators.access_log_clients import Networks
from operators.codes import TextCodes
from operators.decode import Column
from operators.reference import MAX_ROWS, TableError
from operators.spec import Allow

_REMEMBERED = 100_000


Allows = Mapping[str, Callable[[str], bool]]
"""By field, who is allowed."""


def allows_of(declared: Sequence[Allow], entries: Sequence[str]) -> Allows:
    """Read entries, each `field=network` or `field=pattern`.

    Args:
        declared: The fields that can be allowed.
        entries: What is allowed.

    Raises:
        SettingsError: An entry names another field, or isn't a network where one is needed.
    """
    given: dict[str, list[str]] = {}
    known = {allow.field: allow for allow in declared}
    for entry in entries:
        field, _, what = entry.partition("=")
        if field not in known or not what:
            msg = f"rules.allow: {entry!r} allows nothing"
            hint = f"write {' or '.join(f'{allow.field}={allow.by}' for allow in declared)}"
            raise SettingsError(msg, hint=hint if declared else "this domain allows nobody")
        given.setdefault(field, []).append(what)
    return {field: _predicate(known[field], given[field]) for field in given}


def allows_of_table(declared: Sequence[Allow], rows: Iterable[Mapping[str, object]]) -> Allows:
    """Read a table with a column for each field that can be allowed, or for some of them.

    Args:
        declared: The fields that can be allowed.
        rows: In each, one of these columns or several aren't empty; others are left aside.

    Raises:
        TableError: A row allows nothing, or isn't a network where one is needed.
    """
    entries: list[str] = []
    for number, row in enumerate(rows, 1):
        own = [f"{one.field}={row[one.field]}" for one in declared if row.get(one.field)]
        if not own:
            columns = " and ".join(one.field for one in declared)
            msg = f"row {number} allows nothing: {columns} are empty, or there is no such column"
            raise TableError(msg)
        if number > MAX_ROWS:
            msg = f"it has more than {MAX_ROWS:,} rows"
            raise TableError(msg)
        entries += own
    try:
        return allows_of(declared, entries)
    except SettingsError as error:
        raise TableError(str(error).removeprefix("rules.allow: ")) from None


class AllowList:
    """Finds the rows of allowed clients.

    Args:
        declared: The fields that can be allowed.
        entries: What the settings allow, as `allows_of` reads it.
        texts: What the rows' codes were made with.
        listed: Returns what a table allows, as it is now; None where there is no table.

    Raises:
        SettingsError: An entry is wrong.
    """

    def __init__(
        self,
        declared: Sequence[Allow],
        entries: Sequence[str],
        texts: TextCodes,
        listed: Callable[[], Allows] | None = None,
    ) -> None:
        self._texts = texts
        self._own = allows_of(declared, entries)
        self._listed = listed
        self._seen: Allows = {}
        self._allows: dict[str, list[Callable[[str], bool]]] = {}
        self._known: dict[str, dict[int, bool]] = {}
        self._take({})

    def __bool__(self) -> bool:
        return bool(self._own) or self._listed is not None

    def rows(self, columns: Mapping[str, Column]) -> npt.NDArray[np.bool_]:
        """Return which rows come from an allowed client, bool[n]."""
        if self._listed is not None and (listed := self._listed()) is not self._seen:
            self._take(listed)
        allowed = np.zeros(len(next(iter(columns.values()))), bool)
        for field, allows in self._allows.items():
            allowed |= self._of(field, columns[field].view(np.uint64), allows)
        return allowed

    def _take(self, listed: Allows) -> None:
        """Take up what the table allows, and forget what was known by the one before."""
        self._seen = listed
        self._allows = {
            field: [one[field] for one in (self._own, listed) if field in one]
            for field in {**self._own, **listed}
        }
        self._known = {field: {} for field in self._allows}

    def _of(
        self, field: str, codes: UInt64s, allows: Sequence[Callable[[str], bool]]
    ) -> npt.NDArray[np.bool_]:
        known = self._known[field]
        if len(known) > _REMEMBERED:
            known.clear()
        different, places = np.unique(codes, return_inverse=True)
        for code in different.tolist():
            if code not in known:
                text = self._texts.text_of(code)
                known[code] = any(allow(text) for allow in allows)
        return np.array([known[code] for code in different.tolist()], bool)[places]


def _predicate(allow: Allow, entries: Sequence[str]) -> Callable[[str], bool]:
    if allow.by == "network":
        try:
            networks = Networks(entries)
        except ValueError as error:
            msg = f"rules.allow: {error}"
            raise SettingsError(msg, hint=f"write {allow.field}=192.0.2.0/24") from None
        return lambda text: _is_in(text, networks)
    matches = [re.compile(translate(entry)).match for entry in entries]
    return lambda text: any(match(text) for match in matches)


def _is_in(text: str, networks: Networks) -> bool:
    try:
        return ip_address(text) in networks
    except ValueError:
        return False  # a host name
