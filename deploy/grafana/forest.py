"""The board of random cut forests: do they tell the unusual from the usual?"""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Board, Panel, Query, of, quantile, rate

FOREST = Board(
    "forest",
    "Forest",
    "Do the random cut forests tell the unusual from the usual?",
    (
        (
            Panel(
                "Scores",
                "How many points had which score. A calm stream is a narrow band near 1; a band "
                "that widens or moves up for good is a stream that changed its kind.",
                (
                    Query(
                        f"sum by (le) (increase({of(metrics.anomaly_score, 'bucket')}"
                        "[$__rate_interval]))",
                        "{{le}}",
                    ),
                ),
                "short",
                "heatmap",
                width=24,
                height=9,
            ),
        ),
        (
            Panel(
                "Score, by forest",
                "Half of the points are below the lower line, one in a hundred above the upper.",
                (
                    Query(
                        quantile(0.5, metrics.anomaly_score, "domain", "forest"), "{{forest}}, half"
                    ),
                    Query(
                        quantile(0.99, metrics.anomaly_score, "domain", "forest"),
                        "{{forest}}, 99 %",
                    ),
                ),
                "short",
            ),
            Panel(
                "Points scored",
                "A second, by forest. None for long: no window closes, or the forest still warms "
                "up.",
                (
                    Query(
                        f"sum by (domain, forest) ({rate(of(metrics.anomaly_score, 'count'))})",
                        "{{domain}}: {{forest}}",
                    ),
                ),
                "short",
            ),
        ),
        (
            Panel(
                "Points with a score above 3",
                "A part of all. Where it is more than one in a hundred for long, the limits are "
                "too low for this stream, or it is attacked.",
                (
                    Query(
                        "1 - sum by (domain, forest) "
                        f"({rate(of(metrics.anomaly_score, 'bucket', le='3.0'))}) / "
                        "sum by (domain, forest) "
                        f"({rate(of(metrics.anomaly_score, 'count'))})",
                        "{{domain}}: {{forest}}",
                    ),
                ),
                "percentunit",
            ),
            Panel(
                "Keys forgotten",
                "A minute. Forests that made room for another key's: more keys come than "
                "`max_keys`, and those that come back have to be learnt anew.",
                (
                    Query(
                        f"60 * sum by (domain, forest) ({rate(of(metrics.forests_forgotten))})",
                        "{{domain}}: {{forest}}",
                    ),
                ),
                "cpm",
            ),
        ),
    ),
)
