"""Every metric of kinewax, declared once; docs and tests read `METRICS`.

Base units, no per-user labels, updated once a batch. Counters are for rates: the exact account of
every record is the ledger, which lives in the snapshots. With several processes prometheus_client
keeps them in files (`PROMETHEUS_MULTIPROC_DIR`, set by the supervisor); one admin port merges them.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# ---- sources ----
behind_latest_seconds = Gauge(
    "kinewax_kinesis_behind_latest_seconds",
    "How far behind the tip of a shard the reader is (MillisBehindLatest).",
    ["stream", "shard"],
    multiprocess_mode="livemax",
)
source_records = Counter(
    "kinewax_source_records_total", "Records read (numRecordsIn).", ["stream", "shard"]
)
source_bytes = Counter("kinewax_source_bytes_total", "Bytes read.", ["stream", "shard"])
source_errors = Counter(
    "kinewax_source_errors_total",
    "Failed calls: throttled, expired_iterator, in_use, stalled, timeout, server, network, other; "
    "and data_loss, where records may have expired unread.",
    ["stream", "error_type"],
)
source_subscriptions = Counter(
    "kinewax_source_subscriptions_total",
    "Subscriptions to shards begun, with enhanced fan-out; each lasts 5 minutes at most.",
    ["stream"],
)
source_shards = Gauge(
    "kinewax_source_shards",
    "Shards by state: reading, waiting, ended.",
    ["stream", "state"],
    multiprocess_mode="livesum",
)

kinesis_max_behind_latest_seconds = Gauge(
    "kinewax_kinesis_max_behind_latest_seconds",
    "The same of the shard that is furthest behind; a shard that doesn't answer falls behind.",
    ["stream"],
    multiprocess_mode="livemax",
)
kinesis_retention_used_ratio = Gauge(
    "kinewax_kinesis_retention_used_ratio",
    "The same as a part of the stream's retention: at 1 records expire unread.",
    ["stream"],
    multiprocess_mode="livemax",
)
kinesis_shards_paused = Gauge(
    "kinewax_kinesis_shards_paused",
    "Shards that wait because they are too far ahead of the slowest.",
    ["stream"],
    multiprocess_mode="livesum",
)
kinesis_last_progress_timestamp_seconds = Gauge(
    "kinewax_kinesis_last_progress_timestamp_seconds",
    "When a shard last brought records, or had none left to bring.",
    ["stream", "shard"],
    multiprocess_mode="livemax",
)
kinesis_prefetch_bytes = Gauge(
    "kinewax_kinesis_prefetch_bytes",
    "Memory of the rows that were read ahead of the dataflow.",
    ["stream", "shard"],
    multiprocess_mode="livemax",  # one process reads a shard
)
kinesis_empty_polls = Counter(
    "kinewax_kinesis_empty_polls_total", "Replies without a record.", ["stream", "shard"]
)
kinesis_iterator_renewals = Counter(
    "kinewax_kinesis_iterator_renewals_total",
    "Shard iterators asked for after a shard's first: the last was old, expired or refused.",
    ["stream", "shard"],
)
kinesis_coverage_holes = Gauge(
    "kinewax_kinesis_coverage_holes",
    "Ranges of hash keys for which ListShards names no shard: what is put there isn't read.",
    ["stream"],
    multiprocess_mode="livemax",
)

# ---- decode, windows ----
rejected_records = Counter(
    "kinewax_rejected_records_total",
    "Objects that could not become events.",
    ["domain", "reason"],
)
events = Counter("kinewax_events_total", "Events decoded.", ["domain"])
watermark_lag_seconds = Gauge(
    "kinewax_watermark_lag_seconds",
    "Now minus the lowest watermark of the process's key groups.",
    ["domain"],
    multiprocess_mode="livemax",
)
late_events = Counter(
    "kinewax_late_events_total", "Events whose window had closed.", ["domain", "window"]
)
windows_open = Gauge(
    "kinewax_windows_open",
    "Open windows, each counted once a key group.",
    ["domain", "window"],
    multiprocess_mode="livesum",
)
windows_closed = Counter(
    "kinewax_windows_closed_total",
    "Closed windows, each counted once a key group.",
    ["domain", "window"],
)
dropped_events = Counter(
    "kinewax_dropped_events_total",
    "Records and events dropped on purpose or not.",
    ["stage", "intentional", "reason"],
)

# ---- tables beside the stream ----
reference_checked_timestamp = Gauge(
    "kinewax_reference_checked_timestamp_seconds",
    "When a table beside the stream was last found unchanged, or taken up.",
    ["reference"],
    multiprocess_mode="livemin",
)
reference_loads = Counter(
    "kinewax_reference_loads_total",
    "Versions of a table by outcome: loaded, failed.",
    ["reference", "outcome"],
)

# ---- figures of a domain ----
aggregate_value = Gauge(
    "kinewax_aggregate_value",
    "A figure that the domain declares: of the last closed window, or of the one without a key "
    "that is open; `of` is a part of the rows, or empty.",
    ["domain", "aggregate", "value", "of"],
    multiprocess_mode="livesum",
)
mover_change = Gauge(
    "kinewax_mover_change",
    "By how much a key's value changed from the window before to the last closed one: those keys "
    "that gained and lost most.",
    ["domain", "aggregate", "value", "key"],
    multiprocess_mode="livesum",
)

# ---- alerts ----
anomaly_score = Histogram(
    "kinewax_anomaly_score",
    "Scores of random cut forests: 0 is as usual as can be, log2 of the sample size the least so.",
    ["domain", "forest"],
    buckets=(0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0),
)
forests_forgotten = Counter(
    "kinewax_forests_forgotten_total",
    "Keys whose forest had to make room for another key's: more come than max_keys.",
    ["domain", "forest"],
)
incidents = Counter(
    "kinewax_incidents_total",
    "Phases of incidents found.",
    ["domain", "rule", "severity", "phase"],
)
notifications = Counter(
    "kinewax_notifications_total",
    "Notices by outcome: published, digest, suppressed, pending.",
    ["domain", "outcome"],
)
notifications_pending = Gauge(
    "kinewax_notifications_pending",
    "Notices that were asked for and aren't published yet.",
    ["domain"],
    multiprocess_mode="livesum",
)

# ---- sinks ----
sink_records = Counter(
    "kinewax_sink_records_total",
    "Items by outcome: acknowledged, already_there, dead_lettered.",
    ["sink", "outcome"],
)
sink_write_duration_seconds = Histogram(
    "kinewax_sink_write_duration_seconds",
    "One call to a destination.",
    ["sink"],
    buckets=_LATENCY_SECONDS,
)
sink_flush_seconds = Histogram(
    "kinewax_sink_flush_seconds",
    "How long the end of an epoch waited for a sink.",
    ["sink"],
    buckets=_LATENCY_SECONDS,
)
sink_retries = Counter("kinewax_sink_retries_total", "Entries sent again.", ["sink", "error_type"])
sink_pending_bytes = Gauge(
    "kinewax_sink_pending_bytes",
    "Bytes taken over and not yet acknowledged.",
    ["sink"],
    multiprocess_mode="livesum",
)
end_to_end_latency_seconds = Histogram(
    "kinewax_end_to_end_latency_seconds",
    "From detection of an incident to its acknowledged row.",
    ["domain"],
    buckets=_LATENCY_SECONDS,
)

# ---- runtime ----
snapshot_age_seconds = Gauge(
    "kinewax_snapshot_age_seconds",
    "Age of the last committed epoch.",
    multiprocess_mode="livemax",
)
epoch_stall_seconds = Gauge(
    "kinewax_epoch_stall_seconds",
    "For how long the slowest worker has neither read nor flushed within the sinks' deadline.",
    multiprocess_mode="livemax",
)
snapshot_duration_seconds = Histogram(
    "kinewax_snapshot_duration_seconds",
    "Serialising the state of one process for one epoch.",
    buckets=_LATENCY_SECONDS,
)
snapshot_copied_timestamp = Gauge(
    "kinewax_snapshot_copied_timestamp_seconds",
    "When what is committed was last found copied; only with runtime.snapshots.",
)
snapshot_copies = Counter(
    "kinewax_snapshot_copies_total",
    "Copies of the recovery store by outcome: made, failed.",
    ["outcome"],
)
restarts = Counter("kinewax_restarts_total", "Restarts of the local processes by the supervisor.")
build_info = Gauge("kinewax_build_info", "Always 1.", ["version"], multiprocess_mode="livemax")

OF_SHARDS = (
    behind_latest_seconds,
    source_records,
    source_bytes,
    kinesis_last_progress_timestamp_seconds,
    kinesis_prefetch_bytes,
    kinesis_empty_polls,
    kinesis_iterator_renewals,
)
"""Those with a series a shard, which goes when the shard is read to its end."""

CLOSED = -1.0
"""`kinesis_prefetch_bytes` of a shard that is read no more, where series can't be removed. It is
the first metric that a shard has: one without it, in any process that lives, is read by nobody."""

METRICS = tuple(
    value for value in list(vars().values()) if isinstance(value, Counter | Gauge | Histogram)
)
"""All of the above, in order."""
