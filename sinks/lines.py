"""Lines for people and files, JSON but for one: pure encoders, the one place that knows the names.

One line a thing, UTF-8, ended by a newline, times in ISO 8601 and UTC. Raw payloads stand as text
where they are UTF-8 and as base64 where they aren't, so that no byte is lost. orjson writes all of
it: numpy numbers as numbers, NaN and infinities as null.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson

from messages import AggregateRows, Alert, Digest, Events, Late, Output, Reject

Fields = dict[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY


def iso(time_us: int) -> str:
    """Write a time as `2019-10-01T00:00:10Z`, with microseconds only where there are any."""
    try:
        moment = _EPOCH + timedelta(microseconds=int(time_us))
    except OverflowError:
        # Beyond the years 1 to 9999, where only a broken clock of an event can be.
        return f"{np.datetime64(int(time_us), 'us')}Z"
    return moment.isoformat().removesuffix("+00:00") + "Z"


def line(fields: Mapping[str, object]) -> bytes:
    """Write one line."""
    return orjson.dumps(dict(fields), option=_OPTIONS)


def csv_line(values: Iterable[object]) -> bytes:
    """Write one line of CSV: quoted only where it must be (RFC 4180), ended by a newline alone."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def alert_fields(alert: Alert) -> Fields:
    """Name what is read of an alert; `partial` and `evidence` only where there is any."""
    fields: Fields = {
        "id": alert.id,
        "domain": alert.domain,
        "rule": alert.rule,
        "severity": alert.severity,
        "key": alert.key,
        "window_start": iso(alert.window_start_us),
        "window_end": iso(alert.window_end_us),
        "value": alert.value,
        "threshold": alert.threshold,
        "phase": alert.phase,
        "detected_at": iso(alert.detected_at_us),
    }
    if alert.partial:
        fields["partial"] = True
    if alert.evidence:
        fields["evidence"] = alert.evidence
    return fields


def digest_fields(digest: Digest) -> Fields:
    """Name what stands in for many notices: how many, and the worst of them whole."""
    return {
        "id": digest.id,
        "domain": digest.domain,
        "rule": digest.rule,
        "window_start": iso(digest.window_start_us),
        "window_end": iso(digest.window_end_us),
        "incidents": digest.incidents,
        "worst": [alert_fields(alert) for alert in digest.worst],
    }


def late_fields(late: Late) -> Fields:
    """Name what is known of a late event, the event itself last."""
    return {
        "domain": late.domain,
        "aggregate": late.aggregate,
        "window_start": iso(late.window_start_us),
        "event_time": iso(late.event_time_us),
        "shard": late.shard,
        "sequence_number": late.sequence_number,
        **payload_fields("event", late.payload),
    }


def reject_fields(reject: Reject) -> Fields:
    """Name why a payload is a dead letter and where it came from, the payload itself last."""
    return {
        "domain": reject.domain,
        "reason": reject.reason,
        "detail": reject.detail,
        "shard": reject.shard,
        "sequence_number": reject.sequence_number,
        **payload_fields("payload", reject.payload),
    }


def payload_fields(name: str, payload: bytes) -> Fields:
    """Give a payload as text under `name`, or as base64 when it is no UTF-8."""
    try:
        return {name: payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


KINDS: Mapping[type, str] = {
    Alert: "alert",
    AggregateRows: "aggregate",
    Events: "event",
    Late: "late",
    Reject: "dead_letter",
}
"""What the `kind` field says where lines of several kinds share a place."""


def lines_of(item: Output) -> Iterator[bytes]:
    """Write an item as in a file of its own kind: one line, or one a row."""
    for fields in _fields_of(item):
        yield line(fields)


def kind_lines_of(item: Output) -> Iterator[bytes]:
    """Write an item as where kinds are mixed: each line says its kind first."""
    head: Fields = {"kind": KINDS[type(item)]}
    if isinstance(item, AggregateRows):
        head["aggregate"] = item.aggregate
    for fields in _fields_of(item):
        yield line({**head, **fields})


def _fields_of(item: Output) -> Iterator[Mapping[str, object]]:
    if isinstance(item, AggregateRows | Events):
        yield from item.rows
    elif isinstance(item, Alert):
        yield alert_fields(item)
    elif isinstance(item, Late):
        yield late_fields(item)
    elif isinstance(item, Reject):
        yield reject_fields(item)
    else:
        yield digest_fields(item)
