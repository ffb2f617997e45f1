"""The two Kinesis servers that reshard as AWS does, each with gaps of its own. Both need Node.

`kinesis-local` ends a closed shard with ChildShards and honours ListShards' filters, but is slow to
write. `kinesalite` ends a closed shard without naming its children, doesn't know UpdateShardCount,
always says that nothing is left (MillisBehindLatest 0), and keeps arrival times by the second.
`make test` installs them from the lock in tests/npm where Node is there; where it isn't, the tests
that need them say so and are skipped, but not in CI (CI=true), where they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers import Launch, free_port, started

PACKAGES = ("kinesis-local", "kinesalite")
NODE_MODULES = Path(__file__).resolve().parent / "npm" / "node_modules"

_SHARD_LIMIT = "10000"
_CHANGE_MS = 20
"""How long a stream is CREATING, UPDATING or DELETING."""

# Both listen on all interfaces unless `listen` itself is bent.
_ON_LOOPBACK = """
const net = require('net');
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object') first.host = '127.0.0.1';
  else rest.splice(0, typeof rest[0] === 'string' ? 1 : 0, '127.0.0.1');
  return listen.call(this, first, ...rest);
};
"""


@contextmanager
def node_server(package: str) -> Iterator[str]:
    """Yield the endpoint of one of `PACKAGES`, which runs until the block ends."""
    _need(package)
    launch = {"kinesis-local": _kinesis_local, "kinesalite": _kinesalite}[package]
    with started(package, launch) as endpoint:
        yield endpoint


def _need(package: str) -> None:
    """Skip the test where the server isn't installed; in CI fail it."""
    if shutil.which("node") is None:
        missing = "node is not installed"
    elif not (NODE_MODULES / package).is_dir():
        missing = f"npm's {package} is not installed (`make test` does it)"
    else:
        return
    if os.environ.get("CI"):
        pytest.fail(f"{missing}, and CI may not skip what needs it")
    pytest.skip(missing)


def _node(home: Path, *arguments: str) -> list[str]:
    preload = home / "on-loopback.js"
    preload.write_text(_ON_LOOPBACK, encoding="utf-8")
    return ["node", "-r", str(preload), *arguments]


def _kinesalite(port: int, home: Path) -> Launch:
    options = {
        "--port": str(port),
        "--shardLimit": _SHARD_LIMIT,
        "--createStreamMs": str(_CHANGE_MS),
        "--updateStreamMs": str(_CHANGE_MS),
        "--deleteStreamMs": str(_CHANGE_MS),
    }
    arguments = ("cli.js", *(part for option in options.items() for part in option))
    # It knows no page; that it refuses one is its sign of life.
    return Launch(_node(home, *arguments), NODE_MODULES / "kinesalite", {}, "/", 403)


def _kinesis_local(port: int, home: Path) -> Launch:
    changes = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")
    environment = {
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": str(free_port()),
        "SHARD_LIMIT": _SHARD_LIMIT,
        "LOG_LEVEL": "ERROR",
        "UPDATE_SHARD_COUNT_DURATION": f"{_CHANGE_MS}ms",
        **{f"{change}_DURATION": f"{_CHANGE_MS}ms" for change in changes},
    }
    command = _node(home, "main.js")
    return Launch(command, NODE_MODULES / "kinesis-local", environment, "/healthcheck")
