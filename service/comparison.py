"""Whether a replay gives what the live run gave, row by row, and what accounts for differences.

Rows and final incidents are matched by id and compared whole, but for the fields that say when they
were made. A difference is accounted for when the live run had late events that belong to just that
row: the same window and key, for sessions the same key within the gap. Anything else is a
difference that nothing explains.

Both outputs are read twice, and what is kept is some 200 bytes a row, so that a day of rows can be
compared on a laptop. Ids and contents are told apart by 64-bit hashes: of n rows two are taken for
one with a probability of about n^2 / 2^65.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson

from dataflows.decoders import decoder_of
from dataflows.domain import Domain
from messages import Int64s, Scalar
from operators.codes import TextCodes
from operators.decode import Decoded, Decodes
from operators.derived import derive
from operators.event_time import iso_time, iso_times, parse_times
from operators.feature_spec import DetectorSpec, RecordForest
from operators.rows import aggregate_rows
from operators.rules import incident_id
from operators.session_spec import AnyWindow, SessionWindow
from operators.spec import Ratio, Threshold, Window
from service.job import Job
from service.outputs import LateEvent, Outputs, Written

EXAMPLES = 20
_CANDIDATES = 1_000
_DECODED_TOGETHER = 1_000

Name = tuple[bool, str]  # whether of incidents, and the rule or aggregate
Spec = AnyWindow | Threshold | Ratio | DetectorSpec


@dataclass(slots=True)
class Tally:
    """What became of the rows of an aggregate, or of the incidents of a rule.

    Attributes:
        same: They are equal.
        late: They differ, and late events of the live run say why.
        beyond: Only the replay has them: the live run began behind them, or ended before.
        different: They differ.
        missing: Only the live run has them.
        added: Only the replay has them.
    """

    same: int = 0
    late: int = 0
    beyond: int = 0
    different: int = 0
    missing: int = 0
    added: int = 0

    @property
    def unexplained(self) -> int:
        """How many differ without a reason."""
        return self.different + self.missing + self.added


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing came to.

    Attributes:
        live: Where the live run's outputs were.
        tallies: By `rows NAME` and `incidents NAME`.
        late_events: How many late events of the live run were found, by aggregate.
        late_counted: How many its ledger counts, by count name, if it was there.
        late_in_replay: How many late events the replay itself had, by aggregate.
        not_compared: What was left out, and why.
        examples: Some of the differences without a reason. (`Any`: as JSON says it.)
    """

    live: str
    tallies: Mapping[str, Tally]
    late_events: Mapping[str, int]
    late_counted: Mapping[str, int]
    late_in_replay: Mapping[str, int]
    not_compared: Mapping[str, str]
    examples: Sequence[Mapping[str, Any]]

    @property
    def total(self) -> Tally:
        """The sums over all."""
        tallies = [asdict(one) for one in self.tallies.values()]
        return Tally(**{name: sum(one[name] for one in tallies) for name in asdict(Tally())})

    @property
    def late_without_lines(self) -> dict[str, int]:
        """How many late events the live run's ledger has more than were found, by count name."""
        found = {f"late.{name}": count for name, count in self.late_events.items()}
        more = {name: count - found.get(name, 0) for name, count in self.late_counted.items()}
        return {name: count for name, count in more.items() if count > 0}

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, for the summary."""
        return asdict(self.total) | {
            "live": self.live,
            "of": {name: asdict(one) for name, one in self.tallies.items()},
            "late_events": dict(self.late_events),
            "late_counted": dict(self.late_counted),
            "late_in_replay": dict(self.late_in_replay),
            "not_compared": dict(self.not_compared),
            "examples": list(self.examples),
        }

    def lines(self) -> list[str]:
        """Say it for people, a line each."""
        total = self.total
        found = [f"compared with {self.live}: {total.same:,} rows and incidents are the same"]
        if total.late:
            found.append(
                f"{total.late:,} differ: the live run missed late events of theirs"
                f" ({_counts(self.late_events)})"
            )
        if total.beyond:
            found.append(f"{total.beyond:,} are of times that the live run has no whole windows of")
        found += [f"{name} not compared: {why}" for name, why in self.not_compared.items()]
        for name, one in self.tallies.items():
            if one.unexplained:
                found.append(
                    f"{name}: {one.different:,} differ, {one.missing:,} only live, "
                    f"{one.added:,} only in the replay, and no late event accounts for it"
                )
        if total.unexplained and self.late_without_lines:
            found.append(
                "of some late events the live run kept no lines to tell theirs by"
                f" ({_counts(self.late_without_lines)})"
            )
        if total.unexplained and self.late_in_replay:
            found.append(
                f"the replay missed late events, too ({_counts(self.late_in_replay)}): "
                "allow it more --disorder"
            )
        return found


def compare(job: Job, live: Outputs, replayed: Outputs) -> Comparison:
    """Compare what a replay wrote with what a live run wrote.

    Args:
        job: The replay's.
        live: What the live run wrote.
        replayed: What the replay wrote.
    """
    return _Comparing(job, live, replayed).result()


@dataclass(slots=True)
class _Run:
    """The contents of one run's rows, and what times they span."""

    contents: dict[Name, dict[int, tuple[int, str]]]
    first: dict[Name, str] = field(default_factory=dict)
    last: str = ""
    cut: dict[Name, str] = field(default_factory=dict)  # the latest end of a partial window


