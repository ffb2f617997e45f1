"""A run takes nothing from the directory that it is started in."""

from __future__ import annotations

import json


def test_files_that_are_named_as_modules_of_kinewax_are_nobodys(kinewax, tmp_path) -> None:
    for name in ("metrics", "service", "operators"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('somebody else wrote this')\n")
    events = tmp_path / "events.jsonl"
    made = kinewax.run("produce", "ecommerce", "--to", events.as_uri(), "--events", "100")
    assert made.returncode == 0, made.stderr

    done = kinewax.run(
        *("run", "ecommerce", "--source", events.as_uri(), "--sinks", f"file://{tmp_path}/out"),
        "--json",
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ledger"]["events"] == 100
