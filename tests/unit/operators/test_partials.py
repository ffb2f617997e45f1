"""One tick's rows to packets. Random runs to the end: tests/property/test_windows."""

from __future__ import annotations

import numpy as np
import pytest

from messages import Hello, Idle, Int64s, Packet, Partial, Seen
from operators.codes import TextCodes, combine, integer_codes
from operators.filter_spec import Where
from operators.intake import Rows, Taken
from operators.partials import Partials
from operators.spec import Window
from operators.value_spec import Count, Distinct, Minimum, Sum

SECOND = 1_000_000
USERS = Window("users", 10, ("user",), (Count("events"),), groups=2)
NAMES = {"users": ("users/0", "users/1"), "shops": ("shops/0",)}


def rows(
    users: list[int],
    seconds: list[float],
    counted: list[int] | None = None,
    texts: TextCodes | None = None,
    shops: list[str] | None = None,
) -> Rows:
    columns: dict[str, Int64s] = {"user": np.array(users, np.int64)}
    if texts is not None and shops is not None:
        columns["shop"] = texts.of(shops, len(shops))
    return Rows(
        columns,
        np.array([round(second * SECOND) for second in seconds], np.int64),
        (None if counted is None else np.array(counted, np.int64),),
        len(users),
    )


def packets(*taken: Taken, window: Window = USERS, texts: TextCodes | None = None) -> list[Packet]:
    return Partials((window,), NAMES, texts or TextCodes()).packets(taken)


