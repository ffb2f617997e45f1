"""Positions: what a recovery store knows of a stream's shards, freed from the slots that hold it.

A store's slots are fixed, since each keeps its shards in its own snapshot. Here all slots are read
into one `Positions`: where each shard is to be read on, the newest event time it has shown (so that
what is late stays decided in sequence order), its events whose clocks are still in question, and
the sums of the slots' ledgers. From that, the states of any number of slots follow: a shard goes to
the slot that owns its hash range, and the sums lie in the first slot.

All other states (key groups, notices, sink parts) are carried as they are, but for one thing: a key
group's watermark waits for slots by name. In a new store it waits until each of the new slots has
said which shards it reads. The shards themselves, and how far the watermark came, it still knows.
So no window closes early, and no event is counted twice or not at all.

The store must not be in use, except for `look`. An export is unpickled like the store itself: it
must come from a place one trusts.
"""

from __future__ import annotations

import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataflows import source_step
from dataflows.options import STEPS
from errors import LayoutError, SettingsError
from messages import Ledger
from operators import intake
from operators.lateness import NO_TIME
from service import layout, seeding, snapshots
from service.layout import Layout
from service.snapshots import Stored, state_of
from sources.kinesis import slot as kinesis_slot
from sources.kinesis.lineage import Shard, slot_of
from sources.kinesis.source import slot_names

_LOOKS = 5
_SCRATCH = ".positions"

# Plain values of the step that wrote them; `Any` for the same reason as in sources/base.py.
State = dict[str, Any]


@dataclass(frozen=True)
class ShardPosition:
    """All that slots keep of one shard.

    Attributes:
        read: As its slot keeps it: position, parents, hash range, `reading`, `drained` or `ended`.
        maximum_us: The newest event time it has shown; None before the first.
        waiting: Events whose clocks are in question, with their sequence numbers.
    """

    read: State
    maximum_us: int | None = None
    waiting: tuple[tuple[bytes, str], ...] = ()

    def slot_among(self, name: str, slots: int) -> int:
        """Return which of so many slots owns the shard of this name."""
        first_hash, last_hash = map(int, self.read["hash_range"])
        return slot_of(Shard(name, first_hash, last_hash), slots)


@dataclass(frozen=True)
class Positions:
    """A store's content.

    Attributes:
        layout: The store's layout record.
        files: How many files the store has.
        start_us: Where shards of the first listing begin; None for their oldest record.
        listed: Whether each slot has seen a listing; shards found later begin at their oldest.
        shards: By id.
        source_ledger: The sums of the slots' own ledgers.
        intake_ledger: The sums of their intakes'.
        others: The states of all steps but the source, as the engine stored them.
    """

    layout: Layout
    files: int
    start_us: int | None
    listed: bool
    shards: Mapping[str, ShardPosition]
    source_ledger: Ledger
    intake_ledger: Ledger
    others: tuple[Stored, ...]

    @property
    def slots(self) -> int:
        """How many slots the store has."""
        return int(self.layout.fields["slots"])

    def open_windows(self) -> dict[str, tuple[int, ...]]:
        """Return the starts of the open windows of each aggregate, in microseconds."""
        found: dict[str, set[int]] = {}
        for stored in self.others:
            if _is_of(stored, "groups"):
                name = stored.key.partition("/")[0]
                windows = state_of(stored.change).get("windows", {"open": ()})
                found.setdefault(name, set()).update(windows["open"])
        return {name: tuple(sorted(starts)) for name, starts in found.items()}


# ---- reading a store --------------------------------------------------------------------------


def read(directory: Path) -> Positions:
    """Read what a store has committed; nothing may run on it meanwhile.

    Raises:
        LayoutError: There is no store, it is of no stream, or of another version.
    """
    record = _layout_of(directory)
    stored = list(snapshots.latest_stored(directory))
    held = {one.key: state_of(one.change) for one in stored if _is_of(one, "slots")}
    if not held:
        msg = f"{directory}: nothing was committed yet, so there are no positions"
        raise LayoutError(msg, hint="start afresh with a new --recovery directory")
    others = (one for one in stored if not _is_of(one, "slots"))
    return gather(record, snapshots.file_count(directory), held, others)


