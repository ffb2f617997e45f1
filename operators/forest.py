"""A streaming random cut forest: how unlike the recent ones is each point?

It takes the place of RANDOM_CUT_FOREST and RANDOM_CUT_FOREST_WITH_EXPLANATION of Kinesis Data
Analytics: their parameters, ranges and score. What differs, and why, is decision 12; how to read a
score is docs/explanation/forest.md.

Guarantees: the same seed and points give the same scores bit for bit, one at a time, in batches of
any size, and after `dump` and `load`, on every processor of one architecture. A forest holds no
lock: one thread at a time may use it, several forests run side by side in threads, since the
compiled loops let go of the interpreter.

Papers: Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on
Streams" (ICML 2016); Efraimidis, Spirakis, "Weighted random sampling with a reservoir" (2006).
Ranges of the parameters: Amazon Kinesis Data Analytics SQL Reference, RANDOM_CUT_FOREST.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from errors import SettingsError
from messages import Floats
from operators.shingle import Shingle

if TYPE_CHECKING:
    from operators.forest_trees import Trees

LARGEST = 1e100
"""Greater values are refused: sums of their differences must stay finite."""
MOST_DIMENSIONS = 1_024


@dataclass(frozen=True, slots=True)
class ForestConfig:
    """What a forest is like; all of it shapes the state.

    Attributes:
        columns: Columns of a point.
        number_of_trees: 1 to 1,000. The score is their mean: more are steadier and slower.
        sub_sample_size: Points that each tree samples, 10 to 1,000, less than `time_decay`. The
            score of the first so many points is 0.
        time_decay: After so many points a sampled point's weight has fallen to 1/e: how much of
            the recent past counts.
        shingle_size: Points in a row that are scored together, 1 to 30.
        scales: What each column is divided by: a tuple of positive numbers; "spread" for the
            columns' spreads over the first `sub_sample_size` points; None to leave them. A column
            with large numbers otherwise outweighs the others.
        near_ratio: In a column that is constant, a change of up to this part of its value counts
            as none. Constant: all of a tree's sample lies within that part of its value.
        near_amount: The same, as an amount. The greater of both holds.

    Raises:
        SettingsError: A parameter is out of its range; it lists all that are.
    """

    columns: int
    number_of_trees: int = 100
    sub_sample_size: int = 256
    time_decay: int = 100_000
    shingle_size: int = 1
    scales: tuple[float, ...] | Literal["spread"] | None = None
    near_ratio: float = 0.01
    near_amount: float = 1e-9

    def __post_init__(self) -> None:
        within = {
            "columns": (1, MOST_DIMENSIONS),
            "number_of_trees": (1, 1_000),
            "sub_sample_size": (10, 1_000),
            "time_decay": (1, 2**31 - 1),
            "shingle_size": (1, 30),
        }
        problems = [
            f"{name} is {getattr(self, name)}: it must be a whole number from {low:,} to {high:,}"
            for name, (low, high) in within.items()
            if type(getattr(self, name)) is not int or not low <= getattr(self, name) <= high
        ]
        if not problems and self.sub_sample_size >= self.time_decay:
            problems.append("sub_sample_size must be less than time_decay")
        if not problems and self.dimensions > MOST_DIMENSIONS:
            problems.append(f"columns * shingle_size must be at most {MOST_DIMENSIONS:,}")
        problems += [
            f"{name} is {getattr(self, name)}: it must be 0 or more, and finite"
            for name in ("near_ratio", "near_amount")
            if not 0 <= getattr(self, name) <= LARGEST
        ]
        if isinstance(self.scales, tuple):
            fit = all(1 / LARGEST <= scale <= LARGEST for scale in self.scales)
            if len(self.scales) != self.columns or not fit:
                problems.append("scales must hold a positive, finite number for each column")
        elif self.scales not in (None, "spread"):
            problems.append('scales must be a tuple of numbers, "spread" or None')
        if problems:
            msg = f"forest: {problems[0]}"
            raise SettingsError(msg, problems=tuple(f"forest: {line}" for line in problems))

    @property
    def dimensions(self) -> int:
        """Return the columns of a shingle."""
        return self.columns * self.shingle_size

    @property
    def most(self) -> float:
        """Return the greatest score: log2(sub_sample_size)."""
        return math.log2(self.sub_sample_size)


@dataclass(frozen=True, slots=True)
class Explanations:
    """Scores of n points, and what each column has to do with them.

    Attributes:
        scores: float64 [n]; NaN of a refused point.
        above: float64 [n, columns]: the part of the score that a column has because the value is
            above what it is compared with, over the points of the shingle.
        below: The same for values below.
    """

    scores: Floats
    above: Floats
    below: Floats

    @property
    def attributions(self) -> Floats:
        """Return each column's part of the score, float64 [n, columns]; rows sum to the score."""
        return self.above + self.below

    @property
    def is_high(self) -> npt.NDArray[np.bool_]:
        """Tell where a column's value is rather above than below the usual, [n, columns]."""
        return self.above >= self.below

    @property
    def strengths(self) -> Floats:
        """Return how clear the direction is, from 0 to the attribution, float64 [n, columns]."""
        return np.abs(self.above - self.below)

    def columns_of(self, row: int, names: Sequence[str]) -> dict[str, dict[str, str | float]]:
        """Return a point's explanation by column, under the names that KDA uses."""
        attributions, strengths, is_high = self.attributions, self.strengths, self.is_high
        return {
            name: {
                "DIRECTION": "HIGH" if is_high[row, column] else "LOW",
                "STRENGTH": float(strengths[row, column]),
                "ATTRIBUTION_SCORE": float(attributions[row, column]),
            }
            for column, name in enumerate(names)
        }


