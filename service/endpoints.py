"""Which URL means which source or sink: decided here and nowhere else.

Sources are `kinesis://STREAM` (a name or an ARN), `file:///path` and `-` for standard input; sinks
are `aws` (all that the settings name), `stdout`, `file:///directory` and `https://host`, a server
of OpenSearch.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from dataflows.domain import Domain
from errors import KinewaxError, SettingsError
from messages import AggregateRows, Events, Late, Reject
from operators.session_spec import AnyWindow
from service.archives import Replay, archive_layout, is_archive, open_archive
from service.aws import Aws, explain
from service.search import OpenSearch, is_search
from service.setting_values import redact
from service.settings import Settings
from service.settings import Sinks as SinkSettings
from service.settings import Source as SourceSettings
from sinks import files
from sinks.base import Part, Sink
from sinks.cloudwatch import CloudWatchOptions, CloudWatchSink
from sinks.delivery import DeliveryOptions
from sinks.firehose import FirehoseOptions, FirehoseSink
from sinks.incidents import IncidentsOptions, IncidentsSink
from sinks.kinesis import KinesisOptions, KinesisSink
from sinks.opensearch import OpenSearchOptions, OpenSearchSink
from sinks.stdout import StdoutSink
from sources.archive.source import ArchiveSource
from sources.base import Source
from sources.files import STANDARD_INPUT, FileSource
from sources.kinesis.client import FanOutClient, resolve_stream
from sources.kinesis.fan_out import MAX_SUBSCRIPTIONS, EnhancedFanOut
from sources.kinesis.pacing import Pacing
from sources.kinesis.source import KinesisSource, StartPosition
from sources.kinesis.subscription import Patience

KINESIS = "kinesis://"
FILE = "file://"
_SOURCES = "a source is kinesis://STREAM, file:///path/to/file, or - for standard input"
_GATHER_SECONDS = 0.5
"""How long rows and documents wait for others to fill a call with."""
_SINKS = "a sink is aws, stdout, file:///path/to/directory, or https://host of OpenSearch"


# ---- sources ----------------------------------------------------------------------------------


def open_source(
    url: str,
    settings: Settings,
    aws: Aws,
    *,
    started_at_us: int,
    replay: Replay | None = None,
) -> Source:
    """Make the source of a URL; nothing is read or asked for yet.

    Args:
        url: As given to `--source`.
        settings: All settings.
        aws: Makes clients.
        started_at_us: The moment that LATEST means.
        replay: The archive is read as this says; None for a source that is no archive.

    Raises:
        SettingsError: The URL means nothing.
        MissingResourceError: There is no such file.
    """
    if replay is not None:
        return open_archive(url, replay, settings, aws, started_at_us=started_at_us)
    if is_archive(url):
        msg = f"{url} is an archive"
        raise SettingsError(msg, hint="read it with `kinewax replay`")
    if url.startswith(KINESIS):
        source = settings.source
        return KinesisSource(
            stream_of(url),
            lambda: aws.fresh("kinesis"),
            start=start_position(source.start, started_at_us),
            slots=source.slots,
            on_data_loss=source.on_data_loss,
            fan_out=fan_out(source, aws),
            pacing=Pacing(
                poll_interval_seconds=source.poll_interval.total_seconds(),
                max_calls_per_second=source.max_calls_per_second,
                max_drift_seconds=source.max_drift.total_seconds(),
            ),
            seed=random.SystemRandom().getrandbits(32),
        )
    return FileSource(path_of(url))


def fan_out(source: SourceSettings, aws: Aws) -> EnhancedFanOut | None:
    """Return how to subscribe to shards; None where they are polled."""
    if source.consumer == "polling":
        return None
    patience = Patience()

    def client() -> FanOutClient:
        # Between two events nothing comes for seconds, which is no reason to give up.
        subscriber: FanOutClient = aws.fresh(
            "kinesis",
            read_timeout=patience.stall_seconds,
            max_pool_connections=MAX_SUBSCRIPTIONS,
        )
        return subscriber

    return EnhancedFanOut(source.consumer_name, client, patience)


def is_standard_input(url: str) -> bool:
    """Tell whether a source can be read only once."""
    return url == STANDARD_INPUT


def stream_of(url: str) -> str:
    """Return the stream's name or ARN."""
    name = url.removeprefix(KINESIS).rstrip("/")
    if not name:
        msg = f"{url} names no stream"
        raise SettingsError(msg, hint=_SOURCES)
    return name


