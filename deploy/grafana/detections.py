"""The board of incidents: what is found, whom is told, and how soon?"""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Board, Panel, Query, of, rate, recorded
from deploy.grafana.shared import INCIDENTS, LATE, LATENCY, NOTICES

DETECTIONS = Board(
    "detections",
    "Detections",
    "What is found, whom is told, and how soon?",
    (
        (INCIDENTS, NOTICES),
        (
            Panel(
                "Incidents, by phase",
                "A minute. `open` is the early alert, `final` the closed window's count.",
                (
                    Query(
                        f"60 * sum by (domain, phase) ({rate(of(metrics.incidents))})",
                        "{{domain}}: {{phase}}",
                    ),
                ),
                "cpm",
            ),
            LATENCY,
        ),
        (
            Panel(
                "Watermark behind now",
                "Windows close by it. A line that rises by a second a second stands still.",
                (Query(recorded("kinewax:watermark_lag:seconds"), "{{domain}}"),),
                "s",
            ),
            LATE,
        ),
        (
            Panel(
                "Windows open",
                "Each is counted once a key group. What grows without end is held by a watermark "
                "that stands.",
                (
                    Query(
                        f"sum by (domain, window) ({of(metrics.windows_open)})",
                        "{{domain}}: {{window}}",
                    ),
                ),
                "short",
            ),
            Panel(
                "Windows closed",
                "A minute, each counted once a key group.",
                (
                    Query(
                        f"60 * sum by (domain, window) ({rate(of(metrics.windows_closed))})",
                        "{{domain}}: {{window}}",
                    ),
                ),
                "cpm",
            ),
        ),
        (
            Panel(
                "Events dropped, by reason",
                "A second. On purpose: duplicates, and what a domain doesn't want.",
                (
                    Query(
                        f"sum by (stage, reason) ({rate(of(metrics.dropped_events))})",
                        "{{stage}}: {{reason}}",
                    ),
                ),
                "short",
            ),
            Panel(
                "Rejected, of all that comes",
                "The part that can't be an event.",
                (Query(recorded("kinewax:rejected_records:ratio10m"), "{{domain}}"),),
                "percentunit",
                limits=(0.01,),
            ),
        ),
    ),
)
