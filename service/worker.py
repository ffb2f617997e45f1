"""One worker process: `python -m service.worker SPEC.json`, started by the supervisor.

It builds the dataflow from the spec and runs it. SIGTERM sets a flag that ends the sources at their
next poll, so that sinks flush and the last epoch is committed; raising from the handler would hang
the cluster. Errors, signs of life and costs go to the supervisor over the reporting line; if the
supervisor dies, the worker ends at once.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from bytewax._bytewax import cluster_main, run_main
from bytewax.recovery import RecoveryConfig

from dataflows.clock import now_us
from dataflows.pipeline import build_flow
from dataflows.vitals import Vitals
from operators import forest
from service import endpoints, logs
from service.aws import Aws
from service.channel import Reporter
from service.main_thread import MainThread
from service.references import References
from service.spec import Spec
from service.watched import watch
from sources.kinesis import records

logger = logging.getLogger("kinewax.service")

_BEAT_SECONDS = 1.0


class Drain:
    """Whether to stop reading.

    Args:
        reads: Called at the first question: the flow reads.
    """

    def __init__(self, reads: Callable[[], None]) -> None:
        self._reads = reads
        self._asked = False
        self._wanted = False

    def begin(self, *_: Any) -> None:
        """Ask for a drain; a signal handler."""
        self._wanted = True

    def __call__(self) -> bool:
        """Tell whether to stop."""
        if not self._asked:
            self._asked = True
            self._reads()
        return self._wanted


def run(spec: Spec) -> int:
    """Run a worker to its end and return its exit code."""
    if not spec.verbose:
        _silence_engine()
    reporter = Reporter(spec.channel)
    reporter.end_with_supervisor()
    main_thread = MainThread()

    def reads() -> None:
        main_thread.rest()
        reporter.send("polled")

    drain = Drain(reads)
    signal.signal(signal.SIGTERM, drain.begin)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the supervisor's
    settings = spec.job.settings
    logs.set_up(
        level=settings.log.level,
        style=settings.log.format,
        colour="NO_COLOR" not in os.environ,
        fields={"domain": spec.job.label, "process": spec.process},
    )
    vitals = Vitals()
    recovery = RecoveryConfig(  # type: ignore[no-untyped-call]
        Path(spec.recovery), settings.runtime.kept_states
    )
    try:
        flow = _build(spec, drain, vitals, reporter)
        watch(flow, reporter.fail)
        _start_beats(spec, reporter, vitals)
        gc.freeze()  # all that is loaded stays: to look through it again and again took a tenth
        reporter.wait_to_go()
        _execute(flow, spec, settings.runtime.epoch_interval, recovery, main_thread)
    except BaseException as error:  # the engine's panics aren't Exceptions
        reporter.fail(error)
        if spec.verbose:
            logger.exception("worker %d ends", spec.process, extra={"event": "worker_failed"})
        return 1
    reporter.send("usage", **usage(vitals))
    return 0


def _silence_engine() -> None:
    """Keep the engine's panics off the terminal.

    For each error that it passes on the engine writes a panic, and where RUST_BACKTRACE is set a
    page of its stack, straight to descriptor 2. The error itself reaches the supervisor, which
    prints it in one line; Python's own standard error goes on to the old descriptor.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def _execute(
    flow: Any,
    spec: Spec,
    epoch_interval: timedelta,
    recovery: RecoveryConfig,
    main_thread: MainThread,
) -> None:
    """Run the dataflow to its end; that of a single process in the main thread."""
    each = timedelta(seconds=epoch_interval.total_seconds())
    if spec.addresses:
        with main_thread:
            cluster_main(  # type: ignore[no-untyped-call]
                flow,
                list(spec.addresses),
                spec.process,
                epoch_interval=each,
                recovery_config=recovery,
            )
    else:
        run_main(flow, epoch_interval=each, recovery_config=recovery)  # type: ignore[no-untyped-call]


def _build(spec: Spec, drain: Drain, vitals: Vitals, reporter: Reporter) -> Any:
    job = spec.job
    aws = Aws(job.settings.aws)
    domain = job.domain()
    references = References(domain, job.settings, aws, lambda facts: _loaded(reporter, facts))
    references.watch()
    # Else the first points, or replies, would wait while the loops are compiled.
    if domain.detectors_of(job.windows()):
        forest.prepare()
    if job.source.startswith(endpoints.KINESIS):
        records.prepare()
    return build_flow(
        domain,
        endpoints.open_source(
            job.source,
            job.settings,
            aws,
            started_at_us=job.started_at_us,
            replay=job.replay,
        ),
        endpoints.open_sinks(
            domain, job.windows(), job.settings.sinks, aws, now_us, notify=job.notify
        ),
        job.options(),
        draining=drain,
        vitals=vitals,
        tables=references.tables,
        listed=references.listed,
    )


def _loaded(reporter: Reporter, facts: Mapping[str, object]) -> None:
    """Tell of a table's version that comes into force."""
    logger.info("%(name)s: version %(version)s", facts, extra={"event": "reference_loaded"})
    reporter.send("reference", **facts)


def _start_beats(spec: Spec, reporter: Reporter, vitals: Vitals) -> None:
    deadline_seconds = spec.job.settings.sinks.deadline.total_seconds()

    def beat() -> None:
        while True:
            time.sleep(_BEAT_SECONDS)
            reporter.send("beat", still_seconds=still_seconds(vitals, deadline_seconds))
            vitals.publish(spec.job.label, now_us())

    threading.Thread(target=beat, name="beats", daemon=True).start()


def still_seconds(vitals: Vitals, flush_deadline_seconds: float) -> float:
    """Return for how long the worker's loop has stood still.

    A flush within its deadline is no standstill: it ends, or it raises.
    """
    now = time.monotonic()
    flushing_since = vitals.flushing_since_monotonic_seconds
    if flushing_since is not None:
        return max(0.0, now - flushing_since - flush_deadline_seconds)
    return now - vitals.last_poll_monotonic_seconds


def usage(vitals: Vitals) -> dict[str, float]:
    """Return what the process cost: `work` from its first block on, `startup` before it.

    A process that read no block had no slot with data, and worked for others all the time.
    """
    cpu_seconds = time.process_time()
    start_cpu_seconds = vitals.cpu_at_first_block_seconds or 0.0
    start_wall_seconds = vitals.wall_at_first_block_monotonic_seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "events": vitals.events,
        "startup_cpu_seconds": round(start_cpu_seconds, 3),
        "work_cpu_seconds": round(cpu_seconds - start_cpu_seconds, 3),
        "work_seconds": round(time.monotonic() - (start_wall_seconds or time.monotonic()), 3),
        # kilobytes on Linux, bytes on macOS
        "peak_rss_mb": round(peak / (1024 if sys.platform != "darwin" else 1024**2), 1),
    }


if __name__ == "__main__":
    code = run(Spec.read(Path(sys.argv[1])))
    if code:
        # Threads of the engine may still run: the interpreter's own way out would wait for them.
        sys.stderr.flush()
        os._exit(code)
