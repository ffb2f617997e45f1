"""What every sink promises, held against each of them on a real server over real sockets."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from errors import KinewaxError, MissingResourceError
from messages import Output
from sinks.base import Part, Sink
from sinks.delivery import DeliveryOptions
from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.fakes.opensearch import FakeOpenSearch, fake_opensearch
from tests.fakes.sink_cases import (
    ALL_CASES,
    AWS_CASES,
    IMPATIENT,
    PATIENT,
    Aws,
    Case,
    files_case,
    opened,
    search_case,
    stdout_case,
)
from tests.servers import Clients


@pytest.fixture
def proxy(moto: Clients) -> Iterator[FaultProxy]:
    with fault_proxy(moto.endpoint) as running:
        yield running


@pytest.fixture
def search() -> Iterator[FakeOpenSearch]:
    with fake_opensearch() as running:
        yield running


@pytest.fixture
def make_case(
    moto: Clients,
    proxy: FaultProxy,
    unique_name: Callable[[str], str],
    search: FakeOpenSearch,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Case]:
    def make(name: str, delivery: DeliveryOptions = PATIENT) -> Case:
        if name == "files":
            return files_case(tmp_path, monkeypatch)
        if name == "stdout":
            return stdout_case()
        if name == "search":
            return search_case(search, delivery)
        return AWS_CASES[name](Aws(moto, proxy, unique_name("sink")), delivery)

    return make


@pytest.fixture(params=ALL_CASES)
def case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    return make_case(request.param)


@pytest.fixture(params=list(AWS_CASES))
def aws_case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    return make_case(request.param)


@pytest.fixture(params=[name for name in ALL_CASES if name != "cloudwatch"])
def raising_case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    """A sink whose items may not be lost (all but the metric), soon at its deadline."""
    return make_case(request.param, IMPATIENT)


@pytest.fixture(params=[name for name in AWS_CASES if name != "cloudwatch"])
def raising_aws_case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    return make_case(request.param)


@pytest.fixture(params=["aggregates", "dead_letters", "kinesis"])
def impatient_batched_case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    # One batch of all that is written before the flush: an entry alone would have no neighbours.
    return make_case(request.param, replace(PATIENT, deadline_seconds=3.0, linger_seconds=60))


@pytest.fixture(params=["aggregates", "dead_letters", "kinesis"])
def batched_case(request: pytest.FixtureRequest, make_case: Callable[..., Case]) -> Case:
    return make_case(request.param)


def deliver(part: Part, items: Sequence[Output]) -> None:
    part.write(items)
    part.flush()


# ---- delivery -----------------------------------------------------------------------------------


def test_what_a_flush_vouched_for_is_at_the_destination(case: Case) -> None:
    with opened(case) as part:
        part.write(case.items(0, 7))
        part.write(case.items(7, 5))
        part.flush()
        assert case.arrived() == dict.fromkeys(case.names(0, 12), 1)


def test_a_flush_without_anything_written_returns(case: Case) -> None:
    with opened(case) as part:
        part.flush()
        assert case.arrived() == Counter()


def test_an_item_belongs_to_one_of_the_constant_parts_however_often_it_is_asked(
    case: Case,
) -> None:
    sink: Sink = case.sink
    names = [sink.part_of(item) for item in case.items(0, 12)]
    assert names == [sink.part_of(item) for item in case.items(0, 12)]
    assert set(names) <= set(sink.parts)
    assert len(set(sink.parts)) == len(sink.parts)


def test_a_flush_raises_when_the_destination_is_away_beyond_the_deadline(
    raising_case: Case,
) -> None:
    with opened(raising_case) as part:
        with raising_case.away(), pytest.raises(KinewaxError) as raised:
            deliver(part, raising_case.items(0, 3))
        assert raised.value.hint
        # And it goes on raising: nothing is committed on a part that lost items.
        with pytest.raises(KinewaxError):
            deliver(part, raising_case.items(3, 1))


def test_a_destination_that_comes_back_in_time_gets_everything_once(
    aws_case: Case, proxy: FaultProxy
) -> None:
    proxy.refuse(aws_case.action, 503, "ServiceUnavailableException", times=1)
    proxy.refuse(aws_case.action, 400, "ThrottlingException", times=1)
    proxy.drop(aws_case.action, times=1)
    with opened(aws_case) as part:
        part.write(aws_case.items(0, 6))
        part.flush()
        assert aws_case.arrived() == dict.fromkeys(aws_case.names(0, 6), 1)
        taken, settled = aws_case.balance(part.state())
        assert taken == settled == 6


def test_a_missing_destination_raises_at_once_and_is_named(
    raising_aws_case: Case, proxy: FaultProxy
) -> None:
    proxy.refuse(raising_aws_case.action, 400, "ResourceNotFoundException")
    with opened(raising_aws_case) as part:
        with pytest.raises(MissingResourceError, match=r"sink-.* doesn't exist") as raised:
            deliver(part, raising_aws_case.items(0, 1))
        assert "kinewax check" in raised.value.hint
        assert len(proxy.requests(raising_aws_case.action)) == 1


def test_denied_access_raises_at_once_with_a_hint(
    raising_aws_case: Case, proxy: FaultProxy
) -> None:
    proxy.refuse(raising_aws_case.action, 400, "AccessDeniedException")
    with opened(raising_aws_case) as part:
        with pytest.raises(KinewaxError, match="not allowed") as raised:
            deliver(part, raising_aws_case.items(0, 1))
        assert "kinewax check" in raised.value.hint
        assert len(proxy.requests(raising_aws_case.action)) == 1


def test_entries_that_failed_are_sent_again_alone(batched_case: Case, proxy: FaultProxy) -> None:
    proxy.fail_entries(
        batched_case.action,
        "ServiceUnavailableException",
        lambda number, _: number == 0,
        times=2,
    )
    with opened(batched_case) as part:
        part.write(batched_case.items(0, 12))
        part.flush()
        # Once each: what was taken is not sent a second time with what was not.
        assert batched_case.arrived() == dict.fromkeys(batched_case.names(0, 12), 1)
        taken, settled = batched_case.balance(part.state())
        assert taken == settled == 12


def test_one_entry_that_fails_until_the_deadline_raises_and_its_neighbours_arrived_once(
    impatient_batched_case: Case, proxy: FaultProxy
) -> None:
    proxy.fail_entries(
        impatient_batched_case.action, "InternalFailure", lambda number, _: number == 0
    )
    with opened(impatient_batched_case) as part:
        with pytest.raises(KinewaxError, match="InternalFailure"):
            deliver(part, impatient_batched_case.items(0, 7))
        arrived = impatient_batched_case.arrived()
        assert set(arrived.values()) == {1}
        assert set(arrived) < impatient_batched_case.names(0, 7)


# ---- state --------------------------------------------------------------------------------------


def test_the_state_survives_pickling_and_its_account_goes_on(case: Case) -> None:
    with opened(case) as part:
        part.write(case.items(0, 5))
        part.flush()
        state = pickle.loads(pickle.dumps(part.state()))
    assert case.balance(state) == (5, 5)
    with opened(case, state) as part:
        part.write(case.items(5, 4))
        part.flush()
        assert case.balance(part.state()) == (9, 9)
    assert case.arrived() == dict.fromkeys(case.names(0, 9), 1)


def test_a_state_of_a_later_version_is_refused(case: Case) -> None:
    with opened(case) as part:
        part.flush()
        state = part.state()
    assert state["version"] == 1
    with pytest.raises(ValueError, match="version 2"):
        case.open({**state, "version": 2})


def test_after_a_crash_nothing_is_lost_and_nothing_doubled_where_the_destination_can_tell(
    case: Case,
) -> None:
    with opened(case) as part:
        part.write(case.items(0, 4))
        part.flush()
        state = part.state()
        part.write(case.items(4, 4))
        part.flush()
    # The process died before the second epoch was committed: all of it comes again.
    with opened(case, state) as part:
        part.write(case.items(4, 4))
        part.write(case.items(8, 2))
        part.flush()
        assert case.balance(part.state()) == (10, 10)
    arrived = case.arrived()
    assert set(arrived) == case.names(0, 10)
    again = 1 if case.idempotent or case.takes_back else 2
    assert {arrived[name] for name in case.names(4, 4)} == {again}
    assert {arrived[name] for name in case.names(0, 4) | case.names(8, 2)} == {1}


def test_a_part_closed_while_its_destination_is_away_leaves_no_thread_behind(case: Case) -> None:
    before = set(threading.enumerate())
    part = case.open()
    with case.away():
        # Files and pipes fail on the spot, the others in their thread.
        with suppress(KinewaxError):
            part.write(case.items(0, 1))
        part.close()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in left if name.startswith(("sink-", "notices"))}
