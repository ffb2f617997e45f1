"""What pods say to each other, over real sockets, and files that move between them."""

from __future__ import annotations

import http.client
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from errors import SettingsError
from service import layout, snapshots
from service.admin import Admin
from service.children import free_port
from service.pod_calls import Caller, routes
from service.pods import Pods, Store
from service.rounds import Beat, Order
from service.settings import Cluster
from service.supervisor import Health

TOKEN = "a-secret-of-the-pods-0123"


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def make(tmp_path: Path, token: Path) -> Iterator[Callable[..., Pods]]:
    """A function that makes a pod whose admin port is served."""
    ports = [free_port() for _ in range(3)]
    with ExitStack() as stack:

        def made(index: int, count: int = 2) -> Pods:
            path = tmp_path / f"recovery-{index}"
            path.mkdir(exist_ok=True)
            pods = Pods(
                Cluster(
                    pods=tuple(f"127.0.0.1:{port}" for port in ports[:count]),
                    index=index,
                    port=0,
                    token_file=token,
                ),
                Store(path, {"stream": "s"}, 4, lambda: None),
                same={"version": "1"},
                processes=1,
                clock_us=lambda: 1,
            )
            admin = Admin(
                "127.0.0.1",
                ports[index],
                health=lambda: Health(0, 0, 0.0, draining=False, waiting=pods.waiting),
                config={},
                metrics_directory=tmp_path,
                processes=1,
                epoch_seconds=5,
                routes=routes(pods),
            )
            stack.enter_context(admin)
            return pods

        made.ports = ports
        yield made


def commit(path: Path, epoch: int) -> None:
    """Let a file say that it is committed up to an epoch."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM commits")
        connection.execute(
            "INSERT INTO commits (part_index, commit_epoch) VALUES (?, ?)",
            (snapshots.number_of(path), epoch),
        )
    connection.close()


def parts(pods: Pods) -> list[int]:
    return sorted(map(snapshots.number_of, snapshots.part_files(pods.directory)))


def test_nothing_is_answered_without_the_secret(make: Callable[..., Pods]) -> None:
    pods = make(0)
    connection = http.client.HTTPConnection("127.0.0.1", make.ports[0])
    for method, path in (
        ("POST", "/pods/join"),
        ("POST", "/pods/beat"),
        ("POST", "/pods/share"),
        ("PUT", "/pods/parts/0"),
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            connection.request(method, path, b"{}", headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 401, (path, headers)
    connection.close()
    assert parts(pods) == []


def test_what_is_not_understood_is_refused_and_said(make: Callable[..., Pods]) -> None:
    make(0)
    with pytest.raises(OSError, match=r"400.*another version"):
        Caller(TOKEN).post(f"127.0.0.1:{make.ports[0]}", "join", {"pod": 1})


def test_only_the_first_pod_keeps_rounds(make: Callable[..., Pods]) -> None:
    make(1)
    with pytest.raises(OSError, match="404"):
        Caller(TOKEN).post(f"127.0.0.1:{make.ports[1]}", "beat", Beat("a", drain=False))


def test_a_beat_of_an_unknown_round_is_told_to_end(make: Callable[..., Pods]) -> None:
    make(0)
    first = Caller(TOKEN).first(f"127.0.0.1:{make.ports[0]}")

    assert first.beat(Beat("a", drain=True)) == Order(
        "end", "the first pod knows nothing of this round"
    )


def test_a_file_that_is_not_its_own_goes_to_its_pod_with_all_that_its_log_holds(
    make: Callable[..., Pods],
) -> None:
    first, second = make(0), make(1)
    snapshots.create(first.directory, 4)
    with ExitStack() as stack:
        for path in snapshots.part_files(first.directory):
            # A reader keeps what is committed next in the log, as a process that died leaves it.
            reader = stack.enter_context(closing(sqlite3.connect(path)))
            reader.execute("PRAGMA journal_mode=WAL")
            commit(path, 10 + snapshots.number_of(path))
        assert (first.directory / "part-1.sqlite3-wal").stat().st_size > 0

        assert first._hand_over() == ""

    assert (parts(first), parts(second)) == ([0, 2], [1, 3])
    moved = [second.directory / f"part-{number}.sqlite3" for number in (1, 3)]
    assert [snapshots.commit_of(path) for path in moved] == [11, 13]
    assert not [path for path in first.directory.iterdir() if "part-1" in path.name]


def test_a_file_waits_for_its_pod(make: Callable[..., Pods]) -> None:
    first = make(0)
    snapshots.create(first.directory, 4)

    assert "pod 1 doesn't take recovery file 1 yet" in first._hand_over()
    assert parts(first) == [0, 1, 2, 3]


@pytest.mark.parametrize(("here", "kept"), [(5, 9), (12, 12)])
def test_of_two_files_with_one_number_the_further_one_is_kept(
    make: Callable[..., Pods], here: int, kept: int
) -> None:
    first, second = make(0), make(1)
    snapshots.create(first.directory, 4)
    snapshots.create(second.directory, 4, 1, 2)
    commit(first.directory / "part-1.sqlite3", 9)
    commit(second.directory / "part-1.sqlite3", here)

    assert first._hand_over() == ""

    assert snapshots.commit_of(second.directory / "part-1.sqlite3") == kept
    assert parts(first) == [0, 2]


def test_a_file_is_not_replaced_under_running_workers(make: Callable[..., Pods]) -> None:
    first, second = make(0), make(1)
    snapshots.create(first.directory, 4)
    snapshots.create(second.directory, 4, 1, 2)
    commit(first.directory / "part-1.sqlite3", 9)
    second._running = True

    assert "workers run here" in first._hand_over()
    assert parts(first) == [0, 1, 2, 3]


def test_a_pod_beyond_the_number_hands_all_over_and_says_so(make: Callable[..., Pods]) -> None:
    first, second, leaver = make(0), make(1), make(2, count=2)
    snapshots.create(leaver.directory, 4)

    assert leaver.meet(lambda _: True) is None

    assert "can go" in leaver.waiting
    assert (parts(first), parts(second), parts(leaver)) == ([0, 2], [1, 3], [])


def test_a_damaged_file_is_refused(make: Callable[..., Pods], tmp_path: Path) -> None:
    first = make(0)
    connection = http.client.HTTPConnection("127.0.0.1", make.ports[0])
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Content-SHA256": "0" * 64}
    connection.request("PUT", "/pods/parts/0", b"not what was sent", headers)
    answer = connection.getresponse()

    assert answer.status == 400
    assert b"damaged" in answer.read()
    connection.close()
    assert list(first.directory.iterdir()) == []


def test_what_a_start_that_was_cut_off_left_is_removed(
    make: Callable[..., Pods], tmp_path: Path
) -> None:
    (tmp_path / "recovery-0").mkdir()
    (tmp_path / "recovery-0" / "0123456789abcdef.arriving").write_bytes(b"half of it")

    assert list(make(0).directory.iterdir()) == []


def test_a_pod_that_is_told_to_stop_while_it_waits_starts_nothing(
    make: Callable[..., Pods],
) -> None:
    second = make(1)

    assert second.meet(lambda _: True) is None
    assert second.waiting.startswith("waiting for pod 0: ")


def test_two_pods_meet(make: Callable[..., Pods]) -> None:
    first, second = make(0), make(1)
    assert second._ask(("10.0.0.1:1",)) == "waiting for pod 0"
    assert first._ask(("10.0.0.0:1",)) == ""
    assert second._ask(("10.0.0.1:1",)) == ""

    assert first._round_addresses == second._round_addresses == ("10.0.0.0:1", "10.0.0.1:1")
    assert (parts(first), parts(second)) == ([0, 2], [1, 3])


def execute(path: Path, statement: str, *rows: tuple[object, ...]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(statement, rows)


def test_what_was_never_committed_on_all_pods_is_removed_on_each(
    make: Callable[..., Pods],
) -> None:
    pods = (make(0), make(1))
    for index, pod in enumerate(pods):
        snapshots.create(pod.directory, 4, index, 2)
        path = pod.directory / f"part-{index}.sqlite3"
        snaps = "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)"
        execute(path, snaps, *(("s", "k", epoch, b"") for epoch in (6, 7, 8)))
        layout.write(pod.directory, layout.Layout({"stream": "s"}, 5))
    part = pods[0].directory / "part-0.sqlite3"
    fronts = "INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, ?, ?)"
    exs = "INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (?, ?, ?)"
    execute(part, exs, (1, 2, 3))
    execute(part, fronts, (1, 0, 9))
    execute(pods[1].directory / "part-1.sqlite3", fronts, (1, 1, 7))

    pods[1]._ask(("10.0.0.1:1",))
    assert [pod._ask((f"10.0.0.{index}:1",)) for index, pod in enumerate(pods)] == ["", ""]

    for index, pod in enumerate(pods):
        with closing(sqlite3.connect(pod.directory / f"part-{index}.sqlite3")) as connection:
            kept = connection.execute("SELECT snap_epoch FROM snaps").fetchall()
        assert kept == [(6,)], "worker 1 had committed up to 7 only"
        assert pod.started_at_us == 5


def test_a_round_that_goes_on_does_not_hang_on_names(
    make: Callable[..., Pods], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make(0), make(1)
    second._cluster = second._cluster.model_copy(
        update={"pods": tuple(f"localhost:{port}" for port in make.ports[:2])}
    )
    second._named = second._first = Caller(TOKEN).first(f"localhost:{make.ports[0]}")
    second._ask(("127.0.0.1:9",))
    assert first._ask(("127.0.0.1:8",)) == second._ask(("127.0.0.1:9",)) == ""

    def resolve(host: str, *arguments: Any, **named: Any) -> Any:
        if not host.startswith("127."):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return known(host, *arguments, **named)

    known = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert second._first.beat(Beat(second._ticket, drain=False)).kind == "go on"
    assert second.meet(lambda _: True) is None
    assert "name resolution" in second.waiting, "the next round is asked for by name again"


@pytest.mark.parametrize(
    ("content", "why"), [(None, "several pods need a secret"), ("short", "less than 16")]
)
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: str | None, why: str) -> None:
    path = None
    if content is not None:
        path = tmp_path / "secret"
        path.write_text(content)
    with pytest.raises(SettingsError, match=why):
        Pods(
            Cluster(pods=("a:1", "b:1"), token_file=path),
            Store(tmp_path, {}, 4, lambda: None),
            same={},
            processes=1,
            clock_us=lambda: 1,
        )
