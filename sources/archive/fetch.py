"""Reads the objects of a lane ahead of it, on a thread: so the latency of a store is hidden.

The thread goes on from one object into the next, and stops while as many bytes wait as it may hold,
so what a process holds is bounded whatever the objects' sizes. It fetches only; what the bytes mean
is worked out by who takes them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sources.archive.listing import ArchiveObject
from sources.archive.stores import ObjectError, Store


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next bytes of an object; `place` is its place among those to be read."""

    place: int
    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """An object was read to its end."""

    place: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An object can't be read on."""

    place: int
    error: ObjectError


Fetched = Chunk | End | Failed


class Fetch:
    """The thread of one lane.

    Args:
        name: The lane's, for the thread.
        store: Where the objects are.
        objects: Which ones, in order.
        most_bytes: How many bytes may wait to be taken; a chunk more may come on top.
    """

    def __init__(
        self, name: str, store: Store, objects: Sequence[ArchiveObject], most_bytes: int
    ) -> None:
        self._store = store
        self._objects = objects
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        self._waiting: deque[Fetched] = deque()
        self._waiting_bytes = 0
        self._given_up = -1  # the object that nobody wants the rest of
        self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"fetch-{name}", daemon=True)
        self._thread.start()

    def take(self) -> Fetched | None:
        """Return what comes next; None when nothing is there yet.

        Raises:
            Exception: What ended the thread: no single object's fault.
        """
        with self._changed:
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, Chunk):
                    self._waiting_bytes -= len(item.data)
                    self._changed.notify()
                if item.place > self._given_up:
                    return item
            if self._error is not None:
                raise self._error
            return None

    def give_up(self, place: int) -> None:
        """Leave out the rest of an object."""
        with self._changed:
            self._given_up = place
            self._changed.notify()

    def close(self) -> None:
        """Let the thread end after its present call, and wait a little for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        try:
            for place in range(len(self._objects)):
                if not self._fetch(place):
                    return
        except Exception as error:
            with self._changed:
                self._error = error

    def _fetch(self, place: int) -> bool:
        """Fetch one object; False when nobody wants any more."""
        one = self._objects[place]
        try:
            for data in self._store.read(one.key, one.size, one.version):
                if not self._put(Chunk(place, data)):
                    return False
                if self._given_up >= place:
                    return True
        except ObjectError as error:
            return self._put(Failed(place, error))
        return self._put(End(place))

    def _put(self, item: Fetched) -> bool:
        with self._changed:
            while self._waiting_bytes >= self._most_bytes and not self._closed:
                if self._given_up >= item.place:
                    break
                self._changed.wait()
            self._waiting.append(item)
            if isinstance(item, Chunk):
                self._waiting_bytes += len(item.data)
            return not self._closed
