"""`kinewax demo`: a real pipeline on local servers catches planted attacks, judged from outside.

A local AWS server, a producer and the service each run as a child process and talk over sockets,
the latter two through the public command line. A minute of events waits on the stream when the
service starts (so that an aggregate's window closes during the demo); then live events come, with
attacks among them. What was found is read back from the table, the queue and the bucket by a
bystander (`service.outside`), and compared with what the producer says that it planted. All the
while a stand-in for Firehose archives the raw stream (`service.raw_archive`); last, that archive is
replayed, which must give what the service gave, and the domain's questions are asked of the bucket.
A domain's plan says what is planted and how it is seen
(`producers.demo_plans`); nothing here knows one domain from another.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

import orjson

from dataflows.registry import find_domain
from errors import SettingsError
from operators.spec import Threshold
from producers.demo_plans import Plan
from service import demo_commands, settings, verdict
from service.aws import Aws
from service.children import Child, free_port, isolated
from service.demo_commands import BUCKET, RAW, REPLAY, DemoOptions, names_of
from service.ledger import SUMMARY_NAME
from service.local_aws import REGION, LocalAws, Resources, create
from service.outside import (
    IncidentKey,
    Notice,
    QueueReader,
    SeenRow,
    TableWatcher,
    Vitals,
    is_ready,
    now_us,
    read_vitals,
    rows_in_bucket,
)
from service.raw_archive import Delivery, RawArchive, both
from service.verdict import Verdict

SHARDS = 4
QUEUE = "a-persons-mailbox"
MARKER = ".kinewax-demo"
"""A directory that holds this file was made by the demo, and may be made anew by it."""

_READY_SECONDS = 60.0
_LAST_WORD_SECONDS = 30.0
_PRODUCER_STOP_SECONDS = 10.0
_SERVICE_STOP_SECONDS = 40.0
_NOTICES_SECONDS = 3.0
_REPLAY_SECONDS = 120.0
_INSIGHTS_SECONDS = 60.0
_ARCHIVE_EVERY_SECONDS = 10.0
_SHOW_SECONDS = 0.25
_METRICS_EVERY_SECONDS = 1.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to show at one moment."""

    elapsed_seconds: float
    events_per_second: float
    vitals: Vitals
    open_windows: dict[str, int]
    rows: list[SeenRow]
    notices: int
    plan: Plan


class View(Protocol):
    """Shows a demo to a person."""

    def step(self, text: str) -> None:
        """Say what begins."""

    def show(self, moment: Moment) -> None:
        """Show how things are."""


def run_demo(options: DemoOptions, view: View) -> Verdict:
    """Run the demo from start to end; every child process has ended when it returns or raises.

    Raises:
        SettingsError: The output directory is somebody else's.
        MissingResourceError: The local AWS server is not installed.
        KinewaxError: A child process failed.
    """
    began = time.monotonic()
    out = _own_directory(options.out)
    names = names_of(options.domain)
    rule, plan = _rule(options), options.plan
    with ExitStack() as stack:
        view.step("starting a local AWS server on loopback")
        server = LocalAws(out / "logs")
        stack.callback(server.stop)
        server.start()
        stack.enter_context(isolated(server.endpoint))
        aws = Aws(settings.Aws(endpoint_url=server.endpoint, region=REGION))
        view.step("creating streams, table, topic with a subscriber, delivery streams and bucket")
        queue_url = create(
            aws,
            Resources(
                streams=((options.stream, SHARDS), (names.stream, 1)),
                table=names.table,
                topic=names.topic,
                queue=QUEUE,
                bucket=BUCKET,
                delivery_streams=(names.aggregates, names.dead_letters),
            ),
        )
        table = stack.enter_context(
            TableWatcher(aws("dynamodb"), names.table, rule, plan.key, now_us)
        )
        queue = stack.enter_context(QueueReader(aws("sqs"), queue_url))
        raw = stack.enter_context(
            RawArchive(
                # The service retries by itself; for this reader botocore does.
                aws.fresh("kinesis", retries={"total_max_attempts": 8, "mode": "standard"}),
                options.stream,
                both(aws("s3"), BUCKET, out),
                Delivery(options.stream, RAW, most_seconds=_ARCHIVE_EVERY_SECONDS),
                now_us,
                Random(options.seed),
            )
        )
        view.step(f"starting the service with {options.processes} processes")
        admin_url = f"http://127.0.0.1:{free_port()}"
        service = _started(
            stack,
            Child(
                "service",
                demo_commands.service(options, out, server.endpoint, admin_url),
                out,
                names.environment,
            ),
        )
        view.step("putting a minute of waiting events on the stream")
        backlog = _started(
            stack, Child("backlog", demo_commands.backlog(options, out, time.time()), out)
        )
        backlog.wait(_READY_SECONDS)
        service.until(lambda: is_ready(admin_url), _READY_SECONDS, "is not ready")
        view.step(
            f"producing {options.rate:g} live events a second for {options.seconds:g} s, "
            f"{options.attackers} of them attackers' (seed {options.seed})"
        )
        producer = _started(stack, Child("producer", demo_commands.live(options, out), out))
        showing = _Showing(view, admin_url, options, table, queue)
        while producer.running():
            service.must_run()
            showing.show()
        producer.wait(_PRODUCER_STOP_SECONDS)
        live, waiting = _content(out / "truth.json"), _content(out / "backlog.json")
        planted = verdict.planted_of(live, plan)
        view.step("waiting for the last windows to close")
        sent = live["records"] + waiting["records"]
        _show_until_all_is_told(showing, service, table, planted, plan, sent)
        view.step("draining the service")
        # 1 says that its ledger doesn't balance, which is ours to report.
        service.stop(_SERVICE_STOP_SECONDS, good=(0, 1))
        if not (out / "results" / SUMMARY_NAME).exists():
            how = "left no summary"
            raise service.failure(how)
        notices = _notices(queue, verdict.due(planted, rule))
        view.step("replaying the raw archive")
        raw.finish()
        again = _started(
            stack, Child("replay", demo_commands.replay(options, out, server.endpoint), out)
        )
        # 5 says that it differs from the live run, which is ours to report.
        again.wait(_REPLAY_SECONDS, good=(0, 5))
        view.step("answering questions from the bucket")
        asked = demo_commands.insights(out, server.endpoint)
        answers = _started(stack, Child("insights", asked, out))
        answers.wait(_INSIGHTS_SECONDS)
        return verdict.judge(
            planted,
            verdict.gathered(table.rows(), planted, plan),
            rule,
            plan,
            summary=_content(out / "results" / SUMMARY_NAME),
            sent=(live, waiting),
            notices=notices,
            rows_in_bucket=rows_in_bucket(
                aws("s3"), BUCKET, (names.aggregates, names.dead_letters)
            ),
            replayed=_content(out / REPLAY / SUMMARY_NAME)["run"]["replay"]["against"],
            seconds=time.monotonic() - began,
            out=out,
        )