class _Comparing:
    def __init__(self, job: Job, live: Outputs, replayed: Outputs) -> None:
        self._domain = job.domain()
        self._windows = job.windows()
        self._live_outputs = live
        self._replayed_outputs = replayed
        options = job.options()
        self._from, self._to = "", "~"  # behind all digits
        self._is_whole = options.between_us is None
        if job.replay is not None and job.replay.from_us is not None:
            self._from = _bare(iso_time(job.replay.from_us))
        if job.replay is not None and job.replay.to_us is not None:
            self._to = _bare(iso_time(job.replay.to_us))
        self._specs = _specs_of(self._domain, self._windows)
        self._late = _Late(self._domain, self._windows, options.time)
        self._not_compared: dict[str, str] = {}

    def result(self) -> Comparison:
        live = self._indexed(self._live_outputs, self._late.take)
        late_in_replay: Counter[str] = Counter()
        replayed = self._indexed(
            self._replayed_outputs, lambda event: late_in_replay.update((event.aggregate,))
        )
        self._late.finish()
        self._leave_out(live, replayed)
        tallies: dict[Name, Tally] = {}
        differing: dict[Name, set[int]] = {}
        for name in self._specs:
            mine, others = live.contents.get(name, {}), replayed.contents.get(name, {})
            differing[name] = {
                code
                for code in mine.keys() | others.keys()
                if mine.get(code, ())[:1] != others.get(code, ())[:1]
            }
            tallies[name] = Tally(same=len(mine.keys() | others.keys()) - len(differing[name]))
        examples = self._account(differing, tallies, live, replayed)
        return Comparison(
            self._live_outputs.url,
            {_title(name): tally for name, tally in tallies.items()},
            dict(self._late.events),
            {
                name: count
                for name, count in self._live_outputs.ledger.items()
                if name.startswith("late") and count
            },
            late_in_replay,
            self._not_compared,
            examples,
        )

    def _indexed(self, outputs: Outputs, take_late: Callable[[LateEvent], None]) -> _Run:
        run = _Run({name: {} for name in self._specs})
        for one in outputs.read():
            if isinstance(one, LateEvent):
                take_late(one)
                continue
            name = (one.is_incident, one.name)
            if name not in self._specs:
                continue
            begin, end = _span(one)
            if one.fields.get("partial"):
                run.cut[name] = max(run.cut.get(name, ""), end)
                continue
            run.first[name] = min(run.first.get(name, begin), begin)
            run.last = max(run.last, end)
            if not (self._from <= begin and end <= self._to):
                continue
            code = _code(one.id.encode())
            known = run.contents[name].get(code)
            if known is None or one.made_at >= known[1]:
                content = _code(orjson.dumps(one.fields, option=orjson.OPT_SORT_KEYS))
                run.contents[name][code] = (content, one.made_at)
        return run

    def _leave_out(self, live: _Run, replayed: _Run) -> None:
        """Find out what can't be compared."""
        if not self._live_outputs.tells_incidents:
            self._not_compared["incidents"] = "the live run's outputs hold none"
            self._specs = {name: spec for name, spec in self._specs.items() if not name[0]}
        for name, spec in list(self._specs.items()):
            if not isinstance(spec, DetectorSpec):
                continue
            why = self._why_not(spec, live, replayed)
            if why:
                self._not_compared[spec.name] = why
                del self._specs[name]

    def _why_not(self, spec: DetectorSpec, live: _Run, replayed: _Run) -> str:
        """Say why a detector can't be compared; "" if it can."""
        if isinstance(spec, RecordForest):
            return "its scores depend on the order in which shards were read"
        names = [(False, spec.name), *((False, window) for window in spec.windows)]
        first = next((name for name in names if name in live.first), None)
        if not self._is_whole or first is None or live.first[first] != replayed.first.get(first):
            return "its scores depend on all it saw before, and the two runs began elsewhere"
        return ""

    def _account(
        self,
        differing: Mapping[Name, set[int]],
        tallies: Mapping[Name, Tally],
        live: _Run,
        replayed: _Run,
    ) -> list[dict[str, Any]]:
        """Sort differences by what accounts for them; return some that nothing does."""
        if not any(differing.values()):
            return []
        late: set[tuple[Name, int]] = set()
        beyond: set[tuple[Name, int]] = set()
        shown: dict[tuple[Name, int], dict[str, Any]] = {}
        for side, outputs in (("live", self._live_outputs), ("replay", self._replayed_outputs)):
            for one in outputs.read():
                if isinstance(one, LateEvent) or one.fields.get("partial"):
                    continue
                name = (one.is_incident, one.name)
                place = (name, _code(one.id.encode()))
                if place[1] not in differing.get(name, ()):
                    continue
                if self._late.accounts_for(self._specs[name], one, place[1]):
                    late.add(place)
                elif place[1] not in live.contents[name] and self._is_beyond(name, one, live):
                    beyond.add(place)
                elif place in shown or len(shown) < _CANDIDATES:
                    shown.setdefault(place, {"of": _title(name), "id": one.id})[side] = one.fields
        for name, codes in differing.items():
            tally = tallies[name]
            for code in codes:
                if (name, code) in late:
                    tally.late += 1
                elif (name, code) in beyond:
                    tally.beyond += 1
                elif code not in replayed.contents[name]:
                    tally.missing += 1
                elif code not in live.contents[name]:
                    tally.added += 1
                else:
                    tally.different += 1
        return [one for place, one in shown.items() if place not in late | beyond][:EXAMPLES]

    def _is_beyond(self, name: Name, one: Written, live: _Run) -> bool:
        """Tell whether the live run never had a row's window whole."""
        begin, end = _span(one)
        if end > live.last:
            return True
        spec = self._specs[name]
        begun_by = [name]
        if isinstance(spec, Threshold | Ratio):
            # Its window may write no rows; then the shortest that does tells best.
            shortest = sorted(
                (window.grain_us, (False, window.name))
                for window in self._windows
                if isinstance(window, Window) and window.emit
            )
            begun_by = [(False, spec.window), *(other for _, other in shortest)]
        for other in begun_by:
            if other in live.cut:
                return begin < live.cut[other]
            if other in live.first:
                return begin < live.first[other]
        return False


