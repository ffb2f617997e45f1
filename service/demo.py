"""`kinewax demo`: a real pipeline on local servers catches planted attacks, judged from outside.

A local AWS server, a producer and the service each run as a child process and talk over sockets,
the latter two through the public command line. A minute of events waits on the stream when the
service starts (so that an aggregate's window closes during the demo); then live events come, with
attacks among them. What was found is read back from the table, the queue and the bucket by a
bystander (`service.outside`), and compared with what the producer says that it planted. Last, the
marketing team's questions are asked of the bucket.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from dataflows.registry import find_domain
from errors import SettingsError
from operators.spec import Threshold
from service import settings, verdict
from service.aws import Aws
from service.children import Child, free_port, isolated
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
from service.verdict import Verdict

STREAM = "ecommerce-raw-user-activity-stream-1"
SHARDS = 4
BUCKET = "kinewax-demo"
QUEUE = "a-persons-mailbox"
MARKER = ".kinewax-demo"
"""A directory that holds this file was made by the demo, and may be made anew by it."""

_DISORDER_SECONDS = 2
_BACKLOG_RATE = 50
_BACKLOG_SECONDS = 60
_MALFORMED_SHARE = 0.002
_READY_SECONDS = 60.0
_LAST_WORD_SECONDS = 30.0
_PRODUCER_STOP_SECONDS = 10.0
_SERVICE_STOP_SECONDS = 40.0
_NOTICES_SECONDS = 3.0
_INSIGHTS_SECONDS = 60.0
_SHOW_SECONDS = 0.25
_METRICS_EVERY_SECONDS = 1.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a demo is asked for.

    Attributes:
        domain: The domain to run.
        out: Where its files go; what an older demo left there is replaced.
        seconds: How long live events come.
        rate: Live events a second.
        attackers: How many users attack.
        processes: Worker processes of the service.
        seed: Where the producer's chance comes from.
    """

    domain: str
    out: Path
    seconds: float
    rate: float
    attackers: int
    processes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to show at one moment."""

    elapsed_seconds: float
    events_per_second: float
    vitals: Vitals
    open_windows: dict[str, int]
    rows: list[SeenRow]
    notices: int


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
    names = settings.load(environment={}, domain=options.domain).settings.sinks
    rule = _rule(options.domain)
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
                streams=((STREAM, SHARDS), (names.stream, 1)),
                table=names.table,
                topic=names.topic,
                queue=QUEUE,
                bucket=BUCKET,
                delivery_streams=(names.aggregates, names.dead_letters),
            ),
        )
        table = stack.enter_context(TableWatcher(aws("dynamodb"), names.table, rule.value, now_us))
        queue = stack.enter_context(QueueReader(aws("sqs"), queue_url))
        view.step(f"starting the service with {options.processes} processes")
        admin_url = f"http://127.0.0.1:{free_port()}"
        service = _started(
            stack, Child("service", _service(options, out, server.endpoint, admin_url), out)
        )
        view.step("putting a minute of waiting events on the stream")
        backlog = _started(stack, Child("backlog", _backlog(options, out), out))
        backlog.wait(_READY_SECONDS)
        service.until(lambda: is_ready(admin_url), _READY_SECONDS, "is not ready")
        view.step(
            f"producing {options.rate:g} live events a second for {options.seconds:g} s, "
            f"{options.attackers} attackers among the users (seed {options.seed})"
        )
        producer = _started(stack, Child("producer", _live(options, out), out))
        showing = _Showing(view, admin_url, options.domain, table, queue)
        while producer.running():
            service.must_run()
            showing.show()
        producer.wait(_PRODUCER_STOP_SECONDS)
        live, waiting = _content(out / "truth.json"), _content(out / "backlog.json")
        planted = verdict.planted_of(live)
        view.step("waiting for the last windows to close")
        _show_until_final(showing, service, table, planted)
        view.step("draining the service")
        # 1 says that its ledger doesn't balance, which is ours to report.
        service.stop(_SERVICE_STOP_SECONDS, good=(0, 1))
        if not (out / "results" / SUMMARY_NAME).exists():
            how = "left no summary"
            raise service.failure(how)
        notices = _notices(queue, verdict.due(planted, rule))
        view.step("answering the marketing team's questions from the bucket")
        answers = _started(stack, Child("insights", _insights(out, server.endpoint), out))
        answers.wait(_INSIGHTS_SECONDS)
        return verdict.judge(
            planted,
            {row.key: row for row in table.rows()},
            rule,
            summary=_content(out / "results" / SUMMARY_NAME),
            sent=(live, waiting),
            notices=notices,
            rows_in_bucket=rows_in_bucket(aws("s3"), BUCKET),
            seconds=time.monotonic() - began,
            out=out,
        )


# ---- the children's command lines --------------------------------------------------------------


def _service(options: DemoOptions, out: Path, endpoint: str, admin_url: str) -> list[str]:
    return [
        "run",
        options.domain,
        "--source",
        f"kinesis://{STREAM}",
        "--sinks",
        f"aws,file://{out / 'results'}",
        "--processes",
        str(options.processes),
        "--recovery",
        str(out / "recovery"),
        "--start",
        "TRIM_HORIZON",
        "--disorder",
        f"{_DISORDER_SECONDS}s",
        "--endpoint-url",
        endpoint,
        "--admin-port",
        admin_url.rpartition(":")[2],
    ]


def _backlog(options: DemoOptions, out: Path) -> list[str]:
    """Make the whole minute before this one: nobody attacks in it."""
    minute = time.time() // _BACKLOG_SECONDS * _BACKLOG_SECONDS - _BACKLOG_SECONDS
    return [
        *_produce(options, out / "backlog.json", options.seed + 1),
        "--rate",
        str(_BACKLOG_RATE),
        "--seconds",
        str(_BACKLOG_SECONDS),
        "--start",
        datetime.fromtimestamp(minute, UTC).isoformat(),
    ]


def _live(options: DemoOptions, out: Path) -> list[str]:
    return [
        *_produce(options, out / "truth.json", options.seed),
        "--rate",
        str(options.rate),
        "--seconds",
        str(options.seconds),
        "--attackers",
        str(options.attackers),
        "--disorder",
        "500ms",
    ]


def _insights(out: Path, endpoint: str) -> list[str]:
    page = str(out / verdict.INSIGHTS_NAME)
    return ["insights", f"s3://{BUCKET}", "--html", page, "--endpoint-url", endpoint]


def _produce(options: DemoOptions, truth: Path, seed: int) -> list[str]:
    return [
        "produce",
        options.domain,
        "--to",
        f"kinesis://{STREAM}",
        "--seed",
        str(seed),
        "--malformed-share",
        str(_MALFORMED_SHARE),
        "--truth",
        str(truth),
    ]


# ---- the demo's own parts ---------------------------------------------------------------------


def _started(stack: ExitStack, child: Child) -> Child:
    """Start a child whose end is already certain."""
    stack.callback(child.end)
    child.start()
    return child


class _Showing:
    """Reads the service's metrics and what came out of it, and hands both to the view."""

    def __init__(
        self, view: View, admin_url: str, domain: str, table: TableWatcher, queue: QueueReader
    ) -> None:
        self._view = view
        self._admin_url = admin_url
        self._groups = {window.name: window.groups for window in find_domain(domain).windows}
        self._table = table
        self._queue = queue
        self._began = self._read_at = time.monotonic()
        self._vitals = Vitals()
        self._per_second = 0.0

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
            )
        )
        time.sleep(_SHOW_SECONDS)


def _show_until_final(
    showing: _Showing,
    service: Child,
    table: TableWatcher,
    planted: Mapping[IncidentKey, object],
) -> None:
    """Show until every planted attack has its last word, or the time for it is over."""
    deadline = time.monotonic() + _LAST_WORD_SECONDS
    while time.monotonic() < deadline:
        final = {row.key for row in table.rows() if row.phase == "final"}
        if planted.keys() <= final:
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


def _rule(domain: str) -> Threshold:
    """Return the rule whose incidents are planted."""
    return next(one for one in find_domain(domain).rules if isinstance(one, Threshold))


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
