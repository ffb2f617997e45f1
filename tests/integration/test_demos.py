"""The demos of the other domains: each finds what it plants, counts, and answers its questions."""

import json
from pathlib import Path

import pytest

from producers.demo_plans import PLANS

ASKED = {
    "access_logs": ("--seconds", "10", "--attackers", "1", "--rate", "60"),
    "clickstream": ("--seconds", "5", "--attackers", "2", "--rate", "60"),
    "wiki": ("--seconds", "5", "--attackers", "2", "--rate", "60"),
}
"""As little as shows it: a demo costs some 17 s of CPU, most of it the start of its processes."""
SQL = Path(__file__).resolve().parents[2] / "sql" / "insights"


def questions(domain: str) -> list[str]:
    """Return the titles of the questions that are asked of a domain's aggregates."""
    files = (SQL / domain / "aggregates").glob("*.sql")
    return [path.read_text().splitlines()[0].partition(". ")[2] for path in files]


def test_each_domain_has_a_demo_that_is_tested():
    assert {*ASKED, "ecommerce"} == set(PLANS)


@pytest.mark.deploy
@pytest.mark.parametrize("domain", ASKED)
def test_the_demo_of_a_domain_shows_its_own_alerts_aggregates_and_report(kinewax, tmp_path, domain):
    out = tmp_path / "demo"

    ended = kinewax.run("demo", domain, *ASKED[domain], "--processes", "1", "--out", out, "--json")

    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    planted = json.loads((out / "truth.json").read_text())["incidents"]
    assert report["planted"] == report["found"] == len(planted) > 0
    assert report["balanced"]
    assert report["unread"] == 0
    ledger = report["ledger"]
    assert ledger["events"] + ledger.get("dropped.canary", 0) == report["produced"]
    # The alerts are those of the domain's rule, about those whom the producer names.
    plan = PLANS[domain]
    alerts = [json.loads(line) for line in (out / "results/alerts.jsonl").read_text().splitlines()]
    accused = {tuple(one["key"].values()) for one in alerts if one["rule"] == plan.rule}
    assert accused == {tuple(one[name] for name in plan.key) for one in planted}
    # An attack that two windows share may stay below the limit for notices in both.
    assert report["notices"] <= report["notices_due"]
    assert not report["notices"] or report["notice"]["body"]["domain"] == domain
    assert "  alert " in ended.stderr
    # The archive of what was on the stream, replayed, gives the same again.
    assert report["replayed_same"] > 0
    assert report["replayed_otherwise"] == 0
    # Aggregates arrived in the bucket, and the page of answers was made of them.
    assert report["rows_in_bucket"][f"{domain}-aggregates"] > 0
    page = (out / "insights.html").read_text()
    assert questions(domain)
    assert [title for title in questions(domain) if title not in page] == []
