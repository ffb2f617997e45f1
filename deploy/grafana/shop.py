"""The board for marketing: who comes, what becomes of it, what moves.

Its figures are those that the shop's domain declares (`figures` and `movers` of
dataflows/ecommerce.py), in event time: a minute is the last one that closed, a day is the one that
is open.
"""

from __future__ import annotations

import metrics
from dataflows.ecommerce import ECOMMERCE
from deploy.grafana.panels import Board, Panel, Query, of
from deploy.grafana.shared import stat


def _figure(aggregate: str, value: str, part: str = "") -> str:
    return of(
        metrics.aggregate_value, domain=ECOMMERCE.name, aggregate=aggregate, value=value, of=part
    )


def _movers(aggregate: str, value: str, title: str, doc: str, unit: str) -> tuple[Panel, ...]:
    moved = of(metrics.mover_change, domain=ECOMMERCE.name, aggregate=aggregate, value=value)
    gained = Query(f"topk(5, sum by (key) ({moved}) > 0)", "{{key}}")
    lost = Query(f"bottomk(5, sum by (key) ({moved}) < 0)", "{{key}}")
    return (
        Panel(f"{title}: gained most", doc, (gained,), unit, "bargauge", height=7),
        Panel(f"{title}: lost most", doc, (lost,), unit, "bargauge", height=7),
    )


def _hourly(part: str) -> str:
    return f"sum(avg_over_time({_figure('trade', 'events', part)}[1h]))"


VIEWS, CARTS, PURCHASES = (
    _figure("trade", "events", part) for part in ("view", "cart", "purchase")
)
REVENUE = _figure("trade", "revenue")

SHOP = Board(
    "shop",
    "Shop",
    "Who comes to the shop, how many buy, and what moves?",
    (
        (
            stat(
                "Visitors today",
                "Different users of the open day, in UTC; a minute old at most.",
                f"sum({_figure('visitors_daily', 'visitors')})",
                "short",
            ),
            stat("Views", "In the last closed minute.", f"sum({VIEWS})", "short"),
            stat("Put into carts", "In the last closed minute.", f"sum({CARTS})", "short"),
            stat("Purchases", "In the last closed minute.", f"sum({PURCHASES})", "short"),
            stat(
                "Revenue a minute",
                "In the last closed minute, in the shop's currency.",
                f"sum({REVENUE})",
                "short",
            ),
            stat(
                "Revenue of an hour",
                "Of the last hour, from its minutes.",
                f"60 * sum(avg_over_time({REVENUE}[1h]))",
                "short",
            ),
        ),
        (
            Panel(
                "From view to cart to purchase",
                "A minute. Purchases that fall while views don't: look at the checkout.",
                (
                    Query(f"sum({VIEWS})", "views"),
                    Query(f"sum({CARTS})", "put into carts"),
                    Query(f"sum({PURCHASES})", "purchases"),
                ),
                "cpm",
            ),
            Panel(
                "How many go on",
                "Over an hour: of views those that lead to a cart, of carts those that lead to a "
                "purchase.",
                (
                    Query(f"{_hourly('cart')} / ({_hourly('view')} > 0)", "view to cart"),
                    Query(f"{_hourly('purchase')} / ({_hourly('cart')} > 0)", "cart to purchase"),
                ),
                "percentunit",
            ),
        ),
        (
            Panel(
                "Revenue",
                "A minute, in the shop's currency.",
                (Query(f"sum({REVENUE})", "revenue"),),
                "short",
            ),
            Panel(
                "Visitors of the day",
                "Different users since midnight, in UTC.",
                (Query(f"sum({_figure('visitors_daily', 'visitors')})", "visitors"),),
                "short",
            ),
        ),
        _movers(
            "categories_hourly",
            "views",
            "Categories, views",
            "The last closed hour beside the one before.",
            "short",
        ),
        _movers(
            "brands_daily",
            "revenue",
            "Brands, revenue",
            "The last closed day beside the one before, in the shop's currency.",
            "short",
        ),
    ),
    since="now-24h",
)
