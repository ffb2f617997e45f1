"""State keys of groups: the routing hash against CPython's and the engine's own, and evenness."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
from collections import Counter

import bytewax.operators as op
import numpy as np
import pytest
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulLogic
from bytewax.testing import TestingSink, TestingSource, cluster_main

from dataflows.group_names import group_names, route_hashes

WORD = 1 << 64
PINNED = ("user_actions/00.00182", "user_actions/01.00105", "user_actions/02.00244")


def route_hash(key: str) -> int:
    return int(route_hashes(np.frombuffer(key.encode(), np.uint8)[None, :])[0])


def test_the_hash_is_the_one_that_cpython_uses_for_texts() -> None:
    # With hash randomisation off CPython hashes a text's bytes with SipHash-1-3 and zero keys.
    # The engine adds a byte 0xFF behind a text, which is the character of that code in Latin-1.
    if sys.hash_info.algorithm != "siphash13" or sys.hash_info.cutoff:
        pytest.skip("this Python hashes texts in another way")
    keys = ["x" * length for length in range(1, 40)] + [
        f"user_actions/{n:02d}.412" for n in range(50)
    ]
    script = "import sys; print(*(hash(key + chr(255)) for key in sys.argv[1:]))"
    found = subprocess.run(
        [sys.executable, "-c", script, *keys],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [route_hash(key) for key in keys] == [int(word) % WORD for word in found]


def test_keys_of_one_length_are_hashed_together_as_each_alone() -> None:
    keys = [f"user_actions/{number:02d}" for number in range(64)]
    together = route_hashes(np.frombuffer("".join(keys).encode(), np.uint8).reshape(64, -1))
    assert together.tolist() == [route_hash(key) for key in keys]


@pytest.mark.parametrize("workers", [2, 3])
def test_the_engine_routes_by_this_hash(workers: int) -> None:
    keys = [*group_names("user_actions", 8), *(str(number) for number in range(12))]
    threads: dict[str, int] = {}

    class Where(StatefulLogic[str, str, None]):
        def on_item(self, value: str) -> tuple[list[str], bool]:
            threads[value] = threading.get_ident()
            return [], False

        def snapshot(self) -> None:
            return None

    flow = Dataflow("where")
    items = op.input("in", flow, TestingSource([(key, key) for key in keys]))
    op.output("out", op.stateful("where", items, lambda state: Where()), TestingSink([]))
    cluster_main(flow, [], 0, worker_count_per_proc=workers)

    by_worker = {route_hash(key) % workers: threads[key] for key in keys}
    assert len(set(by_worker.values())) == workers
    assert threads == {key: by_worker[route_hash(key) % workers] for key in keys}


@pytest.mark.parametrize("workers", range(1, 9))
def test_groups_spread_evenly_over_workers(workers: int) -> None:
    for window, groups in itertools.product(("user_actions", "trade", "w"), (1, 4, 8, 32)):
        shares = Counter(route_hash(name) % workers for name in group_names(window, groups))
        counts = [shares[worker] for worker in range(workers)]
        assert max(counts) - min(counts) <= 1
        assert sum(counts) == groups


def test_names_are_distinct_and_say_their_window_and_number() -> None:
    names = group_names("user_actions", 32)
    assert len(set(names)) == 32
    for number, name in enumerate(names):
        assert name.startswith(f"user_actions/{number:02d}.")
        assert name.partition("/")[0] == "user_actions"


def test_the_names_stay_what_they_are_for_they_are_in_recovery_stores() -> None:
    assert group_names("user_actions", 3) == PINNED
    assert group_names("user_actions", 32)[:3] == PINNED