def look(directory: Path) -> tuple[Positions, int]:
    """Read a store that may be in use, and the epoch up to which it is committed.

    Raises:
        LayoutError: As `read`, or the store moves on faster than it can be read.
    """
    for _ in range(_LOOKS):
        # The engine removes older states once it has committed newer ones. While no epoch was
        # committed in between, none that belongs to this one is missing.
        before = snapshots.resume_epoch(directory)
        found = read(directory)
        if snapshots.resume_epoch(directory) == before:
            return found, before
    msg = f"{directory} is in use, and commits faster than it can be read"
    raise LayoutError(msg, hint="stop the run, or try again")


def _layout_of(directory: Path) -> Layout:
    record = layout.read(directory)
    if record is None:
        msg = f"{directory} holds no recovery store (no {layout.FILE_NAME})"
        raise LayoutError(msg, hint="name the --recovery directory of a run")
    source = str(record.fields.get("source", ""))
    if not source.startswith("arn:"):
        msg = f"{directory} belongs to a run over {source or 'nothing'}, which has no shards"
        raise LayoutError(msg, hint="positions are those of a Kinesis stream")
    return record


def gather(
    record: Layout, files: int, states: Mapping[str, State], others: Iterable[Stored]
) -> Positions:
    """Read all slots into one.

    Args:
        record: The layout.
        files: How many files the store has.
        states: What the source step keeps, by slot; at least one.
        others: The states of the other steps.

    Raises:
        LayoutError: A state is of another version.
    """
    shards: dict[str, ShardPosition] = {}
    source_ledger: Counter[str] = Counter()
    intake_ledger: Counter[str] = Counter()
    for state in states.values():
        of_slot, of_intake = state["slot"], state["intake"]
        _check_version("source step", state, source_step.STATE_VERSION)
        _check_version("slot", of_slot, kinesis_slot.STATE_VERSION)
        _check_version("intake", of_intake, intake.STATE_VERSION)
        source_ledger.update(of_slot["ledger"])
        intake_ledger.update(of_intake["ledger"])
        seen = of_intake["shards"]
        for name, entry in of_slot["shards"].items():
            maximum_us, waiting = seen.get(name, (NO_TIME, ()))
            known = None if maximum_us == NO_TIME else maximum_us
            shards[name] = ShardPosition(entry, known, tuple(waiting))
    slots = [state["slot"] for state in states.values()]
    unlisted = [slot for slot in slots if not slot["listed"]]
    return Positions(
        layout=record,
        files=files,
        # Only a slot without a listing still needs its start. While there is one, shards that the
        # others find begin at the start too: opened since, they hold nothing from before it.
        start_us=(unlisted or slots)[0]["t0_us"],
        listed=not unlisted and len(slots) == int(record.fields["slots"]),
        shards=dict(sorted(shards.items())),
        source_ledger=dict(source_ledger),
        intake_ledger=dict(intake_ledger),
        others=tuple(others),
    )


def _check_version(what: str, state: State, version: int) -> None:
    if state["version"] != version:
        msg = f"the state of the {what} is of version {state['version']}, not {version}"
        raise LayoutError(msg, hint="use the kinewax that wrote it")


def _is_of(stored: Stored, kind: str) -> bool:
    return stored.step.rpartition(".")[2] == STEPS[kind]


# ---- resetting --------------------------------------------------------------------------------


def reset_all(positions: Positions, to_us: int | None) -> Positions:
    """Return the positions of a first start at another moment: in all shards, without windows.

    What was counted stays in the ledger, and sinks keep their positions. Windows that are open,
    watermarks and who was told of what are dropped: to go back with them would count events twice
    or find them late, and to go ahead would pass off half a window as a whole one.

    Args:
        positions: A store's.
        to_us: Where to begin; None for the oldest record there is.
    """
    dropped = sum(len(shard.waiting) for shard in positions.shards.values())
    ledger = Counter(positions.intake_ledger)
    if dropped:
        ledger.update({"waiting": -dropped, "dropped.reset": dropped})
    return replace(
        positions,
        layout=replace(positions.layout, started_at_us=to_us or 0),
        start_us=to_us,
        listed=False,
        shards={},
        intake_ledger=dict(ledger),
        others=tuple(
            _with_state(one, _afresh) if _is_of(one, "groups") or _is_of(one, "notices") else one
            for one in positions.others
        ),
    )


