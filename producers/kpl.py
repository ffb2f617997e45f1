"""Packs records as the Kinesis Producer Library does: many user records in one.

Only records of the same partition key share an aggregate. They belong to the same shard, now and
after any split or merge, so no consumer has to drop user records that came to the wrong shard; the
price is smaller aggregates than KPL's own, which needs the stream's shard map for it. A key that
has one record alone sends it plain.
"""

from __future__ import annotations

from collections.abc import Sequence

from aws_kinesis_agg.aggregator import AggRecord

from producers.records import Record

MAX_AGGREGATE_BYTES = 50 * 1024
"""KPL's default `AggregationMaxSize` is 51,200 bytes."""


def aggregate(records: Sequence[Record]) -> list[Record]:
    """Pack records; those of one key keep their order."""
    open_: dict[str, list[Record]] = {}
    sizes: dict[str, int] = {}
    packed: list[Record] = []
    for record in records:
        key = record.partition_key
        if sizes.get(key, 0) + len(record.payload) > MAX_AGGREGATE_BYTES and key in open_:
            packed.append(_pack(open_.pop(key)))
            sizes[key] = 0
        open_.setdefault(key, []).append(record)
        sizes[key] = sizes.get(key, 0) + len(record.payload)
    packed.extend(_pack(group) for group in open_.values())
    return packed


def _pack(records: list[Record]) -> Record:
    """Make one record of records with the same key."""
    if len(records) == 1:
        return records[0]
    aggregated = AggRecord()
    for record in records:
        if not aggregated.add_user_record(record.partition_key, record.payload):
            msg = f"{len(records)} records don't fit into one aggregate"
            raise ValueError(msg)
    _key, _hash_key, payload = aggregated.get_contents()
    return Record(payload, records[0].partition_key)
