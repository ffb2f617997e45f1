"""Every setting, declared once; four layers, and each value knows where it came from.

    defaults  <  TOML file  <  KINEWAX_SECTION__KEY  <  command-line flags

The TOML file is `--config FILE` or `KINEWAX_CONFIG`. A domain has defaults of its own (its
`destinations`), which lie just above the general ones. Durations are strings with a unit
(`"250ms"`, `"10s"`, `"1h30m"`). Wrong settings are all reported together, one line a problem, each
with its origin; an unknown key is named with the nearest known one.

Environment variables without a double underscore are not ours: a Kubernetes Service called
`kinewax` puts `KINEWAX_PORT` and its kin into every pod of its namespace.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from errors import SettingsError
from service.setting_values import (
    Names,
    NotNegative,
    Positive,
    Start,
    parse_duration,
    redact,
)

if TYPE_CHECKING:
    from dataflows.domain import Domain  # a probe reads settings, and has no use for numpy

ENV_PREFIX = "KINEWAX_"
CONFIG_VARIABLE = "KINEWAX_CONFIG"

# ---- the declaration --------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Aws(_Section):
    """How AWS is reached; credentials come from the default chain and are never a setting."""

    endpoint_url: str | None = Field(
        default=None, description="One address for all services, as that of a local AWS server."
    )
    region: str | None = Field(default=None, description="The region; by default the chain's own.")
    connect_timeout: Positive = Field(
        default=parse_duration("3s"), description="Longest wait for a connection."
    )
    read_timeout: Positive = Field(
        default=parse_duration("5s"),
        description="Longest wait for an answer, several times within `sinks.deadline`.",
    )
    max_connections: int = Field(
        default=64, ge=1, le=1000, description="Pooled connections a client."
    )


class Source(_Section):
    """Where events come from."""

    start: Start = Field(
        default="LATEST",
        description="Where a first start begins: LATEST, TRIM_HORIZON or an ISO time. "
        "A later start goes on where the recovery store left off.",
    )
    slots: int = Field(
        default=64,
        ge=1,
        le=1024,
        description="Slots that share the shards; fixed for a recovery store.",
    )
    consumer: Literal["polling", "enhanced"] = Field(
        default="polling",
        description="How a stream is read: `polling` asks for records; `enhanced` has them pushed "
        "by enhanced fan-out, in less time and with 2 MiB a second and shard of its own, at a "
        "price.",
    )
    consumer_name: str = Field(
        default="kinewax",
        min_length=1,
        description="The consumer of enhanced fan-out, registered where there is none: one a job. "
        "Or the ARN of one.",
    )
    poll_interval: Positive = Field(
        default=parse_duration("250ms"), description="Time between reads at a shard's tip."
    )
    max_calls_per_second: float = Field(
        default=400,
        gt=0,
        description="Reads a second and process, beyond which polling is stretched.",
    )
    max_drift: Positive = Field(
        default=parse_duration("5m"),
        description="How far a shard may be read ahead of the slowest of its process, "
        "by arrival time.",
    )
    on_data_loss: Literal["fail", "warn"] = Field(
        default="warn", description="What to do when records expired before they were read."
    )


class EventTime(_Section):
    """Which time of an event counts, and how long windows wait."""

    field: str | None = Field(
        default=None, description="A time the domain declares; by default the domain's own."
    )
    disorder: NotNegative = Field(
        default=parse_duration("10s"),
        description="How far behind its shard's newest event an event may come.",
    )
    idle: Literal["wallclock", "exclude", "hold"] | None = Field(
        default=None,
        description="What a shard at its tip does to the watermark; by default `wallclock`, and "
        "`exclude` where the chosen time is historical.",
    )


class Windows(_Section):
    """Which declared aggregates run."""

    run: Names = Field(default=(), description="Names of the aggregates to run; none means all.")
    early: bool = Field(
        default=True, description="Whether rules fire before a window closes; a replay says no."
    )


class Rules(_Section):
    """When a rule fires and how often it tells."""

    limits: Names = Field(
        default=(), description="Other limits, as `high_volume.warning=1,high_volume.high=20`."
    )
    cooldown: NotNegative | None = Field(
        default=None,
        description="Quiet time, in event time, between notices of one key; by default the rule's.",
    )
    allow: Names = Field(
        default=(),
        description="Whose events rules don't count: `client=66.249.64.0/19,agent=*Uptime*`.",
    )
    allow_from: str = Field(
        default="",
        description="A table with more of them, read again when it changes: `s3://BUCKET/KEY` or "
        "`file:///PATH`, with a column for each field that can be allowed.",
    )
    trusted_proxies: Names = Field(
        default=(),
        description="Networks whose X-Forwarded-For in access logs is believed: `10.0.0.0/8`.",
    )


class References(_Section):
    """Tables beside the stream."""

    tables: Names = Field(
        default=(),
        description="Where the domain's references are: `products=s3://BUCKET/KEY` or "
        "`products=file:///PATH`, CSV, JSON or Parquet by the name's ending.",
    )
    interval: Positive = Field(
        default=parse_duration("60s"), description="Time between looks whether they changed."
    )
    max_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1, description="The largest table that is taken up."
    )


class Runtime(_Section):
    """Processes, recovery and drain."""

    processes: int = Field(default=1, ge=1, le=64, description="Worker processes on this machine.")
    recovery: Path | None = Field(
        default=None,
        description="Directory of the recovery store, on a local disk; by default a temporary one.",
    )
    recovery_files: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Files of a new recovery store: the most processes it allows.",
    )
    snapshots: str = Field(
        default="",
        description="Where copies of the recovery store go, for a disk that goes with its task: "
        "s3://BUCKET/PREFIX or file:///DIR. A start without a store fetches the latest.",
    )
    snapshot_interval: Positive = Field(
        default=parse_duration("60s"), description="Between copies of the recovery store."
    )
    epoch_interval: Positive = Field(
        default=parse_duration("5s"), description="Time between snapshots."
    )
    drain_timeout: Positive = Field(
        default=parse_duration("25s"), description="Longest wait for a drain."
    )
    max_starts: int = Field(
        default=5, ge=1, description="Starts without a newly committed epoch before giving up."
    )

    @property
    def kept_states(self) -> timedelta | None:
        """How long the engine keeps older states, so that files copied one by one fit together."""
        return 2 * self.snapshot_interval if self.snapshots else None


class Cluster(_Section):
    """Several pods that are one service; each has its own share of the recovery files."""

    pods: Names = Field(
        default=(),
        description="Admin addresses of all pods, as `kinewax-0.kinewax:8080`, the same on each; "
        "none: this one is alone. The first decides when all start.",
    )
    index: int = Field(
        default=0,
        ge=0,
        description="Which of them this one is, from 0; one beyond them hands its files over.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Where workers of other pods reach those of this one: the pod's IP address.",
    )
    port: int = Field(
        default=2101,
        ge=0,
        le=65535,
        description="Port of the first worker, the others' follow; 0 takes free ones. What goes "
        "over it isn't authenticated: let only the pods reach it.",
    )
    token_file: Path | None = Field(
        default=None, description="File with a secret of the pods, by which they know each other."
    )


class Sinks(_Section):
    """Where results go."""

    to: Names = Field(
        default=("stdout",),
        description="`aws`, `stdout`, `file:///DIR`, or `https://HOST`, a server of OpenSearch; "
        "several allowed.",
    )
    table: str = Field(default="", description="DynamoDB table of incidents.")
    topic: str = Field(
        default="", description="SNS topic of notices: an ARN, or a name in this account."
    )
    namespace: str = Field(default="", description="CloudWatch namespace.")
    metric: str = Field(default="", description="CloudWatch metric: one count an incident.")
    stream: str = Field(default="", description="Kinesis stream that gets one row an incident.")
    aggregates: str = Field(default="", description="Firehose delivery stream of the aggregates.")
    events: str = Field(
        default="",
        description="Firehose delivery stream of single events, as their domain writes them "
        "out, if it does. If it is named, files and stdout get them, too.",
    )
    index: str = Field(
        default="",
        description="OpenSearch index of single events; by default it has the domain's name.",
    )
    index_daily: bool = Field(
        default=False,
        description="Whether each day has an index of its own: `INDEX-2026.01.31`, in UTC.",
    )
    dead_letters: str = Field(
        default="", description="Firehose delivery stream of rejected records and late events."
    )
    deadline: Positive = Field(
        default=parse_duration("20s"), description="Longest time spent on retries of one write."
    )
    max_pending: int = Field(
        default=16 * 1024 * 1024,
        ge=1024,
        description="Bytes a sink part holds before its source waits.",
    )

    @property
    def tell_events(self) -> bool:
        """Whether anybody wants single events."""
        return bool(self.events) or any(to.startswith(("https://", "http://")) for to in self.to)


class Admin(_Section):
    """The one port for health, metrics and settings."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a pod.")
    port: int = Field(
        default=0, ge=0, le=65535, description="Port; 0 takes a free one and prints it."
    )


