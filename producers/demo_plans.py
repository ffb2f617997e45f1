"""What the demo of each domain plants among the events, and what others must then see of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from producers.templates import FOLDER


@dataclass(frozen=True, slots=True)
class Plan:
    """What a domain's demo does.

    Attributes:
        rule: The rule that finds what is planted.
        key: The fields that say who it was, in the truth file as in incidents.
        who: What such a one is called.
        does: What it does too much of.
        attackers: How many there are, by default.
        rate: Live events a second, by default.
        raising: What the truth file calls the event that opens an incident; "" where it doesn't say
            when that was sent.
        only: Which of the planted attacks, by fields of the truth file; none for all.
        lasts: Whether an attack goes on over several windows, with an incident in each, rather than
            lying within one.
        stream: The stream's name.
        produce: Further arguments of the producer.
        run: Further arguments of the service.
    """

    rule: str
    key: tuple[str, ...]
    who: str
    does: str
    attackers: int
    rate: float
    raising: str = "sixth"
    only: Mapping[str, str] = field(default_factory=dict)
    lasts: bool = False
    stream: str = ""
    produce: tuple[str, ...] = ()
    run: tuple[str, ...] = ()


PLANS: Mapping[str, Plan] = {
    "ecommerce": Plan(
        rule="high_volume",
        key=("user_id",),
        who="user",
        does="actions",
        attackers=12,
        rate=500,
        stream="ecommerce-raw-user-activity-stream-1",
    ),
    "access_logs": Plan(
        rule="client_flood",
        key=("client",),
        who="client",
        does="requests",
        attackers=1,
        rate=100,
        raising="",
        only={"kind": "flood"},
        lasts=True,
    ),
    "wiki": Plan(
        rule="edit_burst",
        key=("wiki", "user"),
        who="editor",
        does="edits",
        attackers=8,
        rate=100,
    ),
    "clickstream": Plan(
        rule="burst",
        key=("customer_id",),
        who="customer",
        does="clicks",
        attackers=8,
        rate=200,
        raising="raising",
        produce=("--template", str(FOLDER / "clickstream_timed.json")),
        run=("--time", "timestamp"),
    ),
}
"""By domain; the first is the demo's own choice."""