@dataclass(frozen=True, slots=True)
class Refusal:
    """A point that isn't scored: its row in the batch, the first column that is unfit, and why."""

    row: int
    column: int
    reason: Literal["not a number", "infinite", "too large"]


def refusals(points: Floats) -> list[Refusal]:
    """Return which of these points a forest refuses, and why; in order of rows."""
    found = []
    for row, column in _firsts(~_is_fit(points)):
        value = points[row, column]
        reason: Literal["not a number", "infinite", "too large"] = (
            "not a number" if np.isnan(value) else "infinite" if np.isinf(value) else "too large"
        )
        found.append(Refusal(row, column, reason))
    return found


def seed_of(domain: str, features: str, key: str) -> int:
    """Return the seed of a key's forest: 64 bits, the same in every process and version."""
    parts = (part.encode() for part in (domain, features, key))
    framed = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return int.from_bytes(blake2b(framed, digest_size=8).digest(), "little")


def prepare() -> None:
    """Load the compiled loops, or compile them, so that no point waits for it.

    Out of numba's cache that is half a second, without it 5 to 15: where the cache lies, and what
    to do in images that can't be written to, says docs/explanation/forest.md.
    """
    forest = Forest(ForestConfig(columns=1, number_of_trees=1, sub_sample_size=10), seed=0)
    forest.explain(np.arange(12.0).reshape(-1, 1))
    Forest.load(forest.config, forest.dump())


