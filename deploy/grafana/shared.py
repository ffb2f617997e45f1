"""Panels that several boards have, and how a number is shown."""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Panel, Query, of, quantile, rate, recorded


def stat(title: str, doc: str, expression: str, unit: str, limits: tuple[float, ...] = ()) -> Panel:
    """Return a panel that shows one number, as it is now."""
    return Panel(title, doc, (Query(expression),), unit, "stat", width=4, height=4, limits=limits)


BEHIND = Panel(
    "Behind the tip of the stream",
    "How far the shard that is furthest behind is. It grows while a shard doesn't answer.",
    (Query(recorded("kinewax:kinesis_behind_latest:seconds"), "{{stream}}"),),
    "s",
    limits=(120,),
)
LATENCY = Panel(
    "From detection to the acknowledged row",
    "How long an incident waits for its row in the table, and so for its notice.",
    (
        Query(quantile(0.5, metrics.end_to_end_latency_seconds, "domain"), "{{domain}}, half"),
        Query(quantile(0.99, metrics.end_to_end_latency_seconds, "domain"), "{{domain}}, 99 %"),
    ),
    "s",
)
INCIDENTS = Panel(
    "Incidents, by rule and severity",
    "Phases a minute: opened, raised to a higher severity, final. A digest stands for many.",
    (
        Query(
            f"60 * sum by (domain, rule, severity) ({rate(of(metrics.incidents))})",
            "{{rule}} {{severity}}",
        ),
    ),
    "cpm",
    stacked=True,
)
NOTICES = Panel(
    "Notices, by outcome",
    "A minute. Suppressed ones fell into a quiet time, `digest` were told of together. `pending` "
    "could not be published in 2 s; the sweeper has them.",
    (Query(f"60 * sum by (outcome) ({rate(of(metrics.notifications))})", "{{outcome}}"),),
    "cpm",
    stacked=True,
)
LATE = Panel(
    "Late events, by window",
    "The part of all events that came after their window had closed. They aren't counted, but "
    "written out.",
    (Query(recorded("kinewax:late_events:ratio15m"), "{{window}}"),),
    "percentunit",
    limits=(0.01,),
)