# ---- the demo's own parts ---------------------------------------------------------------------


def _started(stack: ExitStack, child: Child) -> Child:
    """Start a child whose end is already certain."""
    stack.callback(child.end)
    child.start()
    return child


class _Showing:
    """Reads the service's metrics and what came out of it, and hands both to the view."""

    def __init__(
        self,
        view: View,
        admin_url: str,
        options: DemoOptions,
        table: TableWatcher,
        queue: QueueReader,
    ) -> None:
        self._view = view
        self._admin_url = admin_url
        self._groups = {
            window.name: window.groups for window in find_domain(options.domain).windows
        }
        self._plan = options.plan
        self._table = table
        self._queue = queue
        self._began = self._read_at = time.monotonic()
        self._vitals = Vitals()
        self._per_second = 0.0

    @property
    def taken(self) -> int:
        """What the service had taken of the stream when its metrics were last read."""
        return self._vitals.taken

    def show(self) -> None:
        """Show this moment, and wait a little."""
        self._table.check()
        self._queue.check()
        now = time.monotonic()
        passed = now - self._read_at
        if passed >= _METRICS_EVERY_SECONDS and (vitals := read_vitals(self._admin_url)):
            self._per_second = (vitals.events - self._vitals.events) / passed
            self._vitals, self._read_at = vitals, now
        # Each key group holds its own part of a window: of 32 groups, 2 windows make 64.
        windows = {
            name: -(-count // self._groups.get(name, 1))
            for name, count in self._vitals.windows_open.items()
        }
        self._view.show(
            Moment(
                now - self._began,
                self._per_second,
                self._vitals,
                windows,
                self._table.rows(),
                len(self._queue.notices()),
                self._plan,
            )
        )
        time.sleep(_SHOW_SECONDS)


def _show_until_all_is_told(
    showing: _Showing,
    service: Child,
    table: TableWatcher,
    planted: Mapping[IncidentKey, verdict.Truth],
    plan: Plan,
    sent: int,
) -> None:
    """Show until every planted attack has its last word, or the time for it is over.

    The last of the records may come after the last word: a drain would leave them on the stream.
    """
    deadline = time.monotonic() + _LAST_WORD_SECONDS
    while time.monotonic() < deadline:
        rows = verdict.gathered(table.rows(), planted, plan)
        final = {key for key, row in rows.items() if row.phase == "final"}
        if planted.keys() <= final and showing.taken >= sent:
            return
        service.must_run()
        showing.show()


def _notices(queue: QueueReader, due: int) -> dict[str, Notice]:
    """Collect different notices, by incident; those on their way get a moment to arrive."""
    deadline = time.monotonic() + _NOTICES_SECONDS
    while True:
        queue.check()
        found = {str(notice.body.get("id", "")): notice for notice in queue.notices()}
        if len(found) >= due or time.monotonic() > deadline:
            return found
        time.sleep(_POLL_SECONDS)


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = orjson.loads(path.read_bytes())
    return content


def _rule(options: DemoOptions) -> Threshold:
    """Return the rule that finds what is planted."""
    rules = find_domain(options.domain).rules
    return next(
        one for one in rules if isinstance(one, Threshold) and one.name == options.plan.rule
    )


def _own_directory(path: Path) -> Path:
    """Make the output directory, replacing an older demo's but nobody else's.

    Raises:
        SettingsError: There is something else in it.
    """
    path = path.absolute()
    if path.exists():
        if not path.is_dir() or (any(path.iterdir()) and not (path / MARKER).exists()):
            msg = f"{path} holds something that is not an older demo"
            raise SettingsError(msg, hint="name another directory with --out")
        shutil.rmtree(path)
    try:
        (path / "logs").mkdir(parents=True)
        (path / MARKER).touch()
    except OSError as error:
        msg = f"can't write to {path}: {error.strerror}"
        raise SettingsError(msg, hint="name another directory with --out") from error
    return path
