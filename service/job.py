"""What one run is made of, the same in the supervisor and in each worker.

A `Job` is plain values: it travels to the workers as JSON, and each makes its own source, sinks and
clients from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dataflows.decoders import writer_of
from dataflows.domain import Domain
from dataflows.options import Options, layout_of
from dataflows.registry import find_domain
from errors import SettingsError
from operators.allow import AllowList
from operators.codes import TextCodes
from operators.decode import ARRIVAL
from operators.session_spec import AnyWindow, SessionWindow
from operators.watermarks import BEGINNING, END
from service import endpoints
from service.archives import Replay, Scope
from service.setting_values import microseconds
from service.settings import Settings


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        domain_name: What `find_domain` takes: the domain's name, or its file.
        source: The source's URL.
        settings: All settings.
        started_at_us: When the first start on this store began; 0 before it is known.
        replay: How the source is replayed; None where it is read live.
    """

    domain_name: str
    source: str
    settings: Settings
    started_at_us: int = 0
    replay: Replay | None = None

    @property
    def notify(self) -> bool:
        """Whether people may be told."""
        return self.replay is None or self.replay.notify

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "domain": self.domain_name,
            "source": self.source,
            "settings": self.settings.model_dump(mode="json"),
            "started_at_us": self.started_at_us,
            "replay": None if self.replay is None else self.replay.as_json(),
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Job:
        """Read what `as_json` returned."""
        settings = Settings.model_validate(content["settings"])
        replay = None if content["replay"] is None else Replay(**content["replay"])
        started_at_us = content["started_at_us"]
        return cls(content["domain"], content["source"], settings, started_at_us, replay)

    @property
    def label(self) -> str:
        """The domain's own name, for logs and metrics."""
        return find_domain(self.domain_name).name

    def domain(self) -> Domain:
        """Return the domain, with the limits and cooldown that the settings ask for.

        Raises:
            SettingsError: The domain or a limit doesn't exist.
        """
        rules = self.settings.rules
        domain = find_domain(self.domain_name)
        if rules.limits:
            domain = domain.with_limits(dict(_limit(text) for text in rules.limits))
        if rules.cooldown is not None:
            seconds = rules.cooldown.total_seconds()
            domain = replace(
                domain,
                rules=tuple(replace(one, cooldown_seconds=seconds) for one in domain.rules),
                detectors=tuple(replace(one, cooldown_seconds=seconds) for one in domain.detectors),
            )
        if rules.trusted_proxies:
            domain = _behind(domain, rules.trusted_proxies)
        return domain

    def windows(self) -> tuple[AnyWindow, ...]:
        """Return the windows that run.

        Raises:
            SettingsError: One isn't declared.
        """
        return self.domain().windows_named(self.settings.windows.run)

    def aggregates(self) -> list[str]:
        """Return the names of the aggregates whose rows are written."""
        return self.domain().aggregates_of(self.windows())

    def options(self) -> Options:
        """Return the pipeline's options.

        Raises:
            SettingsError: The domain has no such time, can't allow whom the settings name, or can't
                write out single events.
        """
        domain = self.domain()
        event_time = self.settings.event_time
        chosen = event_time.field or domain.time_choices[0]
        if chosen not in domain.time_choices:
            msg = f"domain {domain.name} has no time {chosen!r}"
            raise SettingsError(msg, hint=f"its times: {', '.join(domain.time_choices)}")
        AllowList(domain.allow, self.settings.rules.allow, TextCodes())  # refuses what is wrong
        if self.settings.sinks.tell_events:
            writer_of(domain, TextCodes())  # refuses it, too
        historical = chosen in domain.own_times[1:]  # the first is stamped when the event is sent
        replay = self.replay
        if replay is not None and replay.processing_time:
            chosen = ARRIVAL
        elif replay is not None and chosen == ARRIVAL:
            msg = "an archive has lost when each record arrived"
            raise SettingsError(msg, hint="name a time of the events, or use --processing-time")
        return Options(
            time=chosen,
            disorder_us=microseconds(event_time.disorder),
            idle=event_time.idle or ("exclude" if historical else "wallclock"),
            windows=self.settings.windows.run,
            early=self.settings.windows.early,
            allow=self.settings.rules.allow,
            events=self.settings.sinks.tell_events,
            started_at_us=endpoints.cut_at_us(
                self.source, self.settings.source.start, self.started_at_us
            ),
            between_us=None if replay is None else _between_us(replay),
            notify=self.notify,
            speed=None if replay is None else replay.speed,
        )

    @property
    def is_historical(self) -> bool:
        """Whether the events' time has nothing to do with when they arrived."""
        chosen = self.settings.event_time.field
        return chosen is not None and chosen in self.domain().own_times[1:]

    def scope(self) -> Scope:
        """Return what this job makes of an archive."""
        is_stamped = self.replay is not None and self.replay.processing_time
        return Scope(
            by_arrival=not self.is_historical and not is_stamped,
            one_lane=is_stamped or bool(self.domain().event_id),
            run_up_us=max(
                (one.gap_us for one in self.windows() if isinstance(one, SessionWindow)), default=0
            ),
        )

    def layout(self) -> dict[str, str]:
        """Return what of the domain and options shapes state."""
        return layout_of(self.domain(), self.options())


def _behind(domain: Domain, proxies: tuple[str, ...]) -> Domain:
    if domain.format is None:
        msg = f"rules.trusted_proxies: domain {domain.name} reads no access logs"
        raise SettingsError(msg)
    try:
        return replace(domain, format=replace(domain.format, trusted_proxies=proxies))
    except ValueError as error:
        msg = f"rules.trusted_proxies: {error}"
        raise SettingsError(msg, hint="write networks, as 10.0.0.0/8") from None


def _between_us(replay: Replay) -> tuple[int, int] | None:
    if replay.from_us is None and replay.to_us is None:
        return None
    from_us = BEGINNING if replay.from_us is None else replay.from_us
    return from_us, END if replay.to_us is None else replay.to_us


def _limit(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        msg = f"rules.limits: {text!r} is no limit"
        raise SettingsError(msg, hint="write rule.severity=number") from None
