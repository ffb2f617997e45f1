"""The pure half of incidents: keys, attributes, conditions and subjects."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import SettingsError
from messages import Scalar
from sinks.incident_rows import Templates, row_key, row_of, subject_of
from sinks.keys import bounded
from tests.fakes.sink_cases import SEED_KEY, SEED_SUBJECT, START_US, alert, digest

SEED = Templates({"high_volume": SEED_KEY}, {"high_volume": SEED_SUBJECT})


def written(update: dict[str, Any]) -> dict[str, Any]:
    """Read an update expression back: the attributes it sets, with their values."""
    names, values = update["ExpressionAttributeNames"], update["ExpressionAttributeValues"]
    found = {}
    for assignment in update["UpdateExpression"].removeprefix("SET ").split(", #"):
        name, _, value = assignment.removeprefix("#").partition(" = ")
        placeholder = value.rpartition(":")[2].rstrip(")")
        found[names[f"#{name}"]] = values[f":{placeholder}"]
    return found


# ---- keys ---------------------------------------------------------------------------------------


def test_the_seeds_rule_keeps_the_seeds_key() -> None:
    assert row_key(alert(513840435), SEED) == (
        "userid#513840435#appserver#app-server-tomcat-123",
        str(START_US // 1_000_000),
    )


def test_other_rules_are_named_by_their_keys() -> None:
    item = alert(1, rule="slow", key={"status": 404, "method": "GET"})
    assert row_key(item, SEED)[0] == "ecommerce#slow#status=404#method=GET"


def test_a_digest_is_named_by_its_rule() -> None:
    assert row_key(digest(), SEED) == (
        "digest#ecommerce#high_volume",
        str(START_US // 1_000_000),
    )


def test_windows_below_a_second_get_keys_of_their_own() -> None:
    starts = [START_US, START_US + 250_000, START_US + 1]
    keys = [row_key(alert(1, window_start_us=start), SEED)[1] for start in starts]
    assert keys == ["1700000000", "1700000000.25", "1700000000.000001"]


def test_a_template_that_names_a_field_the_key_lacks_is_a_settings_error() -> None:
    templates = Templates({"high_volume": "userid#{customer}"})
    with pytest.raises(SettingsError, match=r"key of rule high_volume.*may name user_id"):
        row_key(alert(1), templates)


_texts = st.text(st.sampled_from("a#=%2 ") | st.characters(codec="utf-8"), max_size=8)


@given(
    st.dictionaries(st.sampled_from(["path", "agent"]), _texts, min_size=1),
    st.dictionaries(st.sampled_from(["path", "agent"]), _texts, min_size=1),
)
def test_two_keys_never_share_a_row(one: dict[str, Scalar], other: dict[str, Scalar]) -> None:
    keys = [row_key(alert(1, rule="any", key=key), SEED) for key in (one, other)]
    assert (keys[0] == keys[1]) == (list(one.items()) == list(other.items()))


def test_values_cannot_break_out_of_a_template() -> None:
    templates = Templates({"any": "agent#{agent}#method#{method}"})
    one = alert(1, rule="any", key={"agent": "x#method#GET", "method": "PUT"})
    other = alert(1, rule="any", key={"agent": "x", "method": "GET#method#PUT"})
    assert row_key(one, templates) != row_key(other, templates)


def test_keys_longer_than_the_limit_stay_apart() -> None:
    keys = {
        row_key(alert(1, rule="any", key={"agent": "é" * 4000 + tail}), SEED)[0] for tail in "ab"
    }
    assert len(keys) == 2
    assert all(len(key.encode()) <= 2048 for key in keys)


@given(st.text(max_size=300))
def test_a_bounded_text_is_within_its_bytes(text: str) -> None:
    assert len(bounded(text, 100).encode()) <= 100 or len(text.encode()) <= 100
    assert bounded(text, 2000) == text


# ---- what is written ----------------------------------------------------------------------------


def test_numbers_are_written_as_numbers_and_texts_as_texts() -> None:
    item = alert(1, rule="any", key={"agent": "", "status": 404}, value=2.5, value_name="mean")
    attributes = written(row_of(item, SEED, 99).write)
    assert attributes["agent"] == {"S": ""}
    assert attributes["status"] == {"N": "404"}
    assert attributes["mean"] == {"N": "2.5"}
    assert attributes["threshold"] == {"N": "5"}
    assert attributes["expires_at"] == {"N": "99"}


def test_a_key_field_called_like_an_attribute_of_the_row_does_not_replace_it() -> None:
    item = alert(1, rule="any", key={"domain": "en.wikipedia", "phase": "moon"})
    attributes = written(row_of(item, SEED, 0).write)
    assert attributes["domain"] == {"S": "ecommerce"}
    assert attributes["phase"] == {"S": "final"}
    assert attributes["key_domain"] == {"S": "en.wikipedia"}
    assert attributes["key_phase"] == {"S": "moon"}


def test_only_a_notice_to_publish_goes_into_the_outbox() -> None:
    for notice in ("none", "digest", "cooldown", "publish"):
        row = row_of(alert(1, "raised", 14, notice=notice), SEED, 0)
        attributes = written(row.write)
        assert ("notified" in attributes) == (notice == "publish")
        assert (row.ask is not None) == (notice == "publish")
        assert attributes["notice"] == {"S": notice}


def test_what_was_first_said_of_detection_and_notice_stays() -> None:
    write = row_of(alert(1), SEED, 0).write
    names = write["ExpressionAttributeNames"]
    kept = {
        names[assignment.split(" = ")[0]]
        for assignment in write["UpdateExpression"].removeprefix("SET ").split(", ")
        if "if_not_exists" in assignment
    }
    assert kept == {"detected_at", "notice"}


# ---- subjects -----------------------------------------------------------------------------------


def test_the_seeds_subject_is_the_seeds() -> None:
    assert subject_of(alert(101, value=11), SEED) == (
        "Possible DDoS detected, by user_id 101 with a number of attempts of : 11/window"
    )


def test_a_rule_without_a_template_has_a_subject_all_the_same() -> None:
    assert subject_of(alert(101, value=11), Templates()) == (
        "high high_volume: user_id 101: num_actions_per_watermark 11"
    )


@given(st.text())
def test_a_subject_is_what_sns_takes_whatever_an_attacker_sends(agent: str) -> None:
    templates = Templates(subjects={"any": "{agent}"})
    subject = subject_of(alert(1, rule="any", key={"agent": agent}), templates)
    assert 1 <= len(subject) <= 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject == subject.strip()
