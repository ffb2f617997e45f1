"""Incidents and their notices when things break: the row is right, the notice arrives."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metrics
from messages import Output
from sinks.base import Part
from tests.fakes.fault_proxy import FaultProxy, fault_proxy
from tests.fakes.sink_cases import START_US, Aws, alert, digest
from tests.servers import Clients

SUBJECT = "Possible DDoS detected, by user_id 101 with a number of attempts of : 14/window"


@pytest.fixture
def proxy(moto: Clients) -> Iterator[FaultProxy]:
    with fault_proxy(moto.endpoint) as running:
        yield running


@pytest.fixture
def aws(moto: Clients, proxy: FaultProxy, unique_name: Callable[[str], str]) -> Aws:
    place = Aws(moto, proxy, unique_name("incidents"))
    place.topic()
    return place


class Run:
    """Parts of one sink that are closed when the test ends."""

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.parts: list[Part] = []

    def open(
        self, state: dict[str, Any] | None = None, dead_letters: Any = None, **options: Any
    ) -> Part:
        sink = self.aws.incidents(dead_letters, **({"parts": 1} | options))
        part = sink.open(sink.parts[0], state)
        self.parts.append(part)
        return part

    def deliver(self, part: Part, *items: Output) -> dict[str, int]:
        part.write(items)
        part.flush()
        return self.account(part)

    def account(self, part: Part) -> dict[str, int]:
        ledger: dict[str, int] = part.state()["ledger"]
        return {name.removeprefix("incidents."): n for name, n in ledger.items() if n}

    def until(self, is_so: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.02)


@pytest.fixture
def run(aws: Aws) -> Iterator[Run]:
    running = Run(aws)
    yield running
    for part in running.parts:
        part.close()


# ---- the row ------------------------------------------------------------------------------------


def test_the_row_of_the_seeds_rule_has_the_seeds_key_and_attributes(aws: Aws, run: Run) -> None:
    aws.table()
    part = run.open()
    first = alert(101, "open", 6, detected_at_us=START_US + 1)
    run.deliver(part, first, alert(101, "raised", 11, notice="publish"), alert(101, "final", 14))
    [row] = aws.scan()
    assert row["ddb_partition_key"] == "userid#101#appserver#app-server-tomcat-123"
    assert row["ddb_sort_key"] == str(START_US // 1_000_000)
    assert (row["user_id"], row["num_actions_per_watermark"]) == ("101", "14")
    assert (row["phase"], row["severity"], row["threshold"]) == ("final", "high", "10")
    assert row["detected_at"] == "2023-11-14T22:13:20.000001Z"
    assert row["window_end"] == "2023-11-14T22:13:30Z"
    assert abs(int(row["expires_at"]) - time.time() - 30 * 86400) < 60
    assert row["notice"] == "publish"
    assert not {"notified", "notice_body", "notice_subject"} & set(row)


def test_an_answer_that_is_lost_after_the_write_counts_the_row_once(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.lose_answer("UpdateItem", times=1)
    account = run.deliver(run.open(), alert(101, "open", 6))
    assert account == {"raised": 1, "already_there": 1}
    assert [row["user_id"] for row in aws.scan()] == ["101"]


def test_phases_of_an_incident_are_written_in_order_while_the_table_throttles(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse("UpdateItem", 400, "ProvisionedThroughputExceededException", times=8)
    items = [
        alert(user, phase, value)
        for user in range(6)
        for phase, value in (("open", 6), ("raised", 11), ("final", 14))
    ]
    account = run.deliver(run.open(), *items)
    assert account == {"raised": 18, "written": 18}
    assert {(row["phase"], row["num_actions_per_watermark"]) for row in aws.scan()} == {
        ("final", "14")
    }


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["open", "raised", "raised again", "final"]))[::5]
)
def test_whatever_order_runs_write_in_the_row_ends_at_its_greatest_phase(
    aws: Aws, run: Run, order: tuple[str, ...]
) -> None:
    aws.table()
    phases = {
        "open": alert(101, "open", 6),
        "raised": alert(101, "raised", 11, notice="publish"),
        "raised again": alert(101, "raised", 12, notice="publish"),
        "final": alert(101, "final", 14),
    }
    part = run.open()
    for name in order:
        run.deliver(part, phases[name])
    [row] = aws.scan()
    assert (row["phase"], row["num_actions_per_watermark"]) == ("final", "14")
    assert row["severity"] == "high"
    account = run.account(part)
    assert account["raised"] == account["written"] + account.get("already_there", 0) == 4
    # Both asked for the same notice, and it was sent at least and at most once.
    assert account["notifications"] == account["notifications.published"] == 2
    assert len(aws.received()) == 1


def test_a_value_that_grew_within_a_phase_is_written(aws: Aws, run: Run) -> None:
    aws.table()
    account = run.deliver(
        run.open(), alert(101, "final", 7), alert(101, "final", 12), alert(101, "final", 9)
    )
    assert account == {"raised": 3, "written": 2, "already_there": 1}
    [row] = aws.scan()
    assert (row["num_actions_per_watermark"], row["severity"]) == ("12", "high")


def test_a_row_that_the_table_refuses_is_a_dead_letter_and_its_neighbours_stand(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse(
        "UpdateItem",
        400,
        "ValidationException",
        only=lambda request: "userid#2#" in request["Key"]["ddb_partition_key"]["S"],
    )
    letters = Letters()
    account = run.deliver(
        run.open(dead_letters=lambda: letters),
        alert(1, "open", 6),
        alert(2, "open", 6, notice="publish"),
        alert(3, "open", 6),
    )
    assert account == {
        "raised": 3,
        "written": 2,
        "dead_lettered": 1,
        "notifications": 1,
        "notifications.dead_lettered": 1,
    }
    assert {row["user_id"] for row in aws.scan()} == {"1", "3"}
    [letter] = letters.items
    assert (letter.domain, letter.reason) == ("ecommerce", "refused_by_destination")
    assert b'"user_id":2' in letter.payload
    assert letters.flushes


class Letters:
    """A dead-letter part that remembers."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.flushes = 0

    def write(self, items: Any) -> None:
        self.items += items

    def flush(self) -> None:
        self.flushes += 1

    def state(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


# ---- the notice ---------------------------------------------------------------------------------


def test_a_raised_incident_reaches_the_subscriber_and_quiet_ones_do_not(aws: Aws, run: Run) -> None:
    aws.table()
    account = run.deliver(
        run.open(),
        alert(101, "raised", 14, notice="publish"),
        alert(102, "raised", 15, notice="cooldown"),
        alert(103, "raised", 16, notice="digest"),
        alert(104, "open", 6),
        digest(),
    )
    assert account == {
        "raised": 4,
        "written": 4,
        "notifications": 3,
        "notifications.published": 1,
        "notifications.suppressed": 1,
        "notifications.digest": 1,
        "digests": 1,
        "digests.published": 1,
    }
    received = {message["subject"]: message["body"] for message in aws.received()}
    assert set(received) == {SUBJECT, "7 more incidents of high_volume in one window"}
    assert received[SUBJECT]["key"] == {"user_id": 101}
    assert received[SUBJECT]["value"] == 14
    [worst] = received["7 more incidents of high_volume in one window"]["worst"]
    assert worst["key"] == {"user_id": 999}
    said = {row.get("user_id", "digest"): row.get("notice") for row in aws.scan()}
    assert said == {
        "101": "publish",
        "102": "cooldown",
        "103": "digest",
        "104": "none",
        "digest": "publish",
    }


def test_an_incident_whose_notice_went_out_is_not_told_again_when_it_is_replayed(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    items = (
        alert(101, "open", 6),
        alert(101, "raised", 14, notice="publish"),
        alert(101, "final", 14),
    )
    first = run.deliver(run.open(), *items)
    assert first == {
        "raised": 3,
        "written": 3,
        "notifications": 1,
        "notifications.published": 1,
    }
    again = run.deliver(run.open(), *items)
    assert again == {
        "raised": 3,
        "already_there": 3,
        "notifications": 1,
        "notifications.published": 1,
    }
    assert [message["subject"] for message in aws.received()] == [SUBJECT]
    # No local server answers with an old row, but DynamoDB does unless it is told not to.
    assert all(request["ConsistentRead"] for request in proxy.requests("GetItem"))


def pending() -> float:
    """Return what the metric says."""
    return metrics.notifications_pending.labels("ecommerce")._value.get()


def test_rows_go_on_while_the_topic_fails_and_the_sweeper_publishes_when_it_is_back(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse("Publish", 503, "ServiceUnavailable")
    part = run.open(notify_seconds=0.1, sweep_seconds=0.1)
    account = run.deliver(
        part, *(alert(user, "raised", 14, notice="publish") for user in range(101, 106))
    )
    assert account["written"] == 5
    assert account["notifications"] == account["notifications.pending"] == 5
    assert {row["notified"] for row in aws.scan()} == {"pending"}
    assert aws.received() == []
    assert pending() == 5
    proxy.mend()
    run.until(lambda: run.account(part).get("notifications.published") == 5)
    assert pending() == 0
    run.until(lambda: not any("notified" in row for row in aws.scan()))
    assert len(aws.received()) == 5
    assert "notifications.pending" not in run.account(part)


def test_a_topic_that_hangs_holds_neither_rows_nor_flushes_up(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.hang("Publish")
    part = run.open(notify_seconds=0.3)
    run.deliver(part, *(alert(u, "raised", 14, notice="publish") for u in range(50)))
    account = run.deliver(part, *(alert(user, "final", 15) for user in range(50)))
    assert account["written"] == 100
    assert account["notifications.pending"] == 50
    # Of 50 notices hardly any queued up behind the hanging call to wait as long.
    assert len(proxy.requests("Publish")) <= 5
    proxy.mend()


def test_one_notice_that_the_topic_refuses_does_not_keep_the_others_back(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse(
        "Publish", 400, "InvalidParameter", only=lambda request: "user_id 101" in request["Subject"]
    )
    part = run.open(notify_seconds=0.1, sweep_seconds=0.1)
    users = range(101, 105)
    run.deliver(part, *(alert(u, "raised", 14, notice="publish") for u in users))
    run.until(lambda: run.account(part).get("notifications.published") == 3)
    assert run.account(part)["notifications.pending"] == 1
    assert len(aws.received()) == 3

    def pending() -> list[dict[str, Any]]:
        return [row for row in aws.scan() if "notified" in row]

    run.until(lambda: len(pending()) == 1)  # a row is cleared behind its notice
    [left] = pending()
    assert left["user_id"] == "101"


def test_what_was_pending_in_the_snapshot_is_published_by_the_next_process_and_counted(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse("Publish", 503, "ServiceUnavailable")
    before = run.open(notify_seconds=0.1)
    run.deliver(before, alert(101, "raised", 14, notice="publish"), digest())
    state = before.state()
    before.close()
    assert pending() == 0  # of a part that is closed nobody here knows
    after = run.open(state, notify_seconds=0.1, sweep_seconds=0.1)
    assert pending() == 2
    proxy.mend()
    run.until(lambda: run.account(after).get("digests.published") == 1)
    run.until(lambda: run.account(after).get("notifications.published") == 1)
    assert run.account(after) == {
        "raised": 1,
        "written": 1,
        "notifications": 1,
        "notifications.published": 1,
        "digests": 1,
        "digests.published": 1,
    }
    assert len(aws.received()) == 2


def test_notices_that_a_lost_recovery_store_knew_of_are_found_by_the_index(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse("Publish", 503, "ServiceUnavailable")
    before = run.open(notify_seconds=0.1)
    run.deliver(before, alert(101, "raised", 14, notice="publish"))
    before.close()
    proxy.mend()
    part = run.open()
    run.until(lambda: not any("notified" in row for row in aws.scan()))
    assert [message["subject"] for message in aws.received()] == [SUBJECT]
    # They were never part of this account, and aren't now.
    assert run.account(part) == {}


def test_the_notices_of_another_domain_in_the_same_table_are_left_alone(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse("Publish", 503, "ServiceUnavailable")
    before = run.open(notify_seconds=0.1)
    run.deliver(before, alert(101, "raised", 14, notice="publish"))
    before.close()
    proxy.mend()
    run.open(domain="access_logs", sweep_seconds=0.05)
    proxy.wait_for("GetItem", len(proxy.requests("GetItem")) + 3)
    assert aws.received() == []


def test_a_table_without_the_index_still_has_its_notices_published(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table(index=False)
    proxy.refuse("Publish", 503, "ServiceUnavailable")
    part = run.open(notify_seconds=0.1, sweep_seconds=0.1)
    run.deliver(part, alert(101, "raised", 14, notice="publish"))
    proxy.mend()
    run.until(lambda: run.account(part).get("notifications.published") == 1)
    assert len(aws.received()) == 1
    assert len(proxy.requests("Query")) == 1


def test_a_notice_that_went_out_but_could_not_be_taken_out_is_not_sent_again(
    aws: Aws, run: Run, proxy: FaultProxy
) -> None:
    aws.table()
    proxy.refuse(
        "UpdateItem",
        500,
        "InternalServerError",
        times=2,
        only=lambda request: "published_at" in request["UpdateExpression"],
    )
    part = run.open(sweep_seconds=0.05)
    account = run.deliver(part, alert(101, "raised", 14, notice="publish"))
    assert account["notifications.published"] == 1
    run.until(lambda: not any("notified" in row for row in aws.scan()))
    assert len(aws.received()) == 1


def test_a_replay_in_other_batches_still_tells_an_incident_that_nobody_was_told_of(
    aws: Aws, run: Run
) -> None:
    aws.table()
    # The first run saw the value cross both limits at once, in a storm: it went into a digest.
    run.deliver(run.open(), alert(101, "raised", 14, notice="digest"))
    account = run.deliver(run.open(), alert(101, "raised", 12, notice="publish"))
    assert account == {
        "raised": 1,
        "already_there": 1,
        "notifications": 1,
        "notifications.published": 1,
    }
    assert len(aws.received()) == 1


# ---- kill -9 ------------------------------------------------------------------------------------


def _write_until_killed(url: str, name: str, users: int) -> None:
    sink = Aws.behind(url, name).incidents(parts=1, notify_seconds=30.0)
    part = sink.open(sink.parts[0], None)
    part.write([alert(user, "raised", 14, notice="publish") for user in range(users)])
    part.flush()


@pytest.mark.parametrize("kill_at", ["UpdateItem", "GetItem", "Publish"])
def test_a_process_killed_between_row_and_notice_loses_neither(
    aws: Aws, run: Run, proxy: FaultProxy, kill_at: str
) -> None:
    """Kill a writer for good at each step of its way, and let another process do it all again."""
    aws.table()
    users = 12
    child = multiprocessing.get_context("spawn").Process(
        target=_write_until_killed, args=(proxy.url, aws.name, users)
    )
    child.start()
    proxy.wait_for(kill_at, users // 2)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    part = run.open(notify_seconds=0.1, sweep_seconds=0.1)
    account = run.deliver(
        part,
        *(alert(user, "raised", 14, notice="publish") for user in range(users)),
        *(alert(user, "final", 15) for user in range(users)),
    )
    run.until(lambda: run.account(part).get("notifications.published") == users)
    account = run.account(part)
    assert account["raised"] == account["written"] + account.get("already_there", 0) == 2 * users
    assert account["notifications"] == users
    standing = aws.scan()
    assert len(standing) == users
    assert {(r["phase"], r["num_actions_per_watermark"]) for r in standing} == {("final", "15")}
    told = [message["body"]["key"]["user_id"] for message in aws.received()]
    assert set(told) == set(range(users))
    # At most the notice that was on its way when the process died came twice.
    assert len(told) <= users + 1
