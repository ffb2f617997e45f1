"""An HTTP proxy in front of a local AWS server that fails calls as a script says.

Local servers never throttle, never refuse a part of a batch and never lose an answer. The proxy
does: each rule names an action (`PutRecordBatch`, `UpdateItem`, `Publish` ...) and what becomes of
its next calls; a `Storm` has something for all of them. All else goes to the server behind it, so
that what a test finds there really arrived.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.storm import Storm

Request = dict[str, Any]
FOREVER = 10**9


@dataclass
class Call:
    """One request that reached the proxy."""

    action: str
    request: Request


@dataclass
class _Rule:
    action: str
    left: int
    act: Callable[[_Exchange], None]
    only: Callable[[Request], bool]


class FaultProxy:
    """The proxy; `url` is what clients talk to, `calls` is what they said."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.calls: list[Call] = []
        self._rules: list[_Rule] = []
        self._storm: Storm | None = None
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._changed = threading.Condition(self._lock)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes

            def do_POST(self) -> None:
                proxy._serve(_Exchange(self, proxy.upstream))

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients that are killed or time out are what this is for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    # ---- the script ----

    def refuse(
        self, action: str, status: int, code: str, times: int = FOREVER, **only: Any
    ) -> None:
        """Answer calls with an error of AWS."""
        self._add(action, times, lambda exchange: exchange.answer_error(status, code), **only)

    def drop(self, action: str, times: int = FOREVER, **only: Any) -> None:
        """Close the connection before anything happens."""
        self._add(action, times, lambda exchange: exchange.hang_up(), **only)

    def lose_answer(self, action: str, times: int = FOREVER, **only: Any) -> None:
        """Let calls happen, but close the connection instead of answering."""

        def act(exchange: _Exchange) -> None:
            exchange.forward()
            exchange.hang_up()

        self._add(action, times, act, **only)

    def hang(self, action: str, times: int = FOREVER, **only: Any) -> None:
        """Answer nothing until `mend` or the end; the call never happens."""

        def act(exchange: _Exchange) -> None:
            self._released.wait(60)
            exchange.hang_up()

        self._add(action, times, act, **only)

    def fail_entries(
        self,
        action: str,
        code: str,
        failing: Callable[[int, Request], bool],
        times: int = FOREVER,
    ) -> None:
        """Refuse some records of a batch, and pass the others on."""
        self._add(action, times, lambda exchange: exchange.forward_some(code, failing))

    def begin(self, storm: Storm) -> None:
        """Let every call that no rule is for meet a storm, until `mend`."""
        with self._lock:
            self._storm = storm

    def mend(self) -> None:
        """Forget the script: everything passes."""
        with self._lock:
            self._rules.clear()
            self._storm = None
        self._released.set()

    # ---- what happened ----

    def requests(self, action: str) -> list[Request]:
        """Return the requests of an action so far."""
        with self._lock:
            return [call.request for call in self.calls if call.action == action]

    def wait_for(self, action: str, times: int, timeout_seconds: float = 60) -> None:
        """Wait until an action was called so often."""

        def is_there() -> bool:
            return sum(call.action == action for call in self.calls) >= times

        with self._changed:
            if not self._changed.wait_for(is_there, timeout_seconds):
                msg = f"{action} was not called {times} times"
                raise TimeoutError(msg)

    def close(self) -> None:
        """Stop serving."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _add(
        self,
        action: str,
        times: int,
        act: Callable[[_Exchange], None],
        only: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        with self._lock:
            self._released.clear()
            self._rules.append(_Rule(action, times, act, only))

    def _serve(self, exchange: _Exchange) -> None:
        with self._changed:
            self.calls.append(Call(exchange.action, exchange.request))
            self._changed.notify_all()
            rule = next(
                (
                    rule
                    for rule in self._rules
                    if rule.action == exchange.action and rule.left and rule.only(exchange.request)
                ),
                None,
            )
            if rule:
                rule.left -= 1
            storm = self._storm
        if rule:
            rule.act(exchange)
        elif storm:
            storm.meet(exchange)
        else:
            exchange.answer(*exchange.forward())


@dataclass
class _Exchange:
    """One request and its answer."""

    handler: BaseHTTPRequestHandler
    upstream: str
    body: bytes = b""
    action: str = ""
    request: Request = field(default_factory=dict)

    def __post_init__(self) -> None:
        headers = self.handler.headers
        self.body = self.handler.rfile.read(int(headers.get("Content-Length") or 0))
        target = headers.get("X-Amz-Target")
        if target:
            self.action = target.rpartition(".")[2]
            self.request = json.loads(self.body)
        else:
            self.request = dict(urllib.parse.parse_qsl(self.body.decode()))
            self.action = self.request.get("Action", "")

    @property
    def is_json(self) -> bool:
        return "json" in (self.handler.headers.get("Content-Type") or "")

    def forward(self, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Pass the call on; return status, content type and body of the answer."""
        headers = {
            name: value
            for name, value in self.handler.headers.items()
            if name.lower() not in ("host", "content-length", "connection", "accept-encoding")
        }
        upstream = urllib.request.Request(
            self.upstream + self.handler.path, self.body if body is None else body, headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(upstream, timeout=30) as answer:
                return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Content-Type", ""), error.read()

    def forward_some(self, code: str, failing: Callable[[int, Request], bool]) -> None:
        """Pass on the records that don't fail, and merge the answers in order."""
        records = self.request["Records"]
        bad = {number for number, record in enumerate(records) if failing(number, record)}
        good = [record for number, record in enumerate(records) if number not in bad]
        name = "RequestResponses" if self.action == "PutRecordBatch" else "Records"
        answers: list[Request] = []
        if good:
            passed = json.dumps({**self.request, "Records": good}).encode()
            status, kind, body = self.forward(passed)
            if status != 200:
                self.answer(status, kind, body)
                return
            answers = json.loads(body)[name]
        left = iter(answers)
        merged = [
            {"ErrorCode": code, "ErrorMessage": "scripted"} if number in bad else next(left)
            for number in range(len(records))
        ]
        count = "FailedPutCount" if self.action == "PutRecordBatch" else "FailedRecordCount"
        body = json.dumps({name: merged, count: len(bad)}).encode()
        self.answer(200, "application/x-amz-json-1.1", body)

    def answer_error(self, status: int, code: str) -> None:
        if self.is_json:
            body = json.dumps({"__type": code, "message": "scripted"}).encode()
            self.answer(status, "application/x-amz-json-1.1", body)
            return
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
            "<Message>scripted</Message></Error><RequestId>0</RequestId></ErrorResponse>"
        )
        self.answer(status, "text/xml", text.encode())

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def answer_cut(self, status: int, content_type: str, body: bytes) -> None:
        """Announce a whole body and send half of it."""
        self.handler.send_response(status)
        self.handler.send_header("Content-Type", content_type)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body[: len(body) // 2])
        self.hang_up()

    def wait_for_client_to_leave(self) -> None:
        """Say nothing for as long as somebody listens."""
        while self.handler.connection.recv(4096):
            pass

    def hang_up(self) -> None:
        self.handler.close_connection = True
        self.handler.connection.shutdown(2)


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Yield a proxy that runs until the block ends."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
