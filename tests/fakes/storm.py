"""A bad hour of AWS for the fault proxy: every call may fail, in each way that calls fail.

Of all calls so many are throttled, in the words of the service they are for; some answer 500, some
take the connection and never answer, some answers are cut or never come; batches are taken in part.
What fails on its way there never happens, what fails on its way back did: of 500s, silences and
lost answers it may be either.

A call that hangs does so until its client leaves, also after the storm: nobody tells a client that
a packet was lost.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Fault = Literal["throttled", "failed", "hung", "cut", "lost", "partial"]

_THROTTLES: dict[str, tuple[tuple[int, str], ...]] = {
    "GetRecords": ((400, "ProvisionedThroughputExceededException"),),
    "GetShardIterator": ((400, "ProvisionedThroughputExceededException"),),
    "ListShards": ((400, "LimitExceededException"),),
    "DescribeStreamSummary": ((400, "LimitExceededException"),),
    "PutRecords": ((400, "ProvisionedThroughputExceededException"),),
    "UpdateItem": (
        (400, "ProvisionedThroughputExceededException"),
        (400, "ThrottlingException"),
        (400, "RequestLimitExceeded"),
    ),
    "GetItem": ((400, "ProvisionedThroughputExceededException"), (400, "ThrottlingException")),
    "Query": ((400, "ProvisionedThroughputExceededException"), (400, "ThrottlingException")),
    "Publish": ((400, "Throttled"), (429, "ThrottledException")),
    "PutRecordBatch": ((503, "ServiceUnavailableException"), (400, "LimitExceededException")),
    "PutMetricData": ((400, "Throttling"),),
    "GetCallerIdentity": ((400, "Throttling"),),
}
PARTIAL = {
    "PutRecords": "ProvisionedThroughputExceededException",
    "PutRecordBatch": "ServiceUnavailableException",
}
"""What takes batches, and how it refuses one record of them."""


class Exchange(Protocol):
    """What the proxy offers of a call; see `fault_proxy.py`."""

    action: str

    def answer_error(self, status: int, code: str) -> None:
        """Answer with an error of AWS."""

    def answer(self, status: int, content_type: str, body: bytes) -> None:
        """Answer."""

    def answer_cut(self, status: int, content_type: str, body: bytes) -> None:
        """Answer with half of a body, and close the connection."""

    def forward(self) -> tuple[int, str, bytes]:
        """Pass the call on; return status, content type and body of the answer."""

    def forward_some(self, code: str, failing: Callable[[int, dict[str, Any]], bool]) -> None:
        """Pass some records of a batch on, and answer."""

    def hang_up(self) -> None:
        """Close the connection."""

    def wait_for_client_to_leave(self) -> None:
        """Say nothing for as long as somebody listens."""


@dataclass(frozen=True)
class Rates:
    """How many of all calls fail in which way; those left are answered.

    Attributes:
        throttled: Refused for the time being.
        failed: Answered with status 500.
        hung: Never answered.
        cut: Done, and answered by half of a body.
        lost: The connection is closed instead of an answer.
        partial: Of the batches that are left: so many, and of their records as many.
    """

    throttled: float = 0.30
    failed: float = 0.05
    hung: float = 0.01
    cut: float = 0.05
    lost: float = 0.03
    partial: float = 0.30


class Storm:
    """Decides what becomes of each call; `met` counts what became of them, by action and fault."""

    def __init__(self, rng: random.Random, rates: Rates | None = None) -> None:
        self._rng = rng
        self._rates = rates or Rates()
        self._lock = threading.Lock()
        self.met: Counter[tuple[str, Fault | None]] = Counter()

    def meet(self, exchange: Exchange) -> None:
        """Serve a call, well or badly."""
        with self._lock:
            fault = self._draw(exchange.action)
            happens = self._rng.random() < 0.5
            seed = self._rng.random()
            self.met[(exchange.action, fault)] += 1
        rng = random.Random(seed)
        if fault == "throttled":
            known = _THROTTLES.get(exchange.action, ((400, "ThrottlingException"),))
            exchange.answer_error(*rng.choice(known))
        elif fault == "partial":
            share = self._rates.partial
            exchange.forward_some(PARTIAL[exchange.action], lambda *_: rng.random() < share)
        elif fault == "cut":
            exchange.answer_cut(*exchange.forward())
        elif fault is None:
            exchange.answer(*exchange.forward())
        else:
            if happens:
                exchange.forward()
            self._say_nothing_good(fault, exchange)

    def _say_nothing_good(self, fault: Fault, exchange: Exchange) -> None:
        if fault == "failed":
            exchange.answer_error(500, "InternalFailure")
            return
        if fault == "hung":
            exchange.wait_for_client_to_leave()
        exchange.hang_up()

    def _draw(self, action: str) -> Fault | None:
        rates = self._rates
        ways: tuple[tuple[Fault, float], ...] = (
            ("throttled", rates.throttled),
            ("failed", rates.failed),
            ("hung", rates.hung),
            ("cut", rates.cut),
            ("lost", rates.lost),
        )
        point = self._rng.random()
        for fault, rate in ways:
            if point < rate:
                return fault
            point -= rate
        if action in PARTIAL and self._rng.random() < rates.partial:
            return "partial"
        return None
