"""The rows of the incident table: what each write sets, and when it may. Pure.

A row is an incident, its key the rule's key and its window's start:

    ddb_partition_key (S)   by the rule's template, as `userid#101#appserver#app-server-tomcat-123`,
                            else `{domain}#{rule}#{field}={value}...`; `digest#{domain}#{rule}`
    ddb_sort_key (N)        the window's start in seconds since the epoch

Writes may come again and in any order of runs; the row only moves forward. A write applies when
there is no row, when the row's phase is an earlier one (open, raised, final), or when it is the
same and the value has grown. Values of rules only grow within a window and severity follows the
value, so both grow with the row. (A write that asks for a notice needs an earlier phase: a replay
in other batches may cross the same limit with another value, and must not ask again.)

The notice of an incident waits on its own row, as an outbox: `notified = "pending"` is the sparse
key of the index `pending-notifications`, `notice_subject` and `notice_body` are what to publish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messages import Alert, Digest, Scalar
from sinks.keys import bounded, escaped, fill
from sinks.lines import alert_fields, digest_fields, iso, line

RowKey = tuple[str, str]
"""Partition key and sort key, the latter as DynamoDB writes numbers."""

AttributeValue = dict[str, Any]  # {"S": text}, {"N": digits} or {"BOOL": bool}

PHASES = ("open", "raised", "final")
PENDING = "pending"
REPLAY = "replay"
"""The notice of an incident that a replay found, and told nobody of."""

PARTITION_KEY_BYTES = 2048
SUBJECT_CHARACTERS = 100

_OWN = frozenset(
    {
        "ddb_partition_key",
        "ddb_sort_key",
        "id",
        "domain",
        "rule",
        "severity",
        "phase",
        "window_start",
        "window_end",
        "threshold",
        "detected_at",
        "partial",
        "evidence",
        "notice",
        "notice_phase",
        "notice_subject",
        "notice_body",
        "notified",
        "published_at",
        "expires_at",
    }
)


@dataclass(frozen=True, slots=True)
class Templates:
    """How rules name their rows and notices, by rule; places are `{field}` and `{value}`."""

    keys: Mapping[str, str] = field(default_factory=dict)
    subjects: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One write of one incident.

    Attributes:
        key: Where.
        item: What it was made from.
        write: UpdateItem's arguments, but the table.
        ask: The arguments of a write that only asks for the notice, of a row that is already there
            and was never asked for this phase or a later one; None without a notice to publish.
        line: The item as a line of JSON, for its dead letter.
    """

    key: RowKey
    item: Alert | Digest
    write: dict[str, Any]
    ask: dict[str, Any] | None
    line: bytes


def row_key(item: Alert | Digest, templates: Templates) -> RowKey:
    """Name an item's row."""
    if isinstance(item, Digest):
        text = f"digest#{escaped(item.domain)}#{escaped(item.rule)}"
    elif template := templates.keys.get(item.rule):
        values = {name: _plain(escaped(value)) for name, value in item.key.items()}
        text = fill(template, values, f"key of rule {item.rule}")
    else:
        fields = (f"{name}={escaped(value)}" for name, value in item.key.items())
        text = "#".join((str(escaped(item.domain)), str(escaped(item.rule)), *fields))
    return bounded(text, PARTITION_KEY_BYTES), seconds_text(item.window_start_us)


def row_of(item: Alert | Digest, templates: Templates, expires_at: int) -> Row:
    """Say what is to be written of an item."""
    key = row_key(item, templates)
    if isinstance(item, Alert):
        phase, wants_notice = item.phase, item.notice == "publish"
        fields = alert_fields(item)
        attributes = _alert_attributes(item)
        growing = None if wants_notice else _free(item.value_name)
    else:
        phase, wants_notice = "digest", True
        fields = digest_fields(item)
        attributes = _digest_attributes(item)
        growing = None
    attributes["expires_at"] = number(expires_at)
    asked: dict[str, AttributeValue] = {}
    if wants_notice:
        asked = {
            "notified": {"S": PENDING},
            "notice": {"S": "publish"},
            "notice_phase": {"S": phase},
            "notice_subject": {"S": subject_of(item, templates)},
            "notice_body": {"S": line(fields).decode().rstrip("\n")},
        }
    first = {"detected_at": {"S": iso(item.detected_at_us)}} if isinstance(item, Alert) else {}
    if not wants_notice and isinstance(item, Alert):
        if item.notice == "none":
            # What was said of the notice at an earlier phase stays.
            first["notice"] = {"S": item.notice}
        else:
            attributes["notice"] = {"S": item.notice}
        if item.notice == REPLAY:
            first["notified"] = {"S": REPLAY}  # so no sweeper ever takes it for pending
    return Row(
        key=key,
        item=item,
        write=_update(key, {**attributes, **asked}, first, _may_write(phase, growing, attributes)),
        ask=_update(key, asked, {}, _may_ask(phase)) if asked else None,
        line=line(fields),
    )


def earlier(phase: str) -> tuple[str, ...]:
    """Name the phases before one."""
    return PHASES[: PHASES.index(phase)] if phase in PHASES else ()


