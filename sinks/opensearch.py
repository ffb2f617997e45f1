"""Single events to a search index of OpenSearch, by its bulk API.

At least once, and effectively once: a document's `_id` is the event's own, or its place in the
stream, so what is sent again replaces itself. A document that is refused for good (400: it doesn't
fit the index's mapping) is a dead letter and costs its neighbours nothing; one that is throttled or
met a failing shard (429, 5xx) is sent again alone.

An index template is put before the first document: mapping, shards, replicas, and a refresh each
second, so that a document can be found within 5 s of its event (half a second to gather a batch, a
second to the refresh, the rest for the call). A template shapes the indexes made after it; one that
is there already stays as it is.

Limits: 512 bytes a document id (REST API reference, "Index document"). The managed service refuses
bodies above 10 MiB on its small instances; half of that, with a few thousand documents, is also
where the bulk API's guide says to stop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from messages import Events, Output, Scalar
from sinks.base import Part, PartState
from sinks.batched import BatchedPart, ledger_of, part_names, spread
from sinks.dead_letters import DeadLetterDesk
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry
from sinks.failures import Failure, failure_of
from sinks.keys import bounded
from sinks.tally import Outcome, Tally

CALL_BYTES = 5 * 1024 * 1024
CALL_DOCUMENTS = 2_000
ID_BYTES = 512
REFRESH_INTERVAL = "1s"
_TEMPLATE_PRIORITY = 200
_BAD_REQUEST = 400
_DENIED = (401, 403)
_DELIVERY = DeliveryOptions(linger_seconds=0.5)


class SearchClient(Protocol):
    """One request to the server; network failures are raised as botocore raises them."""

    def request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer."""


@dataclass(frozen=True, slots=True)
class OpenSearchOptions:
    """An index and what goes there.

    Attributes:
        index: Its name; with `daily` what the names begin with.
        properties: The mapping of a document's fields.
        daily: Whether each day (UTC) of event time has an index of its own: `wiki-2026.01.31`.
        shards: Of a new index.
        replicas: Of a new index.
        name: Step id, metric label and ledger prefix.
        domain: Named in the dead letters of refused documents.
        parts: How many writers; constant for the life of a recovery store.
        delivery: Patience; by default a batch waits half a second for more.
    """

    index: str
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    daily: bool = False
    shards: int = 5
    replicas: int = 0
    name: str = "search"
    domain: str = ""
    parts: int = 2
    delivery: DeliveryOptions = _DELIVERY


@dataclass(frozen=True, slots=True)
class Document:
    """One event: where it goes, under which id, and its JSON."""

    index: str
    id: str
    source: bytes


class OpenSearchSink:
    """A search index that gets single events."""

    accepts: tuple[type, ...] = (Events,)

    def __init__(
        self,
        client: SearchClient,
        options: OpenSearchOptions,
        *,
        rng: random.Random,
        dead_letters: Callable[[], Part] | None = None,
    ) -> None:
        self._client = client
        self._options = options
        self._rng = rng
        self._dead_letters = dead_letters
        self.name = options.name
        self.parts = part_names(options.parts)

    def wants(self, item: Output) -> bool:
        """Take all single events."""
        return isinstance(item, Events)

    def part_of(self, item: Output) -> str:
        """Keep the events of a shard in one part."""
        return self.parts[spread(getattr(item, "shard", ""), len(self.parts))]

    def open(self, part: str, state: PartState | None) -> BatchedPart[Document]:  # noqa: ARG002
        """Open a part and its thread."""
        options = self._options
        tally = Tally(self.name, ledger_of(state))
        desk = DeadLetterDesk(self.name, self._dead_letters)
        destination = f"index {options.index}"
        template = _Template(self._client, options)

        def send(documents: Sequence[Document]) -> list[Outcome | Failure]:
            template.put_once()
            return put(self._client, documents)

        def refuse(entry: Entry[Document], failure: Failure) -> None:
            desk.take(options.domain, failure, entry.body.source, destination)

        courier = Courier(
            sink=self.name,
            destination=destination,
            send=send,
            tally=tally,
            limits=BatchLimits(CALL_DOCUMENTS, CALL_BYTES),
            options=options.delivery,
            rng=random.Random(self._rng.random()),
            refuse=refuse,
        )

        def encode(items: Sequence[Output]) -> Iterator[Entry[Document]]:
            return documents_of(items, options.index, daily=options.daily)

        return BatchedPart(encode=encode, courier=courier, desk=desk, tally=tally)