class Log(_Section):
    """What is written about the run itself."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level written."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="`auto`: text on a terminal, JSON lines elsewhere."
    )
    summary_interval: Positive = Field(
        default=parse_duration("60s"),
        description="Time between the summary lines of a healthy run.",
    )
    emf_interval: NotNegative = Field(
        default=parse_duration("0s"),
        description="Time between lines for CloudWatch, in its embedded metric format, on standard "
        "output: 60s, as its metrics are by the minute. 0s for none.",
    )
    emf_namespace: str = Field(
        default="kinewax",
        min_length=1,
        max_length=255,
        description="CloudWatch namespace of those metrics.",
    )


class Settings(_Section):
    """All sections."""

    aws: Aws = Field(default_factory=Aws)
    source: Source = Field(default_factory=Source)
    event_time: EventTime = Field(default_factory=EventTime)
    windows: Windows = Field(default_factory=Windows)
    rules: Rules = Field(default_factory=Rules)
    references: References = Field(default_factory=References)
    runtime: Runtime = Field(default_factory=Runtime)
    cluster: Cluster = Field(default_factory=Cluster)
    sinks: Sinks = Field(default_factory=Sinks)
    admin: Admin = Field(default_factory=Admin)
    log: Log = Field(default_factory=Log)


# ---- layers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """One value of one layer, before validation."""

    value: Any  # whatever TOML, a variable or a flag holds; validation gives it its type
    origin: str


@dataclass(frozen=True)
class Loaded:
    """Valid settings and the origin of each."""

    settings: Settings
    origins: Mapping[str, str]

    def effective(self) -> dict[str, dict[str, Any]]:
        """List every setting with its value, as text is shown to people, and its origin."""
        values = self.settings.model_dump(mode="json")
        return {
            path: {
                "value": redact(values[section][key]),
                "origin": self.origins.get(path, "default"),
            }
            for path, section, key in _paths()
        }


def _paths() -> Iterator[tuple[str, str, str]]:
    for section, declaration in Settings.model_fields.items():
        model = declaration.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for key in model.model_fields:
                yield f"{section}.{key}", section, key


def known() -> tuple[str, ...]:
    """Name every setting, as `runtime.processes`."""
    return tuple(path for path, _, _ in _paths())


def declared() -> Iterator[tuple[str, str, str, str]]:
    """Describe every setting: path, environment variable, default, description."""
    values = Settings().model_dump(mode="json")
    for path, section, key in _paths():
        model = Settings.model_fields[section].annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        default = values[section][key]
        shown = ", ".join(default) if isinstance(default, list) else str(default)
        description = model.model_fields[key].description or ""
        yield path, variable_of(path), "" if default is None else shown, description


def variable_of(path: str) -> str:
    """Name the environment variable of a setting."""
    return ENV_PREFIX + path.upper().replace(".", "__")


def _from_domain(domain: Domain) -> dict[str, Given]:
    own = domain.destinations.settings
    return {path: Given(name, f"domain {domain.name}") for path, name in own}


def _from_file(path: Path, origin: str) -> dict[str, Given]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: {error.strerror or error} (from {origin})"
        raise SettingsError(msg, hint="name an existing TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: not TOML: {error} (from {origin})"
        raise SettingsError(msg, hint='a line is `key = "value"` below a `[section]`') from error
    layer = {}
    for section, body in content.items():
        if not isinstance(body, dict):
            layer[section] = Given(body, str(path))
            continue
        for key, value in body.items():
            layer[f"{section}.{key}"] = Given(value, str(path))
    return layer


def _from_environment(environment: Mapping[str, str]) -> dict[str, Given]:
    return {
        name[len(ENV_PREFIX) :].lower().replace("__", ".", 1): Given(value, name)
        for name, value in environment.items()
        if name.startswith(ENV_PREFIX) and "__" in name[len(ENV_PREFIX) :]
    }


def load(
    *,
    flags: Mapping[str, Given] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
    domain: Domain | None = None,
) -> Loaded:
    """Merge the layers and validate the outcome.

    Args:
        flags: Values given on the command line, by path, each with its flag as origin.
        environment: Variables, as `os.environ`; given in so that nothing is read at import.
        config: The TOML file; by default the one that `KINEWAX_CONFIG` names, if any.
        domain: The domain that runs; where its results go has defaults of its own.

    Raises:
        SettingsError: With one line for each problem.
    """
    environment = environment or {}
    origin = "--config"
    if config is None and environment.get(CONFIG_VARIABLE):
        config, origin = Path(environment[CONFIG_VARIABLE]), CONFIG_VARIABLE
    layers = [
        _from_domain(domain) if domain else {},
        _from_file(config, origin) if config else {},
        _from_environment(environment),
        dict(flags or {}),
    ]
    known_paths = known()
    problems = []
    merged: dict[str, Given] = {}
    for layer in layers:
        for path, given in layer.items():
            if path in known_paths:
                merged[path] = given
            else:
                problems.append(_unknown(path, given.origin, known_paths))
    nested: dict[str, dict[str, Any]] = {}
    for path, given in merged.items():
        section, key = path.split(".")
        nested.setdefault(section, {})[key] = given.value
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        problems += [_problem(detail, merged) for detail in error.errors()]
    if problems:
        raise_problems(problems)
    return Loaded(settings, {path: given.origin for path, given in merged.items()})


def raise_problems(problems: list[str]) -> None:
    """Raise all problems as one error; the command line prints one line for each."""
    count = len(problems)
    msg = problems[0] if count == 1 else f"{count} settings are wrong: " + "; ".join(problems)
    raise SettingsError(msg, problems=tuple(problems))


def _unknown(path: str, origin: str, known_paths: tuple[str, ...]) -> str:
    environment = origin.startswith(ENV_PREFIX)
    name = origin if environment else path
    near = difflib.get_close_matches(path, known_paths, n=1, cutoff=0.5)
    meant = ""
    if near:
        meant = f"; did you mean {variable_of(near[0]) if environment else near[0]}?"
    return f"unknown setting {name}{meant}" + ("" if environment else f" (from {origin})")


def _problem(detail: Any, merged: Mapping[str, Given]) -> str:
    path = ".".join(str(part) for part in detail["loc"][:2])
    given = merged.get(path)
    origin = given.origin if given else "default"
    text = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] != "value_error":
        text = text[:1].lower() + text[1:].replace("Input should", "should")
        text = text.replace("input should", "should") + f", is {redact(detail['input'])!r}"
    return f"{path}: {text} (from {origin})"
