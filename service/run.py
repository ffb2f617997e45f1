"""A run, from settings to summary, with a supervisor in between.

In order: names are checked, then what must exist at AWS, then the recovery store is opened and its
layout compared; only then do processes start. When they have ended, the ledger is read from the
store. Where several pods are one service, the store is prepared when all have met.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead
from rich.console import Console

from dataflows.clock import now_us
from errors import MissingResourceError, SettingsError
from messages import Ledger
from service import archives, check, endpoints, ledger, recovery, snapshots
from service import layout as store_layout
from service.admin import Admin, merged_metrics
from service.archives import Replay
from service.aws import Aws
from service.cluster import Member
from service.copies import Copier, Copies
from service.emf import Emf
from service.job import Job
from service.layout import Fields
from service.ledger import Summary
from service.pod_calls import routes
from service.pods import Pods, Store
from service.progress import Progress
from service.references import References
from service.replay_progress import ReplayProgress
from service.setting_values import redact
from service.settings import Loaded
from service.shelves import open_shelf
from service.spec import Spec
from service.supervisor import Facts, Plan, Supervisor, stopped_by_signals
from service.version import installed_version

logger = logging.getLogger("kinewax.service")

WORKER_ENVIRONMENT = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "OPENBLAS_NUM_THREADS": "1",
}
"""What a worker's process is started with, unless the environment says otherwise.

Replies are read on many threads and freed on another, and glibc keeps a heap a thread: a process
with 16 shards grew to twice the memory. Bodies of some MB come and go all the time: glibc would
give each back to the kernel and have it cleared again, a tenth of the time it takes to read. And
numpy's library for matrices, which nothing here multiplies, would keep a thread a core spinning."""


def run(
    domain: str,
    source: str,
    loaded: Loaded,
    *,
    verbose: bool = False,
    replay: Replay | None = None,
    console: Console | None = None,
) -> Summary:
    """Run a job until its input ends or it is told to stop.

    Args:
        domain: The domain's name, or its file.
        source: The source's URL.
        loaded: Valid settings and their origins.
        verbose: Whether workers log tracebacks.
        replay: How an archive is replayed; None for a source that is read live.
        console: Where to show how a replay gets on.

    Raises:
        KinewaxError: With the exit code that says why.
    """
    settings = loaded.settings
    job = Job(domain, source, settings, replay=replay)
    fields = {} if replay is not None else _check_names(job)
    began_us = now_us()
    with (
        recovery.open_store(settings.runtime.recovery) as store,
        tempfile.TemporaryDirectory(prefix="kinewax-run-") as scratch,
    ):
        runtime = settings.runtime
        watching: AbstractContextManager[object] = nullcontext()
        copying: AbstractContextManager[object] = nullcontext()
        listed = 0
        if runtime.snapshots and replay is None:
            copies = Copies(open_shelf(runtime.snapshots, Aws(settings.aws)), now_us)
            _fetch(copies, store)
            copying = Copier(copies, store, runtime.snapshot_interval.total_seconds())
        if replay is not None:
            job.options()  # refuses what is wrong before anything is listed
            aws = Aws(settings.aws)
            replay, listing = archives.pinned(
                source, replay, settings, aws, job.scope(), store=store, scratch=Path(scratch)
            )
            job = replace(job, replay=replay)
            fields = _check_names(job)
            if store_layout.read(store) is None:
                _spare_others(job, replay)
            listed = len(listing.objects)
            watching = ReplayProgress(listing, Path(replay.board), Path(scratch), console)
        pods = None
        if settings.cluster.pods and replay is None:
            pods = _pods(job, fields, store)
        else:
            job = _started(job, loaded, fields, store, began_us)
        supervisor = Supervisor(_plan(job, store, Path(scratch), pods, verbose=verbose))
        with watching, copying:
            facts, counts = _supervise(job, loaded, supervisor, store, Path(scratch), pods)
        ended_us = now_us()
        summary = ledger.summarise(
            job.label,
            counts,
            aggregates=[window.name for window in job.windows()],
            run={
                "source": source,
                "started_at": _iso(began_us),
                "ended_at": _iso(ended_us),
                "seconds": round((ended_us - began_us) / 1e6, 3),
                "processes": runtime.processes,
                "restarts": facts.restarts,
                "drained": facts.drained,
                "usage": facts.usage,
                **({"references": facts.references} if facts.references else {}),
                **({} if replay is None else {"replay": _facts_of(replay, listed, store)}),
                **({} if pods is None else {"pod": settings.cluster.index}),
            },
        )
    directory = endpoints.file_directory(settings.sinks)
    if directory is not None and summary.is_whole:
        ledger.write(summary, directory)
    return summary


