"""The file that `kinewax positions export` writes: positions as JSON, versioned, whole.

Where each shard is read on is plain JSON, for people and tools. The states of the other steps are
the engine's pickles in base64, since only those steps can read them: like a recovery store, an
export must come from a place one trusts. It holds keys and payloads of events, so it is readable by
its owner only.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from errors import LayoutError, SettingsError
from service import layout
from service.layout import Layout
from service.positions import Positions, ShardPosition
from service.snapshots import Stored

FORMAT = "kinewax positions"
VERSION = 1


def as_json(positions: Positions, *, exported_at: str) -> dict[str, Any]:
    """Return positions as plain values.

    Args:
        positions: What to export.
        exported_at: The time of now, for people.
    """
    return {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": exported_at,
        "layout": {
            "version": layout.VERSION,
            "fields": dict(positions.layout.fields),
            "started_at_us": positions.layout.started_at_us,
        },
        "files": positions.files,
        "start_us": positions.start_us,
        "listed": positions.listed,
        "shards": {
            name: {
                "read": shard.read,
                "maximum_us": shard.maximum_us,
                "waiting": [[_text(payload), number] for payload, number in shard.waiting],
            }
            for name, shard in positions.shards.items()
        },
        "source_ledger": positions.source_ledger,
        "intake_ledger": positions.intake_ledger,
        "states": [
            {"step": one.step, "key": one.key, "epoch": one.epoch, "pickle": _text(one.change)}
            for one in positions.others
        ],
    }


def from_json(content: Mapping[str, Any]) -> Positions:
    """Read what `as_json` returned.

    Raises:
        LayoutError: It is of another version, or no export.
    """
    try:
        if content["format"] != FORMAT:
            msg = f"its format is {content['format']!r}"
            raise LayoutError(msg, hint="name a file that `kinewax positions export` wrote")
        record = content["layout"]
        versions = (content["version"], record["version"])
        if versions != (VERSION, layout.VERSION):
            msg = f"it is of version {versions}, this kinewax reads {(VERSION, layout.VERSION)}"
            raise LayoutError(msg, hint="import it with the kinewax that wrote it")
        return Positions(
            layout=Layout(record["fields"], record["started_at_us"]),
            files=content["files"],
            start_us=content["start_us"],
            listed=content["listed"],
            shards={
                name: ShardPosition(
                    shard["read"],
                    shard["maximum_us"],
                    tuple((_bytes(payload), number) for payload, number in shard["waiting"]),
                )
                for name, shard in content["shards"].items()
            },
            source_ledger=content["source_ledger"],
            intake_ledger=content["intake_ledger"],
            others=tuple(
                Stored(one["step"], one["key"], one["epoch"], _bytes(one["pickle"]))
                for one in content["states"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        msg = f"it is no whole export: {type(error).__name__} {error}"
        raise LayoutError(msg, hint="name a file that `kinewax positions export` wrote") from error


def save(path: Path, positions: Positions, *, exported_at: str) -> None:
    """Write an export, whole or not at all, for its owner's eyes only.

    Raises:
        SettingsError: The file can't be written.
    """
    content = json.dumps(as_json(positions, exported_at=exported_at), indent=1) + "\n"
    temporary = path.with_name(path.name + ".new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        msg = f"{path} can't be written: {error.strerror or error}"
        raise SettingsError(msg, hint="name a file in a directory that can be written") from error


def load(path: Path) -> Positions:
    """Read what `save` wrote.

    Raises:
        SettingsError: The file can't be read.
        LayoutError: It is no export, or one of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return from_json(content)
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror or error}"
        raise SettingsError(msg, hint="name a file that `kinewax positions export` wrote") from (
            error
        )
    except LayoutError as error:
        msg = f"{path}: {error}"
        raise LayoutError(msg, hint=error.hint) from error
    except ValueError as error:
        msg = f"{path} is no JSON: {error}"
        raise LayoutError(msg, hint="name a file that `kinewax positions export` wrote") from error


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
