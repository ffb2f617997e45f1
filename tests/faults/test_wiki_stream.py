"""Following a stream that drops, repeats and stalls: each event arrives; the position is true."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from errors import DeliveryError, KinewaxError, MissingResourceError, SettingsError
from producers.clock import SystemClock
from producers.crowd import Traffic
from producers.options import ProduceOptions
from producers.records import Record
from producers.run import produce
from producers.wiki import Changes
from producers.wiki_stream import Follower, Patience, Position
from tests.fakes.sse import Connection, SseServer, sse_server
from tests.golden.output import no_client

START_US = 1_767_225_600_000_000
HASTY = Patience(stall_seconds=0.4, linger_seconds=0.05, first_pause_seconds=0.01, attempts=4)


def changes(count: int) -> list[bytes]:
    traffic = Traffic(START_US, 60_000_000, rate=1, events=count, users=1_000)
    return [record.payload for record in Changes(traffic, 3).advance(START_US + 60_000_000)]


EVENTS = changes(700)


class Kept:
    """A writer that remembers each batch, and fails when told to."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.batches: list[list[Record]] = []
        self._fails_at = fails_at

    def write(self, records: Sequence[Record]) -> None:
        if len(self.batches) == self._fails_at:
            msg = "the stream is away"
            raise DeliveryError(msg)
        self.batches.append(list(records))

    def close(self) -> None:
        pass

    @property
    def payloads(self) -> list[bytes]:
        return [record.payload for batch in self.batches for record in batch]


def follow(
    server: SseServer, writer: Kept, *, position: Path | None = None, **more: object
) -> Follower:
    given = {"most": len(EVENTS), "patience": HASTY, **more}
    follower = Follower(
        server.url,
        writer,
        Position(position),
        clock=SystemClock(),
        rng=random.Random(1),
        **given,  # type: ignore[arg-type]
    )
    follower.run()
    return follower


@contextmanager
def serving(*script: Connection) -> Iterator[SseServer]:
    with sse_server(EVENTS, *script) as server:
        yield server


def test_all_events_are_written_in_batches_the_last_partial_one_too() -> None:
    writer = Kept()
    with serving() as server:
        follow(server, writer)
    assert writer.payloads == EVENTS
    sizes = [len(batch) for batch in writer.batches]
    assert sum(sizes) == 700
    assert max(sizes) <= 500


def test_what_came_is_written_though_nothing_more_comes_for_a_while() -> None:
    writer = Kept()
    with serving(Connection(send=7, then="stall")) as server:
        follow(server, writer, most=8)
    assert writer.payloads == EVENTS[:8]
    assert len(server.asked) == 2, "the silent connection was left"


def test_a_stop_ends_it_though_the_server_is_silent_and_what_came_is_written() -> None:
    writer, clock = Kept(), SystemClock()
    with serving(Connection(send=7, then="stall")) as server:
        follower = Follower(
            server.url,
            writer,
            Position(None),
            clock=clock,
            rng=random.Random(1),
            patience=Patience(stall_seconds=600, linger_seconds=0.05),
            tell=lambda _: clock.stop(),
        )
        follower.run()
    assert writer.payloads == EVENTS[: len(writer.payloads)]
    assert writer.payloads


@pytest.mark.parametrize("then", ["close", "cut", "stall"])
def test_a_connection_that_ends_is_made_again_behind_the_last_event(then) -> None:
    writer = Kept()
    with serving(Connection(send=150, then=then), Connection(send=90, then=then)) as server:
        follow(server, writer)
    assert writer.payloads == EVENTS
    asked = [headers.get("Last-Event-ID") for headers in server.asked]
    assert asked[0] is None
    assert [json.loads(one)[0]["offset"] for one in asked[1:]] == [149, 239]


def test_events_that_a_server_repeats_are_written_again() -> None:
    writer = Kept()
    with serving(Connection(send=100), Connection(repeat=30)) as server:
        follow(server, writer, most=730)
    assert writer.payloads == EVENTS[:100] + EVENTS[70:]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_away_for_a_while_is_asked_again(status: int) -> None:
    writer = Kept()
    with serving(Connection(send=10), Connection(status=status), Connection(status=status)) as s:
        follower = follow(s, writer)
    assert writer.payloads == EVENTS
    assert follower.followed.connections == 4


def test_bytes_may_come_one_by_one_and_lines_end_in_any_way() -> None:
    writer = Kept()
    with serving(Connection(send=3, chunk=1, end="\r\n"), Connection(send=3, chunk=7)) as server:
        follow(server, writer, most=6)
    assert writer.payloads == EVENTS[:6]