def path_of(url: str) -> str:
    """Return the path behind `file://`, or `-`."""
    if is_standard_input(url):
        return url
    if not url.startswith(FILE):
        msg = f"{url!r} is no source"
        raise SettingsError(msg, hint=_SOURCES)
    return _absolute(url)


def start_position(start: str, started_at_us: int) -> StartPosition:
    """Turn the setting into a position; LATEST becomes the moment of the first start."""
    if start == "TRIM_HORIZON":
        return StartPosition("TRIM_HORIZON")
    if start == "LATEST":
        return StartPosition("LATEST", started_at_us)
    return StartPosition("AT_TIMESTAMP", round(datetime.fromisoformat(start).timestamp() * 1e6))


def cut_at_us(url: str, start: str, started_at_us: int) -> int | None:
    """Return the moment before which events are missing; None where reading starts at the oldest.

    Windows that begin earlier are partial.
    """
    return start_position(start, started_at_us).t_us if url.startswith(KINESIS) else None


def source_layout(
    url: str, source: Source, aws: Aws, replay: Replay | None = None
) -> dict[str, str | int]:
    """Return what ties a recovery store to its source, asking AWS who the stream is.

    A stream that was deleted and made again under its name is another one: its positions differ.

    Raises:
        MissingResourceError: There is no such stream.
        KinewaxError: AWS can't be asked.
    """
    if replay is not None and isinstance(source, ArchiveSource):
        return archive_layout(url, replay, source)
    layout: dict[str, str | int] = {"slots": len(source.slots)}
    if not url.startswith(KINESIS):
        return layout | {"source": path_of(url)}
    stream = stream_of(url)
    try:
        identity = resolve_stream(aws("kinesis"), stream)
    except KinewaxError:
        raise
    except Exception as error:
        raise explain(error, f"stream {stream}") from error
    return layout | {"source": identity.arn, "source created at": identity.created_us}


# ---- sinks ------------------------------------------------------------------------------------


def open_sinks(
    domain: Domain,
    windows: tuple[AnyWindow, ...],
    settings: SinkSettings,
    aws: Aws,
    clock: Callable[[], int],
    *,
    notify: bool = True,
) -> list[Sink]:
    """Make the sinks that `sinks.to` names.

    Args:
        domain: What is run.
        windows: Its windows that run.
        settings: Names and limits.
        aws: Makes clients.
        clock: Microseconds since the epoch.
        notify: Whether people may be told, also of what an earlier run has left pending.

    Raises:
        SettingsError: A name means nothing, or comes twice.
    """
    sinks: list[Sink] = []
    for target in settings.to:
        if target == "aws":
            sinks += _aws_sinks(domain, settings, aws, clock, notify=notify)
        elif target == "stdout":
            sinks.append(StdoutSink(sys.stdout.buffer))
        elif is_search(target):
            sinks.append(_search_sink(target, domain, settings, aws))
        else:
            aggregates, events = domain.aggregates_of(windows), settings.tell_events
            sinks.append(files.FilesSink(directory_of(target), aggregates, events=events))
    names = [sink.name for sink in sinks]
    if len(set(names)) < len(names):
        msg = f"sinks.to names a sink twice: {', '.join(redact(settings.to))}"
        hint = "name each of aws, stdout, one directory and one server of OpenSearch once"
        raise SettingsError(msg, hint=hint)
    return sinks


def directory_of(target: str) -> Path:
    """Return the directory behind `file://`."""
    if not target.startswith(FILE):
        msg = f"{target!r} is no sink"
        raise SettingsError(msg, hint=_SINKS)
    return Path(_absolute(target))


def file_directory(settings: SinkSettings) -> Path | None:
    """Return the directory of the file sink, if there is one."""
    return next((directory_of(to) for to in settings.to if to.startswith(FILE)), None)


def sink_layout(settings: SinkSettings) -> dict[str, str | int]:
    """Return what ties a recovery store to its sinks: positions in files, nothing else."""
    directory = file_directory(settings)
    return {} if directory is None else {"files": str(directory)}


def prepare_files(settings: SinkSettings, aggregates: Sequence[str]) -> None:
    """Empty the file sink's files: before the first start on a store."""
    directory = file_directory(settings)
    if directory is not None:
        files.prepare(directory, aggregates, events=settings.tell_events)


def _absolute(url: str) -> str:
    path = unquote(url.removeprefix(FILE))
    if not path.startswith("/"):
        msg = f"{url} names no absolute path"
        raise SettingsError(msg, hint=f"write file://{Path.cwd() / path}")
    return path


