"""The command lines of the demo's children: the service, its producers, the questions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dataflows.registry import find_domain
from producers.demo_plans import Plan
from service import settings, verdict

BUCKET = "kinewax-demo"
RAW = "raw/"
"""The prefix of the raw archive, in the bucket as in the demo's directory."""
REPLAY = "replay"
"""What the replay of it writes goes here, below the demo's directory."""
BACKLOG_SECONDS = 60
_BACKLOG_RATE = 50
_DISORDER_SECONDS = 2
_MALFORMED_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a demo is asked for.

    Attributes:
        domain: The domain to run.
        plan: What its demo plants.
        out: Where its files go; what an older demo left there is replaced.
        seconds: How long live events come.
        rate: Live events a second.
        attackers: How many attack.
        processes: Worker processes of the service.
        seed: Where the producer's chance comes from.
    """

    domain: str
    plan: Plan
    out: Path
    seconds: float
    rate: float
    attackers: int
    processes: int
    seed: int

    @property
    def stream(self) -> str:
        """The stream that events come from."""
        return self.plan.stream or f"{self.domain}-events"


@dataclass(frozen=True, slots=True)
class Names:
    """What the service's destinations are called: as its domain's users have them, or plainly."""

    table: str
    topic: str
    namespace: str
    metric: str
    stream: str
    aggregates: str
    dead_letters: str

    @property
    def environment(self) -> dict[str, str]:
        """The same as settings."""
        return {
            settings.variable_of(f"sinks.{name}"): getattr(self, name) for name in self.__slots__
        }


def names_of(domain: str) -> Names:
    """Return the names of a domain's destinations."""
    given = settings.load(environment={}, domain=find_domain(domain)).settings.sinks
    return Names(
        table=given.table or f"{domain}-incidents",
        topic=given.topic or f"{domain}-notices",
        namespace=given.namespace or domain,
        metric=given.metric or "incidents",
        stream=given.stream or f"{domain}-incidents",
        aggregates=given.aggregates or f"{domain}-aggregates",
        dead_letters=given.dead_letters or f"{domain}-dead-letters",
    )


def service(options: DemoOptions, out: Path, endpoint: str, admin_url: str) -> list[str]:
    """Run the domain on all that is on the stream."""
    return [
        "run",
        options.domain,
        "--source",
        f"kinesis://{options.stream}",
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
        *options.plan.run,
    ]


def backlog(options: DemoOptions, out: Path, now_seconds: float) -> list[str]:
    """Make the whole minute before this one: nobody attacks in it."""
    minute = now_seconds // BACKLOG_SECONDS * BACKLOG_SECONDS - BACKLOG_SECONDS
    return [
        *_produce(options, out / "backlog.json", options.seed + 1),
        "--rate",
        str(_BACKLOG_RATE),
        "--seconds",
        str(BACKLOG_SECONDS),
        "--start",
        datetime.fromtimestamp(minute, UTC).isoformat(),
    ]


def live(options: DemoOptions, out: Path) -> list[str]:
    """Make events as they happen, with attacks among them."""
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


def replay(options: DemoOptions, out: Path, endpoint: str) -> list[str]:
    """Replay the raw archive, and compare what comes out with what the service wrote."""
    return [
        "replay",
        options.domain,
        f"s3://{BUCKET}/{RAW}",
        "--sinks",
        (out / REPLAY).as_uri(),
        "--against",
        (out / "results").as_uri(),
        "--endpoint-url",
        endpoint,
        *options.plan.run,
    ]


def insights(out: Path, endpoint: str) -> list[str]:
    """Ask the questions of the bucket."""
    page = str(out / verdict.INSIGHTS_NAME)
    return ["insights", f"s3://{BUCKET}", "--html", page, "--endpoint-url", endpoint]


def _produce(options: DemoOptions, truth: Path, seed: int) -> list[str]:
    return [
        "produce",
        options.domain,
        "--to",
        f"kinesis://{options.stream}",
        "--seed",
        str(seed),
        "--malformed-share",
        str(_MALFORMED_SHARE),
        "--truth",
        str(truth),
        *options.plan.produce,
    ]
