"""This pod among those that are one service: waits with them for a round, and hears its end.

It pushes recovery files that belong to another pod there, says to the first pod what it has, and
asks until a round begins. While the workers run, a thread gives signs of life and hears whether to
drain or to end. A pod that is told to stop asks the first one to let all drain; when that one
doesn't answer for 5 s, the workers are ended, and the next start reads the last epoch again.

Recovery file i lies on pod i modulo the number of pods. With another number of pods files move at
the start: whoever has one that isn't its own sends it on, and removes it once it was taken. A pod
beyond the number has nothing of its own: it sends all, and waits to be taken away.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from errors import SettingsError
from service import layout, ledger, recovery, snapshots
from service.cluster import Seat, free_ports
from service.layout import Fields
from service.pod_calls import ARRIVING, Caller
from service.rounds import SILENT_SECONDS, Answer, Beat, Joining, Order, Round, Rounds, Share
from service.settings import Cluster

logger = logging.getLogger("kinewax.service")

_ASK_SECONDS = 0.2
_BEAT_SECONDS = 0.5
_TELL_SECONDS = 30.0
_LEAST_TOKEN = 16
_SHARES_SECONDS = 5.0  # for which the first pod waits for the others' shares of the ledger


class First(Protocol):
    """What a pod asks of the first one."""

    def join(self, joining: Joining) -> Answer:
        """Wait for a round."""
        ...

    def beat(self, beat: Beat) -> Order:
        """Give a sign of life."""
        ...

    def share(self, share: Share) -> None:
        """Give a share of the ledger."""
        ...


@dataclass(frozen=True)
class Store:
    """This pod's recovery directory, and what must fit it.

    Attributes:
        path: The directory.
        fields: The layout of this start.
        files: How many files a new store has on all pods.
        first: Called by the first pod for a new store, before it counts as started.
    """

    path: Path
    fields: Fields
    files: int
    first: Callable[[], None]


class Pods:
    """This pod among the others; what a supervisor asks before each start, and while workers run.

    Args:
        cluster: Which pods there are, and which is this one.
        store: Its recovery directory.
        same: What must be the same on all pods, besides the layout.
        processes: How many workers each pod has.
        clock_us: Now, in microseconds since the epoch.

    Attributes:
        waiting: What is being waited for; empty while a round goes on.
        draining: Whether all pods are to drain.
        over: Why this round's workers must end at once; empty while they needn't.
        started_at_us: When the first start on the store began; known once a round began.
        rounds: The book, on the first pod; None elsewhere.

    Raises:
        SettingsError: There is no token, or a short one.
    """

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        *,
        same: Mapping[str, str | int],
        processes: int,
        clock_us: Callable[[], int],
    ) -> None:
        self.token = _token(cluster.token_file)
        self.waiting = ""
        self.draining = False
        self.over = ""
        self.started_at_us = 0
        self._cluster = cluster
        self._store = store
        self._same = {**store.fields, **same, "processes": processes}
        self._processes = processes
        self._caller = Caller(self.token)
        self._ticket = ""
        self._round_addresses: tuple[str, ...] = ()
        self._asked = False
        self._running = False
        self._has_drained = False
        self._told: tuple[str, float] = ("", 0.0)
        self._hurry = threading.Event()
        for left in store.path.glob(f"*{ARRIVING}"):
            left.unlink()  # of a start that was cut off
        is_first = cluster.index == 0
        self.rounds = Rounds(len(cluster.pods), clock_us, time.monotonic) if is_first else None
        self._named: First = self.rounds or self._caller.first(cluster.pods[0])
        self._first: First = self._named

    # ---- what the supervisor asks -------------------------------------------------------------

    def meet(self, sleep: Callable[[float], bool]) -> Seat | None:
        """Wait until all pods start together; None when told to stop meanwhile.

        Args:
            sleep: Waits for so many seconds and tells whether there was a request to stop.
        """
        self.draining, self.over, self._asked = False, "", False
        self._first = self._named
        self._ticket = secrets.token_hex(8)
        addresses = self._addresses()
        while True:
            self._tell(self._hand_over() or self._ask(addresses))
            if not self.waiting:
                return Seat(self._cluster.index * self._processes, self._round_addresses)
            if sleep(_ASK_SECONDS):
                return None

    @contextmanager
    def in_round(self, wake: Callable[[], None]) -> Iterator[None]:
        """Give signs of life while the block runs; `wake` is called when there is news."""
        ended = threading.Event()
        thread = threading.Thread(target=self._live, args=(ended, wake), name="pods", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            self._hurry.set()
            thread.join()
            self._running = False

    def ask(self) -> None:
        """Ask all pods to drain."""
        self._asked = True
        self._hurry.set()

    def drained(self) -> None:
        """Tell the first pod what this one's files say of the ledger."""
        path = self._store.path
        epoch = snapshots.committed_epoch(path)
        counts = ledger.sums(snapshots.latest(path, epoch + 1))
        self._has_drained = True
        try:
            self._first.share(Share(self._cluster.index, epoch, counts))
        except OSError as error:
            logger.warning(
                "the first pod doesn't take this pod's share of the ledger: %s",
                error,
                extra={"event": "share_not_taken"},
            )

    def whole_ledger(self) -> dict[str, int] | None:
        """Return all pods' ledger after a drain; None on other pods than the first."""
        if self.rounds is None or not self._has_drained:
            return None
        shares = self.rounds.shares(_SHARES_SECONDS)
        epochs = {share.epoch for share in shares}
        if len(shares) < len(self._cluster.pods) or len(epochs) > 1:
            logger.warning(
                "the ledger can't be checked: shares came from pods %s, of epochs %s",
                [share.pod for share in shares],
                sorted(epochs),
                extra={"event": "ledger_incomplete"},
            )
            return None
        return ledger.together(share.counts for share in shares)

    # ---- what the admin port asks -------------------------------------------------------------

    def take(self, number: int, draft: Path) -> str:
        """Take in a recovery file from another pod; return why not, empty when it is here."""
        if number % len(self._cluster.pods) != self._cluster.index:
            return f"recovery file {number} isn't pod {self._cluster.index}'s"
        return recovery.take_part(self._store.path, number, draft, in_use=self._running)

    @property
    def directory(self) -> Path:
        """Where recovery files arrive."""
        return self._store.path

    # ---- inside -------------------------------------------------------------------------------

    def _addresses(self) -> tuple[str, ...]:
        host, port = self._cluster.host, self._cluster.port
        if not port:
            return free_ports(host, self._processes)
        shown = f"[{host}]" if ":" in host else host
        return tuple(f"{shown}:{port + index}" for index in range(self._processes))

    def _ask(self, addresses: tuple[str, ...]) -> str:
        """Ask for a round, and prepare for it; return what is waited for."""
        if self._cluster.index >= len(self._cluster.pods):
            return "this pod has handed its recovery files over, and can go"
        path = self._store.path
        known = layout.read(path)
        if known is not None:
            layout.check(known.fields, self._store.fields, path)
        joining = Joining(
            pod=self._cluster.index,
            ticket=self._ticket,
            fields=self._same,
            addresses=addresses,
            parts=tuple(snapshots.number_of(part) for part in snapshots.part_files(path)),
            files=snapshots.whole_count(path),
            marks=snapshots.marks(path),
            started_at_us=0 if known is None else known.started_at_us,
        )
        try:
            answer = self._first.join(joining)
        except OSError as error:
            return f"waiting for pod 0: {error}"
        if answer.round is None:
            return answer.waiting
        self._prepare(answer.round)
        return ""

    def _prepare(self, decided: Round) -> None:
        """Make the recovery directory what the round needs."""
        store, cluster = self._store, self._cluster
        self._running, self._has_drained = True, False
        if decided.fresh:
            snapshots.create(store.path, store.files, cluster.index, len(cluster.pods))
            if self.rounds is not None:
                store.first()
        removed = snapshots.discard_uncommitted(store.path, decided.epoch)
        if removed:
            logger.debug("%d uncommitted snapshots discarded", removed)
        layout.write(store.path, layout.Layout(dict(store.fields), decided.started_at_us))
        if self.rounds is None:
            # By its address while the round goes on, so that it doesn't hang on names.
            host = decided.addresses[0].rpartition(":")[0]
            port = cluster.pods[0].rpartition(":")[2]
            self._first = self._caller.first(f"{host}:{port}")
        self.started_at_us = decided.started_at_us
        self._round_addresses = decided.addresses if len(decided.addresses) > 1 else ()

    def _hand_over(self) -> str:
        """Send on what belongs to other pods; return why that isn't done yet."""
        pods = self._cluster.pods
        for part in snapshots.part_files(self._store.path):
            number = snapshots.number_of(part)
            owner = number % len(pods)
            if owner == self._cluster.index:
                continue
            try:
                with recovery.settled_part(part) as whole:
                    self._caller.send_part(pods[owner], number, whole)
            except OSError as error:
                return f"pod {owner} doesn't take recovery file {number} yet: {error}"
            recovery.remove_part(part)
            logger.info(
                "recovery file %d is on pod %d now", number, owner, extra={"event": "part_moved"}
            )
        return ""

    def _live(self, ended: threading.Event, wake: Callable[[], None]) -> None:
        heard = time.monotonic()
        while not ended.is_set():
            order = Order("go on")
            try:
                order = self._first.beat(Beat(self._ticket, self._asked))
                heard = time.monotonic()
            except OSError as error:
                if time.monotonic() - heard > SILENT_SECONDS:
                    order = Order("end", f"pod 0 is silent: {error}")
            if order.kind == "drain" and not self.draining:
                self.draining = True
                wake()
            elif order.kind == "end":
                self.over = order.why
                wake()
                return
            self._hurry.wait(_BEAT_SECONDS)
            self._hurry.clear()

    def _tell(self, waiting: str) -> None:
        """Show what is waited for, and write it down now and then."""
        self.waiting = waiting
        text, told = self._told
        now = time.monotonic()
        if waiting and (waiting != text or now - told > _TELL_SECONDS):
            logger.info("%s", waiting, extra={"event": "waiting"})
            self._told = (waiting, now)


def _token(path: Path | None) -> str:
    if path is None:
        msg = "several pods need a secret by which they know each other (cluster.token_file)"
        raise SettingsError(msg, hint="write 32 random characters to a file, the same on each")
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        msg = f"{path}: {reason} (cluster.token_file)"
        raise SettingsError(msg, hint="write 32 random characters to it") from error
    if len(token) < _LEAST_TOKEN:
        msg = f"{path}: the secret has less than {_LEAST_TOKEN} characters (cluster.token_file)"
        raise SettingsError(msg, hint="openssl rand -hex 32")
    return token
