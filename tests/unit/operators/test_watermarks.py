"""Watermarks: what holds, what is let go, and in which order. Random histories: tests/property."""

from __future__ import annotations

import pickle

import pytest

from messages import Adopted, Ended, EndOfInput, Hello, Idle, Mark, Seen
from operators.watermarks import BEGINNING, END, IdlePolicy, Watermark

DISORDER = 10


def watermark(*marks: Mark, idle: IdlePolicy = "wallclock", slots: tuple[str, ...] = ("s",)):
    made = Watermark(slots, DISORDER, idle)
    for mark in marks:
        made.apply([mark])
    return made


def test_it_is_the_least_maximum_less_the_disorder() -> None:
    made = watermark(Hello("s", ("a", "b")), Seen("a", 100))
    assert made.now_us == BEGINNING
    made.apply([Seen("b", 70)])
    assert made.now_us == 60
    made.apply([Seen("b", 300)])
    assert made.now_us == 90


def test_it_holds_back_until_every_slot_has_spoken() -> None:
    made = watermark(Hello("s", ("a",)), Seen("a", 100), slots=("s", "t"))
    assert made.now_us == BEGINNING
    made.apply([Hello("t")])
    assert made.now_us == 90


def test_it_never_goes_back() -> None:
    made = watermark(Hello("s", ("a",)), Seen("a", 100))
    for mark in (
        Seen("a", 50),
        Hello("s", ("a",)),
        Adopted("b"),
        Seen("b", 20),
        Hello("s", ("c",)),
    ):
        made.apply([mark])
        assert made.now_us == 90


def test_a_shard_holds_from_its_adoption_on() -> None:
    made = watermark(Hello("s", ("a",)), Adopted("b"), Seen("a", 100))
    assert made.now_us == BEGINNING


def test_marks_of_one_batch_are_weighed_together() -> None:
    made = watermark(Hello("s"))
    made.apply([Seen("a", 100), Seen("b", 20)])
    assert made.now_us == 10


def test_a_time_of_zero_is_a_time() -> None:
    assert watermark(Hello("s", ("a",)), Seen("a", 0)).now_us == -DISORDER
    assert watermark(Hello("s", ("a",)), Idle("a", 0)).now_us == -DISORDER


# ---- lineage ------------------------------------------------------------------------------------


def test_the_children_of_a_split_hold_in_its_place_until_each_speaks() -> None:
    made = watermark(
        Hello("s", ("p", "other")),
        Seen("p", 100),
        Seen("other", 1000),
        Ended("p", ("l", "r")),
        Adopted("l", ("p",)),
        Adopted("r", ("p",)),
    )
    assert made.now_us == 90
    made.apply([Seen("l", 500)])
    assert made.now_us == 90
    made.apply([Seen("r", 400)])
    assert made.now_us == 390


def test_the_child_of_a_merge_holds_the_lesser_of_both_parents() -> None:
    made = watermark(
        Hello("s", ("a", "b", "other")),
        Seen("a", 100),
        Seen("b", 50),
        Seen("other", 1000),
        Adopted("c", ("a", "b")),
        Ended("a", ("c",)),
        Ended("b", ("c",)),
    )
    assert made.now_us == 40
    made.apply([Seen("c", 70)])
    assert made.now_us == 60


def test_a_child_that_is_ahead_of_its_parent_waits_for_it() -> None:
    made = watermark(Hello("s", ("p",)), Seen("p", 100), Adopted("c", ("p",)), Seen("c", 900))
    assert made.now_us == 90
    made.apply([Seen("p", 300)])
    assert made.now_us == 290
    made.apply([Ended("p", ("c",))])
    assert made.now_us == 890


def test_a_child_that_ended_before_its_parent_stays_ended() -> None:
    made = watermark(
        Hello("s", ("p", "q")),
        Seen("p", 100),
        Seen("q", 1000),
        Adopted("c", ("p",)),
        Seen("c", 500),
        Ended("c", ("g",)),
        Adopted("g", ("c",)),
        Seen("g", 800),
        Ended("p", ("c",)),
    )
    assert made.now_us == 790