def test_a_client_says_who_it_is_and_what_it_wants() -> None:
    with serving() as server:
        follow(server, Kept(), user_agent="us (mailto:us@example.org)")
    assert server.asked[0]["User-Agent"] == "us (mailto:us@example.org)"
    assert server.asked[0]["Accept"] == "text/event-stream"


def test_the_position_is_kept_over_restarts(tmp_path: Path) -> None:
    position = tmp_path / "deep" / "position"
    first, second = Kept(), Kept()
    with serving() as server:
        follow(server, first, position=position, most=60)
        follow(server, second, position=position, most=640)
    assert first.payloads + second.payloads == EVENTS
    assert json.loads(server.asked[1]["Last-Event-ID"])[0]["offset"] == 59


def test_the_position_is_never_ahead_of_what_was_written(tmp_path: Path) -> None:
    position = tmp_path / "position"
    first, second = Kept(fails_at=1), Kept()
    with serving() as server:
        with pytest.raises(DeliveryError):
            follow(server, first, position=position)
        follow(server, second, position=position, most=700 - len(first.payloads))
    assert first.payloads
    assert first.payloads + second.payloads == EVENTS


def test_a_position_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "position").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="position can't be read"):
        Position(tmp_path / "position")


def test_canaries_are_kept_or_left_out() -> None:
    canary = EVENTS[0].replace(b'"domain":"', b'"domain":"canary","was":"')
    events = [canary, *EVENTS[1:5]]
    for keeps, expected in ((True, events), (False, events[1:])):
        writer = Kept()
        with sse_server(events) as server:
            follower = follow(server, writer, most=len(expected), keep_canaries=keeps)
        assert writer.payloads == expected
        assert follower.followed.canaries == 1


def test_records_are_keyed_by_their_wiki() -> None:
    writer = Kept()
    with serving() as server:
        follow(server, writer, most=50)
    keys = [record.partition_key for batch in writer.batches for record in batch]
    assert keys == [json.loads(event)["wiki"] for event in EVENTS[:50]]


@pytest.mark.parametrize("data", [b"no json", b"[1]", b'{"wiki":7}'])
def test_what_is_no_event_is_handed_on_for_the_domain_to_reject(data: bytes) -> None:
    writer = Kept()
    with sse_server([data]) as server:
        follow(server, writer, most=1)
    assert writer.payloads == [data]


def test_a_server_that_brings_nothing_for_many_connections_is_an_error() -> None:
    with (
        sse_server(EVENTS, *[Connection(status=503)] * 9) as server,
        pytest.raises(KinewaxError, match="brought nothing in 4 connections: HTTP 503"),
    ):
        follow(server, Kept())
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("connection", "error", "said"),
    [
        (Connection(status=404), MissingResourceError, "has no events"),
        (Connection(status=403), KinewaxError, "refuses"),
        (Connection(kind="text/html"), KinewaxError, "text/html"),
    ],
)
def test_a_refusal_that_will_not_pass_is_an_error_at_once(connection, error, said: str) -> None:
    with serving(connection) as server, pytest.raises(error, match=said):
        follow(server, Kept())
    assert len(server.asked) == 1


def test_the_command_hands_a_stream_and_a_file_on(tmp_path: Path) -> None:
    def options(source: str) -> ProduceOptions:
        to = f"file://{tmp_path / 'out.jsonl'}"
        return ProduceOptions(domain="wiki", to=to, source=source, events=len(EVENTS))

    with serving() as server:
        sources = [server.url]
        captured = b"".join(server.written(number, "\n") for number in range(len(EVENTS)))
        (tmp_path / "captured.sse").write_bytes(captured)
        (tmp_path / "lines.ndjson").write_bytes(b"\n".join(EVENTS))
        sources += [str(tmp_path / "captured.sse"), f"file://{tmp_path / 'lines.ndjson'}"]
        for source in sources:
            report = produce(
                options(source),
                kinesis_client_factory=no_client,
                clock=SystemClock(),
                out=lambda _: None,
            )
            assert report.events == len(EVENTS)
            assert (tmp_path / "out.jsonl").read_bytes().splitlines() == EVENTS


@pytest.mark.parametrize(
    "wrong",
    [
        {"domain": "ecommerce"},
        {"attackers": 3},
        {"source": "changes.ndjson", "drop_canaries": True},
        {"position": Path("position")},
    ],
)
def test_options_that_do_not_go_together_are_refused(wrong, tmp_path: Path) -> None:
    given = {"domain": "wiki", "to": f"file://{tmp_path / 'out'}", "source": "http://localhost/"}
    with pytest.raises(SettingsError):
        produce(
            ProduceOptions(**{**given, **wrong}),
            kinesis_client_factory=no_client,
            clock=SystemClock(),
            out=lambda _: None,
        )
