"""What a domain declares of a detector: features of a whole stream, scored by one forest.

A detector sees one vector of features a window. They are made from what all key groups know of the
window, so the vector doesn't depend on processes or on the order of events. Values only; the
arithmetic is in `features.py`, the scoring in `detector.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class StreamForest:
    """An incident for each window of the stream that is unlike those before it.

    Its levels are limits of the grade, which is calibrated: on a stream that doesn't change, a
    grade above 1 - p comes about once in 1 / p windows.

    Attributes:
        name: The rule's name, part of each incident's id.
        features: What the forest sees of a window, in order; their windows have one length.
        levels: Severities with ascending limits of the grade.
        evidence: What an incident names.
        number_of_trees: Of the forest, as all below: see `ForestConfig`.
        sub_sample_size: Windows that each tree holds; there is no score before so many.
        time_decay: Over how many windows the forest forgets.
        shingle_size: Windows in a row that make one point.
        warm_up: Windows with a score before one gets a grade: see `GradeConfig`.
        quiet_seconds: An anomaly that goes on is one incident a level: for so long, in event time,
            no window must have been above the level before the next one opens an incident.
        cooldown_seconds: As of a `Threshold`.
        digest_after: As of a `Threshold`.
        key_template: As of a `Threshold`.
        subject_template: As of a `Threshold`.
        doc: For the docs.
    """

    name: str
    features: tuple[Feature, ...]
    levels: tuple[Level, ...]
    evidence: tuple[Evidence, ...] = ()
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

    @property
    def windows(self) -> tuple[str, ...]:
        """The names of the windows that it needs, each once, in order."""
        used = [feature.window for feature in self.features]
        used += [evidence.window for evidence in self.evidence]
        return tuple(dict.fromkeys(used))

    @property
    def shape(self) -> str:
        """All of it that shapes its state, as text."""
        features = ", ".join(str(feature) for feature in self.features)
        return (
            f"{self.number_of_trees} trees of {self.sub_sample_size}, decay {self.time_decay}, "
            f"shingle {self.shingle_size}, warm-up {self.warm_up}: {features}"
        )