def key_attributes(key: RowKey) -> dict[str, AttributeValue]:
    """Write a row's key as DynamoDB takes it."""
    return {"ddb_partition_key": {"S": key[0]}, "ddb_sort_key": {"N": key[1]}}


def subject_of(item: Alert | Digest, templates: Templates) -> str:
    """Write the subject line: ASCII, one line, at most 100 characters, as SNS demands."""
    if isinstance(item, Digest):
        text = f"{item.incidents} more incidents of {item.rule} in one window"
    elif template := templates.subjects.get(item.rule):
        values = {name: _plain(value) for name, value in item.key.items()}
        values["value"] = _plain(item.value)
        text = fill(template, values, f"subject of rule {item.rule}")
    else:
        fields = ", ".join(f"{name} {value}" for name, value in item.key.items())
        text = f"{item.severity} {item.rule}: {fields}: {item.value_name} {_plain(item.value)}"
    printable = (c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
    # SNS wants no blank in front; an attacker's words may be all there is.
    return "".join(printable).strip()[:SUBJECT_CHARACTERS].rstrip() or "alert"


def number(value: Scalar) -> AttributeValue:
    """Write a number; DynamoDB refuses NaN and infinities, which ends in a dead letter."""
    return {"N": str(_plain(value))}


def seconds_text(time_us: int) -> str:
    """Write microseconds as seconds, with a fraction only where there is one."""
    seconds, rest = divmod(int(time_us), 1_000_000)
    if not rest:
        return str(seconds)
    return f"{time_us / 1_000_000:.6f}".rstrip("0")


def _plain(value: object) -> str | int | float:
    """Give whole floats as integers: 14, not 14.0; numpy's numbers as Python's."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else float(value)
    return int(value)  # type: ignore[call-overload,no-any-return]


def _attribute(value: Scalar) -> AttributeValue:
    return {"S": value} if isinstance(value, str) else number(value)


def _alert_attributes(alert: Alert) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "id": {"S": alert.id},
        "domain": {"S": alert.domain},
        "rule": {"S": alert.rule},
        "severity": {"S": alert.severity},
        "phase": {"S": alert.phase},
        "window_start": {"S": iso(alert.window_start_us)},
        "window_end": {"S": iso(alert.window_end_us)},
        "threshold": number(alert.threshold),
        "partial": {"BOOL": bool(alert.partial)},
    }
    if alert.evidence:
        attributes["evidence"] = {"S": line(alert.evidence).decode().rstrip("\n")}
    for name, value in {**alert.key, alert.value_name: alert.value}.items():
        attributes[_free(name)] = _attribute(value)
    return attributes


def _digest_attributes(digest: Digest) -> dict[str, AttributeValue]:
    return {
        "id": {"S": digest.id},
        "domain": {"S": digest.domain},
        "rule": {"S": digest.rule},
        "phase": {"S": "digest"},
        "window_start": {"S": iso(digest.window_start_us)},
        "window_end": {"S": iso(digest.window_end_us)},
        "incidents": number(digest.incidents),
    }


def _free(name: str) -> str:
    """Keep a domain's field called `domain` or `phase` apart from the row's own attribute."""
    return f"key_{name}" if name in _OWN else name


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition with the names and values that it uses beyond the attributes that are set."""

    text: str
    names: Mapping[str, str]
    values: Mapping[str, AttributeValue]


def _may_write(
    phase: str, growing: str | None, attributes: Mapping[str, AttributeValue]
) -> _Condition:
    names: dict[str, str] = {}
    values = {f":{past}": {"S": past} for past in earlier(phase)}
    alternatives = ["attribute_not_exists(ddb_partition_key)"]
    if values:
        alternatives.append(f"phase IN ({', '.join(values)})")
    if growing is not None:
        names["#growing"] = growing
        values |= {":same": {"S": phase}, ":grown": attributes[growing]}
        alternatives.append("(phase = :same AND #growing < :grown)")
    return _Condition(" OR ".join(alternatives), names, values)


def _may_ask(phase: str) -> _Condition:
    values = {f":{past}": {"S": past} for past in earlier(phase)}
    text = "attribute_exists(ddb_partition_key) AND (attribute_not_exists(notice_phase)"
    if values:
        text += f" OR notice_phase IN ({', '.join(values)})"
    return _Condition(text + ")", {}, values)


def _update(
    key: RowKey,
    sets: Mapping[str, AttributeValue],
    firsts: Mapping[str, AttributeValue],
    condition: _Condition,
) -> dict[str, Any]:
    """Write UpdateItem's arguments; `firsts` are set only where the row hasn't them yet."""
    names = dict(condition.names)
    values = dict(condition.values)
    assignments = []
    # Placeholders, because names may be reserved words (`domain` is) or hold any character.
    for position, (name, value) in enumerate((*sets.items(), *firsts.items())):
        names[f"#n{position}"] = name
        values[f":v{position}"] = value
        new = f":v{position}" if name in sets else f"if_not_exists(#n{position}, :v{position})"
        assignments.append(f"#n{position} = {new}")
    return {
        "Key": key_attributes(key),
        "UpdateExpression": "SET " + ", ".join(assignments),
        "ConditionExpression": condition.text,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }
