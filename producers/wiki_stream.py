"""MediaWiki's `recentchange` events, from where they are published to where they are wanted.

Guarantee: at least once. The id of the last event that was written is kept in a file, if one is
named, each time after a batch was acknowledged; a start, and each connection after the first, asks
for what comes after it (Last-Event-ID). So nothing is left out as long as the server remembers it,
seven days and more at Wikimedia, and an event may come twice: each has a `meta.id` to tell by.

A connection ends often: servers close it every quarter of an hour. What came whole is written then,
and the next connection is made after a full-jitter pause that doubles while nothing comes, on top
of what the server asks for (`retry:`). A server that says nothing for `stall_seconds` is
left, too.

Batches are of 500 events, as many as one call of Kinesis takes, or of what came within a second.
The last one, smaller as it is, is written like all others.
"""

from __future__ import annotations

import os
import queue
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson
import urllib3
from urllib3.exceptions import HTTPError

from errors import KinewaxError, MissingResourceError, SettingsError
from producers.records import Record, Writer
from producers.sse import Event, EventStream

RECENT_CHANGES = "https://stream.wikimedia.org/v2/stream/recentchange"
USER_AGENT = "kinewax"
CANARY = "canary"
BATCH_EVENTS = 500
_CHUNK_BYTES = 64 * 1024
_AHEAD_CHUNKS = 64
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_GONE = 204


class Clock(Protocol):
    """A wait that a stop cuts short."""

    def sleep(self, seconds: float) -> None:
        """Wait, or return at once when stopped."""

    def stopped(self) -> bool:
        """Whether somebody asked to stop."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what may take.

    Attributes:
        connect_seconds: A connection.
        stall_seconds: Silence, before a connection is given up.
        linger_seconds: An event, until it is written with those that came since.
        first_pause_seconds: The longest pause before the second connection; it doubles from there.
        longest_pause_seconds: Where the doubling ends.
        attempts: Connections in a row that bring nothing, before it is an error.
    """

    connect_seconds: float = 10.0
    stall_seconds: float = 60.0
    linger_seconds: float = 1.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    attempts: int = 20


@dataclass(slots=True)
class Followed:
    """What came.

    Attributes:
        events: Events that were written.
        canaries: Test events among them, or left out if they were to be.
        connections: How often the server was asked.
    """

    events: int = 0
    canaries: int = 0
    connections: int = 0


class Position:
    """The id of the last event that was written, kept in a file; without a path only in memory.

    Raises:
        SettingsError: The file can't be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.last_id = ""
        if path is None or not path.exists():
            return
        try:
            self.last_id = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the position can't be read from {path}: {error}"
            raise SettingsError(
                msg, hint="mend the file, or remove it to begin with now"
            ) from error

    def move(self, last_id: str) -> None:
        """Keep an id, whole or not at all, whatever happens meanwhile.

        Raises:
            SettingsError: The file can't be written.
        """
        if last_id == self.last_id:
            return
        self.last_id = last_id
        if self._path is None:
            return
        draft = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("w", encoding="utf-8") as file:
                file.write(last_id + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            msg = f"the position can't be written to {self._path}: {error.strerror}"
            raise SettingsError(msg, hint="name another file in --position") from error


@dataclass(slots=True)
class _Batch:
    records: list[Record] = field(default_factory=list)
    last_id: str = ""


class Follower:
    """Writes a stream's events on.

    Args:
        url: The stream's.
        writer: Where they go.
        position: What was written last.
        clock: The stop.
        rng: For the jitter.
        user_agent: What the server is told of the client; Wikimedia asks for a way to be reached.
        keep_canaries: Whether test events are written, too; the domain drops and counts them.
        most: After how many events to stop; None for never.
        patience: How long what may take.
        tell: Told of the events so far, after each batch.
    """

    def __init__(
        self,
        url: str,
        writer: Writer,
        position: Position,
        *,
        clock: Clock,
        rng: random.Random,
        user_agent: str = USER_AGENT,
        keep_canaries: bool = True,
        most: int | None = None,
        patience: Patience | None = None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._writer = writer
        self._position = position
        self._clock = clock
        self._rng = rng
        self._user_agent = user_agent
        self._keep_canaries = keep_canaries
        self._most = most
        self._patience = patience or Patience()
        self._tell = tell
        self._batch = _Batch(last_id=position.last_id)
        self._asked_seconds = 0.0
        self.followed = Followed()

    def run(self) -> Followed:
        """Follow the stream until the clock says stop, or enough events were written.

        Raises:
            MissingResourceError: The server has no such stream.
            KinewaxError: It refuses for another reason, or nothing comes for many connections.
            DeliveryError: Events couldn't be written.
        """
        fruitless = 0
        while not self._is_done():
            before = self.followed.events
            why = self._connect()
            self._write()  # what came whole, however the connection ended
            if self._is_done():
                break
            fruitless = 0 if self.followed.events > before else fruitless + 1
            if fruitless >= self._patience.attempts:
                msg = f"{self._url} brought nothing in {fruitless} connections: {why}"
                raise KinewaxError(msg, hint="see whether it can be reached from here")
            self._clock.sleep(self._pause_seconds(fruitless))
        return self.followed

    def _pause_seconds(self, fruitless: int) -> float:
        patience = self._patience
        ceiling = patience.first_pause_seconds * 2.0 ** min(fruitless, 30)
        longest = patience.longest_pause_seconds
        asked = min(self._asked_seconds, longest)
        return asked + self._rng.uniform(0, min(ceiling, longest))

    def _is_done(self) -> bool:
        return self._clock.stopped() or self._left() == 0

    def _left(self) -> int | None:
        if self._most is None:
            return None
        return max(0, self._most - self.followed.events - len(self._batch.records))

    def _connect(self) -> str:
        """Take events in until the connection ends; return why it did."""
        self.followed.connections += 1
        connection = _Connection(self._url, self._headers(), self._patience)
        stream = EventStream(self._batch.last_id)
        try:
            for chunk in connection.chunks():
                if chunk:
                    for event in stream.feed(chunk):
                        self._take(event)
                        if self._left() == 0:
                            return "enough"
                else:
                    self._write()  # nothing has come for a moment
                if self._clock.stopped():
                    return "stopped"
        finally:
            connection.close()
            if stream.retry_ms is not None:
                self._asked_seconds = stream.retry_ms / 1000
        return connection.ended

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Cache-Control": "no-store",
            "User-Agent": self._user_agent,
        }
        if self._batch.last_id:
            headers["Last-Event-ID"] = self._batch.last_id
        return headers

    def _take(self, event: Event) -> None:
        if event.type == "message":
            record, is_canary = record_of(event.data)
            self.followed.canaries += is_canary
            if self._keep_canaries or not is_canary:
                self._batch.records.append(record)
        self._batch.last_id = event.id
        if len(self._batch.records) >= BATCH_EVENTS:
            self._write()

    def _write(self) -> None:
        """Write what has come, and only then say so."""
        records = self._batch.records
        if records:
            self._writer.write(records)
            self.followed.events += len(records)
            self._batch.records = []
            self._tell(self.followed.events)
        self._position.move(self._batch.last_id)


class _Connection:
    """One connection, read by a thread of its own: what waits for bytes can't look at a clock."""

    def __init__(self, url: str, headers: dict[str, str], patience: Patience) -> None:
        self._url = url
        self._linger_seconds = patience.linger_seconds
        self._chunks: queue.Queue[bytes | None] = queue.Queue(_AHEAD_CHUNKS)
        self._closing = threading.Event()
        self._pool = urllib3.PoolManager(num_pools=1)
        self.ended = ""
        try:
            self._answer: Any = self._pool.request(
                "GET",
                url,
                headers=headers,
                preload_content=False,
                retries=urllib3.Retry(total=None, connect=0, read=0, redirect=5, status=0),
                timeout=urllib3.Timeout(
                    connect=patience.connect_seconds, read=patience.stall_seconds
                ),
            )
        except HTTPError as error:
            self._answer = None
            self.ended = _named(error)
            return
        refusal = _refusal(url, self._answer)
        if refusal is not None:
            self.close()
            if isinstance(refusal, KinewaxError):
                raise refusal
            self._answer, self.ended = None, refusal
            return
        self._thread = threading.Thread(target=self._read, name="recentchange", daemon=True)
        self._thread.start()

    def chunks(self) -> Iterator[bytes]:
        """Yield what comes; nothing, `b""`, where nothing has come for the linger."""
        while self._answer is not None:
            try:
                chunk = self._chunks.get(timeout=self._linger_seconds)
            except queue.Empty:
                yield b""
                continue
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        """Hang up."""
        self._closing.set()
        if self._answer is not None:
            with suppress(RuntimeError, ValueError):  # of one that has ended by itself
                self._answer.shutdown()  # wakes the thread, whose read would hold the close up
            self._answer.close()
        self._pool.clear()

    def _read(self) -> None:
        try:
            while chunk := self._answer.read1(_CHUNK_BYTES):
                self._put(chunk)
            self.ended = "it closed the connection"
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # A connection that is hung up under a read fails in any of these ways.
            self.ended = _named(error)
        self._put(None)

    def _put(self, chunk: bytes | None) -> None:
        while not self._closing.is_set():
            try:
                self._chunks.put(chunk, timeout=0.1)
            except queue.Full:
                continue
            return


def record_of(data: bytes) -> tuple[Record, bool]:
    """Return an event's record, on one line and keyed by its wiki, and whether it is a canary.

    What is no JSON is passed on as it is: the domain says what is wrong with it.
    """
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return Record(data.replace(b"\n", b" "), "-"), False
    payload = orjson.dumps(event) if b"\n" in data else data
    if not isinstance(event, dict):
        return Record(payload, "-"), False
    meta, wiki = event.get("meta"), event.get("wiki")
    is_canary = isinstance(meta, dict) and meta.get("domain") == CANARY
    return Record(payload, wiki if isinstance(wiki, str) and wiki else "-"), is_canary


def read_file(path: Path) -> Iterator[Record]:
    """Read events that were captured: as they came (`.sse`), or one a line.

    Raises:
        MissingResourceError: There is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path} can't be read: {error.strerror}"
        raise MissingResourceError(msg, hint="name a file of events, or a URL") from error
    if path.suffix == ".sse":
        found = [event.data for event in EventStream().feed(content + b"\n\n")]
    else:
        found = [line for line in content.splitlines() if line.strip()]
    for data in found:
        yield record_of(data)[0]


def _refusal(url: str, answer: Any) -> str | KinewaxError | None:
    """Say why an answer is no stream: in words where it may be one the next time."""
    status, kind = answer.status, answer.headers.get("Content-Type", "")
    if status == 200 and kind.startswith("text/event-stream"):
        return None
    if status in _PASSING:
        return f"HTTP {status}"
    if status in (404, _GONE):
        return MissingResourceError(f"{url} has no events (HTTP {status})", hint="mend --from")
    if status == 200:
        return KinewaxError(f"{url} sends {kind or 'something'}, no events", hint="mend --from")
    hint = "tell who you are in --user-agent, or begin with now: remove the file of --position"
    return KinewaxError(f"{url} refuses (HTTP {status})", hint=hint)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
