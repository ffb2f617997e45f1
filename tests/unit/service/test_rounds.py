"""When a round of several pods begins and ends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.rounds import SILENT_SECONDS, Beat, Joining, Rounds, Share
from service.snapshots import Marks

NOW_US = 1_700_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def pod(number: int, ticket: str = "a", **changes) -> Joining:
    """A pod with its third of six files, of a store that was used up to epoch 7."""
    joining = Joining(
        pod=number,
        ticket=f"{ticket}{number}",
        fields={"version": "1", "processes": 1},
        addresses=(f"10.0.0.{number}:2101",),
        parts=(number, number + 3),
        files=6,
        marks=Marks({4: (3, 5)} if number == 1 else {}, {4: {number: 7 + number}}, used=True),
        started_at_us=NOW_US - 1,
    )
    return replace(joining, **changes)


def new(number: int, **changes) -> Joining:
    nothing = {"parts": (), "files": 0, "marks": Marks(), "started_at_us": 0}
    return pod(number, **{**nothing, **changes})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rounds(clock: Clock) -> Rounds:
    return Rounds(3, lambda: NOW_US, clock)


def begin(rounds: Rounds, *pods: Joining) -> None:
    for one in (*pods, *pods[:-1]):
        answer = rounds.join(one)
    assert answer.round is not None, answer.waiting


def test_a_round_begins_when_every_pod_waits_and_all_hear_the_same(rounds: Rounds) -> None:
    assert rounds.join(pod(2)).waiting == "waiting for pods 0, 1"
    assert rounds.join(pod(0)).waiting == "waiting for pod 1"
    decided = rounds.join(pod(1)).round

    assert decided is not None
    assert decided.addresses == ("10.0.0.0:2101", "10.0.0.1:2101", "10.0.0.2:2101")
    assert not decided.fresh
    assert rounds.join(pod(0)).round == rounds.join(pod(2)).round == decided


def test_the_epoch_is_that_of_all_files_together(rounds: Rounds) -> None:
    begin(rounds, pod(0), pod(1), pod(2))
    decided = rounds.join(pod(0)).round

    assert decided is not None
    assert decided.epoch == 7, "each pod alone knows one worker's front"


def test_a_worker_that_committed_nothing_holds_the_epoch_at_the_executions_start(
    rounds: Rounds,
) -> None:
    begin(rounds, pod(0), pod(1), pod(2, marks=Marks(used=True)))
    decided = rounds.join(pod(0)).round

    assert decided is not None
    assert decided.epoch == 5


def test_a_first_start_has_one_moment_for_all(rounds: Rounds) -> None:
    begin(rounds, new(0), new(1), new(2))
    decided = rounds.join(new(0)).round

    assert decided is not None
    assert decided.fresh
    assert (decided.epoch, decided.started_at_us) == (1, NOW_US)


def test_who_no_longer_asks_is_not_counted(rounds: Rounds, clock: Clock) -> None:
    rounds.join(pod(0))
    clock.seconds += 10

    rounds.join(pod(1))
    assert rounds.join(pod(2)).waiting == "waiting for pod 0"


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (pod(2, fields={"version": "2", "processes": 1}), "pod 2 has version = 2, pod 0 has 1"),
        (pod(2, fields={"version": "1"}), "pod 2 has processes = absent"),
        (new(2), "missing: 2 on pod 2, 5 on pod 2"),
        (pod(2, parts=(2,)), "missing: 5 on pod 2"),
        (pod(2, started_at_us=5), "different runs"),
        (pod(2, addresses=("a:1", "a:2", "a:3", "a:4", "a:5")), "at most 6 workers, these are 7"),
    ],
)
def test_pods_that_do_not_fit_together_do_not_start(rounds: Rounds, odd: Joining, why: str) -> None:
    rounds.join(pod(0))
    rounds.join(pod(1))
    answer = rounds.join(odd)

    assert answer.round is None
    assert why in answer.waiting


def test_a_pod_that_comes_back_ends_the_round_for_all(rounds: Rounds) -> None:
    begin(rounds, pod(0), pod(1), pod(2))
    assert rounds.beat(Beat("a0", drain=False)).kind == "go on"

    rounds.join(pod(2, ticket="b"))

    order = rounds.beat(Beat("a0", drain=False))
    assert (order.kind, order.why) == ("end", "pod 2 has to start again")


def test_a_silent_pod_ends_the_round(rounds: Rounds, clock: Clock) -> None:
    begin(rounds, pod(0), pod(1), pod(2))
    clock.seconds += SILENT_SECONDS - 1
    for ticket in ("a0", "a1"):
        assert rounds.beat(Beat(ticket, drain=False)).kind == "go on"
    clock.seconds += 2

    order = rounds.beat(Beat("a0", drain=False))
    assert order.kind == "end"
    assert "pod 2 has been silent for 6 s" in order.why


def test_a_drain_reaches_all_and_who_has_drained_ends_nobody_else(
    rounds: Rounds, clock: Clock
) -> None:
    begin(rounds, pod(0), pod(1), pod(2))
    assert rounds.beat(Beat("a1", drain=True)).kind == "drain"
    rounds.join(pod(2, ticket="b"))
    clock.seconds += SILENT_SECONDS + 1

    assert rounds.beat(Beat("a0", drain=False)).kind == "drain"


def test_after_a_drain_the_next_round_waits_for_all(rounds: Rounds) -> None:
    begin(rounds, pod(0), pod(1), pod(2))
    rounds.beat(Beat("a1", drain=True))
    rounds.join(pod(0, ticket="b"))
    assert rounds.join(pod(2, ticket="b")).waiting == "waiting for pod 1"

    begin(rounds, pod(0, ticket="b"), pod(2, ticket="b"), pod(1, ticket="b"))
    assert rounds.beat(Beat("b1", drain=False)).kind == "go on"


def test_a_first_pod_that_came_back_tells_all_to_end(rounds: Rounds) -> None:
    assert rounds.beat(Beat("a1", drain=True)).kind == "end"


def test_shares_of_the_ledger_are_waited_for(rounds: Rounds) -> None:
    for number in range(3):
        rounds.share(Share(number, 9, {"events": number}))

    assert [share.pod for share in rounds.shares(10)] == [0, 1, 2]


def test_shares_that_do_not_come_are_not_waited_for_for_ever(rounds: Rounds) -> None:
    rounds.share(Share(1, 9, {}))

    assert [share.pod for share in rounds.shares(0.01)] == [1]
