"""Who is told: levels that notify, cooldown, the storm digest, and what is remembered how long."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import pytest

from messages import Alert, Closed, Digest
from operators.notices import WORST_NAMED, Notices
from operators.rules import incident_id
from operators.spec import Level, Threshold, Window
from operators.value_spec import Count
from operators.watermarks import END

SECOND = 1_000_000
WINDOW = Window("users", 10, ("user",), (Count("events"),))
GROUPS = ("users/0", "users/1")
SPEC = Threshold(
    "busy", "users", "events", (Level("warning", 5), Level("high", 10, notify=True))
)  # fmt: skip


def notices(
    cooldown_seconds: float = 0, digest_after: int = 2, state: bytes | None = None
) -> Notices:
    spec = replace(SPEC, cooldown_seconds=cooldown_seconds, digest_after=digest_after)
    return Notices(spec, "shop", 10 * SECOND, GROUPS, state)


def alert(
    user: object,
    phase: str = "raised",
    value: int = 11,
    start: int = 0,
    partial: bool = False,
) -> Alert:
    key = {"user": user}
    return Alert(
        id=incident_id("shop", "busy", key, start * SECOND),
        domain="shop",
        rule="busy",
        severity="high" if value > 10 else "warning",
        phase=phase,
        key=key,
        window_start_us=start * SECOND,
        window_end_us=(start + 10) * SECOND,
        value=value,
        value_name="events",
        threshold=10,
        detected_at_us=0,
        partial=partial,
    )


def told(under_test: Notices, *alerts: Alert) -> list[str]:
    found = under_test.take(alerts)
    assert [replace(item, notice="none") for item in found if isinstance(item, Alert)] == [*alerts]
    return [item.notice for item in found if isinstance(item, Alert)]


def close(under_test: Notices, second: int, groups: Sequence[str] = GROUPS) -> list[Alert | Digest]:
    return under_test.take([Closed("busy", group, second * SECOND) for group in groups])


# ---- levels -------------------------------------------------------------------------------------


def test_only_a_level_that_notifies_is_told() -> None:
    assert told(notices(), alert(1, "open", 6)) == ["none"]
    assert told(notices(), alert(1, "raised", 11)) == ["publish"]


def test_an_incident_is_told_once_whatever_its_phases() -> None:
    under_test = notices()
    phases = [alert(1, "open", 6), alert(1, "raised", 11), alert(1, "raised", 21)]
    assert told(under_test, *phases, alert(1, "final", 30)) == ["none", "publish", "none", "none"]


def test_an_incident_whose_level_is_first_reached_at_the_end_is_told_then() -> None:
    assert told(notices(), alert(1, "final", 11)) == ["publish"]


def test_each_window_of_a_key_is_an_incident_of_its_own() -> None:
    assert told(notices(), alert(1, start=0), alert(1, start=10)) == ["publish", "publish"]


def test_a_partial_window_tells_nothing_at_its_end_but_does_when_it_crosses() -> None:
    under_test = notices()
    assert told(under_test, alert(1, "final", 11, partial=True)) == ["none"]
    assert told(under_test, alert(2, "raised", 11, partial=True)) == ["publish"]


def test_nothing_is_held_back() -> None:
    under_test = notices(cooldown_seconds=1000, digest_after=1)
    given = [alert(user, start=start) for start in (0, 10) for user in range(5)]
    assert len(told(under_test, *given)) == 10


def test_a_replay_tells_nobody_and_says_so_once_an_incident() -> None:
    under_test = Notices(SPEC, "shop", 10 * SECOND, GROUPS, notify=False)
    given = [alert(user, "final", 11) for user in range(30)]
    assert told(under_test, *given, alert(1, "final", 6)) == ["replay"] * 30 + ["none"]
    assert not [one for one in close(under_test, 100) if isinstance(one, Digest)]


# ---- cooldown -----------------------------------------------------------------------------------


def test_a_key_that_was_told_is_not_told_again_within_the_cooldown() -> None:
    under_test = notices(cooldown_seconds=30)
    starts = [0, 10, 20, 30, 40, 60]
    assert told(under_test, *[alert(1, start=start) for start in starts]) == [
        "publish", "cooldown", "cooldown", "publish", "cooldown", "publish",
    ]  # fmt: skip


def test_the_cooldown_is_of_a_key_and_in_event_time_both_ways() -> None:
    under_test = notices(cooldown_seconds=30)
    given = [alert(1, start=60), alert(2, start=70), alert(1, start=40), alert(1, start=30)]
    assert told(under_test, *given) == ["publish", "publish", "cooldown", "publish"]


def test_an_incident_that_was_told_before_its_cooldown_stays_silent_not_cooling() -> None:
    under_test = notices(cooldown_seconds=30)
    assert told(under_test, alert(1, "raised"), alert(1, "final")) == ["publish", "none"]


def test_the_cooldown_outlives_a_restart_and_is_forgotten_in_time() -> None:
    under_test = notices(cooldown_seconds=30)
    told(under_test, *[alert(user, start=0) for user in (1, 2)])
    under_test = notices(30, state=under_test.snapshot())
    assert told(under_test, alert(1, start=20)) == ["cooldown"]
    close(under_test, 60)
    assert len(pickle.loads(under_test.snapshot())["last_told_us"]) == 2
    close(under_test, 61)
    assert pickle.loads(under_test.snapshot())["last_told_us"] == {}


# ---- digest -------------------------------------------------------------------------------------


def test_beyond_the_first_notices_of_a_window_the_rest_are_gathered() -> None:
    under_test = notices()
    given = [alert(user) for user in range(5)]
    assert told(under_test, *given) == ["publish", "publish", "digest", "digest", "digest"]
    assert told(under_test, alert(9, start=10)) == ["publish"], "another window, another count"


def test_a_digest_comes_when_every_group_has_closed_the_window() -> None:
    under_test = notices()
    told(under_test, *[alert(user, value=11 + user) for user in range(5)])
    assert close(under_test, 10, GROUPS[:1]) == []
    assert close(under_test, 9, GROUPS[1:]) == []
    (digest,) = close(under_test, 10, GROUPS[1:])
    assert isinstance(digest, Digest)
    assert digest.id == "shop/busy/digest/1970-01-01T00:00:00Z"
    assert (digest.domain, digest.rule, digest.incidents) == ("shop", "busy", 3)
    assert (digest.window_start_us, digest.window_end_us) == (0, 10 * SECOND)
    assert [worst.key["user"] for worst in digest.worst] == [4, 3, 2]
    assert close(under_test, 20) == [], "a digest comes once"


def test_a_digest_names_the_worst_by_their_latest_values_and_counts_each_incident_once() -> None:
    under_test = notices(digest_after=0)
    told(under_test, *[alert(user, value=11) for user in range(30)])
    assert told(under_test, alert(7, "final", 99), alert(3, "final", 50)) == ["none", "none"]
    (digest,) = close(under_test, 10)
    assert isinstance(digest, Digest)
    assert digest.incidents == 30
    assert len(digest.worst) == WORST_NAMED
    assert [(worst.key["user"], worst.value) for worst in digest.worst][:3] == [
        (7, 99), (3, 50), (0, 11),
    ]  # fmt: skip


def test_who_is_worst_among_equals_does_not_depend_on_their_order() -> None:
    digests = []
    for users in (range(30), reversed(range(30))):
        under_test = notices(digest_after=0)
        told(under_test, *[alert(user) for user in users])
        (digest,) = close(under_test, 10)
        assert isinstance(digest, Digest)
        digests.append(digest.worst)
    assert digests[0] == digests[1]


def test_digests_of_several_windows_come_oldest_first() -> None:
    under_test = notices(digest_after=0)
    told(under_test, *[alert(1, start=start) for start in (20, 0, 10)])
    found = close(under_test, 30)
    assert [digest.window_start_us for digest in found if isinstance(digest, Digest)] == [
        0, 10 * SECOND, 20 * SECOND,
    ]  # fmt: skip


def test_a_window_that_closed_is_forgotten() -> None:
    under_test = notices()
    told(under_test, *[alert(user) for user in range(5)], alert(1, start=10))
    close(under_test, 10)
    state = pickle.loads(under_test.snapshot())
    assert list(state["told"]) == [10 * SECOND]
    assert state["gathered"] == {}
    close(under_test, END // SECOND)
    assert pickle.loads(under_test.snapshot())["told"] == {}


def test_a_watermark_of_a_group_never_goes_back() -> None:
    under_test = notices(digest_after=0)
    told(under_test, alert(1))
    close(under_test, 10, GROUPS[:1])
    close(under_test, 5, GROUPS[:1])
    assert len(close(under_test, 10, GROUPS[1:])) == 1


# ---- restarts and accounts ----------------------------------------------------------------------


@pytest.mark.parametrize("restart_at", range(8))
def test_a_restart_anywhere_changes_nothing(restart_at: int) -> None:
    steps: list[list[Alert | Closed]] = [
        [alert(user, value=11 + user) for user in range(4)],
        [Closed("busy", "users/0", 10 * SECOND)],
        [alert(3, "final", 40)],
        [alert(1, start=10), alert(5, start=10)],
        [Closed("busy", "users/1", 10 * SECOND)],
        [alert(6, start=10), alert(7, start=10, phase="open", value=6)],
        [Closed("busy", group, 20 * SECOND) for group in GROUPS],
    ]
    plain, under_test = notices(15), notices(15)
    for place, items in enumerate(steps):
        if place == restart_at:
            under_test = notices(15, state=under_test.snapshot())
        assert under_test.take(items) == plain.take(items)
    assert under_test.ledger == plain.ledger


def test_every_alert_and_notice_is_accounted_for() -> None:
    under_test = notices(cooldown_seconds=30)
    told(
        under_test,
        *[alert(user, "open", 6) for user in range(4)],
        *[alert(user) for user in range(4)],
        alert(0, start=10),
        *[alert(user, "final") for user in range(4)],
    )
    close(under_test, 10)
    assert under_test.ledger == {
        "alerts.open": 4, "alerts.raised": 5, "alerts.final": 4,
        "notices.publish": 2, "notices.digest": 2, "notices.cooldown": 1, "digests": 1,
    }  # fmt: skip


def test_keys_with_commas_cool_apart() -> None:
    under_test = notices(cooldown_seconds=30)
    one = replace(alert(1), id="1", key={"shop": "a,b", "brand": "c"})
    other = replace(alert(2, start=10), id="2", key={"shop": "a", "brand": "b,c"})
    assert told(under_test, one, other) == ["publish", "publish"]