def reset_shards(positions: Positions, to_us: int | None, names: Iterable[str]) -> Positions:
    """Return positions with some shards at another moment, and all else as it was.

    Windows stay, since they hold the events of other shards too. A shard's newest event time
    stays as well: an event that is read again is late where its window has closed, and counted
    again where it is open.

    Args:
        positions: A store's.
        to_us: Where to begin; None for the oldest record there is.
        names: The shards' ids.

    Raises:
        SettingsError: The store doesn't know a shard, or has read it to its end.
    """
    shards = dict(positions.shards)
    for name in names:
        shard = shards.get(name)
        if shard is None:
            msg = f"the store knows no shard {name}"
            raise SettingsError(msg, hint="`kinewax positions show` names them")
        if shard.read["state"] != "reading":
            msg = f"shard {name} is closed and was read to its end"
            raise SettingsError(msg, hint="only a reset of all shards reads it again")
        fresh = {"sequence": None, "sub_sequence": None, "start_us": to_us, "read_until_us": None}
        shards[name] = replace(shard, read=shard.read | fresh)
    return replace(positions, shards=shards)


def _afresh(state: State) -> State:
    kept = ("version", "group", "rule", "ledger")
    return {name: value for name, value in state.items() if name in kept}


# ---- writing a store --------------------------------------------------------------------------


def write(directory: Path, positions: Positions, *, slots: int, files: int) -> None:
    """Make a store of these positions, in place of what lies in the directory.

    The new store is made and checked beside the old one. While they change places there is no
    layout record, and a start refuses a store without one; so none ever runs on a half.

    Args:
        directory: A directory held by `recovery.open_store`.
        positions: What to write.
        slots: How many slots the store gets.
        files: How many files, and so at most how many processes.
    """
    scratch = directory / _SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    seeding.seed(scratch, files, states(positions, slots))
    (directory / layout.FILE_NAME).unlink(missing_ok=True)
    for path in directory.glob("part-*.sqlite3*"):  # with the log that a killed process left
        path.unlink()
    for path in scratch.glob("part-*.sqlite3*"):
        path.rename(directory / path.name)
    scratch.rmdir()
    record = replace(positions.layout, fields={**positions.layout.fields, "slots": slots})
    layout.write(directory, record)


def states(positions: Positions, slots: int) -> dict[tuple[str, str], Any]:
    """Return the states of a store with so many slots, by step id and state key.

    `Any`: as the engine is to pickle them.
    """
    names = slot_names(slots)
    owned: list[dict[str, ShardPosition]] = [{} for _ in names]
    for name, shard in positions.shards.items():
        owned[shard.slot_among(name, slots)][name] = shard
    found: dict[tuple[str, str], Any] = {
        (f"kinewax.{STEPS['slots']}", name): _slot_state(positions, shards, sums=index == 0)
        for index, (name, shards) in enumerate(zip(names, owned, strict=True))
    }

    def waits_for_slots(state: State) -> State:
        watermark = state.get("watermark")
        if watermark is None:
            return state
        waits = {"silent": sorted(names), "unfinished": sorted(names)}
        return state | {"watermark": watermark | waits}

    for one in positions.others:
        changed = _with_state(one, waits_for_slots) if _is_of(one, "groups") else one
        found[one.step, one.key] = pickle.loads(changed.change)
    return found


def _slot_state(positions: Positions, shards: Mapping[str, ShardPosition], *, sums: bool) -> State:
    return {
        "version": source_step.STATE_VERSION,
        "slot": {
            "version": kinesis_slot.STATE_VERSION,
            "t0_us": positions.start_us,
            "listed": positions.listed,
            "shards": {name: shard.read for name, shard in shards.items()},
            "ledger": dict(positions.source_ledger) if sums else {},
        },
        "intake": {
            "version": intake.STATE_VERSION,
            "shards": {
                name: (NO_TIME if shard.maximum_us is None else shard.maximum_us, shard.waiting)
                for name, shard in shards.items()
                if shard.maximum_us is not None or shard.waiting
            },
            "ledger": dict(positions.intake_ledger) if sums else {},
        },
    }


def _with_state(stored: Stored, change: Callable[[State], State]) -> Stored:
    outer = pickle.loads(stored.change)
    state = change(state_of(stored.change))
    # As the step itself wraps it: steps with much state pickle it themselves.
    wrapped = pickle.dumps(state, protocol=5) if isinstance(outer, bytes) else state
    return replace(stored, change=pickle.dumps(wrapped))
