"""Readers, their share and the threads, all at once: whoever is in whose way, all is read once.

The random tests of `test_share.py` make one step at a time; here steps run on real threads while
others take rows off the queues, leave, or meet calls that fail.
"""

from __future__ import annotations

import random
import threading
import time

import pytest
from botocore.exceptions import ReadTimeoutError

from sources.kinesis.lineage import Shard
from sources.kinesis.pacing import Backoff, Pacing
from sources.kinesis.polling import PollingReader
from sources.kinesis.prefetch import Prefetch
from sources.kinesis.reader import End, Position
from sources.kinesis.records import Rows
from sources.kinesis.share import Share
from tests.fakes.kinesis import FakeKinesis, client_error

WAIT = 30.0
SHARDS = 40
LEAVERS = 5


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.kinesis.share._ROOM_SECONDS", 0.001)
    monkeypatch.setattr("sources.kinesis.share._LOOKS_PER_SECOND", 1e5)
    monkeypatch.setattr("sources.kinesis.share._KEPT_SECONDS", 0.2)
    monkeypatch.setattr("sources.kinesis.polling.PAUSED_SECONDS", 0.002)
    monkeypatch.setattr(Backoff, "next_seconds", lambda self: self._rng.uniform(0.0, 0.005))


@pytest.mark.parametrize("seed", range(4))
def test_all_is_read_once_and_in_order_and_all_room_is_given_back(seed: int) -> None:
    rng = random.Random(seed)
    stream = FakeKinesis(SHARDS)
    written: dict[str, list[bytes]] = {}
    for shard in list(stream.shards.values()):
        stream.now_us = rng.randrange(200) * 1_000_000
        count = rng.randrange(150)
        large = rng.random() < 0.2
        written[shard.id] = [b"%d %s" % (n, bytes(20_000 * large)) for n in range(count)]
        for payload in written[shard.id]:
            stream.put(payload, shard.first_hash)
        shard.closed = rng.random() < 0.3
    stream.now_us = 10**15
    draw = random.Random(seed)

    def faults(operation: str, _: object) -> Exception | None:
        if draw.random() < 0.8:
            return None
        errors: list[Exception] = [
            client_error("ProvisionedThroughputExceededException"),
            client_error("ExpiredIteratorException"),
            ReadTimeoutError(endpoint_url="x"),
        ]
        return draw.choice(errors)

    stream.faults = faults
    share = Share(rng.choice((100_000, 2_000_000)), max_drift_seconds=20)
    share.readers = SHARDS
    failures: list[BaseException] = []
    prefetch = Prefetch("stress", failures.append, max_threads=8)
    readers = {
        shard.id: PollingReader(
            Shard(shard.id, shard.first_hash, shard.last_hash),
            Position(),
            client=stream,
            pacing=Pacing(
                poll_interval_seconds=0.002,
                max_poll_interval_seconds=0.002,
                shard_calls_per_second=1e4,
                shard_bytes_per_second=1e9,
            ),
            stream="stress-test",
            share=share,
            clock=stream.clock,
            rng=random.Random(seed),
            learn=lambda children: None,
            on_loss=lambda shard, why: None,
        )
        for shard in stream.shards.values()
    }
    for reader in readers.values():
        prefetch.add(reader.step, rng.uniform(0.0, 0.01))
    leavers = set(rng.sample(sorted(readers), LEAVERS))
    taken: dict[str, list[bytes]] = {name: [] for name in readers}
    deadline = time.monotonic() + WAIT
    while not failures and any(
        len(taken[name]) < len(written[name]) for name in readers if name not in leavers
    ):
        assert time.monotonic() < deadline, {n: len(taken[n]) for n in readers}
        name = rng.choice(sorted(readers))
        reader = readers[name]
        if name in leavers and rng.random() < 0.01:
            reader.close()
        for _ in range(rng.randrange(4)):
            item = reader.take()
            if isinstance(item, Rows):
                taken[name] += item.payloads
            elif isinstance(item, End):
                reader.close()
        if rng.random() < 0.05:
            threading.Event().wait(0.001)
    for reader in readers.values():
        reader.close()
    prefetch.close()
    prefetch.join(WAIT)
    assert failures == []
    for name, payloads in taken.items():
        assert payloads == written[name][: len(payloads)]
    assert (share._waiting_bytes, share._reserved_bytes, share._line) == (0, 0, {})
