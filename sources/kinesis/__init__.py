"""READ a Kinesis data stream: fixed slots own shards, threads read ahead, a poll never waits.

source.py        KinesisSource and where it starts: begin here
slot.py          Slot: what a poll returns, what a snapshot holds
lineage.py       which slot owns a shard, which shards follow one (pure)
lister.py        the thread that finds shards
prefetch.py      the threads that run readers
reader.py        one shard, read ahead of its slot: a bounded queue
polling.py       ... by asking: an iterator, one GetRecords a step
subscription.py  ... by being sent it: one SubscribeToShard a step
event_stream.py  frames of a subscription to typed events
consumer.py      in whose name a process subscribes
fan_out.py       the subscriptions of a process, and their watchdog
retention.py     whether a shard is read more slowly than it is forgotten
share.py         what readers divide: memory, and how far apart they may be
bodies.py        the bodies of replies, read in one piece
replies.py       a reply's body to columns (compiled: body_kernels.py, gather_kernels.py)
records.py       columns to the rows that a slot takes over
kpl.py           aggregated records (compiled: kpl_kernels.py)
pacing.py        quotas, call budget, backoff
failures.py      what a failed call means
stream.py        what the slots of a process share
client.py        the calls that are used; who a stream is
"""

from sources.kinesis.client import KinesisClient, StreamIdentity, resolve_stream
from sources.kinesis.fan_out import EnhancedFanOut
from sources.kinesis.pacing import Pacing
from sources.kinesis.prefetch import MAX_THREADS
from sources.kinesis.slot import KinesisSlot
from sources.kinesis.source import DEFAULT_SLOTS, KinesisSource, StartPosition

__all__ = [
    "DEFAULT_SLOTS",
    "MAX_THREADS",
    "EnhancedFanOut",
    "KinesisClient",
    "KinesisSlot",
    "KinesisSource",
    "Pacing",
    "StartPosition",
    "StreamIdentity",
    "resolve_stream",
]
