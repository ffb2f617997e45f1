"""How soon a service is itself again after a bad half minute of AWS, and what it costs in memory.

Between the service, as users start it, and a local AWS server (ministack) stands the proxy of the
fault tests, in a process of its own. A feeder writes some 2,000 events a second to 4 shards and
counts what it wrote. Twice all goes well for a while, then badly, then well again:

- storm: of all calls, to all services, 30 % are throttled, 5 % answer 500, 5 % of answers are cut,
  3 % lost, 1 % of calls are never answered, and 30 % of batches are taken in part only;
- outage: everything is throttled.

`recovery_seconds` is from the end of the faults to the end of the first 3 seconds in which, and
from which on to the end of the measurement on average, as many events a second went through the
dataflow as 90 % of those before; the backlog comes on top of what is being written, so more than
that may pass then. Memory is that of supervisor and worker. In the
end the ledger and every incident's row must be exact, else there is no result.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.live import Live, live
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.storm import Rates, Storm
from tests.rig import Aws, Feeder, Names, wait_until
from tests.servers import clients, ministack_server

SHARDS = 4
FAULTS = {"storm": Rates(), "outage": Rates(throttled=1.0)}
_HONEST_USERS = 8_000  # a twentieth of them acts in each of the feeder's beats, five a second
_ATTACKERS = 15
_WARM_SECONDS = 12.0
_FAULT_SECONDS = 30.0
_AFTER_SECONDS = 25.0
_WINDOW_SECONDS = 3.0
_SAMPLE_SECONDS = 0.2
_SEED = 1


def run() -> dict[str, Any]:
    """Measure both kinds of faults."""
    runs = [measure(name) for name in FAULTS]
    metrics: dict[str, Any] = {}
    for one in runs:
        print(json.dumps(one), flush=True)
        name = one["faults"]
        metrics[f"recovery_seconds_{name}"] = one["recovery_seconds"]
        metrics[f"rss_above_idle_mb_{name}"] = one["rss_above_idle_mb"]
        metrics[f"events_per_second_during_{name}"] = one["events_per_second_during"]
        metrics[f"restarts_{name}"] = one["restarts"]
    metrics["events_per_second_before"] = runs[0]["events_per_second_before"]
    return {"metrics": metrics, "runs": runs}


def measure(name: str) -> dict[str, Any]:
    """Run the service through one kind of faults.

    Raises:
        ValueError: The account or a row is wrong.
    """
    with (
        tempfile.TemporaryDirectory(prefix="kinewax-bench-") as folder,
        ministack_server() as upstream,
        clients(upstream) as made,
        _proxy(upstream) as (endpoint, say),
    ):
        aws = Aws(made, Names.made_by(lambda kind: f"{kind}-{uuid.uuid4().hex[:8]}"), SHARDS)
        out = Path(folder) / "out"
        arguments = [
            "ecommerce",
            *("--source", f"kinesis://{aws.names.stream}"),
            *("--sinks", f"aws,{out.as_uri()}"),
            *("--start", "TRIM_HORIZON"),
            *("--endpoint-url", endpoint),
        ]
        with live(arguments, **aws.names.settings()) as service:
            service.wait_for("kinewax_kinesis_empty_polls_total", SHARDS)
            feeder = Feeder(aws, attackers=_ATTACKERS, honest=_HONEST_USERS)
            watch = _Watch(service, feeder)
            feeder.start()
            time.sleep(_WARM_SECONDS)
            say(f"begin {name}")
            began = time.monotonic()
            time.sleep(_FAULT_SECONDS)
            say("mend")
            mended = time.monotonic()
            time.sleep(_AFTER_SECONDS)
            feeder.stop()
            expected = feeder.incidents()
            feeder.close_windows()
            wait_until(lambda: _finals(aws) == expected, "every row is right")
            watch.stop()
            service.drain()
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    if not summary["balanced"] or summary["ledger"]["records"] != feeder.sent:
        message = f"the account is wrong, its speed means nothing: {summary}"
        raise ValueError(message)
    before = watch.rate(began - _WARM_SECONDS / 2, began)
    fed = watch.fed(mended, mended + _AFTER_SECONDS)
    if fed < 0.9 * before:
        message = f"the machine is too busy to tell: {fed:.0f} events a second were written"
        raise ValueError(message)
    return {
        "faults": name,
        "recovery_seconds": watch.seconds_to(0.9 * before, mended, mended + _AFTER_SECONDS),
        "events_per_second_before": round(before),
        "events_per_second_during": round(watch.rate(began, mended)),
        "events_per_second_after": round(watch.rate(mended + 10, mended + _AFTER_SECONDS)),
        "fed_per_second_after": round(watch.fed(mended + 10, mended + _AFTER_SECONDS)),
        "events_in_each_second_after": [
            round(watch.rate(mended + second, mended + second + 1))
            for second in range(int(_AFTER_SECONDS))
        ],
        "restarts": summary["run"]["restarts"],
        "idle_rss_mb": round(watch.idle_rss_mb, 1),
        "rss_above_idle_mb": round(watch.peak_rss_mb - watch.idle_rss_mb, 1),
        "records": feeder.sent,
        "incidents": len(expected),
    }


class _Watch:
    """Looks at the service again and again."""

    def __init__(self, service: Live, feeder: Feeder) -> None:
        self._service = service
        self._feeder = feeder
        self.idle_rss_mb = self.peak_rss_mb = service.rss_mb()
        self._samples: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        self._fed: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(_SAMPLE_SECONDS):
            self.peak_rss_mb = max(self.peak_rss_mb, self._service.rss_mb())
            events = self._service.total("kinewax_events_total")
            self._samples.append((time.monotonic(), events))
            self._fed.append((time.monotonic(), self._feeder.sent))

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def rate(self, first: float, last: float) -> float:
        """Return how many events a second went through between two moments."""
        return _rate(self._samples, first, last)

    def fed(self, first: float, last: float) -> float:
        """Return how many events a second were written between two moments."""
        return _rate(self._fed, first, last)

    def seconds_to(self, rate: float, since: float, end: float) -> float:
        """Return how long after a moment the rate was reached for good."""
        until = since + _WINDOW_SECONDS
        while until < end:
            begun = until - _WINDOW_SECONDS
            if self.rate(begun, until) >= rate and self.rate(begun, end) >= rate:
                return round(until - since, 1)
            until += _SAMPLE_SECONDS
        message = f"{rate:.0f} events a second were never reached again"
        raise ValueError(message)


def _rate(samples: list[tuple[float, float]], first: float, last: float) -> float:
    return (_at(samples, last) - _at(samples, first)) / (last - first)


def _at(samples: list[tuple[float, float]], moment: float) -> float:
    for (earlier, events), (later, more) in pairwise(samples):
        if moment <= later:
            share = max(0.0, moment - earlier) / (later - earlier)
            return events + share * (more - events)
    return samples[-1][1]


def _finals(aws: Aws) -> dict[tuple[int, int], int]:
    return {
        (row["user_id"], row["ddb_sort_key"]): row["num_actions_per_watermark"]
        for row in aws.rows()
        if row.get("phase") == "final"
    }


# ---- the proxy's process ------------------------------------------------------------------------


@contextmanager
def _proxy(upstream: str) -> Iterator[tuple[str, Any]]:
    command = [sys.executable, "-m", "bench.faults", upstream]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def say(command: str) -> None:
            assert process.stdin is not None
            process.stdin.write(f"{command}\n")
            process.stdin.flush()

        try:
            yield process.stdout.readline().strip(), say
        finally:
            process.kill()


def _serve(upstream: str) -> None:
    with fault_proxy(upstream) as proxy:
        print(proxy.url, flush=True)
        for line in sys.stdin:
            command, _, name = line.strip().partition(" ")
            if command == "begin":
                proxy.begin(Storm(random.Random(_SEED), FAULTS[name]))
            else:
                proxy.mend()


if __name__ == "__main__":
    _serve(sys.argv[1])
