"""A server that answers as the REST API reference of OpenSearch says, and fails as a script says.

No OpenSearch can be installed where these tests run. This one was written from the reference alone:
index templates, bulk with an answer for each document, get by id, count and search of all. It
checks a document against the template's mapping as far as the tests need it: a `long` that is no
number is refused with 400. A document can be found once the refresh interval is over.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOREVER = 10**9
Json = dict[str, Any]


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class _Stored:
    source: Json
    version: int
    findable_at: float


@dataclass
class _Fault:
    path: str
    left: int
    status: int
    body: bytes


@dataclass
class _ItemFault:
    picks: Callable[[str], bool]
    left: int
    status: int
    kind: str


@dataclass
class FakeOpenSearch:
    """The server; `url` is where it is, `requests` is what it was asked."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    templates: dict[str, Json] = field(default_factory=dict)
    indexes: dict[str, dict[str, _Stored]] = field(default_factory=dict)
    is_away: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[_Fault] = []
        self._item_faults: list[_ItemFault] = []

    # ---- the script ----

    def refuse(self, path: str, status: int, body: bytes = b"", times: int = FOREVER) -> None:
        """Answer the next requests of a path so, and do nothing of what they ask."""
        self._faults.append(_Fault(path, times, status, body))

    def refuse_items(
        self, picks: Callable[[str], bool], status: int, kind: str, times: int = FOREVER
    ) -> None:
        """Refuse the next documents whose id is picked, and no others."""
        self._item_faults.append(_ItemFault(picks, times, status, kind))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Cut each connection without an answer."""
        self.is_away = True
        yield
        self.is_away = False

    # ---- what is there ----

    def documents(self, index: str = "*") -> dict[str, Json]:
        """Return all documents by id, found or not yet."""
        with self._lock:
            return {
                name: stored.source
                for own, documents in self.indexes.items()
                if fnmatch(own, index)
                for name, stored in documents.items()
            }

    def bulks(self) -> list[list[str]]:
        """Return the ids of each bulk request."""
        return [
            [json.loads(line)["index"]["_id"] for line in request.body.splitlines()[::2]]
            for request in self.requests
            if request.path == "/_bulk"
        ]

    # ---- the API ----

    def answer(self, request: Request) -> tuple[int, bytes]:
        with self._lock:
            self.requests.append(request)
            for fault in self._faults:
                if fault.left and request.path.startswith(fault.path):
                    fault.left -= 1
                    return fault.status, fault.body
            status, told = self._answer(request)
            return status, json.dumps(told).encode()

    def _answer(self, request: Request) -> tuple[int, Json]:
        path = request.path.partition("?")[0]
        if request.method == "PUT" and (name := re.fullmatch("/_index_template/(.+)", path)):
            self.templates[name[1]] = json.loads(request.body)
            return 200, {"acknowledged": True}
        if request.method == "POST" and path == "/_bulk":
            return self._bulk(request.body)
        if request.method == "GET" and (found := re.fullmatch("/([^/]+)/_doc/(.+)", path)):
            stored = self.indexes.get(found[1], {}).get(found[2])
            if stored is None:
                return 404, {"_index": found[1], "_id": found[2], "found": False}
            return 200, {"_id": found[2], "found": True, "_source": stored.source}
        if found := re.fullmatch("/([^/]+)/_search", path):
            now = time.monotonic()
            hits = [
                {"_index": index, "_id": name, "_source": stored.source}
                for index, documents in self.indexes.items()
                if fnmatch(index, found[1])
                for name, stored in documents.items()
                if stored.findable_at <= now
            ]
            total = {"value": len(hits), "relation": "eq"}
            return 200, {"timed_out": False, "hits": {"total": total, "hits": hits}}
        return 405, _error("method_not_allowed", f"{request.method} {path}", 405)

    def _bulk(self, body: bytes) -> tuple[int, Json]:
        if not body:
            return 400, _error("parse_exception", "request body is required", 400)
        if not body.endswith(b"\n"):
            reason = "The bulk request must be terminated by a newline [\\n]"
            return 400, _error("illegal_argument_exception", reason, 400)
        lines = body.splitlines()
        items = [
            self._index(json.loads(action)["index"], json.loads(source))
            for action, source in zip(lines[::2], lines[1::2], strict=True)
        ]
        return 200, {
            "took": 1,
            "errors": any("error" in item["index"] for item in items),
            "items": items,
        }

    def _index(self, action: Json, source: Json) -> Json:
        index, name = action["_index"], action["_id"]
        told: Json = {"_index": index, "_id": name}
        for fault in self._item_faults:
            if fault.left and fault.picks(name):
                fault.left -= 1
                error = {"type": fault.kind, "reason": "as the script says"}
                return {"index": {**told, "status": fault.status, "error": error}}
        template = self._template_of(index)
        properties = template.get("mappings", {}).get("properties", {})
        for key, value in source.items():
            if properties.get(key, {}).get("type") == "long" and not isinstance(value, int):
                reason = (
                    f"failed to parse field [{key}] of type [long] in document with id '{name}'"
                )
                error = {"type": "mapper_parsing_exception", "reason": reason}
                return {"index": {**told, "status": 400, "error": error}}
        interval = template.get("settings", {}).get("index", {}).get("refresh_interval", "1s")
        documents = self.indexes.setdefault(index, {})
        before = documents.get(name)
        version = before.version + 1 if before else 1
        seconds = float(interval.removesuffix("s"))
        documents[name] = _Stored(source, version, time.monotonic() + seconds)
        result, status = ("updated", 200) if before else ("created", 201)
        return {"index": {**told, "_version": version, "result": result, "status": status}}

    def _template_of(self, index: str) -> Json:
        fitting = [
            template
            for template in self.templates.values()
            if any(fnmatch(index, pattern) for pattern in template["index_patterns"])
        ]
        best = max(fitting, key=lambda template: template.get("priority", 0), default={})
        template: Json = best.get("template", {})
        return template


def _error(kind: str, reason: str, status: int) -> Json:
    return {"error": {"type": kind, "reason": reason}, "status": status}


@contextmanager
def fake_opensearch() -> Iterator[FakeOpenSearch]:
    """Run a server on a free port."""
    server = FakeOpenSearch()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes

        def serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if server.is_away:
                self.close_connection = True
                return
            request = Request(self.command, self.path, dict(self.headers), body)
            status, answer = server.answer(request)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = serve

        def log_message(self, *arguments: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