def _started(job: Job, loaded: Loaded, fields: Fields, store: Path, began_us: int) -> Job:
    """Prepare the store of a service that is alone; return the job with its first start."""
    runtime = job.settings.runtime
    layout = recovery.prepare(
        store,
        fields,
        processes=runtime.processes,
        files=runtime.recovery_files,
        now_us=began_us,
        first=lambda: endpoints.prepare_files(job.settings.sinks, job.aggregates()),
    )
    if layout.started_at_us != began_us and "source.start" in loaded.origins:
        logger.info(
            "the store in %s has positions: they hold, source.start does not",
            store,
            extra={"event": "start_ignored"},
        )
    return replace(job, started_at_us=layout.started_at_us)


def _pods(job: Job, fields: Fields, store: Path) -> Pods:
    """Return this pod's place among the others, who prepare the store together."""
    runtime, cluster = job.settings.runtime, job.settings.cluster
    if runtime.recovery is None:
        msg = "several pods need recovery directories that last (runtime.recovery)"
        raise SettingsError(msg, hint="name a directory on the pod's own volume")
    if runtime.snapshots:
        msg = "runtime.snapshots copies whole stores, and each pod has a share of one"
        raise SettingsError(msg, hint="keep the pods' stores on volumes, or run one pod")
    files = max(runtime.recovery_files, runtime.processes * len(cluster.pods))
    return Pods(
        cluster,
        Store(
            store,
            fields,
            files,
            first=lambda: endpoints.prepare_files(job.settings.sinks, job.aggregates()),
        ),
        same={
            "version": installed_version(),
            "settings": _fingerprint(job),
            "pods": ",".join(cluster.pods),
            "recovery_files": files,
        },
        processes=runtime.processes,
        clock_us=now_us,
    )


def _fingerprint(job: Job) -> str:
    """Return what differs where two pods would compute or write differently."""
    content = job.as_json()
    for own in ("cluster", "admin", "log"):
        del content["settings"][own]
    del content["settings"]["runtime"]["recovery"]
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _spare_others(job: Job, replay: Replay) -> None:
    """Refuse to empty a directory in which others' results are; a replay's own are made anew.

    Raises:
        SettingsError: Another run has written there.
    """
    directory = endpoints.file_directory(job.settings.sinks)
    summary = None if directory is None else ledger.last_run(directory)
    if summary is None:
        return
    was = summary.get("run", {})
    own = (job.label, job.source.rstrip("/"), *_range(replay))
    span = was.get("replay", {"from": "", "to": ""})
    others = (summary.get("domain"), str(was.get("source")).rstrip("/"), span["from"], span["to"])
    if others != own:
        what = "a replay" if "replay" in was else "a run"
        msg = f"{directory} holds what {what} of {summary.get('domain')} from {others[1]} wrote"
        raise SettingsError(msg, hint="name another directory in --sinks, or remove this one first")


def _range(replay: Replay) -> tuple[str | None, str | None]:
    from_us, to_us = replay.from_us, replay.to_us
    return None if from_us is None else _iso(from_us), None if to_us is None else _iso(to_us)


def _facts_of(replay: Replay, listed: int, store: Path) -> dict[str, object]:
    """Return what a replay's summary says beyond the ledger."""
    begin, end = _range(replay)
    unreadable = [
        {"object": name, "reason": reason, "detail": detail}
        for snapshot in snapshots.latest(store)
        for name, reason, detail in snapshot.state.get("slot", {}).get("unreadable", ())
    ]
    return {
        "from": begin,
        "to": end,
        "objects": listed,
        "notify": replay.notify,
        "processing_time": replay.processing_time,
        "unreadable": sorted(unreadable, key=lambda one: str(one["object"])),
    }


