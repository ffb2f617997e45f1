"""Repeat one sequence: `python -m tests.reshard SEED`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.node_servers import node_server
from tests.reshard.driver import Sequence
from tests.reshard.plan import plan_of
from tests.servers import FAKE_CREDENTIALS


def main(seed: int) -> None:
    os.environ.update(FAKE_CREDENTIALS)
    plan = plan_of(seed)
    with node_server(plan.package) as endpoint:
        print(Sequence(plan, endpoint, Path(tempfile.mkdtemp())).run().table())


if __name__ == "__main__":
    main(int(sys.argv[1]))
