"""The board of epochs and sinks: what is committed, and what does it wait for?"""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Board, Panel, Query, of, quantile, rate, recorded
from deploy.grafana.shared import stat

RUNTIME = Board(
    "runtime",
    "Runtime",
    "Are epochs committed, and what do they wait for?",
    (
        (
            stat(
                "Last committed epoch",
                "How long ago. After a crash all that came since is read again.",
                f"max({of(metrics.snapshot_age_seconds)})",
                "s",
                (30, 120),
            ),
            stat(
                "A worker stands still",
                "For how long the slowest has neither read nor flushed within its deadline.",
                f"max({of(metrics.epoch_stall_seconds)})",
                "s",
                (15, 30),
            ),
            stat(
                "Restarts",
                "Of the local processes, in the time that the board shows.",
                f"sum(increase({of(metrics.restarts)}[$__range]))",
                "short",
                (1, 3),
            ),
            stat(
                "Last copy of the store",
                "How long ago what is committed was found copied; with `runtime.snapshots` only.",
                f"max(time() - ({of(metrics.snapshot_copied_timestamp)} > 0))",
                "s",
                (300, 600),
            ),
            Panel(
                "Versions",
                "More than one at a time is an update under way.",
                (Query(f"count by (version) ({of(metrics.build_info)})", "{{version}}"),),
                "short",
                "stat",
                width=8,
                height=4,
            ),
        ),
        (
            Panel(
                "End of an epoch: the wait for each sink",
                "99 % of the flushes were shorter. All sources of a worker wait as long; beyond "
                "`sinks.deadline` (20 s) the epoch fails.",
                (Query(recorded("kinewax:sink_flush:p99_10m"), "{{sink}}"),),
                "s",
                limits=(5,),
            ),
            Panel(
                "One call to a destination",
                "99 % were faster.",
                (Query(quantile(0.99, metrics.sink_write_duration_seconds, "sink"), "{{sink}}"),),
                "s",
            ),
        ),
        (
            Panel(
                "Results, by sink and outcome",
                "A second. `already_there` are repeats after a restart; `dead_lettered` were "
                "refused for good.",
                (
                    Query(
                        f"sum by (sink, outcome) ({rate(of(metrics.sink_records))})",
                        "{{sink}}: {{outcome}}",
                    ),
                ),
                "short",
            ),
            Panel(
                "Sent again, by kind",
                "A second. `throttled`: the destination's limits; `timeout`, `server`, `network`: "
                "the way to it.",
                (
                    Query(
                        f"sum by (sink, error_type) ({rate(of(metrics.sink_retries))})",
                        "{{sink}}: {{error_type}}",
                    ),
                ),
                "short",
            ),
        ),
        (
            Panel(
                "Taken over, not acknowledged",
                "At its bound (`sinks.max_pending` a part) the sources wait.",
                (Query(f"sum by (sink) ({of(metrics.sink_pending_bytes)})", "{{sink}}"),),
                "bytes",
            ),
            Panel(
                "Throttled, of all that was acknowledged",
                "Entries that had to be sent again.",
                (Query(recorded("kinewax:sink_throttled:ratio10m"), "{{sink}}"),),
                "percentunit",
                limits=(0.05,),
            ),
        ),
        (
            Panel(
                "Serialising the state",
                "Of one process for one epoch; 99 % were faster. It grows with the state.",
                (Query(quantile(0.99, metrics.snapshot_duration_seconds), "state"),),
                "s",
            ),
            Panel(
                "Copies of the store, by outcome",
                "A minute; with `runtime.snapshots` only.",
                (
                    Query(
                        f"60 * sum by (outcome) ({rate(of(metrics.snapshot_copies))})",
                        "{{outcome}}",
                    ),
                ),
                "cpm",
            ),
        ),
        (
            Panel(
                "Tables beside the stream: last looked at",
                "How long ago a table was found unchanged, or taken up.",
                (
                    Query(
                        f"max by (reference) (time() - {of(metrics.reference_checked_timestamp)})",
                        "{{reference}}",
                    ),
                ),
                "s",
                limits=(900,),
            ),
            Panel(
                "Tables beside the stream: versions",
                "In the last hour, loaded or failed.",
                (
                    Query(
                        "sum by (reference, outcome) "
                        f"(increase({of(metrics.reference_loads)}[1h]))",
                        "{{reference}}: {{outcome}}",
                    ),
                ),
                "short",
            ),
        ),
    ),
)