def _supervise(
    job: Job,
    loaded: Loaded,
    supervisor: Supervisor,
    store: Path,
    scratch: Path,
    pods: Pods | None,
) -> tuple[Facts, Ledger | None]:
    """Run to the end; return what it cost, and the ledger where this pod knows it."""
    settings = loaded.settings
    admin = Admin(
        settings.admin.host,
        settings.admin.port,
        health=supervisor.health,
        config=loaded.effective(),
        metrics_directory=scratch,
        processes=settings.runtime.processes,
        epoch_seconds=settings.runtime.epoch_interval.total_seconds(),
        routes=() if pods is None else routes(pods),
    )
    interval_seconds = settings.log.summary_interval.total_seconds()
    progress = Progress(scratch, lambda: _reached(store, pods), interval_seconds)
    emf = Emf(
        merged_metrics(scratch),
        job.label,
        settings.log.emf_namespace,
        settings.log.emf_interval.total_seconds(),
    )
    with admin, progress, emf, stopped_by_signals(supervisor.stop):
        logger.info(
            "%s from %s, processes: %d, admin port: %s",
            job.label,
            redact(job.source),
            settings.runtime.processes,
            admin.url,
            extra={"event": "started"},
        )
        facts = supervisor.run()
        if pods is None:
            return facts, ledger.sums(snapshots.latest(store))
        return facts, pods.whole_ledger()


def _plan(job: Job, store: Path, scratch: Path, pods: Pods | None, *, verbose: bool) -> Plan:
    runtime = job.settings.runtime

    def command(member: Member) -> Sequence[str]:
        path = scratch / f"worker-{member.process}.json"
        started = job if pods is None else replace(job, started_at_us=pods.started_at_us)
        Spec(started, member.process, member.addresses, member.channel, str(store), verbose).write(
            path
        )
        # -P: what lies in the directory it is run in is nobody's module.
        return (sys.executable, "-P", "-m", "service.worker", str(path))

    return Plan(
        processes=runtime.processes,
        command=command,
        environment={**WORKER_ENVIRONMENT, **os.environ, "PROMETHEUS_MULTIPROC_DIR": str(scratch)},
        # Several pods do so when they have met: one alone doesn't know what is committed.
        before_start=lambda: None if pods else _discard(store),
        committed=lambda: _reached(store, pods),
        after_death=lambda pid: _forget(pid, scratch),
        restartable=not endpoints.is_standard_input(job.source),
        drain_seconds=runtime.drain_timeout.total_seconds(),
        max_starts=runtime.max_starts,
        peers=pods,
    )


def _fetch(copies: Copies, store: Path) -> None:
    """Fetch the latest snapshot where there is no store yet."""
    if store_layout.read(store) is not None or snapshots.exists(store):
        return
    listed = copies.listed()
    if listed:
        copies.restore(listed[-1], store)
        logger.info(
            "going on from snapshot %d, made at %s",
            listed[-1].number,
            listed[-1].made_at,
            extra={"event": "fetched"},
        )


def _forget(pid: int, scratch: Path) -> None:
    """Remove a dead worker's gauges; its counts stay."""
    mark_process_dead(pid, str(scratch))  # type: ignore[no-untyped-call]


def _reached(store: Path, pods: Pods | None) -> int:
    """Return the epoch that a start would resume at, as far as this pod's files know."""
    return snapshots.resume_epoch(store) if pods is None else snapshots.committed_epoch(store) + 1


def _discard(store: Path) -> None:
    removed = snapshots.discard_uncommitted(store)
    if removed:
        logger.debug("%d uncommitted snapshots discarded", removed, extra={"event": "discarded"})


def _check_names(job: Job) -> Fields:
    """Check all that can be wrong before anything starts; return the layout of this start."""
    settings = job.settings
    if endpoints.is_standard_input(job.source) and settings.runtime.recovery is not None:
        msg = "standard input can't be read again, so it can't be recovered (--source - --recovery)"
        raise SettingsError(msg, hint="leave --recovery out, or read from a file")
    shaping = job.layout()
    aws = Aws(settings.aws)
    source = endpoints.open_source(
        job.source, settings, aws, started_at_us=now_us(), replay=job.replay
    )
    fields = endpoints.source_layout(job.source, source, aws, job.replay)
    endpoints.open_sinks(
        job.domain(), job.windows(), settings.sinks, aws, now_us, notify=job.notify
    )
    References(job.domain(), settings, aws)  # refuses a table that is wrong
    lost = list(dict.fromkeys(finding.resource for finding in check.missing(job, aws)))
    if lost:
        msg = f"{', '.join(lost)}: {'does' if len(lost) == 1 else 'do'} not exist"
        raise MissingResourceError(msg, hint="create it, or mend its name; see `kinewax check`")
    return {**fields, **shaping, **endpoints.sink_layout(settings.sinks)}


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds")