@pytest.mark.parametrize("late_parent", [Adopted("p", ("root",)), Hello("s", ("p",))])
def test_a_child_that_ended_before_its_parent_was_known_stays_ended(late_parent: Mark) -> None:
    # Two processes list at different times: the child's slot may be years of polls ahead.
    made = watermark(
        Hello("s", ("root",)),
        Seen("root", 100),
        Adopted("c", ("p",)),
        Seen("c", 500),
        Ended("c", ("g",)),
        Adopted("g", ("c",)),
        Seen("g", 800),
        late_parent,
        Ended("root", ("p",)),
        Seen("p", 300),
        Ended("p", ("c",)),
    )
    assert made.now_us == 790


def test_a_grandchild_of_a_shard_that_expired_takes_over() -> None:
    # What lay between has expired too: nobody adopts it, nobody ends it.
    made = watermark(
        Hello("s", ("p", "q")),
        Seen("q", 1000),
        Seen("p", 100),
        Adopted("g", ("c",)),
        Ended("p", ("g",)),
    )
    assert made.now_us == 90
    made.apply([Seen("g", 400)])
    assert made.now_us == 390


def test_a_grandchild_that_ended_before_the_expired_shard_did_stays_ended() -> None:
    made = watermark(
        Hello("s", ("p", "q")),
        Seen("q", 1000),
        Seen("p", 100),
        Adopted("g", ("c",)),
        Seen("g", 400),
        Ended("g", ("h",)),
        Adopted("h", ("g",)),
        Seen("h", 600),
        Ended("p", ("g",)),
    )
    assert made.now_us == 590


def test_the_child_of_a_merge_that_ended_before_one_parent_stays_ended() -> None:
    made = watermark(
        Hello("s", ("a", "b")),
        Seen("a", 100),
        Seen("b", 200),
        Ended("a", ("c",)),  # before the slot of `c` has adopted it
        Adopted("c", ("a", "b")),
        Seen("c", 500),
        Ended("c", ("d",)),
        Adopted("d", ("c",)),
        Seen("d", 800),
        Ended("b", ("c",)),
    )
    assert made.now_us == 790


def test_a_generation_without_events_hands_down_what_its_parents_held() -> None:
    made = watermark(
        Hello("s", ("p", "q")),
        Seen("q", 20),
        Seen("p", 100),
        Ended("p", ("c",)),
        Adopted("c", ("p",)),
        Ended("c", ("g",)),
        Adopted("g", ("c",)),
    )
    assert made.now_us == 10
    made.apply([Seen("q", 1000)])
    assert made.now_us == 90


def test_many_generations_without_events_are_weighed_at_once() -> None:
    # Each splits and merges again: there are 2^60 ways back to the first.
    made = watermark(Hello("s", ("m0",)), Seen("m0", 100), Idle("m0", 50), idle="hold")
    for number in range(60):
        parent, halves, child = f"m{number}", (f"l{number}", f"r{number}"), f"m{number + 1}"
        made.apply([Ended(parent, halves), *(Adopted(half, (parent,)) for half in halves)])
        made.apply([Ended(half, (child,)) for half in halves])
        made.apply([Adopted(child, halves)])
    assert made.now_us == 90
    for _ in range(2 * 60 + 1):  # the youngest generation is forgotten first
        made.apply([Seen("m60", 500)])
    assert made.now_us == 490
    assert list(made.snapshot()["shards"]) == ["m60"]


def test_a_lineage_without_events_may_be_as_long_as_it_likes() -> None:
    made = watermark(Hello("s", ("0",)), Seen("0", 100))
    marks: list[Mark] = []
    for number in range(1, 3_000):
        parent, child = f"{number - 1}", f"{number}"
        marks += [Adopted(child, (parent,)), Ended(parent, (child,))]
    made.apply(marks)
    assert made.now_us == 90


def test_when_all_have_ended_it_stands() -> None:
    made = watermark(Hello("s", ("a",)), Seen("a", 100), Ended("a"))
    assert made.now_us == 90


def test_ended_shards_are_forgotten() -> None:
    made = watermark(Hello("s", ("shard-0",)), Seen("shard-0", 0))
    for number in range(1, 500):
        parent, child = f"shard-{number - 1}", f"shard-{number}"
        made.apply([Adopted(child, (parent,)), Seen(parent, number), Ended(parent, (child,))])
        made.apply([Seen(child, number)])
    assert made.now_us == 499 - DISORDER
    assert list(made.snapshot()["shards"]) == ["shard-499"]


# ---- idle shards --------------------------------------------------------------------------------


