"""The board of the stream: does it keep up, and which shard holds it?"""

from __future__ import annotations

import metrics
from deploy.grafana.panels import Board, Panel, Query, of, rate, recorded
from deploy.grafana.shared import BEHIND, stat

KINESIS = Board(
    "kinesis",
    "Kinesis",
    "Does it keep up with the stream, and if not, which shard holds it?",
    (
        (
            stat(
                "Used retention",
                "How much of the time for which the stream keeps it the oldest unread record has "
                "used. At 100 % records are lost.",
                f"max({of(metrics.kinesis_retention_used_ratio)})",
                "percentunit",
                (0.25, 0.5),
            ),
            stat(
                "Shards read",
                "Of all processes together.",
                f"sum({of(metrics.source_shards, state='reading')})",
                "short",
            ),
            stat(
                "Shards that wait",
                "Children of a reshard whose parents aren't read to their end yet.",
                f"sum({of(metrics.source_shards, state='waiting')})",
                "short",
            ),
            stat(
                "Shards paused",
                "Too far ahead of the slowest. They are not the cause of a delay.",
                f"sum({of(metrics.kinesis_shards_paused)})",
                "short",
            ),
            stat(
                "Hash keys without a shard",
                "Ranges that nobody reads. Usual for seconds in a reshard.",
                f"max({of(metrics.kinesis_coverage_holes)})",
                "short",
                (1,),
            ),
            stat(
                "Records lost",
                "How often, in 15 minutes, records may have expired unread.",
                f"sum({recorded('kinewax:source_data_loss:increase15m')}) or vector(0)",
                "short",
                (1,),
            ),
        ),
        (
            BEHIND,
            Panel(
                "The ten shards that are furthest behind",
                "One alone is a hot shard, or one that fails; all alike is a lack of CPU, or a "
                "slow sink.",
                (Query(f"topk(10, {of(metrics.behind_latest_seconds)})", "{{stream}} {{shard}}"),),
                "s",
                limits=(120,),
            ),
        ),
        (
            Panel(
                "Records read, by stream",
                "A second.",
                (Query(f"sum by (stream) ({rate(of(metrics.source_records))})", "{{stream}}"),),
                "short",
            ),
            Panel(
                "The ten busiest shards",
                "A shard gives 2 MB a second to all who poll it; enhanced fan-out as much to each.",
                (
                    Query(
                        f"topk(10, sum by (stream, shard) ({rate(of(metrics.source_bytes))}))",
                        "{{stream}} {{shard}}",
                    ),
                ),
                "Bps",
                limits=(2_000_000,),
            ),
        ),
        (
            Panel(
                "Failed calls, by kind",
                "A second. `throttled`: others poll these shards, too. `timeout`, `network`, "
                "`server`: the way to AWS.",
                (
                    Query(
                        f"sum by (stream, error_type) ({rate(of(metrics.source_errors))})",
                        "{{error_type}}",
                    ),
                    Query(
                        recorded("kinewax:source_throttled:rate10m_per_shard"),
                        "throttled, a shard",
                    ),
                ),
                "short",
            ),
            Panel(
                "Without progress",
                "How long ago a shard brought records, or had none left to bring: the ten worst. "
                "It holds the watermark.",
                (
                    Query(
                        f"topk(10, time() - {of(metrics.kinesis_last_progress_timestamp_seconds)})",
                        "{{stream}} {{shard}}",
                    ),
                ),
                "s",
                limits=(60,),
            ),
        ),
        (
            Panel(
                "Rows read ahead",
                "Much: the dataflow is the limit, by CPU or sinks. Near nothing: the reading is.",
                (
                    Query(
                        f"sum by (stream) ({of(metrics.kinesis_prefetch_bytes)} >= 0)", "{{stream}}"
                    ),
                ),
                "bytes",
            ),
            Panel(
                "Calls beside reading",
                "A second. Empty polls are a quiet stream; renewals without end are iterators that "
                "die of waiting; more than one subscription in five minutes and shard breaks.",
                (
                    Query(f"sum({rate(of(metrics.kinesis_empty_polls))})", "empty polls"),
                    Query(
                        f"sum({rate(of(metrics.kinesis_iterator_renewals))})", "iterators renewed"
                    ),
                    Query(f"sum({rate(of(metrics.source_subscriptions))})", "subscriptions"),
                ),
                "short",
            ),
        ),
    ),
)
