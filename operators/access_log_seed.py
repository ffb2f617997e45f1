"""Access-log lines as the records that the original pipeline's pre-processor made.

Nine keys, every value a string, for consumers that know them: the table, the search index. As in
the log a text that isn't there is `-`. What the original got wrong is right here: a request that is
none has `-` for method, path and protocol, and a size that the server left out is 0.

Texts are written out event by event, 2 us each and more: only for runs that are asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from messages import Int64s
from operators.access_log import FIELDS
from operators.codes import TextCodes
from operators.decode import Column

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ABSENT = "-"
_TEXTS = {
    "host_address": "client",
    "request_method": "method",
    "request_protocol": "protocol",
    "referrer_host": "referrer",
    "user_agent": "agent",
}
_USED = {*_TEXTS.values(), "path", "query", "status", "bytes"}

SEED_FIELDS = tuple(field for field in FIELDS if field.name in _USED)
"""What must be decoded to make such records."""

KEYS = (
    "host_address",
    "request_time",
    "request_method",
    "request_path",
    "request_protocol",
    "response_code",
    "response_size",
    "referrer_host",
    "user_agent",
)


def seed_records(
    columns: Mapping[str, Column], times_us: Int64s, texts: TextCodes
) -> Iterator[dict[str, str]]:
    """Yield a record for each event, with `KEYS` in order.

    Args:
        columns: Lines, decoded with `SEED_FIELDS` or more.
        times_us: Their event times, int64[n].
        texts: What they were decoded with.
    """
    found = {key: _texts(columns[name], texts) for key, name in _TEXTS.items()}
    found["request_time"] = list(map(_iso, times_us.tolist()))
    found["request_path"] = [
        f"{path}?{query}" if query else path or _ABSENT
        for path, query in zip(
            map(texts.text_of, columns["path"].tolist()),
            map(texts.text_of, columns["query"].tolist()),
            strict=True,
        )
    ]
    found["response_code"] = [f"{status:03d}" for status in columns["status"].tolist()]
    found["response_size"] = list(map(str, columns["bytes"].tolist()))
    for values in zip(*(found[key] for key in KEYS), strict=True):
        yield dict(zip(KEYS, values, strict=True))


def _texts(column: Column, texts: TextCodes) -> list[str]:
    return [texts.text_of(code) or _ABSENT for code in column.tolist()]


def _iso(time_us: int) -> str:
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat()