def test_an_idle_shard_moves_with_the_clock_under_wallclock() -> None:
    made = watermark(Hello("s", ("a", "b")), Seen("a", 1000), Seen("b", 100), Idle("b", 500))
    assert made.now_us == 490
    made.apply([Idle("b", 2000)])
    assert made.now_us == 990
    assert made.without_idle_us == 90


def test_an_older_idle_mark_takes_nothing_back() -> None:
    made = watermark(Hello("s", ("a",)), Idle("a", 500), Idle("a", 400), Seen("b", 480), Ended("b"))
    assert made.now_us == 490


def test_an_idle_clock_behind_the_shards_own_maximum_changes_nothing() -> None:
    assert watermark(Hello("s", ("a",)), Seen("a", 1000), Idle("a", 500)).now_us == 990


def test_an_idle_shard_is_left_out_under_exclude() -> None:
    made = watermark(
        Hello("s", ("a", "b")), Seen("a", 1000), Seen("b", 100), Idle("b", 500), idle="exclude"
    )
    assert made.now_us == 990
    assert made.without_idle_us == 90


def test_when_all_are_left_out_the_watermark_stands() -> None:
    made = watermark(Hello("s", ("a",)), Seen("a", 100), Idle("a", 9000), idle="exclude")
    assert made.now_us == 90


def test_a_shard_that_comes_back_holds_again_but_takes_nothing_back() -> None:
    made = watermark(
        Hello("s", ("a", "b")),
        Seen("a", 1000),
        Seen("b", 100),
        Idle("b", 500),
        Seen("b", 200),
        Seen("a", 3000),
        idle="exclude",
    )
    assert made.now_us == 990
    made.apply([Seen("b", 2000)])
    assert made.now_us == 1990


def test_an_idle_shard_holds_under_hold() -> None:
    made = watermark(
        Hello("s", ("a", "b")), Seen("a", 1000), Seen("b", 100), Idle("b", 5000), idle="hold"
    )
    assert (made.now_us, made.without_idle_us) == (90, 90)


def test_the_child_of_an_excluded_parent_is_left_out_until_it_speaks() -> None:
    made = watermark(
        Hello("s", ("p", "q")),
        Seen("p", 100),
        Idle("p", 100),
        Ended("p", ("c",)),
        Adopted("c", ("p",)),
        Seen("q", 1000),
        idle="exclude",
    )
    assert made.now_us == 990
    made.apply([Seen("c", 500), Seen("q", 2000)])
    assert made.now_us == 990
    made.apply([Seen("c", 1500)])
    assert made.now_us == 1490


# ---- ends and restarts --------------------------------------------------------------------------


def test_after_the_last_input_it_is_at_the_end() -> None:
    made = watermark(Hello("s", ("a",)), Seen("a", 5), EndOfInput("s"), slots=("s", "t"))
    assert made.now_us == BEGINNING
    made.apply([Hello("t", ("b",)), Seen("b", 3)])
    assert made.now_us == -7
    made.apply([EndOfInput("t")])
    assert (made.now_us, made.without_idle_us) == (END, END)


def test_a_slot_without_shards_ends_silently() -> None:
    made = watermark(Hello("s", ("a",)), EndOfInput("t"), Seen("a", 5), slots=("s", "t"))
    assert made.now_us == -5


def test_greeting_again_after_a_restart_changes_nothing() -> None:
    marks = [
        Hello("s", ("p",)), Seen("p", 100), Adopted("l", ("p",)), Adopted("r", ("p",)),
        Ended("p", ("l", "r")), Seen("l", 300),
    ]  # fmt: skip
    made = watermark(*marks)
    state = pickle.loads(pickle.dumps(made.snapshot()))
    again = Watermark(("s",), DISORDER, "wallclock", state)
    again.apply([Adopted("l", ("p",)), Adopted("r", ("p",)), Hello("s", ("l", "r"))])
    assert again.now_us == 90
    assert again.snapshot() == made.snapshot()
    again.apply([Seen("r", 200)])
    assert again.now_us == 190
    # And it leaves no trace: an ended shard is forgotten although its parent is no longer known.
    again.apply([Adopted("l", ("p",)), Ended("l", ("k",)), Seen("k", 900), Ended("r", ("k",))])
    again.apply([Seen("k", 900)])
    assert list(again.snapshot()["shards"]) == ["k"]
