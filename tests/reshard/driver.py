"""Runs one sequence: the real service, a real server, real kills."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import assert_never

from tests.oracles import is_late
from tests.reshard.events import FastTimes, LiveTimes, Times, closer, event
from tests.reshard.job import Job
from tests.reshard.plan import Kill, Pause, Plan, Put, Reshard, Restart, Step
from tests.reshard.states import Committed, State, states_of
from tests.reshard.stream import Change, ReshardedStream
from tests.reshard.tally import Tally
from tests.reshard.verdict import LENGTHS_US, Found, judge, truth_of
from tests.rig import wait_until
from tests.servers import clients

_AIM_SECONDS = 3.0
_END_SECONDS = 90.0
_LATE_SHARE = 0.3


class WrongError(AssertionError):
    """The service got something wrong, or didn't get there."""


class Sequence:
    """One sequence.

    Args:
        plan: What to do.
        endpoint: Of the server.
        folder: For the service's files, kept where something is wrong.
    """

    def __init__(self, plan: Plan, endpoint: str, folder: Path) -> None:
        self._plan = plan
        self._endpoint = endpoint
        self._folder = folder
        self._rng = random.Random(f"run {plan.seed}")
        self._times: Times = LiveTimes(self._rng) if plan.is_live else FastTimes(self._rng)
        self._tally = Tally()
        self._maybe_open: list[set[str]] = []  # by kill: open shards that had unread rows
        self._is_stopped = True
        self._stream: ReshardedStream
        self._job: Job

    def run(self) -> Tally:
        """Run it.

        Raises:
            WrongError: With all that is wrong, and how to repeat it.
        """
        name = f"sequence-{self._plan.seed}-{time.time_ns()}"
        with clients(self._endpoint) as aws:
            self._stream = ReshardedStream(aws, name, self._rng, self._plan.shards)
            self._job = Job(
                self._folder, name, self._endpoint, self._settings(), self._times.disorder_us
            )
            done: list[Step] = []
            try:
                for change in self._plan.before:
                    self._put(Put(20, to_all=False))
                    self._stream.change(change)
                self._start(1)
                for step in self._plan.steps:
                    done.append(step)
                    self._do(step)
                wrong = self._end()
            except AssertionError as error:
                wrong = [str(error)]
            finally:
                self._job.kill()
            if wrong:
                raise WrongError(self._explain(done, wrong))
            self._account()
            self._stream.delete()
        return self._tally

    def _settings(self) -> dict[str, str]:
        plan = self._plan
        return {
            "KINEWAX_SOURCE__SLOTS": str(plan.slots),
            # Beyond this many calls a second a quiet shard is asked less often, once a second.
            "KINEWAX_SOURCE__MAX_CALLS_PER_SECOND": "4" if plan.is_slow else "400",
            "KINEWAX_EVENT_TIME__IDLE": self._times.idle,
            "KINEWAX_RUNTIME__RECOVERY_FILES": "4",
            "KINEWAX_RUNTIME__MAX_STARTS": "20",
            # Both servers are slow where the machine is busy, and who can't ask doesn't start.
            "KINEWAX_AWS__READ_TIMEOUT": "60s",
        }

    # ---- steps ----

    def _do(self, step: Step) -> None:
        self._tally.counts["steps"] += 1
        match step:
            case Put():
                self._put(step)
            case Reshard(change):
                self._reshard(change)
            case Pause(seconds):
                time.sleep(seconds)
            case Kill():
                self._kill(step)
            case Restart(meanwhile, processes):
                self._stop()
                for change in meanwhile:
                    self._put(Put(20, to_all=True))
                    self._reshard(change)
                self._put(Put(20, to_all=False))
                self._start(processes)
            case _:
                assert_never(step)

    def _put(self, step: Put) -> None:
        self._times.pass_by()
        events = [
            (event(self._rng, time_us), time_us, self._rng.getrandbits(128))
            for time_us in (self._times.next_us() for _ in range(step.events))
        ]
        if step.to_all:
            for shard in self._stream.open_shards():
                time_us = self._times.next_us()
                events.append((event(self._rng, time_us), time_us, shard.first_hash))
        if self._rng.random() < _LATE_SHARE:
            events += self._late_event()
        self._stream.put(events)

    def _late_event(self) -> list[tuple[dict[str, str], int, int]]:
        """Return an event that is late for every window, where a shard has come far enough."""
        time_us = self._times.long_ago_us()
        for shard in self._stream.open_shards():
            newest_us = max((one.time_us for one in self._stream.written[shard.id]), default=None)
            if all(
                is_late(time_us, newest_us, length_us, self._times.disorder_us)
                for length_us in LENGTHS_US.values()
            ):
                return [(event(self._rng, time_us), time_us, shard.first_hash)]
        return []

    def _reshard(self, change: Change) -> None:
        done = self._stream.change(change)
        if self._is_stopped:
            self._tally.counts["reshards while stopped"] += done

    def _start(self, processes: int) -> None:
        before = self._job.processes
        self._job.start(processes)
        self._is_stopped = False
        if before not in (0, processes):
            self._tally.counts["restarts with another process count"] += 1

    def _stop(self) -> None:
        self._job.wait_for_workers()
        self._job.drain()
        self._is_stopped = True

    # ---- kill -9 ----

    def _kill(self, step: Kill) -> None:
        self._arrange(step)
        self._job.wait_for_workers()
        if step.victim == "worker":
            self._job.kill_worker(self._rng)
        elif step.victim == "supervisor":
            self._job.kill_supervisor()
        else:
            self._job.kill()
        self._is_stopped = step.victim != "worker"
        self._note_states(step)
        if step.amid is State.OPEN:
            self._reshard(step.change)
        if step.amid is State.SILENT:
            self._put(Put(10, to_all=True))
        if self._is_stopped:
            self._start(step.processes)

    def _arrange(self, step: Kill) -> None:
        """Bring a reshard about and wait for the state that is aimed at, if it comes."""
        if step.amid is State.ADOPTED:
            # Who starts lists all shards before the first one is read.
            self._stop()
        else:
            self._job.wait_for_workers()
        if step.amid is not State.SILENT:
            self._put(Put(20, to_all=True))
        if step.amid is State.OPEN:
            return
        self._reshard(step.change)
        if step.amid is State.CLOSED:
            return
        if step.amid in (State.ADOPTED, State.READING):
            self._put(Put(20, to_all=True))
        if step.amid is State.ADOPTED:
            self._start(self._job.processes)
        deadline = time.monotonic() + _AIM_SECONDS
        while time.monotonic() < deadline and not self._states(self._job.committed())[step.amid]:
            time.sleep(0.01)

    def _note_states(self, step: Kill) -> None:
        counts, kills = self._tally.counts, self._tally.kills
        counts["kills"] += 1
        counts[f"kills of {'all' if step.victim == 'all' else 'a ' + step.victim}"] += 1
        found = self._states(self._job.committed())
        self._maybe_open.append(found.pop(State.OPEN))
        kills.update((self._plan.package, state) for state, shards in found.items() if shards)

    def _states(self, committed: Committed) -> dict[State, set[str]]:
        def is_unread(name: str) -> bool:
            sequence = committed[name]["sequence"] if name in committed else None
            read = int(sequence) if sequence is not None else -1
            return any(record.sequence > read for record in self._stream.written[name])

        return states_of(self._stream.shards(), committed, is_unread)

    # ---- the end ----

    def _end(self) -> list[str]:
        """Close all windows, drain, and compare."""
        closing_us = self._times.closing_us()
        shards = self._stream.open_shards()
        self._stream.put([(closer(closing_us), closing_us, one.first_hash) for one in shards])
        truth = truth_of(self._stream.written, self._times.disorder_us)
        if self._plan.lists_at_end:
            self._stop()
            self._start(self._job.processes)
        try:
            wait_until(
                lambda: self._found().has_all_of(truth) and not self._wrong_positions(),
                "all windows are closed, and all closed shards read to their ends",
                _END_SECONDS,
            )
            missing = []
        except AssertionError as error:
            missing = [str(error)]
        self._stop()
        return [
            *missing,
            *judge(truth, self._found(), self._job.summary()),
            *self._wrong_positions(),
        ]

    def _found(self) -> Found:
        return Found.of(*map(self._job.lines, ("alerts", "aggregates/trade", "late")))

    def _wrong_positions(self) -> list[str]:
        committed = self._job.committed()
        wrong = []
        for name, shard in self._stream.shards().items():
            phase = committed[name]["state"] if name in committed else "unknown"
            if phase != ("reading" if shard.is_open else "ended"):
                wrong.append(f"{name} is {'open' if shard.is_open else 'closed'}, but {phase}")
        return wrong

    def _account(self) -> None:
        counts = self._tally.counts
        parents = {parent for one in self._stream.shards().values() for parent in one.parents}
        for maybe in self._maybe_open:
            self._tally.kills[self._plan.package, State.OPEN] += bool(maybe & parents)
        counts["sequences"] += 1
        counts["splits"] += self._stream.splits
        counts["merges"] += self._stream.merges
        counts["starts"] += self._job.starts
        counts["records"] += sum(map(len, self._stream.written.values()))

    def _explain(self, done: list[Step], wrong: list[str]) -> str:
        plan = self._plan
        return "\n".join(
            [
                f"sequence {plan.seed} on {plan.package}: {len(wrong)} things are wrong",
                f"repeat it with: python -m tests.reshard {plan.seed}",
                f"files: {self._folder}",
                f"{plan.shards} shards, {plan.slots} slots, live: {plan.is_live}, "
                f"slow: {plan.is_slow}, before the start: {plan.before}",
                *(f"  {number}. {step}" for number, step in enumerate(done, 1)),
                *wrong[:30],
                self._job.log(),
            ]
        )