class _Late:
    """The live run's late events, and which rows they belong to."""

    def __init__(self, domain: Domain, windows: Sequence[AnyWindow], time: str) -> None:
        self._domain = domain
        self._windows = {window.name: window for window in windows}
        self._time = time
        self._texts = TextCodes()
        self._waiting: dict[str, list[bytes]] = defaultdict(list)
        self._ids: dict[str, set[int]] = defaultdict(set)  # of rows, by window; and by rule
        self._starts: dict[str, set[str]] = defaultdict(set)
        self._times: dict[str, dict[tuple[Scalar, ...], list[int]]] = defaultdict(dict)
        self.events: Counter[str] = Counter()

    @cached_property
    def _decoder(self) -> Decodes:
        fields = self._domain.read_for(tuple(self._windows.values()))
        return decoder_of(self._domain, fields, self._time, self._texts)

    def take(self, event: LateEvent) -> None:
        """Take an event in."""
        if event.aggregate not in self._windows:
            return
        self.events[event.aggregate] += 1
        waiting = self._waiting[event.aggregate]
        waiting.append(event.payload)
        if len(waiting) == _DECODED_TOGETHER:
            self._place(event.aggregate)

    def finish(self) -> None:
        """All events are in."""
        for name in list(self._waiting):
            self._place(name)

    def accounts_for(self, spec: Spec, one: Written, code: int) -> bool:
        """Tell whether late events belong to a row or incident."""
        match spec:
            case SessionWindow():
                return self._is_near(spec, one)
            case Window():
                if spec.top or not self._tells_key(spec):  # one key can have displaced another
                    return _span(one)[0] in self._starts[spec.name]
                return code in self._ids[spec.name]
            case Threshold() | Ratio():
                if not self._tells_key(self._windows[spec.window]):
                    return _span(one)[0] in self._starts[spec.window]
                return code in self._ids[f"rule {spec.name}"]
            case _:  # what a forest has learnt shows ever after
                starts = [start for window in spec.windows for start in self._starts[window]]
                return bool(starts) and _span(one)[0] >= min(starts)

    def _is_near(self, spec: SessionWindow, one: Written) -> bool:
        key = tuple(one.fields[name] for name in spec.key if self._tells_key(spec))
        times_us = self._times[spec.name].get(key, ())
        span_us, _ = parse_times([one.fields["window_start"], one.fields["window_end"]])
        begin_us, end_us = span_us.tolist()  # the end is a gap behind the last event
        return any(begin_us - spec.gap_us < time_us < end_us for time_us in times_us)

    def _place(self, name: str) -> None:
        payloads = self._waiting.pop(name)
        decoded = self._decoder.decode(payloads, None)
        rows = np.setdiff1d(np.arange(len(decoded.times_us)), decoded.bad_rows)
        window = self._windows[name]
        derive(self._domain.derived, decoded.columns)
        keys = self._keys(window.key if self._tells_key(window) else (), decoded, rows)
        times_us = decoded.times_us[rows]
        if isinstance(window, SessionWindow):
            for key, time_us in zip(keys, times_us.tolist(), strict=True):
                self._times[name].setdefault(key, []).append(time_us)
            return
        starts_us = times_us - times_us % window.grain_us
        self._starts[name].update(map(_bare, iso_times(starts_us)))
        if not self._tells_key(window):
            return
        made = aggregate_rows(
            self._domain.name, name, starts_us, starts_us, window.key, keys, {}, {}
        ).rows
        self._ids[name].update(_code(str(row["row_id"]).encode()) for row in made)
        for rule in self._domain.rules:
            if rule.window == name:
                self._ids[f"rule {rule.name}"].update(
                    _code(self._incident(rule, window, key, start_us).encode())
                    for key, start_us in zip(keys, starts_us.tolist(), strict=True)
                )
        self._texts.forget()

    def _tells_key(self, window: AnyWindow) -> bool:
        """Tell whether events alone say whose they are: tables beside the stream may change."""
        joined = {field.name for one in self._domain.references for field in one.fields}
        return joined.isdisjoint(window.key)

    def _incident(
        self, rule: Threshold | Ratio, window: Window, key: tuple[Scalar, ...], start_us: int
    ) -> str:
        named = dict(zip(window.key, key, strict=True))
        return incident_id(self._domain.name, rule.name, named, start_us)

    def _keys(
        self, names: Iterable[str], decoded: Decoded, rows: Int64s
    ) -> list[tuple[Scalar, ...]]:
        parts: list[list[Scalar]] = []
        for name in names:
            entries = decoded.columns[name][rows]
            if entries.dtype == np.uint64:
                parts.append([self._texts.text_of(code) for code in entries.tolist()])
            else:
                parts.append(entries.tolist())
        return list(zip(*parts, strict=True)) if parts else [()] * len(rows)


def _specs_of(domain: Domain, windows: Sequence[AnyWindow]) -> dict[Name, Spec]:
    """Return all that writes rows or incidents when these windows run."""
    emitted = set(domain.aggregates_of(windows))
    running = {window.name for window in windows}
    detectors = domain.detectors_of(windows)
    specs: dict[Name, Spec] = {(False, one.name): one for one in windows if one.name in emitted}
    specs |= {(False, one.name): one for one in detectors if one.name in emitted}
    specs |= {(True, one.name): one for one in domain.rules if one.window in running}
    return specs | {(True, one.name): one for one in detectors}


def _counts(events: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} of {name}" for name, count in events.items())


def _title(name: Name) -> str:
    return f"{'incidents' if name[0] else 'rows'} {name[1]}"


def _span(one: Written) -> tuple[str, str]:
    """Return a window's begin and end as texts that are in the order of their times."""
    return _bare(one.fields["window_start"]), _bare(one.fields["window_end"])


def _bare(time: str) -> str:
    return time.removesuffix("Z")


def _code(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