def _aws_sinks(
    domain: Domain,
    settings: SinkSettings,
    aws: Aws,
    clock: Callable[[], int],
    *,
    notify: bool,
) -> list[Sink]:
    rng = random.Random()
    delivery = _delivery(settings)
    gathered = replace(delivery, linger_seconds=_GATHER_SECONDS)
    sinks: list[Sink] = []
    letters = _letters(domain, settings, aws)
    if letters is not None:
        sinks.append(letters)
    dead_letters = _opener(letters)
    if settings.table:
        alarms = domain.alarms
        sinks.append(
            IncidentsSink(
                aws("dynamodb"),
                aws("sns"),
                IncidentsOptions(
                    topic_arn=topic_arn(settings.topic, aws) if notify else "",
                    domain=domain.name,
                    table=settings.table,
                    key_templates={a.name: a.key_template for a in alarms if a.key_template},
                    subject_templates={
                        a.name: a.subject_template for a in alarms if a.subject_template
                    },
                    delivery=delivery,
                ),
                clock=clock,
                rng=rng,
                dead_letters=dead_letters,
            )
        )
    if settings.stream:
        sinks.append(
            KinesisSink(
                aws("kinesis"),
                KinesisOptions(settings.stream, delivery=delivery),
                rng=rng,
                dead_letters=dead_letters,
            )
        )
    if settings.metric:
        sinks.append(
            CloudWatchSink(
                aws("cloudwatch"), CloudWatchOptions(settings.namespace, settings.metric), rng=rng
            )
        )
    rows: tuple[tuple[str, str, type], ...] = (
        ("aggregates", settings.aggregates, AggregateRows),
        ("events", settings.events, Events),
    )
    for name, delivery_stream, kind in rows:
        if delivery_stream:
            sinks.append(
                FirehoseSink(
                    aws("firehose"),
                    FirehoseOptions(
                        delivery_stream,
                        name=name,
                        accepts=(kind,),
                        domain=domain.name,
                        event_lines=domain.written.lines if domain.written else "json",
                        delivery=gathered,
                    ),
                    rng=rng,
                    dead_letters=dead_letters,
                )
            )
    return sinks


def _search_sink(url: str, domain: Domain, settings: SinkSettings, aws: Aws) -> OpenSearchSink:
    return OpenSearchSink(
        OpenSearch(url, aws),
        OpenSearchOptions(
            settings.index or domain.name,
            properties=domain.written.properties if domain.written else {},
            daily=settings.index_daily,
            domain=domain.name,
            delivery=replace(_delivery(settings), linger_seconds=_GATHER_SECONDS),
        ),
        rng=random.Random(),
        dead_letters=_opener(_letters(domain, settings, aws)),
    )


def _delivery(settings: SinkSettings) -> DeliveryOptions:
    return DeliveryOptions(
        deadline_seconds=settings.deadline.total_seconds(), max_pending_bytes=settings.max_pending
    )


def _letters(domain: Domain, settings: SinkSettings, aws: Aws) -> FirehoseSink | None:
    if not settings.dead_letters:
        return None
    return FirehoseSink(
        aws("firehose"),
        FirehoseOptions(
            settings.dead_letters,
            name="dead_letters",
            accepts=(Late, Reject),
            domain=domain.name,
            delivery=replace(_delivery(settings), linger_seconds=_GATHER_SECONDS),
        ),
        rng=random.Random(),
    )


def _opener(letters: FirehoseSink | None) -> Callable[[], Part] | None:
    """Return what opens a part for what a destination refuses, if there is such a place."""
    return None if letters is None else lambda: letters.open(letters.parts[0], None)


def topic_arn(topic: str, aws: Aws) -> str:
    """Return a topic's ARN; a bare name is looked up in this account and region.

    Raises:
        SettingsError: No topic is named.
        KinewaxError: The account can't be asked.
    """
    if not topic:
        msg = "sinks.topic is empty, but sinks.table is not"
        raise SettingsError(msg, hint="name the topic that notices of incidents go to")
    if topic.startswith("arn:"):
        return topic
    sts = aws("sts")
    try:
        partition, account = _caller(sts.get_caller_identity()["Arn"])
    except Exception as error:
        raise explain(error, f"the account of topic {topic}") from error
    return f"arn:{partition}:sns:{sts.meta.region_name}:{account}:{topic}"


def _caller(arn: str) -> tuple[str, str]:
    parts = arn.split(":")
    return parts[1], parts[4]
