"""The layout record: what a recovery store was written by, checked before every start.

State written by one layout means nothing to another: with other slots a shard would be read twice
or never, with another window the counts of two windows would be added. So `layout.json` lies in the
recovery directory, written atomically before the first start, and a start whose layout differs ends
with the name of the field, both values, and the ways out. It also keeps the moment at which the
first start began (`started_at_us`): a start at LATEST that crashed before its first snapshot begins
again at the same moment, not at a later one.

Thresholds, routes, cooldown and the allowed disorder aren't part of a layout: they may change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from errors import LayoutError

FILE_NAME = "layout.json"
VERSION = 1
"""Of the record and of all state; raised when old state can no longer be read."""

Fields = Mapping[str, str | int]


@dataclass(frozen=True)
class Layout:
    """What is written down.

    Attributes:
        fields: Everything that shapes state: source, slots, groups, and the domain's fingerprint.
        started_at_us: When the first start began; a start at LATEST reads from here.
    """

    fields: Fields
    started_at_us: int


def read(directory: Path) -> Layout | None:
    """Read the record; None where the store was never started.

    Raises:
        LayoutError: It is there but can't be read, or is of another version.
    """
    path = directory / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, fields = content["version"], content["fields"]
        started_at_us = content["started_at_us"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path} can't be read: {error}"
        raise LayoutError(
            msg, hint="restore it, or start afresh with another --recovery"
        ) from error
    if version != VERSION:
        msg = f"{path} is of version {version}, this kinewax reads version {VERSION}"
        raise LayoutError(msg, hint="run the kinewax that wrote it, or start with a new --recovery")
    return Layout(fields, started_at_us)


def write(directory: Path, layout: Layout) -> None:
    """Write the record so that a crash leaves either nothing or all of it."""
    content = {
        "version": VERSION,
        "fields": dict(layout.fields),
        "started_at_us": layout.started_at_us,
    }
    temporary = directory / (FILE_NAME + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(directory / FILE_NAME)
    settle(directory)


def settle(directory: Path) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(stored: Fields, current: Fields, directory: Path) -> None:
    """Compare the layout of a store with that of this start.

    Raises:
        LayoutError: Naming the first field that differs, both values and the ways out.
    """
    for name in sorted(stored.keys() | current.keys()):
        before, now = stored.get(name, "absent"), current.get(name, "absent")
        if before != now:
            msg = f"{directory}: {name} was {before} when this recovery store was made, is {now}"
            hint = f"set {name} back to {before}, or start afresh with another --recovery directory"
            if name == "slots":
                hint += "; or move the store: kinewax positions export, then import --slots"
            raise LayoutError(msg, hint=hint)
