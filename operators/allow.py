"""Who may do as they please: events of allowed clients aren't counted where abuse is looked for.

An allow-list names networks (`client=66.249.64.0/19`) and patterns (`agent=*UptimeRobot*`, in which
`*` is any text and `?` any character). An agent is what a client says of itself and anyone can say
it: allow by network where you can. Asked once for each text that differs, so it costs nothing an
event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from ipaddress import ip_address

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import UInt64s
from operators.access_log_clients import Networks
from operators.codes import TextCodes
from operators.decode import Column
from operators.spec import Allow

_REMEMBERED = 100_000


class AllowList:
    """Finds the rows of allowed clients.

    Args:
        declared: The fields that can be allowed.
        entries: What is allowed, each as `field=network` or `field=pattern`.
        texts: What the rows' codes were made with.

    Raises:
        SettingsError: An entry names another field, or isn't a network where one is needed.
    """

    def __init__(self, declared: Sequence[Allow], entries: Sequence[str], texts: TextCodes) -> None:
        self._texts = texts
        given: dict[str, list[str]] = {}
        known = {allow.field: allow for allow in declared}
        for entry in entries:
            field, _, what = entry.partition("=")
            if field not in known or not what:
                msg = f"rules.allow: {entry!r} allows nothing"
                hint = f"write {' or '.join(f'{allow.field}={allow.by}' for allow in declared)}"
                raise SettingsError(msg, hint=hint if declared else "this domain allows nobody")
            given.setdefault(field, []).append(what)
        self._allows = {field: _predicate(known[field], given[field]) for field in given}
        self._known: dict[str, dict[int, bool]] = {field: {} for field in given}

    def __bool__(self) -> bool:
        return bool(self._allows)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it asks for."""
        return tuple(self._allows)

    def rows(self, columns: Mapping[str, Column]) -> npt.NDArray[np.bool_]:
        """Return which rows come from an allowed client, bool[n]."""
        found = [
            self._of(field, columns[field].view(np.uint64), allows)
            for field, allows in self._allows.items()
        ]
        allowed: npt.NDArray[np.bool_] = np.logical_or.reduce(found)
        return allowed

    def _of(
        self, field: str, codes: UInt64s, allows: Callable[[str], bool]
    ) -> npt.NDArray[np.bool_]:
        known = self._known[field]
        if len(known) > _REMEMBERED:
            known.clear()
        different, places = np.unique(codes, return_inverse=True)
        for code in different.tolist():
            if code not in known:
                known[code] = allows(self._texts.text_of(code))
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
