"""What a run wrote, read back: rows of aggregates, final incidents, late events.

From the directory of a files sink, or from what Firehose delivered to S3: lines are told apart by
their fields, so one reader does for both. Interim rows and the earlier phases of incidents are left
out. What is read is handed on line by line; nothing is kept.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from errors import KinewaxError
from messages import VOLATILE
from service.archives import open_store
from service.aws import Aws, explain
from service.ledger import SUMMARY_NAME
from service.settings import Settings
from sources.archive.formats import batches
from sources.archive.layouts import layout_of
from sources.archive.stores import EMPTY, Listed, ObjectError

ALERTS_NAME = "alerts.jsonl"


@dataclass(frozen=True, slots=True)
class Written:
    """A row, or an incident at its end.

    Attributes:
        is_incident: Which of the two.
        name: The aggregate, or the rule.
        id: Of the row or incident.
        made_at: When it was made, so that of rows with one id the last can be told.
        fields: All that was written but `VOLATILE`. (`Any`: as JSON says it.)
    """

    is_incident: bool
    name: str
    id: str
    made_at: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LateEvent:
    """An event that the run did not count."""

    aggregate: str
    payload: bytes


class Outputs:
    """All that a run wrote to one place.

    Args:
        url: `file:///DIRECTORY/` or `s3://BUCKET/PREFIX`.
        settings: All settings.
        aws: Makes clients.

    Attributes:
        ledger: The run's, if `summary.json` was among what was read.
        tells_incidents: Whether there would be incidents, if there were any.

    Raises:
        SettingsError: The URL means nothing.
        MissingResourceError: There is no such directory.
    """

    def __init__(self, url: str, settings: Settings, aws: Aws) -> None:
        self.url = url
        self.ledger: dict[str, int] = {}
        self.tells_incidents = False
        self._store, prefix = open_store(url, settings, aws)
        self._layout = layout_of(prefix)

    def read(self) -> Iterator[Written | LateEvent]:
        """Yield everything; each call reads it anew.

        Raises:
            KinewaxError: Something of it can't be read.
        """
        try:
            for one in self._store.list(self._layout.prefix):
                if self._layout.includes(one.key):
                    yield from self._read(one)
        except ObjectError as error:
            msg = f"{self.url} can't be read: {error.detail}"
            raise KinewaxError(msg, hint="it must hold the whole of what the run wrote") from error
        except KinewaxError:
            raise
        except Exception as error:
            raise explain(error, self.url) from error

    def _read(self, one: Listed) -> Iterator[Written | LateEvent]:
        name = one.key.rpartition("/")[2]
        content = self._store.read(one.key, one.size, one.version)
        if name == SUMMARY_NAME:
            self.ledger = orjson.loads(b"".join(content))["ledger"]
            return
        self.tells_incidents |= name == ALERTS_NAME
        try:
            for batch in batches(one.key, content):
                for line in batch.payloads if batch else ():
                    found = _told(_object(line))
                    if found is not None:
                        self.tells_incidents |= isinstance(found, Written) and found.is_incident
                        yield found
        except ObjectError as error:
            if error.reason != EMPTY:
                raise ObjectError(error.reason, f"{one.key}: {error.detail}") from error


def _object(line: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(line: Mapping[str, Any]) -> Written | LateEvent | None:
    if line.get("phase", "final") != "final":
        return None
    if "row_id" in line:
        return _written(line, "aggregate", "row_id")
    if "rule" in line and "id" in line and "phase" in line:
        return _written(line, "rule", "id")
    if "event_time" in line and "sequence_number" in line and "aggregate" in line:
        text = line.get("event")
        payload = base64.b64decode(line["payload_base64"]) if text is None else text.encode()
        return LateEvent(line["aggregate"], payload)
    return None


def _written(line: Mapping[str, Any], name: str, identity: str) -> Written:
    made_at = next((str(line[field]) for field in VOLATILE if field in line), "")
    fields = {key: value for key, value in line.items() if key not in (*VOLATILE, "kind")}
    return Written(name == "rule", line[name], line[identity], made_at.removesuffix("Z"), fields)