class Forest:
    """A forest over the points of one stream, or of one key.

    Until `sub_sample_size` points have come it only keeps them: a key that comes a few times costs
    a few hundred bytes, and no tree. Then it is as large as it ever gets: `nbytes`.

    Args:
        config: What it is like.
        seed: Of all its random choices, an integer of 64 bits without sign: see `seed_of`.
    """

    __slots__ = ("_early", "_scales", "_shingle", "_trees", "config", "seed", "seen")

    def __init__(self, config: ForestConfig, seed: int) -> None:
        if not 0 <= seed < 2**64:
            msg = f"seed is {seed}: it must be an integer from 0 to 2**64 - 1"
            raise ValueError(msg)
        self.config = config
        self.seed = seed
        self.seen = 0
        """How many points it has learnt from; refused ones don't count."""
        self._early: Floats = np.empty((0, config.columns))
        self._trees: Trees | None = None
        self._scales: Floats | None = None
        self._shingle = Shingle(config.columns, config.shingle_size)

    @property
    def nbytes(self) -> int:
        """Return about how many bytes it holds in memory."""
        return (
            self._early.nbytes
            + self._shingle.tail.nbytes
            + (self._trees.nbytes if self._trees else 0)
        )

    def score(self, points: npt.ArrayLike, *, learn: bool = True) -> Floats:
        """Score points in turn, and learn from each before the next one is scored.

        Args:
            points: Numbers [n, columns].
            learn: Whether to learn; if not, the forest stays as it is.

        Returns:
            float64 [n]. 0 for the first `sub_sample_size` points, then from 0 (as usual as can be)
            over about 1 to log2(sub_sample_size). NaN for a point that holds NaN, infinity or a
            number beyond 1e100: it is neither scored nor learnt, the others are as if it weren't
            there, and `refusals` says why.

        Raises:
            ValueError: `points` has another shape.
        """
        return self._run(points, learn, None)

    def explain(self, points: npt.ArrayLike, *, learn: bool = True) -> Explanations:
        """Score points as `score` does, with the same scores, and explain each.

        Args:
            points: Numbers [n, columns].
            learn: Whether to learn.

        Raises:
            ValueError: `points` has another shape.
        """
        shape = np.shape(points)
        parts = np.zeros((2, *shape)) if len(shape) == 2 else np.zeros((2, 0, 0))
        scores = self._run(points, learn, parts)
        return Explanations(scores, parts[0], parts[1])

    def dump(self) -> bytes:
        """Return the whole state, as `load` takes it."""
        from operators import forest_state

        return forest_state.dump(self)

    @classmethod
    def load(cls, config: ForestConfig, state: bytes) -> Forest:
        """Return the forest that was dumped: its further scores are the same, bit for bit.

        Raises:
            LayoutError: `state` is of another version, of a forest with other parameters, or
                isn't whole.
        """
        from operators import forest_state

        return forest_state.load(config, state)

    def _run(self, given: npt.ArrayLike, learn: bool, parts: Floats | None) -> Floats:
        points = np.array(given, np.float64, ndmin=1)
        if points.ndim != 2 or points.shape[1] != self.config.columns:
            msg = f"points have the shape {points.shape}: it must be [n, {self.config.columns}]"
            raise ValueError(msg)
        fit = _is_fit(points).all(axis=1)
        if not fit.all():
            scores = np.full(len(points), np.nan)
            some = None if parts is None else np.zeros((2, int(fit.sum()), points.shape[1]))
            scores[fit] = self._score(points[fit], learn, some)
            if parts is not None and some is not None:
                parts[:, fit], parts[:, ~fit] = some, np.nan
            return scores
        return self._score(points, learn, parts)

    def _score(self, points: Floats, learn: bool, parts: Floats | None) -> Floats:
        """Score points that are fit, and add to `parts` where they are asked for."""
        early = 0
        if self._trees is None:
            early = min(self.config.sub_sample_size - self.seen, len(points))
            if learn:
                self._keep(points[:early])
            else:
                early = len(points)
        if learn:
            self.seen += len(points)
        scores = np.zeros(len(points))
        if self._trees is None or early == len(points):
            return scores
        shingles = self._shingle.take(self._scaled(points[early:]), keep=learn)
        begin = len(points) - len(shingles)
        if parts is None:
            scores[begin:] = self._trees.run(shingles, learn=learn)
        else:
            wide = np.zeros((2, *shingles.shape))
            scores[begin:] = self._trees.run(shingles, learn=learn, above=wide[0], below=wide[1])
            lags = (2, len(shingles), self.config.shingle_size, self.config.columns)
            parts[:, begin:] = wide.reshape(lags).sum(axis=2)
        over = scores > self.config.most
        if parts is not None:
            parts[:, over] *= (self.config.most / scores[over])[:, None]
        scores[over] = self.config.most
        return scores

    def _keep(self, points: Floats) -> None:
        """Keep early points; plant the trees when there are enough."""
        self._early = np.concatenate([self._early, points])
        if len(self._early) < self.config.sub_sample_size:
            return
        if self.config.scales == "spread":
            self._scales = spreads(self._early)
        elif self.config.scales is not None:
            self._scales = np.array(self.config.scales, np.float64)
        self._trees = self._plant()
        self._trees.run(self._shingle.take(self._scaled(self._early)), learn=True)
        self._early = self._early[:0].copy()

    def _plant(self) -> Trees:
        from operators.forest_trees import Trees

        config = self.config
        amounts = np.full(config.columns, config.near_amount)
        if self._scales is not None:
            amounts /= self._scales
        near = np.stack([amounts, np.full(config.columns, config.near_ratio)])
        return Trees(
            config.number_of_trees,
            config.sub_sample_size,
            config.dimensions,
            1 / config.time_decay,
            np.tile(near, config.shingle_size),
            self.seed,
        )

    def _scaled(self, points: Floats) -> Floats:
        # Adding 0.0 makes -0.0 of a point 0.0: they are equal, and would be hashed apart.
        return (points if self._scales is None else points / self._scales) + 0.0


def spreads(points: Floats) -> Floats:
    """Return each column's spread, float64 [columns].

    The middle half's width as of a normal distribution; the standard deviation where that is 0;
    1 where the column is constant.
    """
    low, high = np.percentile(points, [25, 75], axis=0)
    found = (high - low) / 1.349
    found = np.where(found > 0, found, points.std(axis=0))
    return np.where(found > 1 / LARGEST, found, 1.0)


def _is_fit(points: Floats) -> npt.NDArray[np.bool_]:
    return np.abs(points) <= LARGEST


def _firsts(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first true column of each row that has one."""
    rows = np.flatnonzero(mask.any(axis=1))
    return [(int(row), int(mask[row].argmax())) for row in rows]
