"""What a domain declares of detectors: what their forests see, and what is alarming.

- `StreamForest` sees one vector of features a window of the whole stream. They are made from what
  all key groups know of the window, so it doesn't depend on processes or on the order of events.
- `KeyForest` sees the values of a window, each key with a forest of its own.
- `RecordForest` sees fields of single events.

Values only; the arithmetic of features is in `features.py`, the scoring in `detector.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from operators.detector import DetectorConfig
from operators.forest import ForestConfig
from operators.grade import GradeConfig
from operators.spec import Level


@dataclass(frozen=True, slots=True)
class Total:
    """A count or a sum over all keys of a window, a second.

    The forest sees ln(1 + x) of it: traffic varies by factors, not by amounts.
    """

    name: str
    window: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """The window's values that it uses."""
        return (self.value,)


@dataclass(frozen=True, slots=True)
class Share:
    """One count over all keys as a part of another, 0 to 1; 0 where the other is 0."""

    name: str
    window: str
    value: str
    of: str

    @property
    def values(self) -> tuple[str, ...]:
        """The window's values that it uses."""
        return (self.value, self.of)


@dataclass(frozen=True, slots=True)
class Keys:
    """How many keys a window has; the forest sees ln(1 + x)."""

    name: str
    window: str

    @property
    def values(self) -> tuple[str, ...]:
        """The window's values that it uses."""
        return ()


@dataclass(frozen=True, slots=True)
class NewKeys:
    """How many keys of a window weren't met for some time before; the forest sees ln(1 + x)."""

    name: str
    window: str
    memory_seconds: int

    @property
    def values(self) -> tuple[str, ...]:
        """The window's values that it uses."""
        return ()


@dataclass(frozen=True, slots=True)
class Entropy:
    """How evenly a count is spread over the keys of a window, in bits: 0 if one key has it all."""

    name: str
    window: str
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """The window's values that it uses."""
        return (self.value,)


Feature = Total | Share | Keys | NewKeys | Entropy


@dataclass(frozen=True, slots=True)
class Evidence:
    """The keys of a window that an incident names: those with the greatest first values."""

    name: str
    window: str
    top: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scoring:
    """What all detectors have: a forest, a calibrated grade, levels of it, and who is told.

    By default the levels are limits of the grade: on a stream that stays as it is, a grade above
    1 - p comes about once in 1 / p points.

    Attributes:
        name: The rule's name, part of each incident's id.
        levels: Severities with ascending limits.
        levels_of: What they limit: the grade, or the score, which is there from the first
            `sub_sample_size` points on and knows no warm-up, but must be chosen for the stream.
        unlearnt: How many points in a row above the lowest level, one of the score, aren't learnt:
            see `DetectorConfig`.
        number_of_trees: Of the forest, as the next three: see `ForestConfig`.
        sub_sample_size: Points that each tree holds; there is no score before so many.
        time_decay: Over how many points the forest forgets.
        shingle_size: How many successive points are scored together.
        warm_up: Points with a score before one gets a grade: see `GradeConfig`.
        quiet_seconds: An anomaly that goes on is one incident a level: for so long, in event time,
            no point must have been above the level before the next one opens an incident.
        cooldown_seconds: As of a `Threshold`, like all below.
        digest_after: How many notices a window sends one by one.
        key_template: The DynamoDB partition key of its incidents.
        subject_template: The notice's subject line.
        doc: For the docs.
    """

    name: str
    levels: tuple[Level, ...]
    levels_of: Literal["grade", "score"] = "grade"
    unlearnt: int = 0
    number_of_trees: int = 100
    sub_sample_size: int = 256
    time_decay: int = 100_000
    shingle_size: int = 1
    warm_up: int = 300
    quiet_seconds: float = 600
    cooldown_seconds: float = 0
    digest_after: int = 20
    key_template: str = ""
    subject_template: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamForest(_Scoring):
    """An incident for each window of the stream that is unlike those before it.

    Attributes:
        features: What the forest sees of a window, in order; their windows have one length.
        evidence: What an incident names.
    """

    features: tuple[Feature, ...]
    evidence: tuple[Evidence, ...] = ()

    @property
    def windows(self) -> tuple[str, ...]:
        """The names of the windows that it needs, each once, in order."""
        used = [feature.window for feature in self.features]
        used += [evidence.window for evidence in self.evidence]
        return tuple(dict.fromkeys(used))

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(feature.name for feature in self.features)

    @property
    def sees(self) -> str:
        """What its points are made of, as text."""
        return ", ".join(map(str, self.features))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyForest(_Scoring):
    """An incident for each key's window that is unlike the same key's windows before it.

    Each key has a forest of its own, which sees those of its windows in which it did something. A
    window in which one of the values is null is not scored.

    Attributes:
        window: The window whose values it sees.
        values: Which of them: numbers. The forest sees ln(1 + x) of counts and sums of what is
            never negative, as amounts vary by factors.
        max_keys: How many keys are kept, shared equally by the window's groups. When another one
            comes, that whose newest window is the oldest is forgotten.
        emit: Whether each window's score is written, or incidents only.
    """

    window: str
    values: tuple[str, ...]
    max_keys: int = 1_000
    emit: bool = True

    @property
    def windows(self) -> tuple[str, ...]:
        """The name of its window, alone."""
        return (self.window,)

    @property
    def columns(self) -> tuple[str, ...]:
        """The values' names."""
        return self.values

    @property
    def sees(self) -> str:
        """What its points are made of, as text."""
        return f"{', '.join(self.values)} of {self.window}, {self.max_keys} keys"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordForest(_Scoring):
    """An incident for each event that is unlike those before it, as RANDOM_CUT_FOREST of KDA.

    One forest sees all events, late ones too, in the order in which they are read. That depends on
    how shards are read beside each other, so with several shards another run has other scores; the
    detectors of windows don't depend on it. Each incident is of one event, so a cooldown silences
    none: `quiet_seconds` says how often there is one.

    Attributes:
        fields: The number fields that make a point, in order.
        key: Fields that an incident and a row name, beside shard and sequence number.
        emit: Whether each event's score is written, or incidents only.
    """

    fields: tuple[str, ...]
    key: tuple[str, ...] = ()
    emit: bool = True

    @property
    def windows(self) -> tuple[str, ...]:
        """It needs none."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields' names."""
        return self.fields

    @property
    def sees(self) -> str:
        """What its points are made of, as text."""
        return ", ".join(self.fields)


DetectorSpec = StreamForest | KeyForest | RecordForest


def config_of(spec: DetectorSpec) -> DetectorConfig:
    """Return what a detector's forests, grades and alarms are like.

    Raises:
        SettingsError: A parameter is out of its range.
    """
    limits = tuple(level.above for level in spec.levels)
    config = DetectorConfig(
        ForestConfig(
            columns=len(spec.columns),
            number_of_trees=spec.number_of_trees,
            sub_sample_size=spec.sub_sample_size,
            time_decay=spec.time_decay,
            shingle_size=spec.shingle_size,
            scales="spread",
        ),
        GradeConfig(warm_up=spec.warm_up),
        quiet_seconds=spec.quiet_seconds,
    )
    if spec.levels_of == "score":
        return replace(config, alarm_scores=limits, unlearnt=spec.unlearnt)
    return replace(config, alarm_grades=limits)


def shape_of(spec: DetectorSpec) -> str:
    """Return all of a detector that shapes its state, as text."""
    config = config_of(spec)
    return f"{type(spec).__name__} of {spec.sees}; {config.forest}, {config.grade}"
