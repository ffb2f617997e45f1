"""What each producer makes its domain accepts whole: every event, with all of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dataflows.decoders import decoder_of
from dataflows.registry import DOMAINS
from operators.codes import TextCodes
from operators.decode import ARRIVAL, Decoded
from producers.clock import SystemClock
from producers.options import DOMAINS as PRODUCED
from producers.options import ProduceOptions
from producers.run import ProduceReport, produce
from producers.templates import FOLDER
from tests.golden.output import no_client

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
GENERATED: Mapping[str, Any] = {
    "events": 5_000,
    "attackers": 2,
    "seed": 7,
    "disorder": timedelta(seconds=2),
    "start": datetime(2026, 1, 5, 8, tzinfo=UTC),
}


@dataclass(frozen=True)
class Case:
    """One way to produce events of a domain, and the fields that these events never have."""

    domain: str
    options: Mapping[str, Any]
    time: str = ""
    never: frozenset[str] = frozenset()


CASES = {
    "ecommerce": Case("ecommerce", GENERATED),
    "ecommerce from a CSV": Case(
        "ecommerce", {"from_csv": SHARED / "ecommerce/2019-Oct-sample-5000.csv", "seed": 7}
    ),
    "access_logs": Case(
        "access_logs",
        # The four kinds of attack are some 12,000 requests.
        GENERATED | {"events": 20_000, "attackers": 4, "seconds": 600},
        never=frozenset({"vhost", "forwarded_for", "user", "referrer"}),
    ),
    "clickstream": Case(
        "clickstream", {"events": 5_000, "seed": 7, "start": GENERATED["start"]}, time=ARRIVAL
    ),
    "clickstream with times": Case(
        "clickstream",
        GENERATED | {"template": FOLDER / "clickstream_timed.json"},
        time="timestamp",
    ),
    "wiki": Case("wiki", GENERATED),
    "wiki from a captured stream": Case(
        "wiki", {"source": str(SHARED / "wiki/recentchange-2025-08-29.sse")}
    ),
    "wiki from captured events": Case(
        "wiki", {"source": f"file://{SHARED / 'wiki/recentchange.ndjson'}"}
    ),
}


def produced(case: Case, path: Path, **more: Any) -> ProduceReport:
    return produce(
        ProduceOptions(domain=case.domain, to=f"file://{path}", **{**case.options, **more}),
        kinesis_client_factory=no_client,
        clock=SystemClock(),
        out=lambda _progress: None,
    )


def decoded(case: Case, path: Path) -> tuple[Decoded, TextCodes]:
    """Decode all fields of a domain, also those that no window uses."""
    domain, texts = DOMAINS[case.domain], TextCodes()
    payloads = path.read_bytes().removesuffix(b"\n").split(b"\n")
    decoder = decoder_of(domain, domain.fields, case.time or domain.times[0], texts)
    return decoder.decode(payloads, np.zeros(len(payloads), np.int64)), texts


def test_each_domain_has_a_producer_here() -> None:
    assert {case.domain for case in CASES.values()} == set(DOMAINS) == set(PRODUCED)


@pytest.mark.parametrize("name", CASES)
def test_every_event_of_a_producer_is_accepted_and_every_field_is_found(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case, path = CASES[name], tmp_path / "events"
    if str(SHARED) in str(case.options):
        request.getfixturevalue("shared_data")

    report = produced(case, path)
    found, texts = decoded(case, path)

    assert not found.rejected
    assert found.objects == report.events > 0
    nothing = {0, int(np.int64(np.uint64(texts[""])))}
    blank = {
        field
        for field, column in found.columns.items()
        if set(np.unique(column.view(np.int64)).tolist()) <= nothing
    }
    assert blank == case.never


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "start" in case.options])
def test_malformed_records_are_rejected_one_by_one_and_nothing_else_is(
    name: str, tmp_path: Path
) -> None:
    case, path = CASES[name], tmp_path / "events"

    report = produced(case, path, malformed_share=0.01)
    found, _ = decoded(case, path)

    assert len(found.rejected) == sum(report.malformed.values()) > 40
    assert found.objects - len(found.rejected) == report.events
