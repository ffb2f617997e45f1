"""The board to start at: is it well, and what does it find?"""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Board, Panel, Query, of, rate, recorded
from deploy.grafana.shared import BEHIND, INCIDENTS, LATE, NOTICES, stat

OVERVIEW = Board(
    "overview",
    "Overview",
    "Is it well, and what does it find? Start here.",
    (
        (
            stat(
                "Behind the stream",
                "How far the furthest shard is behind its tip.",
                f"max({recorded('kinewax:kinesis_behind_latest:seconds')})",
                "s",
                (30, 120),
            ),
            stat(
                "Watermark behind now",
                "How old what is being decided is. Old event times make it large, and that is no "
                "fault: then look whether it grows.",
                f"max({recorded('kinewax:watermark_lag:seconds')})",
                "s",
            ),
            stat(
                "Events a second",
                "Decoded events, of all processes.",
                f"sum({recorded('kinewax:events:rate5m')})",
                "short",
            ),
            stat(
                "Incidents",
                "Whose window closed in the time that the board shows.",
                f"sum(increase({of(metrics.incidents, phase='final')}[$__range]))",
                "short",
            ),
            stat(
                "Notices that wait",
                "Incidents that nobody was told of yet. Some are always on their way; many, or the "
                "same ones for minutes, mean that SNS can't be reached.",
                f"sum({of(metrics.notifications_pending)})",
                "short",
                (10, 100),
            ),
            stat(
                "Last committed epoch",
                "How long ago. After a crash all that came since is read again.",
                f"max({of(metrics.snapshot_age_seconds)})",
                "s",
                (30, 120),
            ),
        ),
        (
            Panel(
                "Alerts that fire",
                "Each has a page in docs/runbooks under its name.",
                (Query('ALERTS{alertname=~"Kinewax.+", alertstate="firing", job=~"$job"}'),),
                "short",
                "table",
                width=24,
                height=5,
            ),
        ),
        (
            Panel(
                "Events, by domain",
                "A second. A step to zero is a producer that stopped, or a reader: see Kinesis.",
                (Query(recorded("kinewax:events:rate5m"), "{{domain}}"),),
                "short",
            ),
            BEHIND,
        ),
        (INCIDENTS, NOTICES),
        (
            LATE,
            Panel(
                "Rejected records, by reason",
                "A second. What each reason means: docs/reference/domains.md. One reason that "
                "begins at once is a producer that was changed.",
                (
                    Query(
                        f"sum by (domain, reason) ({rate(of(metrics.rejected_records))})",
                        "{{domain}}: {{reason}}",
                    ),
                ),
                "short",
                stacked=True,
            ),
        ),
    ),
)
