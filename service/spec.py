"""What the supervisor tells a worker, as a file: `python -m service.worker SPEC.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from service.job import Job


@dataclass(frozen=True)
class Spec:
    """What the supervisor tells a worker.

    Attributes:
        job: What to run.
        process: Its index in the cluster.
        addresses: Where all processes listen; none for a single one.
        channel: The descriptor of its reporting line.
        recovery: The directory of the recovery store.
        verbose: Whether tracebacks are logged.
    """

    job: Job
    process: int
    addresses: tuple[str, ...]
    channel: int
    recovery: str
    verbose: bool

    def write(self, path: Path) -> None:
        """Write it where the worker reads it."""
        content = {**vars(self), "job": self.job.as_json()}
        path.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Read what `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        content["job"] = Job.from_json(content["job"])
        content["addresses"] = tuple(content["addresses"])
        return cls(**content)
