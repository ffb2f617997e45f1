"""Resharding while running and while stopped, on the two servers that do it right.

kinesis-local ends a closed shard with ChildShards, kinesalite without, and always says that it has
nothing left (MillisBehindLatest 0). Both are npm packages: where they are not installed, these
tests say so and are skipped (`npm install --no-save kinesis-local kinesalite`).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from messages import Adopted, Block, Ended
from sources.kinesis import KinesisSource, StartPosition
from sources.kinesis.source import now_us
from tests.conftest import ROOT
from tests.servers import Clients, clients, free_port

NODE_MODULES = Path(os.environ.get("TEST_NODE_MODULES", ROOT / "node_modules"))
DEADLINE_SECONDS = 60.0
SLOTS = 7

# Both servers listen on all interfaces unless `listen` itself is bent.
BIND = """
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object') first.host = '127.0.0.1';
  else rest.splice(0, typeof rest[0] === 'string' ? 1 : 0, '127.0.0.1');
  return listen.call(this, first, ...rest);
};
"""


@contextmanager
def node_server(package: str, folder: Path) -> Iterator[Clients]:
    """Run one of the servers."""
    home = NODE_MODULES / package
    if not home.is_dir() or shutil.which("node") is None:
        pytest.skip(f"{package} is not installed in {NODE_MODULES}, or node is missing")
    port = free_port()
    bind = folder / "bind.js"
    bind.write_text(BIND)
    arguments = {
        "kinesis-local": ["main.js"],
        "kinesalite": [
            *("cli.js", "--port", str(port), "--shardLimit", "100"),
            *("--createStreamMs", "20", "--updateStreamMs", "20"),
        ],
    }
    environment = {
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "SHARD_LIMIT": "100",
        "CREATE_STREAM_DURATION": "20ms",
        "SPLIT_SHARD_DURATION": "20ms",
        "MERGE_SHARDS_DURATION": "20ms",
        "LOG_LEVEL": "ERROR",
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            ["node", "-r", str(bind), *arguments[package]],
            cwd=home,
            env=os.environ | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            with clients(f"http://127.0.0.1:{port}") as made:
                wait_for(lambda: answers(made))
                yield made
        finally:
            process.terminate()
            process.wait()


def answers(aws: Clients) -> bool:
    try:
        aws("kinesis").list_streams()
    except (ClientError, BotoCoreError):
        return False
    return True


def wait_for(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Operator:
    """Writes to a stream and reshards it, as far as the server allows."""

    def __init__(self, aws: Clients, stream: str, rng: random.Random) -> None:
        self.kinesis = aws("kinesis")
        self.stream = stream
        self.rng = rng
        self.written: list[bytes] = []
        self.splits = self.merges = 0
        self.kinesis.create_stream(StreamName=stream, ShardCount=2)
        self.wait()

    def wait(self) -> None:
        wait_for(
            lambda: (
                self.kinesis.describe_stream_summary(StreamName=self.stream)[
                    "StreamDescriptionSummary"
                ]["StreamStatus"]
                == "ACTIVE"
            )
        )

    def shards(self) -> list[dict[str, Any]]:
        shards: list[dict[str, Any]] = self.kinesis.list_shards(StreamName=self.stream)["Shards"]
        return shards

    def open_shards(self) -> list[dict[str, Any]]:
        alive = [
            s for s in self.shards() if not s["SequenceNumberRange"].get("EndingSequenceNumber")
        ]
        return sorted(alive, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))

    def put(self, count: int) -> None:
        records = []
        for _ in range(count):
            data = b"%06d" % len(self.written)
            self.written.append(data)
            key = str(self.rng.getrandbits(64))
            records.append({"Data": data, "PartitionKey": key})
        reply = self.kinesis.put_records(StreamName=self.stream, Records=records)
        assert reply["FailedRecordCount"] == 0

    def reshard(self) -> None:
        alive = self.open_shards()
        if len(alive) < 3 or (len(alive) < 6 and self.rng.random() < 0.5):
            shard = self.rng.choice(alive)["HashKeyRange"]
            first, last = int(shard["StartingHashKey"]), int(shard["EndingHashKey"])
            self.kinesis.split_shard(
                StreamName=self.stream,
                ShardToSplit=next(s["ShardId"] for s in alive if s["HashKeyRange"] == shard),
                NewStartingHashKey=str(self.rng.randrange(first + 1, last)),
            )
            self.splits += 1
        else:
            place = self.rng.randrange(len(alive) - 1)
            self.kinesis.merge_shards(
                StreamName=self.stream,
                ShardToMerge=alive[place]["ShardId"],
                AdjacentShardToMerge=alive[place + 1]["ShardId"],
            )
            self.merges += 1
        self.wait()


class Job:
    """A service of some processes; its output counts up to the last snapshot only."""

    def __init__(self, aws: Clients, stream: str, first_start: StartPosition) -> None:
        self.aws = aws
        self.stream = stream
        self.first_start = first_start
        self.slots: list[Any] = []
        self.output: list[Any] = []
        self.committed: tuple[list[Any], dict[str, Any]] = ([], {})

    def start(self, processes: int) -> None:
        sources = [
            KinesisSource(
                self.stream,
                lambda: Clients(self.aws.endpoint)("kinesis"),
                start=self.first_start,
                slots=SLOTS,
            )
            for _ in range(processes)
        ]
        self.slots = [
            sources[number % processes].open(name, self.committed[1].get(name))
            for number, name in enumerate(sources[0].slots)
        ]
        self.output = list(self.committed[0])

    def stop(self) -> None:
        """Die: what was read since the last snapshot is forgotten."""
        for slot in self.slots:
            slot.close()
        self.slots = []

    def poll(self) -> None:
        """Poll each slot once, as an engine does that isn't in a hurry."""
        for slot in self.slots:
            self.output += slot.poll()
        time.sleep(0.005)

    def poll_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.poll()

    def commit(self) -> None:
        states = {f"slot-{n:02d}": slot.snapshot() for n, slot in enumerate(self.slots)}
        self.committed = (list(self.output), states)

    def payloads(self) -> list[bytes]:
        return [p for item in self.output if isinstance(item, Block) for p in item.payloads]

    def adopted(self) -> dict[str, tuple[str, ...]]:
        return {item.shard: item.parents for item in self.output if isinstance(item, Adopted)}

    def ended(self) -> dict[str, tuple[str, ...]]:
        return {item.shard: item.children for item in self.output if isinstance(item, Ended)}


