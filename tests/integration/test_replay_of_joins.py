"""`kinewax replay --against` where windows are keyed by what tables beside the stream say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import CommandLine

DOMAIN = """\
from dataflows.domain import Domain
from operators.reference_spec import Reference
from operators.session_spec import SessionWindow
from operators.spec import Field, Window
from operators.value_spec import Count

DOMAIN = Domain(
    name="sales",
    summary="Sales.",
    fields=(Field("product", "integer"),),
    times=("at",),
    references=(
        Reference(
            "margins",
            key="product",
            fields=(Field("margin_group", "text"),),
            missing=("unknown",),
        ),
    ),
    windows=(
        Window("groups", 10, ("margin_group",), (Count("sales"),), groups=2),
        Window("both", 10, ("product", "margin_group"), (Count("sales"),), groups=2),
        Window("products", 10, ("product",), (Count("sales"),), groups=2),
    ),
    sessions=(SessionWindow("visits", 30, ("margin_group",), (Count("sales"),), groups=2),),
    rules=(),
)
"""


def sale(second: int, product: int) -> bytes:
    at = f"2026-11-22T10:{second // 60:02d}:{second % 60:02d}"
    return json.dumps({"at": at, "product": product}).encode()


def test_late_events_of_joined_windows_account_for_the_rows_that_differ(
    kinewax: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "sales.py").write_text(DOMAIN)
    (tmp_path / "margins.csv").write_text("product,margin_group\n1,high\n2,low\n")
    sales = [sale(second, 1 + second % 2) for second in range(300)]
    late = [sale(15, 1), sale(16, 2)]
    folder = tmp_path / "archive/2026/11/22/10"
    folder.mkdir(parents=True)
    (folder / "s-1-2026-11-22-10-00-00-x").write_bytes(b"\n".join([*sales, *late]))
    common = ("--reference", f"margins=file://{tmp_path}/margins.csv")
    live = tmp_path / "live"
    source = ("--source", f"file://{folder}/s-1-2026-11-22-10-00-00-x")
    ended = kinewax.run(
        "run", "./sales.py", *source, "--sinks", live.as_uri(), "--disorder", "10s", *common
    )
    assert ended.returncode == 0, ended.stderr

    out = tmp_path / "out"
    ended = kinewax.run(
        "replay", "./sales.py", f"file://{tmp_path}/archive/", "--sinks", out.as_uri(),
        "--against", live.as_uri(), *common,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stderr
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    found = summary["run"]["replay"]["against"]
    assert found["late_events"] == {"groups": 2, "both": 2, "products": 2, "visits": 2}
    assert (found["different"], found["missing"], found["added"]) == (0, 0, 0)
    assert found["of"]["rows groups"]["late"] == 2
    assert found["of"]["rows products"]["late"] == 2
    assert found["of"]["rows both"]["late"] == 2