# ---- encode: pure -----------------------------------------------------------------------------


def documents_of(items: Sequence[Output], index: str, *, daily: bool) -> Iterator[Entry[Document]]:
    """Make a document of each event."""
    for item in items:
        if not isinstance(item, Events):
            continue
        for row, own_id, time_us in zip(item.rows, item.ids, item.times_us, strict=True):
            into = f"{index}-{_day(time_us)}" if daily else index
            document = Document(into, bounded(own_id, ID_BYTES), _json(row))
            yield Entry(document, len(_lines(document)))


def template_of(options: OpenSearchOptions) -> dict[str, Any]:
    """Return the index template, as JSON has it (`Any`: of every depth)."""
    return {
        "index_patterns": [f"{options.index}-*" if options.daily else options.index],
        "priority": _TEMPLATE_PRIORITY,
        "template": {
            "settings": {
                "index": {
                    "number_of_shards": options.shards,
                    "number_of_replicas": options.replicas,
                    "refresh_interval": REFRESH_INTERVAL,
                }
            },
            "mappings": {"properties": options.properties},
        },
    }


def _json(row: Mapping[str, Scalar]) -> bytes:
    return orjson.dumps(row)


def _day(time_us: int) -> str:
    return f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y.%m.%d}"


def _lines(document: Document) -> bytes:
    action = {"index": {"_index": document.index, "_id": document.id}}
    return orjson.dumps(action) + b"\n" + document.source + b"\n"


# ---- calls ------------------------------------------------------------------------------------


class _Template:
    """The index template: put before a part's first document, and once."""

    def __init__(self, client: SearchClient, options: OpenSearchOptions) -> None:
        self._client = client
        self._path = f"/_index_template/kinewax-{options.index}"
        self._body = orjson.dumps(template_of(options))
        self._is_there = False

    def put_once(self) -> None:
        if not self._is_there:
            answer = self._client.request("PUT", self._path, self._body)
            reply_of(answer, "PutIndexTemplate")
            self._is_there = True


def put(client: SearchClient, documents: Sequence[Document]) -> list[Outcome | Failure]:
    """Make one call; each document's own answer says whether it was taken."""
    body = b"".join(map(_lines, documents))
    answer = reply_of(client.request("POST", "/_bulk", body), "Bulk")
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != len(documents):
        msg = f"an answer for {len(documents)} documents without as many items"
        raise ResponseParserError(msg)
    return [_outcome(item) for item in items]


def _outcome(item: Mapping[str, Any]) -> Outcome | Failure:
    told = item["index"]
    status = int(told["status"])
    if status < 300:
        return "already_there" if told.get("result") == "updated" else "acknowledged"
    error = told.get("error") or {}
    code, reason = str(error.get("type", "")), str(error.get("reason", ""))
    if status == _BAD_REQUEST:
        return Failure("rejected", code, reason)  # it doesn't fit, and never will
    return failure_of(code, reason, status)


def reply_of(answer: tuple[int, bytes], operation: str) -> dict[str, Any]:
    """Return what an answer says.

    Raises:
        ClientError: It is a refusal; `classify` understands it.
        ResponseParserError: It is cut.
    """
    status, body = answer
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if status < 300:
            msg = f"{operation}: a reply that is cut, or no JSON"
            raise ResponseParserError(msg) from error
        told = {}  # of a load balancer, which answers in HTML
    if status < 300 and isinstance(told, dict):
        return told
    refusal = told.get("error") if isinstance(told, dict) else None
    # The service itself says {"message": ...} where it refuses a signature or a user.
    kind = refusal.get("type") if isinstance(refusal, dict) else None
    reason = refusal.get("reason") if isinstance(refusal, dict) else told
    code = kind or f"HTTP {status}"
    if status in _DENIED:
        code = f"AccessDenied: {code}"
    raise ClientError(
        {
            "Error": {"Code": code, "Message": str(reason or "")},
            "ResponseMetadata": {"HTTPStatusCode": status},
        },
        operation,
    )
