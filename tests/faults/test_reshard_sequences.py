"""Random sequences of writes, reshards, kills, drains and other process counts leave exact counts.

The short form runs with `make test-deploy`; `make soak` runs all of them, prints what they did, and
fails where they did too little for their outcome to mean something.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from tests.reshard.driver import Sequence
from tests.reshard.plan import FEWEST_STEPS, plan_of
from tests.reshard.tally import MINIMA, Tally
from tests.servers import Clients

pytestmark = pytest.mark.deploy

SHORT = (185, 228)
"""Seeds of the short form: one a server, with a kill, other process counts, and reshards while
stopped, in few starts."""

AT_A_TIME = 5
"""Each waits most of the time, for listings and at tips; five keep about one core busy."""


def run(
    seeds: Iterable[int], servers: Mapping[str, Clients], folder: Path
) -> tuple[Tally, list[str]]:
    """Run sequences side by side; return what they did, and what was wrong with any of them."""
    tally, wrong = Tally(), []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        running = {}
        for seed in seeds:
            plan = plan_of(seed)
            home = folder / f"sequence-{seed}"
            home.mkdir()
            sequence = Sequence(plan, servers[plan.package].endpoint, home)
            running[pool.submit(sequence.run)] = seed
        for future in as_completed(running):
            error = future.exception()
            if error is None:
                tally.add(future.result())
            else:
                wrong.append(f"{type(error).__name__}: {error}")
            print(f"sequence {running[future]}:", "right" if error is None else wrong[-1])
    return tally, wrong


def test_every_count_is_exact_after_a_few_random_sequences(
    resharding: dict[str, Clients], tmp_path: Path
) -> None:
    tally, wrong = run(SHORT, resharding, tmp_path)
    assert not wrong, "\n\n".join(wrong)
    assert tally.counts["steps"] >= FEWEST_STEPS * len(SHORT)
    assert tally.counts["kills"] >= len(SHORT)


@pytest.mark.soak
def test_every_count_is_exact_after_two_hundred_random_sequences(
    resharding: dict[str, Clients], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        tally, wrong = run(range(MINIMA["sequences"]), resharding, tmp_path)
        print(tally.table())
    assert not wrong, "\n\n".join(wrong)
    assert not tally.shortfalls(), tally.table()
