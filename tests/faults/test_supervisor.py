"""The supervisor, with workers that do nothing but what each test says.

A worker here is a few lines of Python that speak the reporting line; what it does at which start is
read from a script, so that every kind of death can be made on purpose.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from errors import (
    CrashLoopError,
    DrainError,
    KinewaxError,
    MissingResourceError,
    SettingsError,
)
from service import supervisor as module
from service.cluster import Member, free_addresses
from service.supervisor import Plan, Supervisor

ROOT = Path(__file__).resolve().parents[2]

WORKER = """
import json, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from service.channel import Reporter
import errors
process, channel, home = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
start = int(open(home + "/starts").read())
open(f"{home}/pid-{start}-{process}", "w").write(str(os.getpid()))
steps = json.load(open(home + "/script.json"))
step = steps[min(start, len(steps)) - 1]
step = step.get(str(process), step.get("all", "end"))
reporter = Reporter(channel)
reporter.end_with_supervisor()
drained = []
if step != "unheeding":
    signal.signal(signal.SIGTERM, lambda *_: drained.append(1))
else:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if step == "dies early":
    os._exit(7)
reporter.wait_to_go()
if step != "slow to read":
    reporter.send("polled")
open(f"{home}/running-{start}-{process}", "w").close()
def forever():
    while not drained:
        time.sleep(0.005)
if step == "end":
    reporter.send("usage", events=5)
elif step == "run":
    forever()
    open(f"{home}/drained-{process}", "w").close()
elif step in ("unheeding", "slow to read"):
    while True:
        time.sleep(0.01)
elif step == "crash":
    reporter.fail(ValueError("it broke"))
    os._exit(1)
elif step == "panic":
    reporter.fail(BaseException("Send thread panic: Any { .. }"))
    os._exit(1)
elif step == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
elif step == "fail in drain":
    forever()
    reporter.fail(errors.DeliveryError("the table does not answer"))
    os._exit(1)
elif step in ("crash slowly", "raise slowly MissingResourceError"):
    # Both have reported before the third one's death ends them all.
    error = ValueError("it broke") if step == "crash slowly" else None
    reporter.fail(error or errors.MissingResourceError("as scripted"))
    open(f"{home}/reported-{process}", "w").close()
    forever()
elif step == "die when both":
    while not all(os.path.exists(f"{home}/reported-{p}") for p in (0, 1)):
        time.sleep(0.005)
    os._exit(9)
elif step.startswith("raise "):
    reporter.fail(getattr(errors, step[6:])("as scripted", hint="mend it"))
    os._exit(1)
"""


class Bench:
    """A supervisor over scripted workers, and what one can see of it from outside."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.starts = 0
        self.running_at_start: list[int] = []
        self.committed = [0]
        (home / "worker.py").write_text(WORKER, encoding="utf-8")

    def supervisor(self, *script: dict[str, str], processes: int = 2, **plan) -> Supervisor:
        (self.home / "script.json").write_text(json.dumps(script), encoding="utf-8")
        return Supervisor(
            Plan(
                processes,
                self._command,
                before_start=self._before_start,
                committed=lambda: self.committed[0],
                **plan,
            )
        )

    def pid(self, start: int, process: int) -> int:
        return int((self.home / f"pid-{start}-{process}").read_text(encoding="utf-8"))

    def running(self, start: int, processes: int = 2) -> bool:
        return all((self.home / f"running-{start}-{p}").exists() for p in range(processes))

    def _command(self, member: Member) -> list[str]:
        arguments = (ROOT, member.process, member.channel, self.home)
        return [sys.executable, str(self.home / "worker.py"), *map(str, arguments)]

    def _before_start(self) -> None:
        alive = [path for path in self.home.glob("pid-*") if _alive(int(path.read_text()))]
        self.running_at_start.append(len(alive))
        self.starts += 1
        (self.home / "starts").write_text(str(self.starts), encoding="utf-8")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.005)


