import json
from pathlib import Path

from service import ledger
from service.ledger import summarise
from service.snapshots import Snapshot

GROUP = "user_actions/00.1"


def snapshot(key: str, **state) -> Snapshot:
    return Snapshot("kinewax.step", key, 1, state)


def slot(key: str, source: dict[str, int], intake: dict[str, int]) -> Snapshot:
    return snapshot(key, slot={"ledger": source}, intake={"ledger": intake})


def balanced_run() -> list[Snapshot]:
    return [
        slot(
            "slot-00",
            {"records": 5, "plain": 4, "aggregated": 1, "user_records": 7},
            {
                "events": 6,
                "additional_objects": 1,
                "rejected.malformed": 2,
                "late.user_actions": 1,
            },
        ),
        slot(
            "slot-01",
            {"records": 3, "plain": 3, "user_records": 3, "foreign_user_records": 1},
            {"events": 1, "waiting": 1},
        ),
        snapshot(GROUP, ledger={"counted.user_actions": 5, "late_after_idle.user_actions": 1}),
        snapshot("high_volume", ledger={"alerts.open": 1, "alerts.final": 1}),
        snapshot("alerts", ledger={"files.alerts.taken": 2, "files.alerts.written": 2}),
        snapshot("late", ledger={"files.late.taken": 1, "files.late.written": 1}),
        snapshot("dead-letters", ledger={"files.dead_letters.taken": 2}),
        snapshot("dead-letters", ledger={"files.dead_letters.written": 2}),
    ]


def summary_of(snapshots: list[Snapshot]) -> ledger.Summary:
    return summarise(
        "ecommerce", ledger.sums(snapshots), aggregates=["user_actions"], run={"restarts": 0}
    )


def unbalanced(summary: ledger.Summary) -> list[str]:
    return [identity.name for identity in summary.identities if not identity.balanced]


def test_counts_of_all_keys_are_summed() -> None:
    summary = summary_of(balanced_run())

    assert summary.ledger["records"] == 8
    assert summary.ledger["events"] == 7


def test_a_run_in_which_nothing_is_lost_balances() -> None:
    summary = summary_of(balanced_run())

    assert unbalanced(summary) == []
    assert summary.balanced


def test_each_lost_count_is_found_by_the_identity_that_it_breaks() -> None:
    for lost, identity in (
        ("records", "records = plain + aggregated"),
        ("user_records", "user_records + additional_objects"),
        ("rejected.malformed", "user_records + additional_objects"),
        ("counted.user_actions", "(user_actions)"),
        ("files.alerts.written", "(files.alerts)"),
        ("files.late.taken", "late.* = files.late.taken"),
        ("alerts.final", "alerts.* = files.alerts.taken"),
    ):
        snapshots = balanced_run()
        for one in snapshots:
            for counts in ledger._ledgers(one.state):
                if lost in counts:
                    counts[lost] -= 1
        found = unbalanced(summary_of(snapshots))
        assert any(identity in name for name in found), (lost, found)


def test_an_incident_sink_accounts_for_rows_and_notices() -> None:
    counts = {
        "incidents.raised": 4,
        "incidents.written": 2,
        "incidents.already_there": 1,
        "incidents.dead_lettered": 1,
        "incidents.notifications": 5,
        "incidents.notifications.published": 2,
        "incidents.notifications.suppressed": 1,
        "incidents.notifications.pending": 2,
    }
    summary = summary_of([snapshot("00", ledger=counts), snapshot("n", ledger={"alerts.open": 4})])

    assert unbalanced(summary) == []
    assert unbalanced(
        summary_of([snapshot("00", ledger=counts | {"incidents.notifications.pending": 0})])
    )


def test_an_empty_run_balances() -> None:
    assert summary_of([]).balanced


def test_the_summary_is_written_whole_and_says_what_each_identity_holds(tmp_path: Path) -> None:
    path = ledger.write(summary_of(balanced_run()), tmp_path / "out")

    content = json.loads(path.read_bytes())
    assert content["balanced"] is True
    assert content["run"] == {"restarts": 0}
    first = content["identities"][0]
    assert first["name"] == "records = plain + aggregated"
    assert first["left"] == first["right"] == 8
    assert first["terms"] == {"records": 8, "plain": 7, "aggregated": 1}
    assert [child.name for child in path.parent.iterdir()] == ["summary.json"]
