"""Lets the main thread of a cluster's process rest while the worker's thread computes.

The engine's main thread waits for its worker by waking each millisecond to take the interpreter's
lock and look for signals, which costs a twentieth of the throughput (decision 8). Only the handler
of a signal can make it wait longer: here that of an alarm, which sleeps a while and sets the next
one. Other signals are handled within that sleep as in any other, so a drain isn't late; the end of
the run is seen up to a rest later.

Nor do the engine's threads bear signals: one that interrupts its reading from a peer ends the run.
So they are born with signals blocked, and the main thread alone takes them.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Self

REST_SECONDS = 0.02
_SOON_SECONDS = 0.001
_TAKEN = (signal.SIGTERM, signal.SIGALRM)
_AWAKE = signal.SIGUSR1


class MainThread:
    """Takes the signals of a process whose engine runs inside a `with` block, and rests.

    Args:
        sleep: Waits so many seconds, and lets other signals be handled meanwhile.
    """

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._inside = False

    def __enter__(self) -> Self:
        signal.signal(signal.SIGALRM, self._alarm)
        signal.signal(_AWAKE, self._take_signals)
        signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)  # threads inherit it
        self._inside = True
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TAKEN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(_AWAKE, signal.SIG_IGN)

    def rest(self) -> None:
        """Begin, once all threads are there; called in any of them. Nothing outside the block."""
        if self._inside:
            main = threading.main_thread().ident
            assert main is not None, "it runs"
            signal.pthread_kill(main, _AWAKE)

    def _take_signals(self, *_: Any) -> None:
        if self._inside:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _TAKEN)
            signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)

    def _alarm(self, *_: Any) -> None:
        if self._inside:
            self._sleep(REST_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, _SOON_SECONDS)