@pytest.mark.parametrize("package", ["kinesis-local", "kinesalite"])
def test_a_start_at_latest_on_a_stream_that_was_resharded_before(
    package: str, tmp_path: Path
) -> None:
    with node_server(package, tmp_path) as aws:
        operator = Operator(aws, "resharded-before", random.Random(5))
        for _ in range(3):
            operator.put(20)
            operator.reshard()
        operator.put(20)
        operator.written.clear()
        time.sleep(1.1)  # kinesalite keeps arrival times by the second
        job = Job(aws, "resharded-before", StartPosition("LATEST", now_us()))
        operator.put(20)
        job.start(1)
        try:
            operator.put(20)
            operator.reshard()
            operator.put(20)
            deadline = time.monotonic() + DEADLINE_SECONDS
            while len(job.payloads()) < len(operator.written):
                assert time.monotonic() < deadline
                job.poll()
            job.poll_for(0.6)
            assert sorted(job.payloads()) == operator.written
        finally:
            job.stop()


@pytest.mark.parametrize("package", ["kinesis-local", "kinesalite"])
def test_no_record_is_lost_or_doubled_by_reshards_crashes_and_other_process_counts(
    package: str, tmp_path: Path
) -> None:
    rng = random.Random(20261122)
    with node_server(package, tmp_path) as aws:
        operator = Operator(aws, "resharded", rng)
        job = Job(aws, "resharded", StartPosition("TRIM_HORIZON"))
        job.start(2)
        try:
            for _ in range(14):
                match rng.randrange(5):
                    case 0:
                        operator.put(20)
                        job.poll_for(0.1)
                    case 1 | 2:
                        operator.put(20)
                        operator.reshard()
                        operator.put(20)
                        job.poll_for(rng.choice((0.0, 0.3)))
                    case 3:
                        job.poll_for(0.3)
                        job.commit()
                    case 4:
                        job.stop()
                        operator.put(10)
                        operator.reshard()
                        operator.put(10)
                        job.start(rng.randrange(1, 4))
            shards = {s["ShardId"] for s in operator.shards()}
            closed = shards - {s["ShardId"] for s in operator.open_shards()}
            deadline = time.monotonic() + DEADLINE_SECONDS
            while (
                len(job.payloads()) < len(operator.written)
                or set(job.ended()) != closed
                or set(job.adopted()) != shards
            ):
                assert time.monotonic() < deadline
                job.poll()
            assert sorted(job.payloads()) == operator.written
            assert operator.splits >= 3
            assert operator.merges >= 1
            for shard in operator.shards():
                parents = [shard.get("ParentShardId"), shard.get("AdjacentParentShardId")]
                assert set(job.adopted()[shard["ShardId"]]) == set(filter(None, parents))
                for parent in filter(None, parents):
                    assert shard["ShardId"] in job.ended()[parent]
        finally:
            job.stop()