@contextmanager
def in_background(supervisor: Supervisor) -> Iterator[list[BaseException]]:
    """Run a supervisor in a thread; afterwards the list holds what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            supervisor.run()
        except KinewaxError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(module, "_FIRST_DELAY_SECONDS", 0.01)
    made = Bench(tmp_path)
    yield made
    left = [path for path in tmp_path.glob("pid-*") if _alive(int(path.read_text()))]
    assert not left, "a worker outlived its supervisor"


def test_a_run_ends_when_all_workers_have_read_everything(bench: Bench) -> None:
    facts = bench.supervisor({"all": "end"}, processes=3).run()

    assert facts.restarts == 0
    assert not facts.drained
    assert facts.usage == [{"events": 5}] * 3


@pytest.mark.parametrize("death", ["crash", "kill", "panic", "dies early"])
def test_the_death_of_one_worker_starts_all_of_them_again(bench: Bench, death: str) -> None:
    facts = bench.supervisor({"0": "run", "1": death}, {"all": "end"}).run()

    assert facts.restarts == 1
    assert bench.starts == 2
    assert bench.running_at_start == [0, 0], "two generations at a time"


def test_a_worker_that_is_killed_from_outside_is_noticed(bench: Bench) -> None:
    supervisor = bench.supervisor({"all": "run"}, {"all": "end"})
    with in_background(supervisor) as raised:
        wait_until(lambda: bench.running(1))
        os.kill(bench.pid(1, 0), signal.SIGKILL)

    assert raised == []
    assert supervisor.facts.restarts == 1


def test_the_error_that_caused_the_death_is_told_not_the_ones_that_followed(bench: Bench) -> None:
    script = {"0": "panic", "1": "crash", "2": "panic"}

    with pytest.raises(CrashLoopError, match="ValueError: it broke"):
        bench.supervisor(script, processes=3, max_starts=1).run()


def test_an_error_that_no_restart_mends_is_told_before_any_other(bench: Bench) -> None:
    script = {"0": "crash slowly", "1": "raise slowly MissingResourceError", "2": "die when both"}

    with pytest.raises(MissingResourceError, match="as scripted"):
        bench.supervisor(script, processes=3).run()


def test_five_starts_that_commit_nothing_end_as_a_crash_loop(bench: Bench) -> None:
    with pytest.raises(
        CrashLoopError, match=r"5 starts in a row .* ValueError: it broke"
    ) as caught:
        bench.supervisor({"all": "crash"}).run()

    assert caught.value.exit_code == 70
    assert bench.starts == 5


def test_a_newly_committed_epoch_starts_the_count_anew(bench: Bench) -> None:
    supervisor = bench.supervisor({"all": "crash"}, max_starts=3)
    plan = supervisor._plan
    seen = iter([0, 0, 0, 1, 1, 1, 1])  # the first is asked before any start
    supervisor._plan = Plan(**{**vars(plan), "committed": lambda: next(seen)})

    with pytest.raises(CrashLoopError):
        supervisor.run()

    assert bench.starts == 6


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("SettingsError", SettingsError, 2),
        ("MissingResourceError", MissingResourceError, 3),
        ("DataLossError", KinewaxError, 1),
    ],
)
def test_an_error_that_no_restart_mends_ends_the_run_at_once(
    bench: Bench, name: str, kind: type[KinewaxError], code: int
) -> None:
    with pytest.raises(kind, match="as scripted") as caught:
        bench.supervisor({"0": "run", "1": f"raise {name}"}).run()

    assert caught.value.exit_code == code
    assert caught.value.hint == "mend it"
    assert bench.starts == 1


def test_input_that_cannot_be_read_again_is_not_started_again(bench: Bench) -> None:
    with pytest.raises(KinewaxError, match="it broke"):
        bench.supervisor({"all": "crash"}, restartable=False).run()

    assert bench.starts == 1


def test_a_drain_reaches_all_workers_and_ends_well(bench: Bench) -> None:
    supervisor = bench.supervisor({"all": "run"})
    with in_background(supervisor) as raised:
        wait_until(lambda: bench.running(1) and supervisor.health().polled == 2)
        supervisor.stop()

    assert raised == []
    assert supervisor.facts.drained
    assert sorted(path.name for path in bench.home.glob("drained-*")) == [
        "drained-0",
        "drained-1",
    ]


def test_a_drain_before_anything_was_read_ends_at_once_and_well(bench: Bench) -> None:
    supervisor = bench.supervisor({"all": "slow to read"})
    with in_background(supervisor) as raised:
        wait_until(lambda: bench.running(1))
        supervisor.stop()

    assert raised == []


def test_a_drain_that_takes_too_long_exits_with_75(bench: Bench) -> None:
    supervisor = bench.supervisor({"0": "run", "1": "unheeding"}, drain_seconds=0.2)
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        supervisor.stop()

    (error,) = raised
    assert isinstance(error, DrainError)
    assert error.exit_code == 75
    assert "0.2 s" in str(error)


def test_a_sink_that_fails_in_a_drain_exits_with_75_and_its_words(bench: Bench) -> None:
    supervisor = bench.supervisor({"0": "run", "1": "fail in drain"})
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        supervisor.stop()

    (error,) = raised
    assert isinstance(error, DrainError)
    assert "the table does not answer" in str(error)


def test_a_second_request_ends_everything_at_once(bench: Bench) -> None:
    supervisor = bench.supervisor({"all": "unheeding"}, drain_seconds=1000)
    with in_background(supervisor) as raised:
        wait_until(lambda: supervisor.health().polled == 2)
        supervisor.stop()
        supervisor.stop()

    (error,) = raised
    assert isinstance(error, DrainError)
    assert "second signal" in str(error)


def test_a_request_to_stop_cuts_the_wait_for_the_next_start_short(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_DELAY_SECONDS", 1000.0)
    monkeypatch.setattr(module, "_LONGEST_DELAY_SECONDS", 1000.0)
    supervisor = bench.supervisor({"all": "crash"})
    with in_background(supervisor) as raised:
        wait_until(lambda: bool(supervisor.pids()) and supervisor.health().alive == 0)
        supervisor.stop()

    assert isinstance(raised[0], DrainError)


def test_health_tells_who_is_alive_and_who_reads(bench: Bench) -> None:
    supervisor = bench.supervisor({"0": "run", "1": "slow to read"}, drain_seconds=0.1)
    with in_background(supervisor):
        wait_until(lambda: supervisor.health().polled == 1)
        health = supervisor.health()
        assert (health.alive, health.polled, health.draining) == (2, 1, False)
        supervisor.stop()
        assert supervisor.health().draining


def test_a_command_that_does_not_exist_is_one_error() -> None:
    plan = Plan(1, lambda _: ["/no/such/program"])

    with pytest.raises(KinewaxError, match="can't be started"):
        Supervisor(plan).run()


def test_a_single_process_listens_nowhere_and_several_on_loopback_only() -> None:
    assert free_addresses(1) == ()
    found = free_addresses(3)
    assert len(set(found)) == 3
    assert all(address.startswith("127.0.0.1:") for address in found)


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.supervisor({"all": "unheeding"})
    bench.starts = 1
    (tmp_path / "starts").write_text("1", encoding="utf-8")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path; from tests.faults.test_supervisor import Bench;"
        "from service.supervisor import Plan, Supervisor;"
        "b = Bench(Path(sys.argv[2]));"
        "Supervisor(Plan(2, b._command)).run()"
    )
    pid = os.spawnv(
        os.P_NOWAIT, sys.executable, [sys.executable, "-c", script, str(ROOT), str(tmp_path)]
    )
    wait_until(lambda: bench.running(1))

    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

    wait_until(lambda: not any(_alive(bench.pid(1, process)) for process in (0, 1)))
