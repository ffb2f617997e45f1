"""The courier by itself, with a destination that answers by script."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from errors import DeliveryError
from sinks.delivery import BatchLimits, Courier, DeliveryOptions, Entry, join_all
from sinks.failures import Failure
from sinks.tally import Outcome, Tally

THROTTLED = Failure("throttled", "Slow")
REJECTED = Failure("rejected", "Bad")
Script = Callable[[list[str]], Sequence[Outcome | Failure]]


class Pauses(random.Random):
    """Remembers what was asked of it, and answers with no pause at all."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return 0.0


class Desk:
    """A courier and all that was said around it."""

    def __init__(self, script: Script, **options: Any) -> None:
        self.calls: list[list[str]] = []
        self.refused: list[str] = []
        self.rng = Pauses()
        self.tally = Tally("test")
        limits = options.pop("limits", BatchLimits(10, 1000))
        refuse = None if options.pop("no_desk", False) else self._refuse

        def send(bodies: Sequence[str]) -> Sequence[Outcome | Failure]:
            self.calls.append(list(bodies))
            return script(list(bodies))

        self.courier = Courier(
            sink="test",
            destination="the end",
            send=send,
            tally=self.tally,
            limits=limits,
            options=DeliveryOptions(**({"linger_seconds": 60.0} | options)),
            rng=self.rng,
            refuse=refuse,
        )

    def deliver(self, *bodies: str) -> dict[str, int]:
        self.courier.hand_over(Entry(body, 10) for body in bodies)
        self.courier.flush()
        return {name.removeprefix("test."): n for name, n in self.tally.ledger().items()}

    def _refuse(self, entry: Entry[str], failure: Failure) -> None:
        self.refused.append(entry.body)


@pytest.fixture
def desk() -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(script: Script, **options: Any) -> Desk:
        made.append(Desk(script, **options))
        return made[-1]

    yield make
    for one in made:
        join_all([one.courier.stop()])


def times(count: int, then: Script, failure: Failure = THROTTLED) -> Script:
    """Fail everything so often, then do something else."""
    left = iter(range(count))

    def script(bodies: list[str]) -> Sequence[Outcome | Failure]:
        return [failure] * len(bodies) if next(left, None) is not None else then(bodies)

    return script


def take(bodies: list[str]) -> list[Outcome | Failure]:
    return ["acknowledged"] * len(bodies)


def test_a_throttled_entry_is_sent_again_alone(desk: Callable[..., Desk]) -> None:
    first = iter([True])

    def script(bodies: list[str]) -> Sequence[Outcome | Failure]:
        once = next(first, False)
        return [THROTTLED if once and body == "b" else "acknowledged" for body in bodies]

    one = desk(script)
    assert one.deliver("a", "b", "c") == {"taken": 3, "written": 3}
    assert one.calls == [["a", "b", "c"], ["b"]]


def test_pauses_are_drawn_from_nought_to_a_doubling_ceiling(desk: Callable[..., Desk]) -> None:
    one = desk(times(6, take), first_pause_seconds=0.1, longest_pause_seconds=1.0)
    one.deliver("a")
    assert one.rng.asked == [(0.0, c) for c in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0)]


def test_entries_are_sent_in_order_in_batches_within_the_limits(desk: Callable[..., Desk]) -> None:
    one = desk(take, limits=BatchLimits(entries=4, total_bytes=25))
    one.deliver(*"abcdefg")
    assert [body for call in one.calls for body in call] == list("abcdefg")
    assert {len(call) for call in one.calls} <= {1, 2}


def test_an_entry_beyond_the_byte_limit_goes_alone(desk: Callable[..., Desk]) -> None:
    one = desk(take, limits=BatchLimits(entries=4, total_bytes=5))
    one.deliver("a", "b")
    assert one.calls == [["a"], ["b"]]


def test_a_rejected_entry_is_a_dead_letter_and_its_neighbours_are_not(
    desk: Callable[..., Desk],
) -> None:
    one = desk(lambda bodies: [REJECTED if body == "b" else "acknowledged" for body in bodies])
    assert one.deliver("a", "b", "c") == {"taken": 3, "written": 2, "dead_lettered": 1}
    assert one.refused == ["b"]
    assert one.calls == [["a", "b", "c"]]


def test_a_rejected_entry_without_a_dead_letter_desk_raises(desk: Callable[..., Desk]) -> None:
    one = desk(lambda bodies: [REJECTED] * len(bodies), no_desk=True)
    with pytest.raises(DeliveryError, match="refuses an entry for good"):
        one.deliver("a")


def test_an_entry_that_is_there_already_is_settled(desk: Callable[..., Desk]) -> None:
    one = desk(lambda bodies: ["already_there"] * len(bodies))
    assert one.deliver("a") == {"taken": 1, "already_there": 1}


def test_the_deadline_counts_from_the_first_attempt_and_names_the_last_answer(
    desk: Callable[..., Desk],
) -> None:
    one = desk(lambda bodies: [THROTTLED] * len(bodies), deadline_seconds=0.05)
    with pytest.raises(DeliveryError, match=r"2 entries within 0.05 s \(throttled: Slow\)"):
        one.deliver("a", "b")
    assert len(one.calls) > 1
    ledger = one.tally.ledger()
    assert ledger == {"test.taken": 2}


def test_a_mistake_in_the_sink_itself_raises_from_its_cause(desk: Callable[..., Desk]) -> None:
    def script(bodies: list[str]) -> Sequence[Outcome | Failure]:
        raise KeyError(bodies[0])

    one = desk(script)
    with pytest.raises(DeliveryError, match="a mistake in the sink") as raised:
        one.deliver("a")
    assert isinstance(raised.value.__cause__, KeyError)


def test_an_answer_of_the_wrong_length_is_a_mistake_and_not_a_success(
    desk: Callable[..., Desk],
) -> None:
    one = desk(lambda _: ["acknowledged"])
    with pytest.raises(DeliveryError, match="a mistake in the sink"):
        one.deliver("a", "b")


def test_details_that_may_quote_a_payload_stay_out_of_the_log(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    secret = Failure("throttled", "Slow", "payload: secret")
    desk(times(1, take, secret)).deliver("a")
    assert "Slow" in caplog.text
    assert "secret" not in caplog.text


def test_repeated_failures_are_logged_once_in_a_while(
    desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    desk(times(50, take)).deliver("a")
    assert len(caplog.records) == 1


def test_closing_in_a_long_pause_does_not_wait_for_it(desk: Callable[..., Desk]) -> None:
    reached = threading.Event()

    def script(bodies: list[str]) -> Sequence[Outcome | Failure]:
        reached.set()
        return [THROTTLED] * len(bodies)

    one = desk(script, linger_seconds=0.0, first_pause_seconds=3600.0, deadline_seconds=3600.0)
    one.rng.uniform = lambda a, b: b  # type: ignore[method-assign]
    one.courier.hand_over([Entry("a", 10)])
    assert reached.wait(20)
    join_all([one.courier.stop()])
    assert not [thread for thread in threading.enumerate() if thread.name == "sink-test"]