def counts(found: list[Packet]) -> dict[tuple[str, int, int], int]:
    """(group, window's start in seconds, user) to its count."""
    flat: dict[tuple[str, int, int], int] = {}
    for packet in found:
        for partial in packet.partials:
            for code, count in zip(partial.codes.tolist(), partial.values[0].tolist(), strict=True):
                user = next(user for user in range(-9, 99) if code == code_of(user))
                key = (packet.group, partial.start_us // SECOND, user)
                assert key not in flat, "a key stands twice"
                flat[key] = count
    return flat


def code_of(user: int) -> int:
    return int(integer_codes(np.array([user], np.int64))[0])


def group_of(user: int) -> str:
    return f"users/{code_of(user) * 2 >> 64}"


def test_a_tick_of_several_slots_is_one_entry_a_key_and_window() -> None:
    found = packets(
        Taken(rows=[rows([1, 2, 1], [0, 9.999999, 10]), rows([1], [3])]),
        Taken(rows=[rows([1, 2], [11, -0.000001])]),
    )
    assert counts(found) == {
        (group_of(1), 0, 1): 2,
        (group_of(2), 0, 2): 1,
        (group_of(1), 10, 1): 2,
        (group_of(2), -10, 2): 1,
    }
    assert sum(partial.events for packet in found for partial in packet.partials) == 6


def test_rows_that_alternate_between_two_windows_are_one_entry_each() -> None:
    found = packets(Taken(rows=[rows([1, 1, 1, 1, 1], [10, 0, 11, 1, 12])]))
    assert counts(found) == {(group_of(1), 0, 1): 2, (group_of(1), 10, 1): 3}


def test_only_counted_rows_count() -> None:
    found = packets(
        Taken(rows=[rows([1, 2, 3], [0, 0, 0], counted=[0, 2]), rows([4, 5], [0, 0])]),
        Taken(rows=[rows([6, 7], [0, 0], counted=[]), rows([8], [0], counted=[0])]),
    )
    assert sorted(user for _, _, user in counts(found)) == [1, 3, 4, 5, 8]


def test_rows_of_which_none_counts_are_nothing() -> None:
    assert packets(Taken(rows=[rows([1, 2], [0, 0], counted=[])])) == []


def test_a_tick_without_rows_brings_its_marks_to_every_group() -> None:
    marks = [Hello("s"), Seen("a", 1)]
    found = packets(Taken(marks=marks[:1]), Taken(), Taken(marks=marks[1:]))
    assert found == [Packet("users/0", tuple(marks)), Packet("users/1", tuple(marks))]


def test_groups_hear_only_the_last_of_what_a_shard_saw_in_a_tick() -> None:
    first = Taken(marks=[Seen("a", 1), Idle("a", 5), Seen("b", 2), Seen("a", 3)])
    found = packets(first, Taken(marks=[Idle("a", 6), Seen("b", 2)]))
    assert [packet.marks for packet in found] == [
        (Idle("a", 5), Seen("a", 3), Idle("a", 6), Seen("b", 2))
    ] * 2


def test_a_tick_without_anything_sends_nothing() -> None:
    assert packets() == []
    assert packets(Taken(), Taken()) == []


def test_without_marks_only_groups_with_data_hear_of_it() -> None:
    assert [packet.group for packet in packets(Taken(rows=[rows([1], [0])]))] == [group_of(1)]


def test_codes_ascend_within_a_partial() -> None:
    found = packets(Taken(rows=[rows(list(range(90)), [0.0] * 90)]))
    assert len(found) == 2
    for packet in found:
        (partial,) = packet.partials
        assert partial.codes.tolist() == sorted(set(partial.codes.tolist()))
        assert partial.keys is None, "an integer's code can be turned back"


SHOPS = Window(
    "shops",
    10,
    ("shop", "user"),
    (
        Sum("bought", "user", Where("shop", "a")),
        Distinct("users", "user"),
        Minimum("least", "user", Where("shop", "b")),
    ),
    groups=1,
)


def shop_partial(texts: TextCodes, *taken: Taken) -> Partial:
    (packet,) = packets(*taken, window=SHOPS, texts=texts)
    (partial,) = packet.partials
    return partial


def test_keys_of_several_fields_travel_with_their_codes() -> None:
    texts = TextCodes()
    given = rows([5, 6, 5], [0, 0, 0], texts=texts, shops=["a", "b", "a"])
    partial = shop_partial(texts, Taken(rows=[given]))
    assert partial.keys is not None
    by_key = dict(zip(partial.keys, partial.codes.tolist(), strict=True))
    expected = combine([texts.of(["a", "b"], 2), integer_codes(np.array([5, 6]))])
    assert by_key == {("a", 5): int(expected[0]), ("b", 6): int(expected[1])}


def test_a_filter_leaves_the_others_at_the_identity() -> None:
    texts = TextCodes()
    given = rows([5, 6, 5, 2], [0, 0, 0, 0], texts=texts, shops=["a", "b", "a", "b"])
    partial = shop_partial(texts, Taken(rows=[given]))
    assert partial.keys is not None
    bought = dict(zip(partial.keys, partial.values[0].tolist(), strict=True))
    least = dict(zip(partial.keys, partial.values[2].tolist(), strict=True))
    assert bought == {("a", 5): 10, ("b", 6): 0, ("b", 2): 0}
    assert least == {("a", 5): 2**63 - 1, ("b", 6): 6, ("b", 2): 2}


def test_a_distinct_count_travels_as_one_pair_an_event() -> None:
    texts = TextCodes()
    given = rows([5, 6, 5], [0, 0, 0], texts=texts, shops=["a", "b", "a"])
    partial = shop_partial(texts, Taken(rows=[given]))
    ((pairs, key_of_pair),) = partial.members
    assert len(pairs) == len(key_of_pair) == partial.events == 3
    assert len(set(pairs.tolist())) == 2
    assert partial.keys is not None
    named = [partial.keys[index] for index in key_of_pair.tolist()]
    assert sorted(named) == [("a", 5), ("a", 5), ("b", 6)]
    assert partial.values[1].tolist() == [0, 0]


@pytest.mark.parametrize("groups", [1, 2, 7, 32])
def test_every_group_gets_its_share_of_the_codes_whatever_their_number(groups: int) -> None:
    window = Window("users", 10, ("user",), (Count("events"),), groups=groups)
    names = {"users": [f"users/{group}" for group in range(groups)]}
    users = list(range(-9, 90))
    found = Partials((window,), names, TextCodes()).packets(
        [Taken(rows=[rows(users, [0.0] * len(users))])]
    )
    assert {user: group for group, _, user in counts(found)} == {
        user: f"users/{code_of(user) * groups >> 64}" for user in users
    }


def test_the_texts_of_a_tick_can_be_turned_back_after_many_ticks_of_others() -> None:
    texts = TextCodes()
    partials = Partials((SHOPS,), NAMES, texts)
    for tick in range(3):
        names = [f"{tick}/{number}" for number in range(60_000)]
        given = rows([1] * len(names), [0.0] * len(names), texts=texts, shops=names)
        (packet,) = partials.packets([Taken(rows=[given])])
        assert packet.partials[0].keys is not None
        assert {shop for shop, _ in packet.partials[0].keys} == set(names)
