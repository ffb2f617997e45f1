"""Answers of the questions in the form in which others computed them on the same sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Mapping[str, Any]]

_WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_CARTS = {"user and product": "user_product", "session": "session", "user": "user"}


def answers_of(found: Mapping[str, Rows]) -> dict[str, Any]:
    """Return all answers, by the names of expected-5000.json."""
    carts = {_CARTS[row["counted_by"]]: row for row in found["cart_without_purchase"]}
    bursts = {int(row["actions"]): int(row["windows"]) for row in found["bursts"]}
    return {
        "rows": sum(row["events"] for row in found["daily_visitors"]),
        "unique_visitors_per_day": {
            str(row["day"]): row["visitors"] for row in found["daily_visitors"]
        },
        "cart_without_purchase": {
            **{f"by_{by}": int(row["without_purchase"]) for by, row in carts.items()},
            "carts_user_product": carts["user_product"]["carts"],
            "cart_sessions": carts["session"]["carts"],
            "cart_users": carts["user"]["carts"],
        },
        "top5_categories_per_hour": _top(found["categories_by_hour"], "hour_of_day", str),
        "top5_categories_per_weekday": _top(
            found["categories_by_weekday"], "weekday", _WEEKDAYS.__getitem__
        ),
        "brands_views>=30_lowest_purchase_per_view": [
            [row["brand"], int(row["views"]), int(row["carts"]), int(row["purchases"])]
            for row in found["brands_to_promote"]
        ],
        "tumble10s_user_windows": {
            "max": max(bursts),
            "gt1": sum(windows for actions, windows in bursts.items() if actions > 1),
            "gt5": sum(windows for actions, windows in bursts.items() if actions > 5),
            "hist": {str(actions): windows for actions, windows in bursts.items()},
        },
    }


def _top(rows: Rows, by: str, name: Any) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for row in rows:
        found.setdefault(name(row[by]), []).append([row["category"], row["events"]])
    return found
